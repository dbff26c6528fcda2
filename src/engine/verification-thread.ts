import { parentPort, workerData } from 'node:worker_threads'
import { openStoreForReading } from '../storage/open.ts'
import type { ThreadMessage, ThreadTask } from './verification-threads.ts'
import { verifyRange } from './verification.ts'

/** The thread that checks one range of a store: see `verifyInThread`. */
const { path, range, options } = workerData as ThreadTask
const say = (message: ThreadMessage) => parentPort!.postMessage(message)
const backend = await openStoreForReading(path)
try {
  say({ part: await verifyRange(backend, range, { ...options, onProgress: (done) => say({ done }) }) })
} finally {
  await backend.close()
}
