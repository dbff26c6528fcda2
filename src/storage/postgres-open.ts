import { defaultPool, defaultSchema, type PostgresSettings } from '../config.ts'
import { CoreError, isCoreError } from '../errors.ts'
import type { CommitProbe, Reader } from './backend.ts'
import { refuseOtherSchema } from './migrations.ts'
import { PostgresBackend, PostgresTransaction } from './postgres.ts'
import { parseDsn, parseDsnForTokens } from './postgres-address.ts'
import { judgeRoom, judgeServer, readRoom, readServer } from './postgres-checks.ts'
import { type Connection, type ConnectionSettings, PostgresConnections } from './postgres-connections.ts'
import { connectionRefusal, sqlState } from './postgres-errors.ts'
import { isOwnSession, openConnections } from './postgres-pooler.ts'
import { type Granting, grantRole, grantStatements, refuseRoleName } from './postgres-roles.ts'
import { isReady, makeTables, refuseUnreadable } from './postgres-tables.ts'
import type { OpenSettings } from './stores.ts'

export interface PostgresOptions extends PostgresSettings, OpenSettings {
  /** For tests of what happens around COMMIT. */
  readonly probe?: CommitProbe | undefined
  /** For tests: how long a change of the tables waits for others. */
  readonly patienceMs?: number | undefined
  /** For tests of what takes long. */
  readonly limits?: ConnectionSettings['limits']
}

/**
 * Opens a PostgreSQL schema for writing and makes or migrates its tables; any number of processes may do so at once.
 * Refuses a server that is too old, and a store that is of a newer version or another program's.
 */
export async function openPostgres(
  options: PostgresOptions,
): Promise<{ readonly backend: PostgresBackend; readonly created: boolean; readonly applied: readonly number[] }> {
  const { connections, settings, location } = await connect(settingsOf(options), false, options)
  try {
    const done = await prepare(connections, settings, options)
    await checkRoom(connections, settings, options)
    const { probe, warn = () => {} } = options
    const direct = directSettings(settings, options)
    return { backend: new PostgresBackend({ location, connections, direct, isReadOnly: false, probe, warn }), ...done }
  } catch (error) {
    await connections.close()
    throw connectionRefusalOf(error, location)
  }
}

/** Opens a PostgreSQL schema for reading alone: migrates nothing and changes nothing. */
export async function openPostgresForReading(options: PostgresOptions): Promise<PostgresBackend> {
  const { connections, settings, location } = await connect(settingsOf({ ...options, poolMin: 1 }), true, options)
  const direct = directSettings(settings, options)
  const backend = new PostgresBackend({ location, connections, direct, isReadOnly: true, ...unheard })
  try {
    await lending(connections, (connection) => refuseUnreadable(connection, settings.schema, location))
    await backend.read((reader) => refuseOtherSchema(reader, location))
    return backend
  } catch (error) {
    await backend.close()
    throw connectionRefusalOf(error, location)
  }
}

/** For what is open for a moment, and has nobody who would listen. */
const unheard = { probe: undefined, warn: () => {} } as const

/** What `grantPostgres` did. */
export interface Granted {
  readonly granting: Granting
  /** What gives the role its rights, each without a semicolon. */
  readonly statements: readonly string[]
}

/** Gives a role what the service needs on a store that is there, as far as whoever asks may. */
export async function grantPostgres(options: PostgresOptions, role: string): Promise<Granted> {
  const given = directSettings(settingsOf({ ...options, poolMin: 1 }), options)
  const { connections, settings, location } = await connect(given, false, options)
  const { schema } = settings
  const backend = new PostgresBackend({ location, connections, direct: settings, isReadOnly: false, ...unheard })
  try {
    const granting = await backend.transaction((tx) => grantRole(tx, schema, role))
    return { granting, statements: grantStatements(schema, role) }
  } catch (error) {
    throw connectionRefusalOf(error, location)
  } finally {
    await backend.close()
  }
}

/** The statements alone, without asking the server. */
export function grantsFor({ schema = defaultSchema }: PostgresSettings, role: string): readonly string[] {
  refuseRoleName(role)
  return grantStatements(schema, role)
}

