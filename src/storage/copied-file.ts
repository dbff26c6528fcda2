import { closeSync, fsyncSync, openSync, rmSync, statSync } from 'node:fs'
import { CoreError } from '../errors.ts'
import { codeOf, fileTrouble } from '../file-errors.ts'
import { lockPath } from './lock.ts'

/**
 * A copy of a store as a file that nobody else knows yet, which is why it may be opened with `fs` here: closing a file
 * that way drops every lock that SQLite has on it in this process.
 */

/** Makes the empty file that a copy for `file` will fill: no more readable than the original, and ours to write. */
export function reserveCopy(path: string, about: { readonly file: string; readonly original: string }): void {
  try {
    closeSync(openSync(path, 'wx', (statSync(about.original).mode & 0o777) | 0o600))
  } catch (cause) {
    if (codeOf(cause) === 'EEXIST') throw new CoreError('CC_ERR_FILE_EXISTS', { file: path }, { cause })
    const why = fileTrouble(cause, 'there is no such folder')
    throw new CoreError('CC_ERR_FILE', { file: about.file, verb: 'written', why }, { cause })
  }
}

/** Removes an unfinished copy with everything that may stand beside it. */
export function removeCopy(path: string): void {
  for (const file of [path, lockPath(path)]) {
    for (const name of [file, ...companionsOf(file)]) rmSync(name, { force: true })
  }
}

/** What SQLite would take for a part of the file at this path. */
export function companionsOf(path: string): readonly string[] {
  return ['-wal', '-shm', '-journal'].map((suffix) => path + suffix)
}

/** Waits until the disk has the copy. */
export function syncCopy(path: string): void {
  const handle = openSync(path, 'r+')
  try {
    fsyncSync(handle)
  } finally {
    closeSync(handle)
  }
}

/** Waits until the disk has the names in a folder. */
export function syncFolder(path: string): void {
  const handle = openSync(path, 'r')
  try {
    fsyncSync(handle)
  } catch (error) {
    // Some network file systems know no such thing, and then there is nothing else to ask of them.
    if (codeOf(error) !== 'EINVAL') throw error
  } finally {
    closeSync(handle)
  }
}
