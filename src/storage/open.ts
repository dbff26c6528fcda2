import { mkdirSync } from 'node:fs'
import { dirname } from 'node:path'
import { CoreError } from '../errors.ts'
import { applicationId } from './dialect.ts'
import type { Backend, SqlValue } from './backend.ts'
import { releaseLease, takeLease } from './lease.ts'
import type { StoreLock } from './lock.ts'
import { insertMeta } from './meta.ts'
import { migrate, refuseOtherSchema } from './migrations.ts'
import { SqliteBackend, SqliteReadBackend, SqliteTransaction } from './sqlite.ts'
import { cannotOpen, SqliteConnection } from './sqlite-connection.ts'
import { beginImmediate, type SqliteProbe } from './sqlite-writer.ts'
import type { OpenedStore } from './stores.ts'
import { isAbsent, lockStore, openReadOnly, refuseForeignFile, settlePath } from './store-file.ts'

export interface OpenOptions {
  readonly path: string
  readonly nowMs: number
  /** Where the holder can be reached, for people who find the store locked. */
  readonly url?: string | undefined
  /** The new epoch is above this one as well, which stands in a store that this one takes the place of. */
  readonly epochAbove?: number | undefined
  /** For tests of what happens around COMMIT. */
  readonly probe?: SqliteProbe | undefined
}

/**
 * Opens a SQLite file for writing: takes its lock, makes or migrates its tables, starts a new epoch. Refuses a file that
 * is not ours, that a newer version wrote, that another process holds, or that would not keep what it commits.
 */
export async function openStore(options: OpenOptions): Promise<OpenedStore> {
  const path = settlePath(options.path)
  const created = isAbsent(path)
  if (created) mkdirSync(dirname(path), { recursive: true })
  else refuseForeignFile(path)
  let lock: StoreLock | undefined
  let connection: SqliteConnection | undefined
  try {
    lock = lockStore(path)
    connection = new SqliteConnection(path, { readOnly: false })
    makeDurable(connection, path)
    const { applied, epoch } = await prepare(connection, path, options)
    const backend = new SqliteBackend({
      path,
      connection,
      epoch,
      probe: options.probe,
      fence: storeFence(epoch, path),
      beforeClose: (tx) => releaseLease(tx, epoch),
      onClose: () => lock!.release(),
    })
    return { backend, created, applied }
  } catch (error) {
    connection?.close()
    lock?.release()
    if (!cannotOpen(error)) throw error
    throw new CoreError('CC_ERR_NOT_PERMITTED', { location: path, what: 'write' }, { cause: error })
  }
}

/** Opens a SQLite file for reading, beside whoever writes it: takes no lock and changes nothing. */
export async function openStoreForReading(path: string): Promise<Backend> {
  const settled = settlePath(path)
  if (isAbsent(settled)) throw new CoreError('CC_ERR_NO_STORE', { location: path })
  refuseForeignFile(settled)
  const backend = new SqliteReadBackend(settled, () => openReadOnly(settled))
  try {
    await backend.read((reader) => refuseOtherSchema(reader, settled))
    return backend
  } catch (error) {
    await backend.close()
    throw error
  }
}

/** Refuses where there is no store yet. */
export function refuseAbsent(path: string): void {
  if (isAbsent(settlePath(path))) throw new CoreError('CC_ERR_NO_STORE', { location: path })
}

async function prepare(connection: SqliteConnection, path: string, { nowMs, url, epochAbove }: OpenOptions) {
  const tx = new SqliteTransaction(connection)
  await beginImmediate(connection, path)
  try {
    const applied = await migrate(tx, (sql) => connection.script(sql), { location: path, nowMs })
    await insertMeta(tx, nowMs)
    const epoch = await takeLease(tx, { url, nowMs, epochAbove })
    connection.execute('commit')
    return { applied, epoch }
  } catch (error) {
    if (connection.isTransaction) connection.execute('rollback')
    throw error
  }
}

/** Sets what a commit needs to survive a power failure, and reads back that it holds. */
function makeDurable(connection: SqliteConnection, path: string): void {
  const expect = (setting: string, asked: string, expected: string | number) => {
    connection.script(`pragma ${setting} = ${asked}`)
    const value = connection.value(`pragma ${setting}`)
    if (value !== expected) {
      throw new CoreError('CC_ERR_DURABILITY', { location: path, setting, value: String(value) })
    }
  }
  expect('journal_mode', 'wal', 'wal')
  expect('synchronous', 'full', 2)
  // Setting it writes, even to what it is; a file that will be refused further on must stay as it is.
  if (connection.value('pragma application_id') !== applicationId) {
    connection.script(`pragma application_id = ${applicationId}`)
  }
  connection.script(`pragma wal_autocheckpoint = ${checkpointPages}`)
  connection.script(`pragma journal_size_limit = ${keptLogBytes}`)
  connection.script(`pragma cache_size = ${-cacheKibibytes}`)
  // What was erased must not be found in the pages that it has left.
  connection.script('pragma secure_delete = on')
}

/** Pages of the log at which it is moved into the file: 16 MiB. Fewer pages cost throughput, more cost a longer pause. */
const checkpointPages = 4000
/** Pages that the writer keeps at hand. */
const cacheKibibytes = 32_768
/** What the log may keep of the disk once it has been moved into the file. */
const keptLogBytes = 67_108_864

/** The check that this process still holds the store: the epoch is read again whenever another connection has written. */
function storeFence(epoch: number, path: string): (connection: SqliteConnection) => void {
  let checkedVersion: SqlValue = null
  return (connection) => {
    const version = connection.value('pragma data_version')
    if (version === checkedVersion) return
    if (connection.value('select epoch from meta where id = 1') !== epoch) {
      throw new CoreError('CC_ERR_STORE_LOST', { location: path })
    }
    checkedVersion = version
  }
}
