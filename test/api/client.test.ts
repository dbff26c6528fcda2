import assert from 'node:assert/strict'
import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener } from 'node:http'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { connectService } from '../../src/api/client.ts'
import { startService } from '../../src/api/service.ts'
import type { CaseVerbs, Progress } from '../../src/engine/core.ts'
import { isCoreError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { MovedClock } from '../engine/moved-clock.ts'
import { onEachBackend, type OpenStore, turns, until } from '../storage/fixture.ts'
import { type ApiFixture, type ApiOptions, artifact, desk, openApi, secretOf, serviceOn } from './fixture.ts'

const good = { workflow: 'review', domain: 'plain', input: { amount: 7 }, actor: 'kim' }
const why = { actor: 'olga', reason: 'asked for' }

interface Reached extends AsyncDisposable {
  readonly api: ApiFixture
  /** The verbs through the service. */
  readonly client: CaseVerbs
  /** The time of the client, which is not that of the service. */
  readonly clock: MovedClock
}

async function reach(open: OpenStore, options: ApiOptions = {}): Promise<Reached> {
  const api = await openApi(open, { ...desk(), ...options })
  const clock = new MovedClock()
  const client = await connectService({ url: api.url }, clock)
  return {
    api,
    client,
    clock,
    async [Symbol.asyncDispose]() {
      await client.close()
      await api[Symbol.asyncDispose]()
    },
  }
}

/** Lets the client's time pass until this is settled, and the service answer meanwhile, which takes time that nobody moves. */
async function whileMoving<T>(clock: MovedClock, what: Promise<T>): Promise<T> {
  let isSettled = false
  const settled = what.finally(() => (isSettled = true))
  settled.catch(() => {})
  await until(async () => {
    if (!isSettled) await clock.advance(500)
    if (!isSettled) await delay(10)
    return isSettled
  })
  return await settled
}

onEachBackend('what is read through a service is what the store says', async (open) => {
  await using reached = await reach(open)
  const { api, client } = reached
  const { core } = api.engine
  assert.deepEqual([client.location, client.databaseId], [api.url, core.databaseId])
  const cases = [
    await api.engine.run({ domain: 'gated', input: { a: [1, { b: null }] } }),
    await api.engine.run({ input: { fails: 1 } }),
    await api.engine.run({ domain: 'checked' }),
    await api.engine.run({ domain: 'held' }),
  ]
  for (const { instanceId } of cases) {
    assert.deepEqual(await client.getCase(instanceId), await core.getCase(instanceId))
    assert.deepEqual(await client.getSteps(instanceId), await core.getSteps(instanceId))
    assert.deepEqual(await client.getAudit(instanceId), await core.getAudit(instanceId))
    assert.deepEqual(await client.getAudit(instanceId, { after: 2 }), await core.getAudit(instanceId, { after: 2 }))
    assert.deepEqual(await client.exportCase(instanceId), await core.exportCase(instanceId))
    const { elapsedMs: _, ...verdict } = await client.verify({ instanceId })
    const { elapsedMs: __, ...own } = await core.verify({ instanceId })
    assert.deepEqual(verdict, own)
  }
  for (const filter of [
    {},
    { limit: 2 },
    { status: 'suspended' },
    { workflow: 'review' },
    { workflow: 'x' },
  ] as const) {
    const page = await client.listCases(filter)
    assert.deepEqual(page, await core.listCases(filter))
    if (page.nextCursor === undefined) continue
    const next = { ...filter, cursor: page.nextCursor }
    assert.deepEqual(await client.listCases(next), await core.listCases(next))
  }
  for (const filter of [{}, { limit: 1 }, { queue: 'handlers' }, { status: 'decided' }] as const) {
    const page = await client.listTasks(filter)
    assert.deepEqual(page, await core.listTasks(filter))
    if (page.nextCursor === undefined) continue
    const next = { ...filter, cursor: page.nextCursor }
    assert.deepEqual(await client.listTasks(next), await core.listTasks(next))
  }
  const taskId = cases[0]!.openTasks[0]!
  assert.deepEqual(await client.getTask(taskId), await core.getTask(taskId))
})

onEachBackend('a case goes its whole way through a service', async (open) => {
  await using reached = await reach(open)
  const { api, client } = reached
  const { core } = api.engine
  const submitted = await client.submit({ ...good, domain: 'gated', key: 'claim 17' })
  assert.deepEqual([submitted.status, submitted.seen, client.simulated], ['running', false, false])
  const { instanceId } = submitted

  const held = await client.waitFor(instanceId)

  assert.deepEqual(held, await core.getCase(instanceId))
  assert.deepEqual([held.status, held.submittedBy], ['suspended', 'unverified:kim'])
  const again = await client.submit({ ...good, domain: 'gated', key: 'claim 17' })
  assert.deepEqual(again, { instanceId, status: 'suspended', seen: true })
  const taskId = held.openTasks[0]!
  const claimed = await client.claimTask({ taskId, actor: 'ann', forMs: 60_000 })
  assert.deepEqual([claimed.claimedBy, claimed.claimedUntilMs], ['unverified:ann', api.engine.clock.nowMs() + 60_000])
  const changes = { artifact: { amount: 80, note: null } }
  const decision = { taskId, decision: 'approve_with_changes', reason: 'a receipt is missing', changes, actor: 'ann' }
  const decided = await client.decide(decision)
  const { note: _, ...rest } = artifact
  assert.deepEqual(decided, {
    taskId,
    instanceId,
    decision: 'approve_with_changes',
    decidedBy: 'unverified:ann',
    status: 'completed',
    repeated: false,
    openedTaskId: undefined,
  })
  assert.deepEqual((await client.getCase(instanceId)).outcome, { artifact: { ...rest, amount: 80 } })
  assert.deepEqual(await client.decide(decision), { ...decided, repeated: true })
  const brief = await client.getTask(taskId)
  assert.deepEqual([brief.status, brief.reason, brief.changes], ['decided', decision.reason, changes])

  const [first] = await client.getAudit(instanceId)
  await client.erase({ instanceId, payloadId: first!.payloadId!, ...why })
  assert.equal((await client.verify({ instanceId })).erasedPayloads, 1)
  await api.engine.verify()
})

onEachBackend('a case is canceled and tried again through a service', async (open) => {
  await using reached = await reach(open)
  const { client } = reached
  const { instanceId } = await client.submit({ ...good, domain: 'held' })
  await client.waitFor(instanceId)
  assert.equal((await client.cancel({ instanceId, ...why })).status, 'canceled')

  const failing = await client.submit({ ...good, input: { fails: 1 } })
  assert.equal((await client.waitFor(failing.instanceId)).status, 'failed')
  const retried = await client.retry({ instanceId: failing.instanceId, actor: 'olga' })
  assert.equal(retried.instanceId, failing.instanceId)
  assert.equal((await client.waitFor(failing.instanceId)).status, 'completed')
})

onEachBackend('names arrive as they are, whatever they are written with', async (open) => {
  await using reached = await reach(open)
  for (const actor of ['Jürgen Groß', '山田', '100%', 'a+b', 'unverified:kim', '\u{1F600}']) {
    const { instanceId } = await reached.client.submit({ ...good, actor })
    const { submittedBy } = await reached.client.getCase(instanceId)
    assert.equal(submittedBy, `unverified:${actor.replace('unverified:', '')}`)
  }
})

onEachBackend('what is refused is refused as it would be without a service', async (open) => {
  await using reached = await reach(open)
  const { api, client } = reached
  const held = await api.engine.run({ domain: 'gated', actor: 'kim' })
  const decided = await api.engine.run({ domain: 'gated' })
  const claimed = await api.engine.run({ domain: 'gated' })
  const { core } = api.engine
  await core.decide({ taskId: decided.openTasks[0]!, decision: 'refer', reason: 'seen', actor: 'unverified:ann' })
  await core.claimTask({ taskId: claimed.openTasks[0]!, actor: 'unverified:bob' })
  await core.submit({ ...good, actor: 'unverified:kim', key: '1' })
  const [submitted] = await api.engine.envelopes(held.instanceId, 'case.submitted')
  const input = { instanceId: held.instanceId, payloadId: submitted!.payload!.id }
  const unknown = '019b8d62-7a80-7000-8000-000000000000'
  const decide = (view: typeof held, request: object) => (verbs: CaseVerbs) =>
    verbs.decide({
      taskId: view.openTasks[0]!,
      decision: 'approve',
      reason: 'seen',
      actor: 'unverified:ann',
      ...request,
    })

  const refusals: Readonly<Record<string, (verbs: CaseVerbs) => Promise<unknown>>> = {
    CC_ERR_UNKNOWN_CASE: (verbs) => verbs.getCase(unknown),
    CC_ERR_UNKNOWN_TASK: (verbs) => verbs.getTask(unknown),
    CC_ERR_UNKNOWN_WORKFLOW: (verbs) => verbs.submit({ ...good, workflow: 'other' }),
    CC_ERR_UNKNOWN_DOMAIN: (verbs) => verbs.submit({ ...good, domain: 'other' }),
    CC_ERR_KEY_REUSED: (verbs) => verbs.submit({ ...good, input: {}, key: '1', actor: 'unverified:kim' }),
    CC_ERR_DECISION: decide(held, { decision: 'release' }),
    CC_ERR_CHANGES: decide(held, { changes: {} }),
    CC_ERR_REASON: decide(held, { reason: ' ' }),
    CC_ERR_FOUR_EYES: decide(held, { actor: 'unverified:kim' }),
    CC_ERR_CLAIMED: decide(claimed, {}),
    CC_ERR_ALREADY_DECIDED: decide(decided, { decision: 'deny' }),
    CC_ERR_NOT_RETRYABLE: (verbs) => verbs.retry({ instanceId: held.instanceId, actor: 'unverified:olga' }),
    CC_ERR_CASE_LIVE: (verbs) => verbs.erase({ ...input, ...why, actor: 'unverified:olga' }),
    CC_ERR_UNKNOWN_PAYLOAD: (verbs) => verbs.erase({ instanceId: held.instanceId, payloadId: unknown, ...why }),
  }
  for (const [code, act] of Object.entries(refusals)) {
    const direct = await refusalOf(act(core))
    const through = await refusalOf(act(client))
    assert.equal(direct.code, code)
    assert.deepEqual(through, direct)
  }
})

async function refusalOf(act: Promise<unknown>) {
  const error = await act.then(
    () => assert.fail('it was not refused'),
    (reason: unknown) => reason,
  )
  if (!isCoreError(error)) throw error
  const { code, message, remedy, facts, exit, status } = error
  return { code, message, remedy, facts, exit, status }
}

onEachBackend('an idempotency key that a header does not carry is refused before it is sent', async (open) => {
  await using reached = await reach(open, { isStarted: false })
  for (const key of ['', ' a', 'a ', 'ü', 'a\nb', '\u{1F600}']) {
    await assert.rejects(reached.client.submit({ ...good, key }), { code: 'CC_ERR_INPUT', message: /^The key cannot/ })
  }
  assert.equal((await reached.api.engine.store.rowCounts()).instances, 0)
  assert.equal((await reached.client.submit({ ...good, key: 'claim 17/a' })).seen, false)
})

onEachBackend('a service does not verify a whole store', async (open) => {
  await using reached = await reach(open)

  await assert.rejects(reached.client.verify(), { code: 'CC_ERR_USAGE', message: /one case at a time/ })
})

const people = { kim: 'submitter', ann: 'reviewer' } as const

onEachBackend('a key is what its holder may do, and a wrong one is told apart from none', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId } = await api.engine.run({ actor: 'lena' })
  const as = (apiKey?: string) => connectService({ url: api.url, apiKey })
  await assert.rejects((await as()).getCase(instanceId), { code: 'CC_ERR_KEY_MISSING', exit: 1 })
  await assert.rejects((await as('cc_wrong')).getCase(instanceId), { code: 'CC_ERR_KEY_UNKNOWN' })
  const kim = await as(secretOf('kim'))
  await assert.rejects(kim.getCase(instanceId), { code: 'CC_ERR_UNKNOWN_CASE' })
  await assert.rejects(kim.listTasks(), { code: 'CC_ERR_ROLE', message: /^kim is submitter, and this takes reviewer/ })
  const submitted = await kim.submit({ ...good, actor: 'somebody else' })
  assert.equal((await kim.getCase(submitted.instanceId)).submittedBy, 'kim')
  assert.equal((await (await as(secretOf('ann'))).getCase(instanceId)).submittedBy, 'lena')
})

