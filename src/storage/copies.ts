import { statSync } from 'node:fs'
import { Worker } from 'node:worker_threads'
import { CoreError, isCoreError } from '../errors.ts'
import type { Meta } from './meta.ts'
import { refuseOtherSchema } from './migrations.ts'
import { SqliteTransaction } from './sqlite.ts'
import { isNotADatabase, sqliteBusy, sqliteCode, sqliteCorrupt, sqliteFull } from './sqlite-connection.ts'
import { whenFree } from './sqlite-writer.ts'
import { openReadOnly, refuseForeignFile } from './store-file.ts'

export interface CopyProgress {
  readonly bytes: number
  /** What the copy will take, as far as can be said beforehand: it is packed anew, without the pages that are free. */
  readonly totalBytes: number
}

export interface CopyOptions {
  /** Called at the beginning, and then once a second. */
  readonly onProgress?: ((done: CopyProgress) => void) | undefined
  /** An abort takes effect when the statement under way has ended: nothing in Node interrupts SQLite within one. */
  readonly signal?: AbortSignal | undefined
}

/** What a copying thread is told at its start. */
export interface CopyTask {
  readonly from: string
  /** An empty file. */
  readonly to: string
  /** Whether every page and index of the source is looked at before anything is copied. */
  readonly isSourceChecked: boolean
}

/** What a copy holds. */
export interface StoreFacts extends Meta {
  readonly cases: number
}

/** What a copying thread says: how much there is to copy, and at last what the copy holds. */
export type CopyMessage = { readonly totalBytes: number } | { readonly copied: StoreFacts }

/** A backup that was written. */
export interface BackupReport extends StoreFacts {
  readonly file: string
  readonly bytes: number
  readonly elapsedMs: number
}

/** A store that was restored. */
export interface RestoreReport extends StoreFacts {
  readonly location: string
  /** The file that is now the store that stood there before. */
  readonly replaced: string | undefined
}

/** How long a copying thread waits for a lock that somebody has on the source; it keeps nobody else waiting. */
export const copyPatienceMs = 10_000

/**
 * Refuses what cannot be copied as a store: another program's file, a damaged one, one of a newer version. An older one
 * can, best before it is migrated.
 */
export async function refuseUncopyable(path: string): Promise<void> {
  try {
    await whenFree(path, () => refuseForeignFile(path))
    const connection = openReadOnly(path)
    try {
      const reader = new SqliteTransaction(connection)
      await refuseOtherSchema(reader, path).catch((error: unknown) => {
        if (!isCoreError(error, 'CC_ERR_DATABASE_OLDER')) throw error
        if (error.facts.found === 0) throw notAStore(path, 'there is nothing in it')
      })
    } finally {
      connection.close()
    }
  } catch (error) {
    throw isDamage(error) ? notAStore(path, `it is damaged: ${error.message}`, error) : error
  }
}

/**
 * Copies a store as it stands at one moment, beside whoever writes it, and looks the copy over. SQLite does that in a
 * single statement, so it has a thread of its own; nothing of it runs any more when this returns or throws.
 */
export async function copyStore(task: CopyTask, { onProgress, signal }: CopyOptions): Promise<StoreFacts> {
  refuseIfAborted(signal)
  // The same file from a checkout, where Node reads TypeScript, and from the built package.
  const file = import.meta.url.endsWith('.ts') ? './backup-thread.ts' : './backup-thread.js'
  const worker = new Worker(new URL(file, import.meta.url), { workerData: task })
  const stop = () => void worker.terminate()
  signal?.addEventListener('abort', stop, { once: true })
  try {
    return await follow(worker, ({ totalBytes }) => onProgress?.({ bytes: sizeOf(task.to), totalBytes }))
  } catch (error) {
    refuseIfAborted(signal)
    throw refusalOf(error, task)
  } finally {
    signal?.removeEventListener('abort', stop)
  }
}

const progressEveryMs = 1000

/** Settles when the thread has ended, and its connections with it. */
function follow(worker: Worker, onTick: (known: { readonly totalBytes: number }) => void): Promise<StoreFacts> {
  let copied: StoreFacts | undefined
  let failure: unknown
  let ticking: NodeJS.Timeout | undefined
  worker.on('message', (message: CopyMessage) => {
    if ('copied' in message) return void ({ copied } = message)
    onTick(message)
    ticking = setInterval(onTick, progressEveryMs, message)
  })
  worker.on('error', (error) => (failure = error))
  return new Promise((resolve, reject) => {
    worker.on('exit', (code) => {
      clearInterval(ticking)
      if (copied && failure === undefined) resolve(copied)
      else reject((failure as Error | undefined) ?? new Error(`the copying thread ended with ${code}`))
    })
  })
}

export function refuseIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new CoreError('CC_ERR_INTERRUPTED')
}

/** Of a file that may not be there yet. */
export function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0
}

function isDamage(error: unknown): error is Error {
  return sqliteCode(error) === sqliteCorrupt || isNotADatabase(error)
}

/** What SQLite said while it copied, as a refusal where it is one. */
function refusalOf(error: unknown, { from, to }: CopyTask): unknown {
  if (isDamage(error)) return notAStore(from, `it is damaged: ${error.message}`, error)
  switch (sqliteCode(error)) {
    case sqliteFull:
      return new CoreError('CC_ERR_FILE', { file: to, verb: 'written', why: 'the disk is full' }, { cause: error })
    case sqliteBusy:
      return new CoreError('CC_ERR_STORE_BUSY', { location: from, waitedMs: copyPatienceMs }, { cause: error })
    default:
      return error
  }
}

function notAStore(location: string, why: string, cause?: unknown): CoreError {
  return new CoreError('CC_ERR_NOT_A_STORE', { location, why }, { cause })
}
