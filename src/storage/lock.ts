import { hostname } from 'node:os'
import { DatabaseSync } from 'node:sqlite'
import { CoreError } from '../errors.ts'
import { type SqliteConnection, sqliteBusy, sqliteCode } from './sqlite-connection.ts'

/** The right to write a SQLite store. The operating system takes it back when its process dies, however it dies. */
export interface StoreLock {
  release(): void
}

/** Who holds a store, in words, and where they can be reached. */
export interface Holder {
  readonly words: string
  readonly url: string | undefined
}

/**
 * Takes the lock of a store: a small database beside the file, held under BEGIN EXCLUSIVE for as long as the store is
 * open. The lock stands apart from the file so that readers are never kept waiting by it. Refuses with CC_ERR_LOCKED.
 */
export function holdLock(path: string, describeHolder: () => Holder): StoreLock {
  const database = new DatabaseSync(lockPath(path), { timeout: 0 })
  try {
    database.exec('begin exclusive')
  } catch (error) {
    database.close()
    if (sqliteCode(error) !== sqliteBusy) throw error
    const { words: holder, url } = describeHolder()
    throw new CoreError('CC_ERR_LOCKED', { location: path, holder, url }, { cause: error })
  }
  return { release: () => database.close() }
}

export function lockPath(path: string): string {
  return `${path}-lock`
}

/** Who holds a store, as its lease says. Read without a lock: it may be the word of a process that has just died. */
export function describeLease(connection: SqliteConnection): Holder {
  const [lease] = connection.query<{ pid: number | null; host: string | null; url: string | null; sinceMs: number }>(
    `select lease_pid as "pid", lease_host as "host", lease_url as "url", lease_since_ms as "sinceMs" from meta`,
  )
  if (!lease || lease.pid === null) return { words: 'another program', url: undefined }
  const where = lease.host === hostname() ? '' : ` on ${lease.host}`
  const since = new Date(lease.sinceMs).toISOString()
  const words = `process ${lease.pid}${where}, since ${since}${lease.url === null ? '' : `, at ${lease.url}`}`
  return { words, url: lease.url ?? undefined }
}
