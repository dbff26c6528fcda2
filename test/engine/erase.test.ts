import assert from 'node:assert/strict'
import type { JsonObject } from '../../src/domain/json.ts'
import { onEachBackend } from '../storage/fixture.ts'
import { draftStep, type EngineFixture, openEngine, writing } from './fixture.ts'

const why = { actor: 'olga', reason: 'asked for by the claimant' }

interface StoredPayload {
  readonly id: string
  readonly kind: string
  readonly text: string | null
  readonly salt: string | null
  readonly erased: number | null
}

async function payloadsOf({ store }: EngineFixture, instanceId: string): Promise<StoredPayload[]> {
  return await store.sql<StoredPayload>(
    `select payload_id as id, kind, text, salt, erased_at_ms as erased from payloads
      where instance_id = $1 order by kind, payload_id`,
    instanceId,
  )
}

async function idOf(engine: EngineFixture, instanceId: string, kind: string): Promise<string> {
  return (await payloadsOf(engine, instanceId)).find((payload) => payload.kind === kind)!.id
}

const secret = 'the claimant lives at 7 Elm Street'

onEachBackend('erased content is gone from the rows, and the record still verifies', async (open) => {
  await using engine = await openEngine(open, { plays: { first: () => ({ letter: secret }) } })
  const { instanceId } = await engine.run({ input: { statement: secret } })
  await engine.clock.advance(1_000)
  const before = await payloadsOf(engine, instanceId)
  const salts = before.filter(({ kind }) => kind !== 'outcome').map(({ salt }) => salt!)

  for (const kind of ['input', 'output']) {
    await engine.core.erase({ instanceId, payloadId: await idOf(engine, instanceId, kind), ...why })
  }

  const after = await payloadsOf(engine, instanceId)
  assert.deepEqual(
    after.map(({ kind, text, salt, erased }) => [kind, text === null, salt === null, erased]),
    [
      ['input', true, true, engine.clock.nowMs()],
      ['outcome', false, false, null],
      ['output', true, true, engine.clock.nowMs()],
      ['reason', false, false, null],
      ['reason', false, false, null],
    ],
  )
  const rows = JSON.stringify(await everyRow(engine))
  for (const gone of [secret, ...salts]) assert.ok(!rows.includes(gone))
  await engine.verify()
  const { erasedPayloads } = await engine.core.verify()
  assert.equal(erasedPayloads, 2)
})

async function everyRow({ store }: EngineFixture): Promise<unknown[]> {
  return await Promise.all(Object.keys(await store.rowCounts()).map((table) => store.sql(`select * from ${table}`)))
}

onEachBackend('the event says what was erased, when and by whom, and keeps why as content', async (open) => {
  await using engine = await openEngine(open)
  const { instanceId } = await engine.run()
  const payloadId = await idOf(engine, instanceId, 'input')

  await engine.core.erase({ instanceId, payloadId, ...why })

  const [erased] = await engine.envelopes(instanceId, 'payload.erased')
  assert.deepEqual([erased!.actor, erased!.facts, erased!.payload!.kind], ['olga', { payload: payloadId }, 'reason'])
  const reason = (await payloadsOf(engine, instanceId)).find(({ id }) => id === erased!.payload!.id)
  assert.deepEqual(JSON.parse(reason!.text!), { reason: why.reason })
})

onEachBackend('an export and every view show erased content as erased', async (open) => {
  await using engine = await openEngine(open, { steps: [draftStep], answers: { draft: writing('Dear Sir') } })
  const { instanceId } = await engine.run()
  for (const kind of ['input', 'output', 'outcome']) {
    await engine.core.erase({ instanceId, payloadId: await idOf(engine, instanceId, kind), ...why })
  }

  const { payloads } = (await engine.core.exportCase(instanceId)) as unknown as { payloads: JsonObject[] }
  const erased = payloads.filter((payload) => payload.erased)
  assert.equal(erased.length, 3)
  for (const { text, salt, erased_at_ms } of erased) {
    assert.deepEqual([text, salt, erased_at_ms], [null, null, engine.clock.nowMs()])
  }
  const view = await engine.core.getCase(instanceId)
  assert.deepEqual([view.status, view.outcome, view.proposed], ['completed', undefined, undefined])
  assert.equal((await engine.core.getSteps(instanceId))[0]!.output, undefined)
})

