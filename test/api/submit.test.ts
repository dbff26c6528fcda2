import assert from 'node:assert/strict'
import { pack } from '../engine/fixture.ts'
import { onEachBackend, turns, until } from '../storage/fixture.ts'
import { answering, draftStep } from '../engine/fixture.ts'
import { type ApiFixture, type Asking, checkProblem, desk, openApi, serviceOn } from './fixture.ts'

const request = { workflow: 'review', domain: 'plain', input: { amount: 7, lines: [{ item: 'hotel', price: 7 }] } }
const people = { kim: 'submitter', lena: 'submitter', ann: 'reviewer' } as const

const submit = (api: ApiFixture, body: unknown = request, { key, ...asking }: Asking & { key?: string } = {}) =>
  api.ask('POST', '/v1/cases', {
    as: 'kim',
    body,
    ...asking,
    ...(key !== undefined && { headers: { 'idempotency-key': key } }),
  })

/** Asks for a case and waits with it, without waiting for the answer. */
function waitFor({ ask }: ApiFixture, instanceId: string, seconds: number) {
  return ask('GET', `/v1/cases/${instanceId}?wait=${seconds}`, { as: 'kim' })
}

onEachBackend('a case that is submitted is stored, and its answer says where to find it', async (open) => {
  await using api = await openApi(open, { ...desk(), people })

  const { status, headers, body } = await submit(api)

  const { instance_id: id, links, ...rest } = body
  assert.equal(status, 202)
  assert.equal(headers.location, `/v1/cases/${id}`)
  assert.deepEqual(rest, { status: 'running', simulated: false })
  assert.deepEqual(links, {
    self: `/v1/cases/${id}`,
    steps: `/v1/cases/${id}/steps`,
    audit: `/v1/cases/${id}/audit`,
    stream: `/v1/cases/${id}/stream`,
  })
  for (const link of Object.values(links as Record<string, string>)) {
    assert.equal((await api.ask('GET', link, { as: 'kim' })).status, 200, link)
  }
  const { submittedBy } = await api.engine.core.waitFor(id as string)
  assert.equal(submittedBy, 'kim')
  await api.engine.verify()
})

onEachBackend('the same key with the same body is answered with the first case, however it stands', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const first = await submit(api, request, { key: 'claim-17' })
  await api.engine.core.waitFor(first.body.instance_id as string)
  const before = await api.engine.store.rowCounts()

  const again = await submit(api, request, { key: 'claim-17' })

  assert.deepEqual([first.status, again.status], [202, 200])
  assert.deepEqual(again.body, { ...first.body, status: 'completed' })
  assert.equal(again.headers.location, first.headers.location)
  assert.deepEqual(await api.engine.store.rowCounts(), before)
})

onEachBackend('the order of keys, blanks and spellings of a number do not make another body', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false })
  const first = await submit(api, request, { key: 'claim-17' })

  for (const body of [
    '{"input": {"lines": [{"price": 7, "item": "hotel"}], "amount": 7}, "domain": "plain", "workflow": "review"}',
    '{"domain":"plain","workflow":"review","input":{"amount":7.0,"lines":[{"item":"h\\u006ftel","price":7e0}]}}\n',
  ]) {
    const again = await submit(api, body, { key: 'claim-17' })
    assert.deepEqual([again.status, again.body.instance_id], [200, first.body.instance_id])
  }
})

const others = {
  'another input': { ...request, input: { amount: 8 } },
  'the lines in another order': { ...request, input: { amount: 7, lines: [{ price: 7 }, { item: 'hotel' }] } },
  'another domain': { ...request, domain: 'gated' },
  'more input': { ...request, input: { ...request.input, note: null } },
}

for (const [what, body] of Object.entries(others)) {
  onEachBackend(`the same key with ${what} is refused, and nothing is stored`, async (open) => {
    await using api = await openApi(open, { ...desk(), people, isStarted: false })
    const first = await submit(api, request, { key: 'claim-17' })
    const before = await api.engine.store.rowCounts()

    const answer = await submit(api, body, { key: 'claim-17' })

    checkProblem(answer, [409, 'CC_ERR_KEY_REUSED'])
    assert.deepEqual(answer.body.facts, { key: 'claim-17', instanceId: first.body.instance_id })
    assert.deepEqual(await api.engine.store.rowCounts(), before)
  })
}

