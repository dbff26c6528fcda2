import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { countEvents, readInstanceIdAt } from '../storage/verification.ts'
import type { InstanceRange } from '../storage/verification.ts'
import type { Backend } from '../storage/backend.ts'
import type { RangeOptions, VerifyPart } from './verification.ts'

/** Below this many events starting a thread costs more than it gains. */
const eventsPerThread = 20_000
const maxThreads = 4

/** What a thread is told at its start. */
export interface ThreadTask {
  readonly path: string
  readonly range: InstanceRange
  readonly options: Omit<RangeOptions, 'onProgress'>
}

/** What a thread says: how far it is, and at last what it found. */
export type ThreadMessage =
  { readonly done: { readonly instances: number; readonly events: number } } | { readonly part: VerifyPart }

/** Ranges of instances that cover all ids, whether or not there is an instance by that id: one for each thread. */
export async function shareOut(backend: Backend): Promise<readonly InstanceRange[]> {
  const { instances, events } = await backend.read(countEvents)
  const threads = Math.min(maxThreads, availableParallelism(), Math.floor(events / eventsPerThread), instances)
  if (backend.fileForReaders === undefined || threads < 2) return [{ after: undefined, until: undefined }]
  const ends: string[] = []
  for (let thread = 1; thread < threads; thread++) {
    const place = Math.floor((instances * thread) / threads)
    const id = await readInstanceIdAt(backend, place)
    if (id !== undefined && id !== ends.at(-1)) ends.push(id)
  }
  return [...ends, undefined].map((until, index) => ({ after: ends[index - 1], until }))
}

/** Checks one range on a thread and a connection of its own. */
export function verifyInThread(path: string, range: InstanceRange, options: RangeOptions): Promise<VerifyPart> {
  const { onProgress, ...plain } = options
  const task: ThreadTask = { path, range, options: plain }
  // The same file from a checkout, where Node reads TypeScript, and from the built package.
  const file = import.meta.url.endsWith('.ts') ? './verification-thread.ts' : './verification-thread.js'
  return new Promise((resolve, reject) => {
    const worker = new Worker(new URL(file, import.meta.url), { workerData: task })
    worker.on('message', (message: ThreadMessage) => {
      if ('part' in message) resolve(message.part)
      else onProgress?.(message.done)
    })
    worker.on('error', reject)
    worker.on('exit', (code) => reject(new Error(`a verifying thread ended with ${code}`)))
  })
}