onEachBackend('content of a case that is not over is kept', async (open) => {
  await using held = await openEngine(open, { governance: 'gate' })
  await using waiting = await openEngine(open, { isStarted: false })
  await using checked = await openEngine(open, {
    governance: 'spot_check',
    config: { governance_tiers: { spot_check: { sample_rate: 1 } } },
  })
  const cases = [
    [held, (await held.run()).instanceId],
    [waiting, (await waiting.submit()).instanceId],
    [checked, (await checked.run()).instanceId],
  ] as const

  for (const [engine, instanceId] of cases) {
    const payloadId = await idOf(engine, instanceId, 'input')
    const before = await engine.store.rowCounts()
    await assert.rejects(engine.core.erase({ instanceId, payloadId, ...why }), { code: 'CC_ERR_CASE_LIVE' })
    assert.deepEqual(await engine.store.rowCounts(), before)
  }
})

onEachBackend('erasing takes a case, a payload of that case, a name and a reason', async (open) => {
  await using engine = await openEngine(open)
  const [first, second] = [await engine.run(), await engine.run()]
  const payloadId = await idOf(engine, first.instanceId, 'input')
  const right = { instanceId: first.instanceId, payloadId, ...why }
  const before = await engine.store.rowCounts()

  await assert.rejects(engine.core.erase({ ...right, instanceId: 'nothing' }), { code: 'CC_ERR_UNKNOWN_CASE' })
  await assert.rejects(engine.core.erase({ ...right, instanceId: second.instanceId }), {
    code: 'CC_ERR_UNKNOWN_PAYLOAD',
  })
  await assert.rejects(engine.core.erase({ ...right, payloadId: 'nothing' }), { code: 'CC_ERR_UNKNOWN_PAYLOAD' })
  await assert.rejects(engine.core.erase({ ...right, reason: '' }), { code: 'CC_ERR_REASON' })
  await assert.rejects(engine.core.erase({ ...right, actor: '' }), { code: 'CC_ERR_ACTOR' })

  assert.deepEqual(await engine.store.rowCounts(), before)
})

onEachBackend('erasing twice is erasing once', async (open) => {
  await using engine = await openEngine(open)
  const { instanceId } = await engine.run()
  const payloadId = await idOf(engine, instanceId, 'input')
  await engine.core.erase({ instanceId, payloadId, ...why })
  await engine.clock.advance(1_000)

  await engine.core.erase({ instanceId, payloadId, actor: 'ann', reason: 'again' })

  assert.equal((await engine.envelopes(instanceId, 'payload.erased')).length, 1)
  await engine.verify()
})

for (const kind of ['input', 'output']) {
  onEachBackend(`a failed case whose ${kind} was erased cannot be retried`, async (open) => {
    await using engine = await openEngine(open, {
      steps: ['first', 'second'].map((name) => ({ name, primitive: 'play', retry: { max_attempts: 1 } })),
      plays: { second: () => Promise.reject(new Error('broken')) },
    })
    const { instanceId } = await engine.run()
    await engine.core.erase({ instanceId, payloadId: await idOf(engine, instanceId, kind), ...why })
    await engine.clock.advance(1_000)
    const before = await engine.store.rowCounts()

    await assert.rejects(engine.core.retry({ instanceId, actor: 'olga' }), {
      code: 'CC_ERR_ERASED',
      facts: { instanceId },
    })

    assert.deepEqual(await engine.store.rowCounts(), before)
    assert.equal((await engine.core.getCase(instanceId)).status, 'failed')
  })
}

onEachBackend('what a failed step said may be erased, and the case can still be retried', async (open) => {
  let isBroken = true
  await using engine = await openEngine(open, {
    steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 1 } }],
    plays: {
      first: () => {
        if (isBroken) throw new Error(secret)
        return {}
      },
    },
  })
  const { instanceId } = await engine.run()
  await engine.core.erase({ instanceId, payloadId: await idOf(engine, instanceId, 'error'), ...why })
  await engine.clock.advance(1_000)
  isBroken = false
  assert.equal((await engine.core.getCase(instanceId)).failure!.message, 'what the step said was erased')

  await engine.core.retry({ instanceId, actor: 'olga' })

  assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')
  await engine.verify()
})
