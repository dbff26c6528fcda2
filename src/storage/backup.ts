import { existsSync, renameSync } from 'node:fs'
import { dirname } from 'node:path'
import { CoreError } from '../errors.ts'
import { companionsOf, removeCopy, reserveCopy, syncCopy, syncFolder } from './copied-file.ts'
import { type BackupReport, type CopyOptions, copyStore, refuseIfAborted, refuseUncopyable, sizeOf } from './copies.ts'
import { isAbsent, settlePath } from './store-file.ts'

/**
 * Writes a copy of a store to a new file, beside whoever works on the store: no lock is taken and nothing is changed. The
 * copy is what was committed at one moment, one plain file. Under its name it is whole or not there: it grows as
 * `FILE.partial`, and a process that is killed leaves no more than that.
 */
export async function backupStore(path: string, to: string, options: CopyOptions = {}): Promise<BackupReport> {
  const startedAt = performance.now()
  const from = settlePath(path)
  if (isAbsent(from)) throw new CoreError('CC_ERR_NO_STORE', { location: path })
  await refuseUncopyable(from)
  const file = settlePath(to)
  refuseTaken(file)
  const partial = `${file}.partial`
  reserveCopy(partial, { file, original: from })
  try {
    const facts = await copyStore({ from, to: partial, isSourceChecked: false }, options)
    syncCopy(partial)
    refuseIfAborted(options.signal)
    refuseTaken(file)
    const bytes = sizeOf(partial)
    renameSync(partial, file)
    syncFolder(dirname(file))
    return { ...facts, file, bytes, elapsedMs: Math.round(performance.now() - startedAt) }
  } finally {
    removeCopy(partial)
  }
}

/** Nothing is written over, and a log that was left behind must not become a part of the copy. */
function refuseTaken(file: string): void {
  const taken = [file, ...companionsOf(file)].find((name) => existsSync(name))
  if (taken !== undefined) throw new CoreError('CC_ERR_FILE_EXISTS', { file: taken })
}