/** A program that is not ours, at an address that should be. */
async function pretend(answer: RequestListener) {
  const requests: IncomingMessage[] = []
  const server = createServer((request, response) => {
    requests.push(request)
    answer(request, response)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  return {
    url: `http://127.0.0.1:${port}`,
    requests: requests as readonly IncomingMessage[],
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

const json = { 'content-type': 'application/json' }
const ready = { status: 'ready', backend: 'sqlite', database_id: 'a', simulated: null, version: '0.1.0' }

/** Ready as a service is, and something else at every other path. */
function readyAnd(answer: RequestListener): RequestListener {
  return (request, response) => {
    if (request.url === '/health/ready') response.writeHead(200, json).end(JSON.stringify(ready))
    else answer(request, response)
  }
}

test('where nobody listens the service is away', async () => {
  const gone = await pretend(() => {})
  await gone[Symbol.asyncDispose]()

  await assert.rejects(connectService({ url: gone.url }), {
    code: 'CC_ERR_SERVICE_AWAY',
    message: `The service at ${gone.url} cannot be reached: nobody listens there.`,
  })
})

const strangers: Readonly<Record<string, readonly [status: number, headers: object, text: string, problem: RegExp]>> = {
  'a page': [200, { 'content-type': 'text/html' }, '<h1>Welcome</h1>', /status 200 with text\/html$/],
  'a page that is not found': [404, { 'content-type': 'text/html' }, '<h1>404</h1>', /status 404 with text\/html$/],
  nothing: [200, {}, '', /status 200 with nothing$/],
  'other JSON': [200, json, '{"hello": "world"}', /^status: /],
  'a list': [200, json, '[]', /Invalid input/],
  'JSON that breaks off': [200, json, '{"status": "ready"', /status 200 with application\/json$/],
  'a refusal of its own': [400, json, '{"error": "Bad Request", "statusCode": 400}', /^status 400$/],
  'a gateway': [502, { 'content-type': 'text/plain' }, 'Bad Gateway', /status 502 with text\/plain$/],
  'a code that we do not know': [
    409,
    { 'content-type': 'application/problem+json' },
    JSON.stringify({
      ...{ type: 'about:blank', title: 'Conflict', status: 409, code: 'CC_ERR_LATER', detail: 'Not today.' },
      ...{ remedy: 'Tomorrow.', request_id: 'a' },
    }),
    /^CC_ERR_LATER: Not today\.$/,
  ],
  'a code of the prototype': [
    409,
    { 'content-type': 'application/problem+json' },
    JSON.stringify({
      ...{ type: 'about:blank', title: 'Conflict', status: 409, code: 'constructor', detail: 'Not today.' },
      ...{ remedy: 'Tomorrow.', request_id: 'a' },
    }),
    /^constructor: Not today\.$/,
  ],
}

for (const [what, [status, headers, text, problem]] of Object.entries(strangers)) {
  test(`another program at the address is told apart, at once and later: ${what}`, async () => {
    const answer: RequestListener = (_request, response) =>
      void response.writeHead(status, headers as Record<string, string>).end(text)
    await using stranger = await pretend(answer)
    await using later = await pretend(readyAnd(answer))
    const isStranger = (error: unknown) =>
      isCoreError(error, 'CC_ERR_SERVICE') && problem.test(String(error.facts.problem))

    await assert.rejects(connectService({ url: stranger.url }), isStranger)
    const client = await connectService({ url: later.url })
    for (const act of [
      () => client.getTask('a'),
      () => client.submit(good),
      () => client.decide({ taskId: 'a', decision: 'approve', reason: 'seen', actor: 'ann' }),
      () => client.waitFor('a'),
    ]) {
      await assert.rejects(act(), (error) => isCoreError(error, 'CC_ERR_SERVICE'))
    }
  })
}

test('a key is shown to the service alone: not to where it leads, and not before it is known to be one', async () => {
  await using thief = await pretend((_request, response) => void response.writeHead(200, json).end('{}'))
  for (const status of [301, 302, 303, 307, 308]) {
    const leadAway: RequestListener = (_request, response) =>
      void response.writeHead(status, { location: `${thief.url}/v1/cases` }).end()
    await using leading = await pretend(readyAnd(leadAway))
    await using misled = await pretend(leadAway)
    const address = { url: leading.url, apiKey: 'cc_secret' }

    await assert.rejects(connectService({ ...address, url: misled.url }), { code: 'CC_ERR_SERVICE_AWAY' })
    const client = await connectService(address)
    await assert.rejects(client.listCases(), { code: 'CC_ERR_SERVICE_AWAY' })
    await assert.rejects(client.submit(good), { code: 'CC_ERR_SERVICE_AWAY' })

    const shown = [...misled.requests, ...leading.requests].map(({ url, headers }) => [url, headers.authorization])
    assert.deepEqual(shown, [
      ['/health/ready', undefined],
      ['/health/ready', undefined],
      ['/v1/cases', 'Bearer cc_secret'],
      ['/v1/cases', 'Bearer cc_secret'],
    ])
  }
  assert.deepEqual(thief.requests, [])
})

test('a service without a store is starting, one that leaves is closing, and one cannot read its store', async () => {
  const service = await startService({ host: '127.0.0.1', port: 0, defaultActor: 'olga', log: silentLog })
  await assert.rejects(connectService({ url: service.url }), { code: 'CC_ERR_STARTING' })
  await service.close()
  for (const [status, code] of [
    ['draining', 'CC_ERR_CLOSED'],
    ['unavailable', 'CC_ERR_STORE_AWAY'],
  ]) {
    const document = JSON.stringify({ status, version: '0.1.0' })
    await using service = await pretend((_request, response) => void response.writeHead(503, json).end(document))

    await assert.rejects(connectService({ url: service.url }), { code })
  }
})

test('who came too soon is sent again when the service says, and is told when that does not help', async () => {
  const refusal = {
    ...{ type: 'about:blank', title: 'Too Many Requests', status: 429, code: 'CC_ERR_RATE_LIMIT', detail: 'Too many.' },
    ...{ remedy: 'Wait.', facts: { actor: 'kim', max: 1 }, request_id: 'a' },
  }
  const patience = { left: 2 }
  await using busy = await pretend(
    readyAnd((_request, response) => {
      if (patience.left-- > 0) response.writeHead(429, { ...json, 'retry-after': '0.001' }).end(JSON.stringify(refusal))
      else response.writeHead(200, json).end(JSON.stringify({ items: [], next_cursor: null }))
    }),
  )
  const client = await connectService({ url: busy.url })

  assert.deepEqual(await client.listTasks(), { items: [], nextCursor: undefined })

  assert.equal(busy.requests.length, 1 + 3)
  patience.left = Infinity
  await assert.rejects(client.listTasks(), { code: 'CC_ERR_RATE_LIMIT', facts: { actor: 'kim', max: 1 } })
  assert.ok(busy.requests.length < 20)
})

test('a connection that breaks is a service that is away', async () => {
  await using broken = await pretend(readyAnd((request) => void request.socket.destroy()))
  await using cut = await pretend(
    readyAnd((_request, response) => {
      response.writeHead(200, { ...json, 'content-length': '1000' }).write('{"items": [')
      response.destroy()
    }),
  )
  for (const { url } of [broken, cut]) {
    const client = await connectService({ url })
    await assert.rejects(client.listCases(), { code: 'CC_ERR_SERVICE_AWAY', message: /the connection was lost/ })
  }
})

/** Until somebody waits at the service, for at most half a minute. */
async function isWaiting({ engine: { clock } }: ApiFixture, seconds = 30): Promise<void> {
  const dueMs = clock.nowMs() + seconds * 1000
  await until(() => clock.dueMs.includes(dueMs), 'waiting')
}

onEachBackend('who waits through a service does not notice that it is restarted', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using reached = await reach(open, desk({ gate: gate.promise }))
  const { api, client, clock } = reached
  const { instanceId } = await client.submit({ ...good, input: { waits: true } })
  const waiting = client.waitFor(instanceId)
  await isWaiting(api)

  await api.service.close()
  await clock.advance(5_000)
  const port = Number(new URL(api.url).port)
  await using again = await serviceOn(api.engine, { settings: { port } })
  assert.equal(again.url, api.url)
  gate.resolve()

  assert.equal((await whileMoving(clock, waiting)).status, 'completed')
})

onEachBackend('a service that does not come back is waited for a minute, and then is away', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using reached = await reach(open, desk({ gate: gate.promise }))
  const { api, client, clock } = reached
  const { instanceId } = await client.submit({ ...good, input: { waits: true } })
  const waiting = client.waitFor(instanceId)
  waiting.catch(() => {})
  await isWaiting(api)
  const leftAtMs = clock.nowMs()

  await api.service.close()

  await assert.rejects(whileMoving(clock, waiting), { code: 'CC_ERR_SERVICE_AWAY' })
  const awayMs = clock.nowMs() - leftAtMs
  assert.ok(awayMs > 60_000 && awayMs < 70_000, String(awayMs))
  gate.resolve()
})

onEachBackend('who sets a limit to waiting is told when it has passed', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using reached = await reach(open, desk({ gate: gate.promise }))
  const { api, client, clock } = reached
  const { instanceId } = await client.submit({ ...good, input: { waits: true } })
  const waiting = client.waitFor(instanceId, { timeoutMs: 7_000 })
  waiting.catch(() => {})
  await isWaiting(api, 7)

  await clock.advance(7_000)
  await api.engine.clock.advance(7_000)

  await assert.rejects(waiting, {
    code: 'CC_ERR_TIMED_OUT',
    exit: 124,
    facts: { instanceId, timeoutMs: 7_000, status: 'running' },
  })
  gate.resolve()
})

test('a service that says nothing is not waited for beyond the limit', async () => {
  await using mute = await pretend(readyAnd(() => {}))
  const client = await connectService({ url: mute.url })

  await assert.rejects(client.waitFor('a', { timeoutMs: 1 }), {
    code: 'CC_ERR_TIMED_OUT',
    message: /not to be reached/,
  })
})

onEachBackend('waiting ends when somebody gives it up, and when the client is closed', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using reached = await reach(open, desk({ gate: gate.promise }))
  const { api, client } = reached
  const { instanceId } = await client.submit({ ...good, input: { waits: true } })
  const givingUp = new AbortController()
  const given = client.waitFor(instanceId, { signal: givingUp.signal })
  given.catch(() => {})
  await isWaiting(api)

  givingUp.abort(new Error('enough'))

  await assert.rejects(given, { message: 'enough' })
  const waiting = client.waitFor(instanceId)
  waiting.catch(() => {})
  await until(() => api.lines.length > 0)
  await client.close()
  await assert.rejects(waiting, { code: 'CC_ERR_CLOSED' })
  await assert.rejects(client.waitFor(instanceId), { code: 'CC_ERR_CLOSED' })
  gate.resolve()
})

