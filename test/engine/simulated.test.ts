import assert from 'node:assert/strict'
import { simulatedNotice } from '../../src/domain/export.ts'
import { onEachBackend, until } from '../storage/fixture.ts'
import { answering, applying, draftStep, type EngineFixture, governStep, openEngine, writing } from './fixture.ts'

const answers = { decide: applying('gate'), draft: writing('Dear Sir') }
const scripted = answering(answers, { simulated: true })
const real = answering(answers)
const steps = [draftStep, governStep]

async function flagOf({ store }: EngineFixture): Promise<number | null> {
  return (await store.sql<{ simulated: number | null }>('select simulated from meta'))[0]!.simulated
}

onEachBackend('the first case settles whether a store is a simulation, and nothing before it', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: scripted } })
  assert.equal(engine.core.simulated, undefined)
  assert.equal(await flagOf(engine), null)

  await engine.submit()

  assert.equal(engine.core.simulated, true)
  assert.equal(await flagOf(engine), 1)
})

onEachBackend('a case without any model makes a real store', async (open) => {
  await using engine = await openEngine(open)

  await engine.submit()

  assert.equal(engine.core.simulated, false)
  assert.equal(await flagOf(engine), 0)
})

onEachBackend('every event, every view and every export of a simulation says so', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: scripted } })
  const { instanceId, openTasks } = await engine.run()
  await engine.core.decide({ taskId: openTasks[0]!, decision: 'approve', reason: 'fine', actor: 'ann' })

  const envelopes = (await engine.core.getAudit(instanceId)).map(({ envelope }) => JSON.parse(envelope) as object)
  assert.ok(envelopes.length >= 6)
  for (const envelope of envelopes) assert.equal((envelope as { simulated?: unknown }).simulated, true)
  assert.equal((await engine.core.getCase(instanceId)).simulated, true)
  const file = await engine.core.exportCase(instanceId)
  assert.equal(file.simulated, true)
  assert.equal(file.notice, simulatedNotice)
  assert.equal((await engine.core.verify()).simulated, true)
  await engine.verify()
})

onEachBackend('nothing of a real store is marked as simulated', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: real } })
  const { instanceId, simulated } = await engine.run()

  assert.equal(simulated, false)
  for (const { envelope } of await engine.core.getAudit(instanceId)) assert.doesNotMatch(envelope, /simulated/)
  const file = await engine.core.exportCase(instanceId)
  assert.equal(file.simulated, false)
  assert.equal(file.notice, undefined)
})

onEachBackend('a simulation refuses a real model, when it is opened and when it is submitted to', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: scripted } })
  await using early = await openEngineWith(engine, real)
  await engine.run()
  const before = await engine.store.rowCounts()
  const refusal = { code: 'CC_ERR_SIMULATED_STORE', facts: { location: engine.core.location, model: 'test/real' } }

  // Opened while nothing was settled yet, it meets the refusal with its first case.
  await assert.rejects(early.submit(), refusal)
  await assert.rejects(openEngineWith(engine, real), refusal)

  assert.deepEqual(await engine.store.rowCounts(), before)
  assert.equal(await flagOf(engine), 1)
})

onEachBackend('a real store refuses a scripted model, when it is opened and when it is submitted to', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: real } })
  await using early = await openEngineWith(engine, scripted)
  await engine.run()
  const before = await engine.store.rowCounts()
  const refusal = { code: 'CC_ERR_REAL_STORE', facts: { location: engine.core.location, model: 'scripted:test' } }

  await assert.rejects(early.submit(), refusal)
  await assert.rejects(openEngineWith(engine, scripted), refusal)

  assert.deepEqual(await engine.store.rowCounts(), before)
  assert.equal(await flagOf(engine), 0)
})

for (const [what, own, other] of [
  ['a simulation', scripted, real],
  ['a real store', real, scripted],
] as const) {
  onEachBackend(`a case of ${what} is left alone by whoever was opened before with another model`, async (open) => {
    await using engine = await openEngine(open, { steps, core: { model: own }, isStarted: false })
    await using early = await openEngineWith(engine, other, true)
    const { instanceId } = await engine.submit()
    early.core.onProgress(() => assert.fail('a step was recorded'))
    await until(async () => {
      await early.clock.advance(5_000)
      return early.complaints.some((complaint) => complaint.includes('cases of this definition wait'))
    })

    engine.core.start()

    assert.equal((await engine.core.waitFor(instanceId)).status, 'suspended')
    await engine.verify()
  })
}

/** A second engine on the store of the first, with another model. */
async function openEngineWith({ store }: EngineFixture, model: typeof real, isStarted = false): Promise<EngineFixture> {
  return await openEngine(() => Promise.resolve(store), { steps, core: { model }, isStarted })
}

onEachBackend('a case of a simulation says so when it goes on where there is no model', async (open) => {
  await using engine = await openEngine(open, { steps: [governStep], core: { model: scripted } })
  await engine.run()
  await using bare = await engine.crash({ steps: [{ name: 'first', primitive: 'play' }] })
  assert.equal(bare.core.simulated, true)

  const { instanceId } = await bare.run()

  for (const { envelope } of await bare.core.getAudit(instanceId)) assert.match(envelope, /"simulated":true/)
  await bare.verify()
})

onEachBackend('a refused submission settles nothing', async (open) => {
  await using engine = await openEngine(open, { steps, core: { model: scripted } })

  await assert.rejects(engine.submit({ domain: 'nothing' }))

  assert.equal(await flagOf(engine), null)
  assert.equal(engine.core.simulated, undefined)
})
