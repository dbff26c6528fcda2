/** A program that embeds the engine on PostgreSQL and has a type of step that no other has. It says which case it takes. */
import { once } from 'node:events'
import { createBackend, openCore, type Primitive } from '../../src/index.ts'

const stamp: Primitive = {
  name: 'stamp',
  needsModel: false,
  requiredParams: [],
  defaultParams: {},
  run: () => Promise.resolve({ output: { stamped: true } }),
}

const pack = {
  name: 'own',
  workflows: [{ name: 'stamping', steps: [{ name: 'stamp', primitive: 'stamp' }] }],
  domains: [{ domain_name: 'office', governance: 'auto' }],
}

const core = await openCore({ backend: await createBackend(), packs: [pack], primitives: [stamp] })
core.start()
console.log(core.workerId)
process.stdin.setEncoding('utf8').on('data', (words) => void submit(String(words).trim()))
await once(process, 'SIGTERM')
await core.close()
process.stdin.destroy()

/** A line on standard input is a case; its id is answered. */
async function submit(number: string): Promise<void> {
  const { instanceId } = await core.submit({ workflow: 'stamping', domain: 'office', input: { number }, actor: 'own' })
  console.log(instanceId)
}