onEachBackend('a key is its submitter’s own', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false })
  const [kims, lenas] = [
    await submit(api, request, { key: '1' }),
    await submit(api, { ...request, domain: 'held' }, { key: '1', as: 'lena' }),
  ]

  assert.deepEqual([kims.status, lenas.status], [202, 202])
  assert.notEqual(kims.body.instance_id, lenas.body.instance_id)
  assert.equal((await submit(api, request, { key: '1' })).body.instance_id, kims.body.instance_id)
})

onEachBackend('without a key the same body is another case', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false })

  const [first, second] = [await submit(api), await submit(api)]

  assert.deepEqual([first.status, second.status], [202, 202])
  assert.notEqual(first.body.instance_id, second.body.instance_id)
})

onEachBackend('fifty programs that send the same at once make one case', async (open) => {
  await using api = await openApi(open, { ...desk(), people })

  const answers = await Promise.all(Array.from({ length: 50 }, () => submit(api, request, { key: 'claim-17' })))

  assert.equal(new Set(answers.map(({ body }) => body.instance_id as string)).size, 1)
  assert.deepEqual(
    answers.map(({ status }) => status).sort(),
    Array.from({ length: 50 }, (_, index) => (index < 49 ? 200 : 202)),
  )
  assert.equal((await api.engine.store.rowCounts()).instances, 1)
  await api.engine.core.waitFor(answers[0]!.body.instance_id as string)
  assert.equal((await api.engine.events(answers[0]!.body.instance_id as string))[0], 'case.submitted')
  await api.engine.verify()
})

onEachBackend('a key is known after a restart, also once its workflow has changed or gone', async (open) => {
  await using api = await openApi(open, { ...desk(), isStarted: false })
  const first = await submit(api, request, { key: 'claim-17' })
  for (const packs of [[pack({ steps: [{ name: 'other', primitive: 'play' }], governance: 'hold', config: {} })], []]) {
    const next = await api.engine.crash({ ...desk(), isStarted: false, packs })
    await using service = await serviceOn(next)

    const again = await submit(service, request, { key: 'claim-17' })

    assert.deepEqual([again.status, again.body.instance_id], [200, first.body.instance_id])
  }
})

onEachBackend('a workflow whose steps need a model is refused where there is none', async (open) => {
  await using api = await openApi(open, { steps: [draftStep] })
  const before = await api.engine.store.rowCounts()

  const answer = await submit(api, request, { key: 'claim-17' })

  checkProblem(answer, [422, 'CC_ERR_NO_MODEL'])
  assert.match(answer.body.remedy, /CC_MODEL/)
  assert.deepEqual(await api.engine.store.rowCounts(), before)
})

for (const [what, body, code, known] of [
  ['an unknown workflow', { ...request, workflow: 'reviews' }, 'CC_ERR_UNKNOWN_WORKFLOW', 'review'],
  ['an unknown domain', { ...request, domain: 'travel' }, 'CC_ERR_UNKNOWN_DOMAIN', 'checked, gated, held, plain'],
] as const) {
  onEachBackend(`${what} is refused, with those that there are`, async (open) => {
    await using api = await openApi(open, { ...desk(), people })
    const before = await api.engine.store.rowCounts()

    const answer = await submit(api, body, { key: 'claim-17' })

    checkProblem(answer, [422, code])
    assert.match(answer.body.remedy, new RegExp(`: ${known}\\.$`))
    assert.deepEqual(await api.engine.store.rowCounts(), before)
    assert.equal((await submit(api, request, { key: 'claim-17' })).status, 202, 'the key is still free')
  })
}

