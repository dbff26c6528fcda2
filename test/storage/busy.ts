/** A program that submits cases to the store at the path it is given and runs them, until it is killed. */
import { openCore } from '../../src/engine/open.ts'
import { busyCase, busyConfig } from './busy-store.ts'

const [path, cases] = process.argv.slice(2)
const core = await openCore({ ...busyConfig, path: path!, workerConcurrency: 8 })
core.start()
let ended = 0
await Promise.all(Array.from({ length: 12 }, submitOn))

async function submitOn(): Promise<never> {
  for (;;) {
    const { instanceId } = await core.submit({ ...busyCase, input: { amount: 7 } })
    await core.waitFor(instanceId)
    if (++ended === Number(cases)) process.stdout.write('busy\n')
  }
}
