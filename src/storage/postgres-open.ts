import { defaultPool, defaultSchema, type PostgresSettings } from '../config.ts'
import { CoreError } from '../errors.ts'
import type { CommitProbe } from './backend.ts'
import { hasMeta, insertMeta } from './meta.ts'
import { hasPending, migrate, refuseOtherSchema } from './migrations.ts'
import { PostgresBackend, PostgresTransaction } from './postgres.ts'
import { parseDsn, parseDsnForTokens } from './postgres-address.ts'
import { type Connection, type ConnectionSettings, PostgresConnections, timeouts } from './postgres-connections.ts'
import { connectionRefusal, lockTimeout, sqlState } from './postgres-errors.ts'
import type { OpenSettings } from './stores.ts'

export interface PostgresOptions extends PostgresSettings, OpenSettings {
  /** For tests of what happens around COMMIT. */
  readonly probe?: CommitProbe | undefined
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
  const settings = settingsOf(options)
  const { connections, location } = await connect(settings, options)
  try {
    const done = await prepare(connections, settings, options)
    if (settings.isPooled) await lending(connections, (connection) => checkSchema(connection, settings))
    const { probe } = options
    const direct = directSettings(settings, options)
    return { backend: new PostgresBackend({ location, connections, direct, isReadOnly: false, probe }), ...done }
  } catch (error) {
    await connections.close()
    throw connectionRefusalOf(error, location)
  }
}

/** Opens a PostgreSQL schema for reading alone: migrates nothing and changes nothing. */
export async function openPostgresForReading(options: PostgresOptions): Promise<PostgresBackend> {
  const settings = settingsOf({ ...options, poolMin: 1 })
  const { connections, location } = await connect(settings, options)
  const direct = directSettings(settings, options)
  const backend = new PostgresBackend({ location, connections, direct, isReadOnly: true, probe: undefined })
  try {
    await backend.read((reader) => refuseOtherSchema(reader, location))
    return backend
  } catch (error) {
    await backend.close()
    throw error
  }
}

function settingsOf(options: PostgresOptions): ConnectionSettings {
  const { directDsn, password, schema = defaultSchema } = options
  const { poolMin = defaultPool.min, poolMax = defaultPool.max } = options
  const { address } = addressesOf(options)
  return { address, password, schema, isPooled: directDsn !== undefined, poolMin, poolMax }
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

async function connect(settings: ConnectionSettings, { warn }: PostgresOptions) {
  const { address } = settings
  const location = address.masked
  const connections = new PostgresConnections(settings)
  try {
    await connections.warmUp()
    await lending(connections, (connection) => checkServer(connection, settings, warn))
  } catch (error) {
    await connections.close()
    throw error
  }
  for (const warning of address.warnings) warn?.(warning)
  return { connections, location }
}

interface ServerState {
  readonly version: number
  readonly schema: string | null
  readonly timeout: string
}

async function checkServer(
  connection: Connection,
  { address, schema, isPooled }: ConnectionSettings,
  warn: PostgresOptions['warn'],
): Promise<void> {
  const location = address.masked
  const { rows } = await connection.run(
    `select current_setting('server_version_num')::bigint as "version", current_schema() as "schema",
            current_setting('statement_timeout') as "timeout"`,
  )
  const { version, schema: found, timeout } = rows[0] as ServerState
  const major = Math.floor(version / 10_000)
  if (major < oldestVersion) throw new CoreError('CC_ERR_SERVER_OLD', { location, found: major, least: oldestVersion })
  if (major > newestTried) warn?.(`PostgreSQL ${major} is newer than ${newestTried}, the newest that was tried.`)
  if (!isPooled) return
  // Through a pooler a session says nothing at its start, so what it needs is said in the database. None: it is yet to be made.
  if (found !== null) refuseOtherName(found, schema, location)
  if (timeout === '0') {
    const { user } = address
    warn?.(`Statements have no time limit: alter role ${user} set statement_timeout = ${timeouts.statement_timeout}`)
  }
}

/** Once the schema is there, sessions must be in it. */
async function checkSchema(connection: Connection, { address, schema }: ConnectionSettings): Promise<void> {
  const { rows } = await connection.run(`select current_schema() as "schema"`)
  refuseOtherName((rows[0] as ServerState).schema ?? 'none', schema, address.masked)
}

function refuseOtherName(found: string, schema: string, location: string): void {
  if (found !== schema) throw new CoreError('CC_ERR_SERVER_SCHEMA', { location, schema, found })
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
  const own = new PostgresConnections({
    ...directSettings(settings, options),
    isUnhurried: true,
    poolMin: 0,
    poolMax: 1,
  })
  try {
    return await lending(own, (connection) => makeTables(connection, settings.schema, { location, nowMs }))
  } finally {
    await own.close()
  }
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