onEachBackend('an answer says whether the store is a simulation', async (open) => {
  const model = answering({ draft: {} }, { simulated: true })
  await using api = await openApi(open, { ...desk(), answers: {}, core: { model }, isStarted: false })
  assert.equal((await api.ask('GET', '/v1/me')).body.simulated, null)

  assert.equal((await submit(api)).body.simulated, true)

  assert.equal((await api.ask('GET', '/v1/me')).body.simulated, true)
  assert.equal((await api.ask('GET', '/health/ready')).body.simulated, true)
})

for (const [domain, status] of [
  ['plain', 'completed'],
  ['gated', 'suspended'],
] as const) {
  onEachBackend(`whoever waits is answered as soon as the case is ${status}`, async (open) => {
    const gate = Promise.withResolvers<void>()
    await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
    const { body } = await submit(api, { ...request, domain, input: { waits: true } })
    let isAnswered = false
    const waiting = waitFor(api, body.instance_id as string, 37).finally(() => (isAnswered = true))
    await isWaiting(api, 37)
    await turns()
    assert.equal(isAnswered, false)

    gate.resolve()

    const answer = await waiting
    assert.deepEqual([answer.status, answer.body.status], [200, status])
    // Nothing is left that would go off later.
    assert.ok(!api.engine.clock.dueMs.includes(api.engine.clock.nowMs() + 37_000))
  })
}

/** Until the service waits for a case, for so many seconds. */
async function isWaiting({ engine: { clock } }: ApiFixture, seconds: number, count = 1): Promise<void> {
  const dueMs = clock.nowMs() + seconds * 1000
  await until(() => clock.dueMs.filter((ms) => ms === dueMs).length >= count, 'waiting')
}

onEachBackend('whoever has waited long enough is answered with the case as it stands', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { body } = await submit(api, { ...request, input: { waits: true } })
  const waiting = waitFor(api, body.instance_id as string, 7)
  await isWaiting(api, 7)

  await api.engine.clock.advance(7_000)

  const answer = await waiting
  assert.deepEqual([answer.status, answer.body.status, answer.body.work], [200, 'running', 'claimed'])
  assert.equal((await waitFor(api, body.instance_id as string, 0)).body.status, 'running')
  gate.resolve()
})

onEachBackend('a hundred who wait for one case are all answered', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { body } = await submit(api, { ...request, input: { waits: true } })
  const waiting = Array.from({ length: 100 }, () => waitFor(api, body.instance_id as string, 37))
  await isWaiting(api, 37, 100)

  gate.resolve()

  for (const answer of await Promise.all(waiting)) assert.equal(answer.body.status, 'completed')
})

onEachBackend('whoever waits when the service leaves is answered with the case as it stands', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { body } = await submit(api, { ...request, input: { waits: true } })
  const waiting = waitFor(api, body.instance_id as string, 37)
  await isWaiting(api, 37)

  await api.service.close()

  const { status, body: view } = await waiting
  assert.deepEqual([status, view.status, view.instance_id], [200, 'running', body.instance_id])
  gate.resolve()
})

onEachBackend('whoever waits for a case that nobody here runs is answered at once', async (open) => {
  await using api = await openApi(open, { ...desk(), isStarted: false })
  const { body } = await submit(api)
  const { answers: _, ...withoutModel } = desk()
  await using next = await api.engine.crash(withoutModel)
  await using service = await serviceOn(next)

  const answer = await waitFor(service, body.instance_id as string, 37)

  assert.deepEqual([answer.status, answer.body.status], [200, 'running'])
})

onEachBackend('whoever stops waiting costs nothing any more', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { body } = await submit(api, { ...request, input: { waits: true } })
  const leaving = new AbortController()
  const path = `/v1/cases/${body.instance_id}?wait=37`
  const waiting = assert.rejects(api.ask('GET', path, { as: 'kim', signal: leaving.signal }))
  await isWaiting(api, 37)
  const dueMs = api.engine.clock.nowMs() + 37_000

  leaving.abort()
  await waiting

  await until(() => !api.engine.clock.dueMs.includes(dueMs), 'the wait was given up')
  assert.deepEqual(
    api.lines.filter(({ level }) => level === 'error'),
    [],
  )
  gate.resolve()
})