function settingsOf(options: PostgresOptions): ConnectionSettings {
  const { directDsn, password, schema = defaultSchema, limits } = options
  const { poolMin = defaultPool.min, poolMax = defaultPool.max } = options
  const { address } = addressesOf(options)
  return { address, password, schema, isPooled: directDsn !== undefined, poolMin, poolMax, limits }
}

/** For what needs a session of its own. */
function directSettings(settings: ConnectionSettings, options: PostgresOptions): ConnectionSettings {
  if (options.directDsn === undefined) return settings
  return { ...settings, address: addressesOf(options).direct, isPooled: false }
}

/** Read together, so that what is wrong with either is met before anything is opened. */
function addressesOf({ dsn, directDsn, password }: PostgresOptions) {
  const parse = password ? parseDsnForTokens : parseDsn
  const address = parse(dsn)
  return { address, direct: directDsn === undefined ? address : parse(directDsn, 'CC_DB_DIRECT_DSN') }
}

async function connect(given: ConnectionSettings, isReader: boolean, { warn = () => {} }: PostgresOptions) {
  const { address } = given
  const location = address.masked
  const { connections, settings } = await openConnections(given, warn)
  try {
    const server = await reading(connections, readServer)
    for (const sentence of judgeServer(server, location, { isReader })) warn(sentence)
  } catch (error) {
    await connections.close()
    throw connectionRefusalOf(error, location)
  }
  for (const warning of address.warnings) warn(warning)
  return { connections, settings, location }
}

/** One process makes or changes tables, and the others wait for it; who finds all as it must be takes no lock. */
async function prepare(connections: PostgresConnections, settings: ConnectionSettings, options: PostgresOptions) {
  const { nowMs, patienceMs = migrationPatienceMs } = options
  const { schema } = settings
  const location = settings.address.masked
  if (await lending(connections, (connection) => isReady(connection, schema, location))) {
    return { created: false, applied: [] }
  }
  const direct = directSettings(settings, options)
  if (direct.isPooled)
    throw new CoreError('CC_ERR_POOLER', { location, name: 'CC_DB_DSN', why: 'no session is its own' })
  const own = new PostgresConnections({ ...direct, isUnhurried: true, poolMin: 0, poolMax: 1 })
  try {
    return await lending(own, async (connection) => {
      await refuseShared(connection, direct)
      return await makeTables(connection, { schema, location, nowMs, patienceMs })
    })
  } catch (error) {
    // The pool was opened by another DSN, so it is this one that leads astray.
    if (!isCoreError(error, 'CC_ERR_POOLER')) throw error
    throw new CoreError('CC_ERR_POOLER', { ...error.facts, name: 'CC_DB_DIRECT_DSN' }, { cause: error })
  } finally {
    await own.close()
  }
}

/** Tables that are made in a session of somebody else's would be made in another schema. */
async function refuseShared(connection: Connection, direct: ConnectionSettings): Promise<void> {
  if (await isOwnSession(connection, direct)) return
  const facts = { location: direct.address.masked, why: 'it passes over what a session says at its start' }
  throw new CoreError('CC_ERR_POOLER', { ...facts, name: 'CC_DB_DIRECT_DSN' })
}

/** How long another process may take to change the tables, and whoever uses them to let go. */
const migrationPatienceMs = 60_000

/** Says so when the processes that share the server may take more connections than it has. */
async function checkRoom(
  connections: PostgresConnections,
  { poolMax, isPooled }: ConnectionSettings,
  { replicas = 1, warn }: PostgresOptions,
): Promise<void> {
  // Behind a pooler it is the pooler that has the server's connections.
  if (isPooled || !warn) return
  const sentence = judgeRoom(await reading(connections, readRoom), { replicas, poolMax })
  if (sentence !== undefined) warn(sentence)
}

function reading<T>(connections: PostgresConnections, read: (reader: Reader) => Promise<T>): Promise<T> {
  return lending(connections, (connection) => read(new PostgresTransaction(connection)))
}

async function lending<T>(connections: PostgresConnections, act: (connection: Connection) => Promise<T>): Promise<T> {
  const connection = await connections.acquire()
  try {
    return await act(connection)
  } finally {
    connection.release()
  }
}

/** What the server refuses while the store is prepared comes of rights and settings, and not of a defect. */
function connectionRefusalOf(error: unknown, location: string): unknown {
  return sqlState(error) === undefined ? error : connectionRefusal(error, location)
}
