import { openCore } from '../src/index.ts'
import { noop, pause } from './store.ts'

/** A process with workers alone: `worker.ts DSN SCHEMA CONCURRENCY`. Says a word when it works, and leaves with its parent. */
const [dsn, schema, concurrency] = process.argv.slice(2)
const core = await openCore({
  postgres: { dsn: dsn!, schema: schema! },
  primitives: [noop(), pause],
  workerConcurrency: Number(concurrency),
})
core.start()
process.on('disconnect', () => void core.drain().then(() => core.close()))
process.send!('works')