onEachBackend('who waits for a case that nobody runs asks now and then, and not without end', async (open) => {
  await using api = await openApi(open, { ...desk(), isStarted: false })
  const { instanceId } = await api.engine.submit()
  const { answers: _, ...withoutModel } = desk()
  await using next = await api.engine.crash(withoutModel)
  await using service = await serviceOn(next)
  // Its time stands still while a request is on its way to the store.
  const clock = new MovedClock({ patience: 100, isBusy: () => api.engine.store.underWay > 0 })
  const client = await connectService({ url: service.url }, clock)
  const waiting = client.waitFor(instanceId, { timeoutMs: 10_000 })

  await assert.rejects(whileMoving(clock, waiting), { code: 'CC_ERR_TIMED_OUT' })

  const asked = service.lines.filter(({ fields }) => fields.route === '/v1/cases/:id')
  assert.ok(asked.length >= 2 && asked.length <= 12, String(asked.length))
})

/** Until so many follow a case. */
async function isFollowed(api: ApiFixture, count = 1): Promise<void> {
  await until(async () => {
    const { text } = await api.ask('GET', '/metrics')
    return text.includes(`\ncc_stream_viewers ${count}\n`)
  }, `${count} viewers`)
}

onEachBackend('who follows a case hears what happens to it, and goes on after a restart', async (open) => {
  await using reached = await reach(open)
  const { api, client, clock } = reached
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const other = await api.engine.run({ domain: 'gated' })
  const taskId = openTasks[0]!
  const heard: Progress[] = []
  const { length: told } = await api.engine.core.getAudit(instanceId)
  client.follow(instanceId, told, (progress) => void heard.push(progress))
  await isFollowed(api)

  await api.engine.core.claimTask({ taskId, actor: 'ann', forMs: 1_000 })
  await api.engine.core.claimTask({ taskId: other.openTasks[0]!, actor: 'ann' })
  await until(() => heard.length === 1)
  await api.service.close()
  await api.engine.core.claimTask({ taskId, actor: 'ann', forMs: 2_000 })
  await clock.advance(3_000)
  const port = Number(new URL(api.url).port)
  await using again = await serviceOn(api.engine, { settings: { port } })
  await until(async () => {
    await clock.advance(500)
    return heard.length === 2
  })
  await isFollowed(again)
  await api.engine.core.decide({ taskId, decision: 'deny', reason: 'no', actor: 'ann' })

  await until(() => heard.length === 4)
  assert.deepEqual(
    heard,
    ['task.claimed', 'task.claimed', 'task.decided', 'case.terminated'].map((event) => ({
      instanceId,
      step: undefined,
      event,
      detail: undefined,
    })),
  )
  await isFollowed(again, 0)
})

