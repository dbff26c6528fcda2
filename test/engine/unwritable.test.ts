import assert from 'node:assert/strict'
import { onEachBackend } from '../storage/fixture.ts'
import { applying, openEngine } from './fixture.ts'

const unreadable = () => ({
  done: true,
  get bad(): never {
    throw new Error('nobody may look')
  },
})

for (const [where, transitions] of [
  ['when it is written', []],
  ['when a condition looks at it', [{ when: 'output.bad == 1', goto: '__end__' }]],
] as const) {
  onEachBackend(`an output that throws ${where} fails its step, which runs once`, async (open) => {
    await using engine = await openEngine(open, {
      steps: [{ name: 'first', primitive: 'play', transitions }],
      plays: { first: unreadable },
    })

    const { status, failure } = await engine.run()

    assert.equal(status, 'failed')
    assert.match(failure!.message, /cannot be stored.*nobody may look/)
    assert.deepEqual(engine.ran(), ['first#1.1'])
    await engine.verify()
  })
}

onEachBackend('a case whose ending is too large for an event fails, and nothing of it runs twice', async (open) => {
  const steps = Array.from({ length: 420 }, (_, index) => ({
    name: `govern_${index}_`.padEnd(100, 'x'),
    primitive: 'govern',
    params: { workflow_state: 'so', governance_context: 'so' },
  }))
  await using engine = await openEngine(open, {
    steps,
    answers: Object.fromEntries(steps.map(({ name }) => [name, applying('auto')])),
  })

  const { status, failure, path } = await engine.run()

  assert.equal(status, 'failed')
  assert.match(failure!.message, /cannot be stored.*would take \d+ bytes/)
  assert.deepEqual(
    path,
    steps.map(({ name }) => name),
  )
  await engine.verify()
})

onEachBackend('whoever waits for a case that was damaged hears so', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const waiting = engine.core.waitFor(instanceId)
  const refused = assert.rejects(waiting, { code: 'CC_ERR_CASE_STUCK', facts: { instanceId } })
  await engine.store.sql('update work set run = 7')

  engine.core.start()

  await refused
  assert.deepEqual(engine.ran(), [])
  await assert.rejects(engine.core.waitFor(instanceId), { code: 'CC_ERR_CASE_STUCK' })
})
