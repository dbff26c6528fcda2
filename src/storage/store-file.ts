import { existsSync, lstatSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { CoreError } from '../errors.ts'
import { applicationId } from './dialect.ts'
import { describeLease, type Holder, holdLock, type StoreLock } from './lock.ts'
import { cannotOpen, isNotADatabase, SqliteConnection } from './sqlite-connection.ts'

/** Two names of one file must meet at one lock, so links are followed. */
export function settlePath(path: string, links = 0): string {
  const absolute = resolve(path)
  if (existsSync(absolute)) return realpathSync(absolute)
  const folder = dirname(absolute)
  if (!existsSync(folder) || !statSync(folder).isDirectory()) return absolute
  // So are those to a file that is yet to be made.
  const isLink = lstatSync(absolute, { throwIfNoEntry: false })?.isSymbolicLink()
  if (isLink && links < maxLinks) return settlePath(resolve(folder, readlinkSync(absolute)), links + 1)
  return join(realpathSync(folder), basename(absolute))
}

/** As many links to links as the operating system follows; more are a circle. */
const maxLinks = 40

/** A file of no bytes is what a process leaves that was killed while it made its store. */
export function isAbsent(path: string): boolean {
  return !existsSync(path) || (statSync(path).isFile() && statSync(path).size === 0 && !existsSync(`${path}-wal`))
}

/** Refuses what is no SQLite database, or another program's. */
export function refuseForeignFile(path: string): void {
  const refuse = (why: string, cause?: unknown): never => {
    throw new CoreError('CC_ERR_NOT_A_STORE', { location: path, why }, { cause })
  }
  const stats = statSync(path)
  if (!stats.isFile()) refuse('it is not a file')
  // SQLite takes a file of one byte for an empty one, and would write over it.
  if (stats.size > 0 && stats.size < headerBytes) refuse('it is no SQLite database')
  let connection: SqliteConnection | undefined
  try {
    connection = openReadOnly(path)
    const mark = connection.value('pragma application_id')
    if (mark === applicationId) return
    if (mark !== 0 || connection.value('select count(*) from sqlite_master') !== 0) refuse('another program made it')
  } catch (error) {
    if (isNotADatabase(error)) refuse('it is no SQLite database', error)
    if (cannotOpen(error))
      throw new CoreError('CC_ERR_NOT_PERMITTED', { location: path, what: 'read' }, { cause: error })
    throw error
  } finally {
    connection?.close()
  }
}

/** Whether a store of this program is there that has not been moved; of a file that cannot be read nobody can say so. */
export function isStore(path: string): boolean {
  const settled = settlePath(path)
  if (isAbsent(settled)) return false
  try {
    refuseForeignFile(settled)
    return true
  } catch {
    return false
  }
}

/** What every SQLite file begins with. */
const headerBytes = 100

/** A file on a medium that cannot be written has no log to follow, and is read as it stands. */
export function openReadOnly(path: string): SqliteConnection {
  const connection = new SqliteConnection(path, { readOnly: true })
  try {
    connection.value('pragma schema_version')
    return connection
  } catch (error) {
    connection.close()
    if (!cannotOpen(error) || hasLog(path)) throw error
    return new SqliteConnection(`${pathToFileURL(path).href}?immutable=1`, { readOnly: true })
  }
}

/** An empty log is one that a reader has left behind. */
function hasLog(path: string): boolean {
  return (statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0) > 0
}

/** Takes the lock of the store at a settled path; the refusal names who has it. */
export function lockStore(path: string): StoreLock {
  return holdLock(path, () => describeHolder(path))
}

function describeHolder(path: string): Holder {
  let connection: SqliteConnection | undefined
  try {
    connection = new SqliteConnection(path, { readOnly: true })
    return describeLease(connection)
  } catch {
    return { words: 'another program', url: undefined }
  } finally {
    connection?.close()
  }
}