onEachBackend('who stops following is told first what the stream had not come to yet', async (open) => {
  await using reached = await reach(open)
  const { api, client } = reached
  const { instanceId } = await api.engine.run({ domain: 'gated' })
  const heard: string[] = []

  const stop = client.follow(instanceId, 1, ({ event }) => void heard.push(event))
  await stop()

  assert.deepEqual(heard, ['step.completed', 'step.completed', 'case.held', 'task.opened'])
})

onEachBackend('who follows a case that is new hears all of it, and who stops hears nothing more', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using reached = await reach(open, desk({ gate: gate.promise }))
  const { api, client } = reached
  const { instanceId } = await client.submit({ ...good, domain: 'gated', input: { waits: true } })
  const heard: (readonly [string, string | undefined])[] = []
  const stop = client.follow(instanceId, 1, ({ event, step }) => void heard.push([event, step]))
  await isFollowed(api)

  gate.resolve()

  await until(() => heard.length === 4)
  assert.deepEqual(heard, [
    ['step.completed', 'first'],
    ['step.completed', 'draft'],
    ['case.held', undefined],
    ['task.opened', undefined],
  ])
  await stop()
  await isFollowed(api, 0)
  await api.engine.core.cancel({ instanceId, ...why })
  await turns()
  assert.equal(heard.length, 4)
})

onEachBackend('who follows does without what is refused, and hears of a defect at the end', async (open) => {
  await using reached = await reach(open)
  const { api, client } = reached
  const { instanceId } = await api.engine.run({ domain: 'gated' })
  const heard: string[] = []

  await client.follow('nobody', 0, ({ event }) => void heard.push(event))()
  assert.equal(heard.join(), '')

  const stop = client.follow(instanceId, 1, ({ event }) => {
    heard.push(event)
    if (heard.length === 1) throw new TypeError('a defect of whoever listens')
  })
  await until(() => heard.length === 1)
  await assert.rejects(stop(), { name: 'TypeError', message: 'a defect of whoever listens' })
})
