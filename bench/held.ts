import { join } from 'node:path'
import { noop, openBench, submitMany, temporaryFolder } from './store.ts'

/** Submits 10,000 cases that a person must decide, lets them all be held, and tells what the process then takes. */
const cases = 10_000
const startBytes = process.memoryUsage.rss()
using folder = temporaryFolder()
const core = await openBench(join(folder.path, 'held.db'), 1, {
  primitives: [noop()],
  packs: [
    {
      name: 'held',
      workflows: [{ name: 'held', steps: [{ name: 'only', primitive: 'noop' }] }],
      domains: [{ domain_name: 'bench', governance: 'gate' }],
    },
  ],
})
const { promise, resolve } = Promise.withResolvers<void>()
let held = 0
core.onProgress(({ event }) => {
  if (event === 'case.held' && ++held === cases) resolve()
})
core.start()
await submitMany(core, 'held', cases)
await promise
await new Promise((after) => setTimeout(after, 1000))
console.log(JSON.stringify({ held, residentBytes: process.memoryUsage.rss(), startBytes }))
await core.close()
