import { defaultPool, defaultSchema, type PostgresSettings } from '../config.ts'
import { CoreError, isCoreError } from '../errors.ts'
import type { CommitProbe } from './backend.ts'
import { hasMeta, insertMeta } from './meta.ts'
import { hasPending, migrate, refuseOtherSchema } from './migrations.ts'
import { PostgresBackend, PostgresTransaction } from './postgres.ts'
import { parseDsn, parseDsnForTokens } from './postgres-address.ts'
import { type Connection, type ConnectionSettings, PostgresConnections } from './postgres-connections.ts'
import { connectionRefusal, lockTimeout, sqlState } from './postgres-errors.ts'
import { isOwnSession, openConnections } from './postgres-pooler.ts'
import type { OpenSettings } from './stores.ts'

export interface PostgresOptions extends PostgresSettings, OpenSettings {
  /** For tests of what happens around COMMIT. */
  readonly probe?: CommitProbe | undefined
  /** For tests of what takes long. */
  readonly limits?: ConnectionSettings['limits']
}

/** The versions this program is tried on. */
const oldestVersion = 15
const newestTried = 18

/**
 * Opens a PostgreSQL schema for writing and makes or migrates its tables; any number of processes may do so at once.
 * Refuses a server that is too old, and a store that is of a newer version or another program's.
 */
export async function openPostgres(
  options: PostgresOptions,
): Promise<{ readonly backend: PostgresBackend; readonly created: boolean; readonly applied: readonly number[] }> {
  const { connections, settings, location } = await connect(settingsOf(options), options)
  try {
    const done = await prepare(connections, settings, options)
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
  const { connections, settings, location } = await connect(settingsOf({ ...options, poolMin: 1 }), options)
  const direct = directSettings(settings, options)
  const backend = new PostgresBackend({
    location,
    connections,
    direct,
    isReadOnly: true,
    probe: undefined,
    warn: () => {},
  })
  try {
    await backend.read((reader) => refuseOtherSchema(reader, location))
    return backend
  } catch (error) {
    await backend.close()
    throw error
  }
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

async function connect(given: ConnectionSettings, { warn = () => {} }: PostgresOptions) {
  const { address } = given
  const location = address.masked
  const { connections, settings } = await openConnections(given, warn)
  try {
    await lending(connections, (connection) => checkServer(connection, settings, warn))
  } catch (error) {
    await connections.close()
    throw error
  }
  for (const warning of address.warnings) warn(warning)
  return { connections, settings, location }
}

async function checkServer(
  connection: Connection,
  { address }: ConnectionSettings,
  warn: (sentence: string) => void,
): Promise<void> {
  const location = address.masked
  const { rows } = await connection.run(`select current_setting('server_version_num')::bigint as "version"`)
  const { version } = rows[0] as { readonly version: number }
  const major = Math.floor(version / 10_000)
  if (major < oldestVersion) throw new CoreError('CC_ERR_SERVER_OLD', { location, found: major, least: oldestVersion })
  if (major > newestTried) warn(`PostgreSQL ${major} is newer than ${newestTried}, the newest that was tried.`)
}

/** One process makes or changes tables, and the others wait for it; who finds all as it must be takes no lock. */
async function prepare(connections: PostgresConnections, settings: ConnectionSettings, options: PostgresOptions) {
  const { nowMs } = options
  const location = settings.address.masked
  const isReady = await lending(connections, async (connection) => {
    const reader = new PostgresTransaction(connection)
    return !(await hasPending(reader, location)) && (await hasMeta(reader))
  })
  if (isReady) return { created: false, applied: [] }
  const direct = directSettings(settings, options)
  if (direct.isPooled)
    throw new CoreError('CC_ERR_POOLER', { location, name: 'CC_DB_DSN', why: 'no session is its own' })
  const own = new PostgresConnections({ ...direct, isUnhurried: true, poolMin: 0, poolMax: 1 })
  try {
    return await lending(own, async (connection) => {
      await refuseShared(connection, direct)
      return await makeTables(connection, settings.schema, { location, nowMs })
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

/** Together with a number for the schema: the lock of whoever changes its tables. */
const lockClass = 0x43436f72

async function makeTables(
  connection: Connection,
  schema: string,
  { location, nowMs }: { readonly location: string; readonly nowMs: number },
) {
  const tx = new PostgresTransaction(connection)
  try {
    await connection.run(`begin; set local lock_timeout = ${migrationLockMs}; set local statement_timeout = 0`)
    await tx.query(`select pg_advisory_xact_lock($1::int, hashtext($2))`, [lockClass, schema])
    const isThere = (await tx.query('select 1 from pg_namespace where nspname = $1', [schema])).length > 0
    if (!isThere) await connection.run(`create schema ${schema}`)
    const applied = await migrate(tx, async (sql) => void (await connection.run(sql)), { location, nowMs })
    await insertMeta(tx, nowMs)
    await connection.run('commit')
    return { created: applied[0] === 1, applied }
  } catch (error) {
    await connection.rollBack()
    if (sqlState(error) !== lockTimeout) throw error
    throw new CoreError('CC_ERR_MIGRATING', { location, waitedMs: migrationLockMs }, { cause: error })
  }
}

/** How long another process may take to change the tables, and any reader of them to let go. */
const migrationLockMs = 60_000

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
