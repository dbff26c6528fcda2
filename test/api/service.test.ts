import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { startService } from '../../src/api/service.ts'
import type { Core } from '../../src/engine/core.ts'
import { silentLog } from '../../src/log.ts'
import { openDesk } from '../cli/cli.ts'
import { eventually, serve } from '../journeys/serving.ts'
import { onEachBackend, turns, until } from '../storage/fixture.ts'
import {
  type Answer,
  type ApiFixture,
  ask,
  checkProblem,
  desk,
  keysOf,
  type Line,
  logInto,
  openApi,
  secretOf,
  serviceOn,
  speak,
} from './fixture.ts'

const people = { kim: 'submitter', lena: 'submitter', ann: 'reviewer', aude: 'auditor', olga: 'operator' } as const
const good = { workflow: 'review', domain: 'plain', input: { amount: 7 } }

/** The lines of requests, once there are so many. */
async function requestLines(api: ApiFixture, count: number): Promise<readonly Line[]> {
  const lines = () => api.lines.filter(({ message }) => message === 'request')
  await until(() => lines().length >= count, `${count} requests in the log`)
  return lines()
}

onEachBackend('each key has so many requests a minute, and is told when to come back', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false, settings: { rateLimit: 3 } })
  for (let count = 0; count < 3; count++) {
    const { status, headers } = await api.ask('GET', '/v1/me', { as: 'kim' })
    assert.deepEqual([status, headers['x-ratelimit-remaining']], [200, String(2 - count)])
  }

  const refused = await api.ask('POST', '/v1/cases', { as: 'kim', body: good })

  checkProblem(refused, [429, 'CC_ERR_RATE_LIMIT'])
  const seconds = Number(refused.headers['retry-after'])
  assert.ok(seconds >= 1 && seconds <= 60, refused.headers['retry-after'])
  assert.match(refused.body.detail, /^kim has made its 3 requests of this minute/)
  assert.equal((await api.engine.store.rowCounts()).instances, 0)
  assert.equal((await api.ask('POST', '/v1/cases', { as: 'lena', body: good })).status, 202, 'others go on')
  for (const path of ['/health/live', '/health/ready', '/openapi.json', '/', '/health/live', '/health/ready']) {
    const { status, headers } = await api.ask('GET', path, { as: 'kim' })
    assert.deepEqual([status, headers['retry-after'], headers['x-ratelimit-limit']], [200, undefined, undefined], path)
  }
})

onEachBackend('who tries keys is slowed down, and those who have one go on from the same address', async (open) => {
  await using api = await openApi(open, { ...desk(), people, settings: { rateLimit: 4 } })
  const tries = [{}, { key: 'cc_a' }, { key: 'cc_b' }, { headers: { authorization: 'Basic a' } }]
  for (const attempt of tries) assert.equal((await api.ask('GET', '/v1/me', attempt)).status, 401)

  const refused = await api.ask('GET', '/v1/tasks', { key: 'cc_c' })

  checkProblem(refused, [429, 'CC_ERR_RATE_LIMIT'])
  assert.ok(Number(refused.headers['retry-after']) >= 1)
  assert.match(refused.body.detail, /^127\.0\.0\.1 has made its 4 requests/)
  assert.equal((await api.ask('GET', '/v1/me', { as: 'kim' })).status, 200)
  assert.equal((await api.ask('GET', '/health/ready')).status, 200)
})

onEachBackend('on loopback nobody is limited unless somebody says so, elsewhere everybody is', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  await using reachable = await serviceOn(api.engine, { people, settings: { host: '0.0.0.0' } })
  await using free = await serviceOn(api.engine, { people, settings: { host: '0.0.0.0', rateLimit: 0 } })
  const limitOf = async ({ ask }: ApiFixture) =>
    (await ask('GET', '/v1/me', { as: 'kim' })).headers['x-ratelimit-limit']

  assert.deepEqual([await limitOf(api), await limitOf(reachable), await limitOf(free)], [undefined, '1200', undefined])
})

/** One answer of every kind that there is. */
async function everyKind(api: ApiFixture): Promise<Readonly<Record<string, Answer>>> {
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const ended = await api.engine.run()
  const get = (path: string, as = 'ann', headers = {}) => api.ask('GET', path, { as, headers })
  const post = (body: unknown, headers = {}) => api.ask('POST', '/v1/cases', { as: 'kim', body, headers })
  const keyed = { 'idempotency-key': '1' }
  await using limited = await serviceOn(api.engine, { people, settings: { rateLimit: 1 } })
  await limited.ask('GET', '/v1/me', { as: 'kim' })
  return {
    200: await get(`/v1/cases/${instanceId}`),
    202: await post(good, keyed),
    '200 again': await post(good, keyed),
    204: await get(`/v1/cases/${ended.instanceId}/stream?after=99`),
    'a stream': await get(`/v1/cases/${instanceId}/stream`),
    'the feed': await get('/v1/stream'),
    'an export': await get(`/v1/cases/${instanceId}/export`, 'aude'),
    'the page': await get('/'),
    'the document': await get('/openapi.json'),
    measures: await get('/metrics', 'olga'),
    health: await get('/health/ready'),
    400: await post('{'),
    '400 for a query': await get('/v1/cases?limit=0'),
    401: await api.ask('GET', '/v1/me'),
    403: await get('/v1/me', 'kim', { origin: 'http://evil.example' }),
    '403 for a role': await get('/metrics', 'kim'),
    404: await get('/v1/cases/none'),
    '404 for a route': await get('/nothing'),
    '404 for a path that is none': await get('/v1/cases/%E0%A4%A'),
    '404 for a long one': await get(`/v1/cases/${'a'.repeat(5_000)}`),
    '404 for a method': await api.ask('HEAD', '/v1/me'),
    '404 for a question of a browser': await api.ask('OPTIONS', '/v1/cases', {
      headers: { 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
    }),
    409: await post({ ...good, input: {} }, keyed),
    413: await post(' '.repeat(1_048_577)),
    415: await post('a', { 'content-type': 'text/plain' }),
    422: await post({}),
    429: await limited.ask('GET', '/v1/me', { as: 'kim' }),
    501: await get('/v1/limits', 'olga'),
    task: await get(`/v1/tasks/${openTasks[0]}`),
  }
}

onEachBackend('every kind of answer carries what keeps a browser from misusing it', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const answers = await everyKind(api)

  for (const [kind, { status, headers }] of Object.entries(answers)) {
    if (/^\d+/.test(kind)) assert.equal(status, Number.parseInt(kind, 10), kind)
    const policy = headers['content-security-policy']
    assert.match(String(policy), /^default-src 'none';.*frame-ancestors 'none'/, kind)
    assert.doesNotMatch(String(policy), /unsafe|\*|https?:/, kind)
    assert.deepEqual(
      ['x-content-type-options', 'x-frame-options', 'referrer-policy', 'cross-origin-resource-policy'].map(
        (name) => headers[name],
      ),
      ['nosniff', 'DENY', 'no-referrer', 'same-origin'],
      kind,
    )
    assert.equal(headers['cache-control'], kind === 'the page' ? 'no-cache' : 'no-store', kind)
    assert.match(String(headers['x-request-id']), /^[0-9a-f-]{36}$/, kind)
    const names = Object.keys(headers)
    const told = names.filter((name) => /^(access-control-|server$|x-powered-by$|set-cookie$)/.test(name))
    assert.deepEqual(told, [], kind)
  }
  assert.deepEqual(
    api.lines.filter(({ level }) => level !== 'info'),
    [],
    'none of it is a fault of the service',
  )
  const ids = Object.values(answers).map(({ headers }) => headers['x-request-id'])
  assert.equal(new Set(ids).size, ids.length)
})

onEachBackend(
  'of scripts and styles a browser runs those of the page, and none that were put into it',
  async (open) => {
    await using api = await openApi(open)

    const { text, headers } = await api.ask('GET', '/')

    assert.equal(headers['content-type'], 'text/html; charset=utf-8')
    const hashOf = (tag: string) => {
      const [, ...found] = text.split(new RegExp(`<${tag}[^>]*>|</${tag}>`))
      assert.equal(found.length, 2, `one ${tag}`)
      return `'sha256-${hash('sha256', found[0]!, 'base64')}'`
    }
    const policy = String(headers['content-security-policy'])
    assert.ok(policy.includes(`script-src ${hashOf('script')};`))
    assert.ok(policy.includes(`style-src ${hashOf('style')};`))
    assert.doesNotMatch(text, /(src|href)="?(https?:)?\/\//)
  },
)

onEachBackend('a request has a name: its own, or one that it is given', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const named = async (id: string) => {
    const { status, headers, body } = await api.ask('GET', '/v1/cases/none', {
      as: 'ann',
      headers: { 'x-request-id': id },
    })
    assert.deepEqual([status, body.request_id], [404, headers['x-request-id']])
    return headers['x-request-id'] as string
  }
  const own = ['a', 'kim-17.retry_2', 'A'.repeat(64), '0']
  const bad = ['', 'a b', 'A'.repeat(65), 'a/b', '"', 'ü', '{"a":1}', 'a,b', '%0a']
  for (const id of own) assert.equal(await named(id), id)
  const given: string[] = []
  for (const id of bad) given.push(await named(id))
  for (const id of given) assert.match(id, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.equal(new Set(given).size, bad.length)

  const lines = await requestLines(api, own.length + bad.length)
  assert.deepEqual(new Set(lines.map(({ fields }) => fields.request_id)), new Set([...own, ...given]))
})

onEachBackend('the log has one line for each request, with its route and not its address', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const asked = [
    ['GET', `/v1/cases/${instanceId}?wait=0`, 'kim', '/v1/cases/:id', 200, instanceId],
    ['GET', `/v1/cases/${instanceId}/audit`, 'aude', '/v1/cases/:id/audit', 200, instanceId],
    ['GET', `/v1/cases/${instanceId}/stream`, 'ann', '/v1/cases/:id/stream', 200, instanceId],
    ['GET', `/v1/cases/${instanceId}`, 'lena', '/v1/cases/:id', 404, instanceId],
    ['GET', '/v1/cases/none', 'ann', '/v1/cases/:id', 404, undefined],
    ['GET', '/v1/cases?limit=7', 'ann', '/v1/cases', 200, undefined],
    ['GET', `/v1/tasks/${openTasks[0]}`, 'ann', '/v1/tasks/:id', 200, undefined],
    ['GET', '/metrics', 'kim', '/metrics', 403, undefined],
    ['GET', '/nothing?at=all', 'ann', 'none', 404, undefined],
    ['GET', '/health/live', 'ann', '/health/live', 200, undefined],
    ['POST', '/v1/cases', 'kim', '/v1/cases', 422, undefined],
  ] as const
  for (const [index, [method, path, as]] of asked.entries()) {
    await api.ask(method, path, { as, headers: { 'x-request-id': `r${index}` } })
  }

  const lines = await requestLines(api, asked.length)

  assert.equal(lines.length, asked.length)
  for (const [index, [method, , as, route, status, instance]] of asked.entries()) {
    const { level, fields } = lines.find((line) => line.fields.request_id === `r${index}`)!
    const { ms, ...rest } = fields
    assert.equal(level, 'info')
    assert.ok(typeof ms === 'number' && ms >= 0)
    // Open routes and those that are not there ask nobody for a name.
    const actor = ['none', '/health/live'].includes(route) ? {} : { actor: as }
    const about = instance === undefined ? {} : { instance }
    assert.deepEqual(rest, { request_id: `r${index}`, method, route, status, ...actor, ...about })
  }
})

onEachBackend('whoever leaves before they are answered has a line as well', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { instanceId } = await api.engine.submit({ input: { waits: true } })
  const leaving = new AbortController()
  const path = `/v1/cases/${instanceId}?wait=37`
  const waiting = assert.rejects(api.ask('GET', path, { as: 'kim', signal: leaving.signal }))
  const dueMs = api.engine.clock.nowMs() + 37_000
  await until(() => api.engine.clock.dueMs.includes(dueMs))

  leaving.abort()
  await waiting

  const [line] = await requestLines(api, 1)
  assert.deepEqual([line!.fields.status, line!.fields.route, line!.fields.actor], [499, '/v1/cases/:id', 'kim'])
  gate.resolve()
})

/** Words that stand in no log, wherever a request has them. */
const secret = 'Elm-Street-7'

onEachBackend('no content, no key and nothing of an address comes into the log', async (open) => {
  let isBroken = false
  const wrap = (core: Core): Core =>
    Object.assign(Object.create(core) as Core, {
      getSteps: (id: string) => (isBroken ? Promise.reject(new Error('no disk')) : core.getSteps(id)),
    })
  const plays = {
    first: () => {
      throw new Error(`${secret} is unknown`)
    },
  }
  await using api = await openApi(open, { ...desk(), plays, people, wrap })
  const body = { ...good, domain: 'gated', input: { address: secret } }
  const headers = { 'idempotency-key': secret, 'user-agent': secret, cookie: secret, referer: secret }
  const post = (path: string, sent: unknown, as: string) => api.ask('POST', path, { as, body: sent, headers })
  const { body: submitted } = await post('/v1/cases', body, 'kim')
  const id = submitted.instance_id as string
  await api.engine.core.waitFor(id)
  const { openTasks } = await api.engine.run({ domain: 'gated' })
  await post('/v1/cases', { ...body, [secret]: secret }, 'kim')
  await post('/v1/cases', `{"${secret}": ${secret}`, 'kim')
  await post('/v1/cases', { ...body, workflow: secret }, 'kim')
  await post('/v1/cases', { ...body, input: { other: secret } }, 'kim')
  await post(`/v1/cases/${id}/retry`, { reason: secret }, 'olga')
  await post(`/v1/cases/${id}/cancel`, { reason: secret }, 'olga')
  await post(`/v1/tasks/${openTasks[0]}/decision`, { decision: secret, reason: secret }, 'ann')
  await post(`/v1/tasks/${openTasks[0]}/decision`, { decision: 'deny', reason: secret }, 'ann')
  for (const path of [`/v1/cases/${id}`, `/v1/cases/${id}/export`, `/v1/cases/${secret}`, `/${secret}`]) {
    await api.ask('GET', path, { as: 'aude', headers })
    await api.ask('GET', `${path}?${secret}=${secret}`, { as: 'aude', headers })
  }
  await api.ask('GET', `/v1/cases?workflow=${secret}&cursor=${secret}`, { as: 'ann', headers })
  await api.ask('GET', '/v1/me', { key: secret })
  await api.ask('GET', '/v1/me', { as: 'ann', headers: { origin: `http://${secret}`, 'x-request-id': `${secret} a` } })
  isBroken = true
  const failed = await api.ask('GET', `/v1/cases/${id}/steps`, { as: 'ann' })

  assert.equal(failed.status, 500)
  const said = JSON.stringify(api.lines)
  assert.ok(api.lines.length > 18, String(api.lines.length))
  assert.ok(!said.includes(secret) && !said.toLowerCase().includes(secret.toLowerCase()))
  for (const name of Object.keys(people)) assert.ok(!said.includes(secretOf(name)), name)
  assert.doesNotMatch(said, /authorization|Bearer|cookie|idempotency/i)
})

onEachBackend('what nobody foresaw is told without its words, and logged with them', async (open) => {
  const wrap = (core: Core): Core =>
    Object.assign(Object.create(core) as Core, {
      listCases: () => Promise.reject(new TypeError('no such column: secret_column')),
    })
  await using api = await openApi(open, { ...desk(), people, wrap })

  const answer = await api.ask('GET', '/v1/cases', { as: 'ann', headers: { 'x-request-id': 'asked-1' } })

  checkProblem(answer, [500, 'CC_ERR_UNEXPECTED'])
  assert.doesNotMatch(answer.text, /column|TypeError|\.ts/)
  assert.match(answer.body.detail, /see the log for request asked-1/)
  const [line] = api.lines.filter(({ level }) => level === 'error')
  assert.deepEqual([line!.fields.request_id, line!.fields.code], ['asked-1', 'CC_ERR_UNEXPECTED'])
  assert.match(String(line!.fields.stack), /TypeError: no such column: secret_column\n.*service\.test\.ts/s)
})

/** What could act on the terminal of whoever reads it. */
const acting = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/

test('nothing in the log of a real service can act on a terminal, and it holds no secret', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk)
  const { url } = service
  // What a header can carry: anything from 0x20 on, as Latin-1.
  const hostile = ['\u009b2J', '\u0085', '\u007f', '%1b%5b2J', '%e2%80%ae', '%0a{"level":50}', '%c2%9b']
  for (const text of hostile) {
    for (const headers of [{ 'x-actor': `kim${text}` }, { 'x-request-id': text }, { host: text }, { origin: text }]) {
      await ask(url, 'GET', `/v1/cases/${encodeURIComponent(text)}?${secret}=1`, { headers }).catch(() => {})
      await ask(url, 'POST', '/v1/cases', { body: { ...good, input: { text: secret } }, headers }).catch(() => {})
    }
  }
  await speak(url, Buffer.from('GET /\u001b[2J\u009b HTTP/1.1\r\nHost: \u0007\r\n\r\n', 'latin1')).catch(() => {})
  await ask(url, 'GET', '/v1/me', { headers: { 'x-request-id': 'the-last' } })
  await eventually(() => service.texts().stderr.includes('the-last'), 'the line of the last request')

  const { stderr } = service.texts()

  assert.doesNotMatch(stderr, acting)
  assert.ok(!stderr.includes(secret))
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { readonly level: number })
  assert.ok(lines.length > hostile.length)
  assert.ok(!lines.some(({ level }) => level >= 50))
})

test('what a broken file of keys holds is shown in the log, and does not act there', async () => {
  await using desk = await openDesk()
  const file = join(desk.folder, 'keys.json')
  writeFileSync(file, '[]')
  await using service = await serve(desk, [], { CC_API_KEYS_FILE: file })
  writeFileSync(file, '[\u009b2J\u202e]')

  const asking = { key: 'cc_a', headers: { 'x-request-id': 'asked-1' } }
  assert.equal((await ask(service.url, 'GET', '/v1/me', asking)).status, 503)

  await eventually(() => service.texts().stderr.includes('"asked-1"'), 'the line of the request')
  const { stderr } = service.texts()
  assert.match(stderr, /found '\\u009b'/)
  assert.doesNotMatch(stderr, acting)
})

/** The value of a measure, by its name and labels as they are written. */
function valueOf(text: string, name: string): number {
  const line = text.split('\n').find((candidate) => candidate.startsWith(`${name} `))
  assert.ok(line, `${name} in ${text}`)
  return Number(line.slice(name.length + 1))
}

onEachBackend('measures count what happens, and can be read', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { engine } = api
  const measures = async () => await api.ask('GET', '/metrics', { as: 'olga' })
  const counted = async (name: string) => valueOf((await measures()).text, name)
  assert.equal(await counted('cc_cases_finished_total{outcome="completed"}'), 0)
  assert.equal(await counted('cc_cases_started_total'), 0)

  await engine.run()
  await engine.run()
  await engine.run({ input: { fails: 9 } })
  const { instanceId } = await engine.run({ domain: 'gated' })
  await engine.run({ domain: 'checked' })
  for (const path of [`/v1/cases/${instanceId}`, '/v1/cases/none', '/v1/cases/none', '/nothing', '/elsewhere']) {
    await api.ask('GET', path, { as: 'ann' })
  }
  const watching = await api.watch(`/v1/cases/${instanceId}/stream`, { as: 'ann' })

  const expected = {
    cc_cases_started_total: 5,
    'cc_cases_finished_total{outcome="completed"}': 3,
    'cc_cases_finished_total{outcome="failed"}': 1,
    cc_cases_held_total: 1,
    'cc_steps_total{status="completed"}': 8,
    'cc_steps_total{status="failed"}': 1,
    cc_stream_viewers: 1,
    'cc_http_request_seconds_count{method="GET",route="/v1/cases/:id",status="200"}': 1,
    'cc_http_request_seconds_count{method="GET",route="/v1/cases/:id",status="404"}': 2,
    'cc_http_request_seconds_count{method="GET",route="none",status="404"}': 2,
  }
  for (const [name, value] of Object.entries(expected)) assert.equal(await counted(name), value, name)
  watching.leave()
  await until(async () => (await counted('cc_stream_viewers')) === 0)
  const { text, headers } = await measures()
  assert.doesNotMatch(text, /\/stream"/, 'how long somebody watched is no time to answer')
  assert.match(String(headers['content-type']), /^text\/plain; version=0\.0\.4/)
  isExposition(text)
})

onEachBackend('an end that a person causes is counted as one that a worker does, and once', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { engine } = api
  const held = [await engine.run({ domain: 'gated' }), await engine.run({ domain: 'gated' })]
  const [approved, denied] = held.map(({ openTasks }) => openTasks[0]!)
  const canceled = await engine.run({ domain: 'gated' })

  for (const [taskId, decision] of [
    [approved, 'approve'],
    [denied, 'deny'],
    [approved, 'approve'],
  ] as const) {
    await api.ask('POST', `/v1/tasks/${taskId}/decision`, { as: 'ann', body: { decision, reason: 'seen' } })
  }
  for (let time = 0; time < 2; time++) {
    await api.ask('POST', `/v1/cases/${canceled.instanceId}/cancel`, { as: 'olga', body: { reason: 'twice' } })
  }

  const { text } = await api.ask('GET', '/metrics', { as: 'olga' })
  for (const outcome of ['completed', 'terminated', 'canceled']) {
    assert.equal(valueOf(text, `cc_cases_finished_total{outcome="${outcome}"}`), 1, outcome)
  }
})

/** Holds a text to the format that Prometheus reads. */
function isExposition(text: string): void {
  const sample =
    /^([a-z_][a-z0-9_]*)(\{[a-z_]+="[^"\\\n]*"(,[a-z_]+="[^"\\\n]*")*\})? (-?\d+(\.\d+)?(e[+-]?\d+)?|\+Inf|NaN)$/i
  const described = new Map<string, string>()
  const seen = new Set<string>()
  assert.ok(text.endsWith('\n'))
  for (const line of text.split('\n').filter(Boolean)) {
    const [, kind, about, rest = ''] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? []
    if (kind === 'TYPE') described.set(about!, rest)
    if (kind !== undefined) continue
    const [, name = ''] = sample.exec(line) ?? []
    assert.notEqual(name, '', line)
    assert.ok(described.has(name) || described.has(name.replace(/_(bucket|sum|count)$/, '')), line)
    const which = line.slice(0, line.lastIndexOf(' '))
    assert.ok(!seen.has(which), `${which} stands there twice`)
    seen.add(which)
  }
  for (const name of described.keys()) assert.match(name, /^(cc|nodejs|process)_/)
}

const settings = { host: '127.0.0.1', port: 0, defaultActor: 'olga', log: silentLog }

onEachBackend('a service without a store says that it is starting, and lives', async (open) => {
  await using api = await openApi(open, desk())
  const lines: Line[] = []
  const service = await startService({ ...settings, log: logInto(lines) })
  const get = (path: string) => ask(service.url, 'GET', path)
  try {
    for (const path of ['/v1/cases', '/v1/tasks', '/v1/me', '/v1/workflows']) {
      const answer = await get(path)
      checkProblem(answer, [503, 'CC_ERR_STARTING'])
      assert.equal(answer.headers['retry-after'], '1')
    }
    const ready = await get('/health/ready')
    assert.deepEqual([ready.status, ready.body.status, ready.headers['retry-after']], [503, 'starting', '1'])
    for (const path of ['/health/live', '/openapi.json', '/', '/metrics']) assert.equal((await get(path)).status, 200)

    service.serve(api.engine.core)

    assert.equal((await get('/v1/cases')).status, 200)
    const { status, backend, database_id: id } = (await get('/health/ready')).body
    assert.deepEqual([status, backend, id], ['ready', api.engine.core.backend, api.engine.core.databaseId])
  } finally {
    await service.close()
  }
})

onEachBackend('a store that cannot be read is not ready, and becomes so again', async (open) => {
  let isBroken = true
  const wrap = (core: Core): Core =>
    Object.assign(Object.create(core) as Core, {
      ping: () => (isBroken ? Promise.reject(new Error('no disk')) : core.ping()),
    })
  await using api = await openApi(open, { ...desk(), wrap })
  const { status, body } = await api.ask('GET', '/health/ready')
  assert.deepEqual([status, body.status], [503, 'unavailable'])
  const told = api.lines.filter(({ message }) => message === 'the store cannot be read')
  assert.deepEqual(
    told.map(({ level, fields }) => [level, fields.error]),
    [['error', 'Error: no disk']],
  )
  assert.equal((await api.ask('GET', '/health/live')).status, 200)

  isBroken = false

  assert.equal((await api.ask('GET', '/health/ready')).status, 200)
})

onEachBackend('a store that says nothing does not keep a probe waiting', async (open) => {
  const wrap = (core: Core): Core =>
    Object.assign(Object.create(core) as Core, { ping: () => new Promise<void>(() => {}) })
  await using api = await openApi(open, { ...desk(), wrap })
  const startedAt = performance.now()
  const { status, body } = await api.ask('GET', '/health/ready')
  const tookMs = performance.now() - startedAt

  assert.deepEqual([status, body.status], [503, 'unavailable'])
  assert.ok(tookMs > 1_500 && tookMs < 4_000, `${tookMs} ms`)
})

onEachBackend(
  'who leaves answers whoever was let in, lets go of them, ends streams, and frees the port',
  async (open) => {
    const reading = Promise.withResolvers<void>()
    const asked = Promise.withResolvers<void>()
    const wrap = (core: Core): Core =>
      Object.assign(Object.create(core) as Core, {
        async exportCase(id: string) {
          asked.resolve()
          await reading.promise
          return await core.exportCase(id)
        },
      })
    await using api = await openApi(open, { ...desk(), people, wrap })
    const { instanceId } = await api.engine.run({ domain: 'gated' })
    const streams = [
      await api.watch(`/v1/cases/${instanceId}/stream`, { as: 'kim' }),
      await api.watch('/v1/stream', { as: 'ann' }),
    ]
    const [me, health] = [await beginAgain(api, '/v1/me'), await beginAgain(api, '/health/ready')]
    const exporting = api.ask('GET', `/v1/cases/${instanceId}/export`, { as: 'aude' })
    await asked.promise
    let isClosed = false

    const closing = api.service.close().finally(() => (isClosed = true))
    await until(() => streams.every((stream) => stream.isOver()))
    const [answered, ready] = [await me.finish(), await health.finish()]
    await turns(50)
    assert.equal(isClosed, false, 'a request is under way')
    reading.resolve()
    const exported = await exporting
    await closing

    assert.match(answered, /^HTTP\/1\.1 200 .*"actor":"aude"/s)
    assert.match(ready, /^HTTP\/1\.1 503 .*"status":"draining"/s)
    for (const answer of [answered, ready]) assert.match(answer, /^connection: close\r$/im)
    assert.deepEqual([exported.status, exported.headers.connection], [200, 'close'])
    assert.ok(exported.body.format)
    assert.ok(streams.every(({ events }) => events.every(({ event }) => event !== 'end')))
    await assert.rejects(api.ask('GET', '/health/live'), { code: 'ECONNREFUSED' })
    const port = Number(new URL(api.url).port)
    await using next = await serviceOn(api.engine, { people, settings: { port } })
    assert.equal((await next.ask('GET', '/v1/me', { as: 'ann' })).status, 200)
  },
)

/** A connection that has been answered once, and that has sent the half of its next request. */
async function beginAgain(api: ApiFixture, path: string) {
  const socket = connect(Number(new URL(api.url).port), '127.0.0.1')
  let heard = ''
  socket.setEncoding('utf8').on('data', (text: string) => (heard += text))
  const hungUp = new Promise((resolve) => socket.once('close', resolve))
  socket.write('GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n')
  await until(() => heard.includes('"live"'))
  heard = ''
  socket.write(`GET ${path} HTTP/1.1\r\nHost: a\r\n`)
  await turns()
  return {
    finish: async () => {
      socket.write(`Authorization: Bearer ${secretOf('aude')}\r\n\r\n`)
      await hungUp
      return heard
    },
  }
}

onEachBackend('connections on which nothing was asked do not keep a service from leaving', async (open) => {
  await using api = await openApi(open, desk())
  const port = Number(new URL(api.url).port)
  const opened = (first: string) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(first))
    return { socket, closed: new Promise((resolve) => socket.once('close', resolve)) }
  }
  const silent = [opened(''), opened('POST /v1/cases HTTP/1.1\r\nHost: a\r\n')]
  await Promise.all(silent.map(({ socket }) => new Promise((resolve) => socket.once('connect', resolve))))
  await api.ask('GET', '/health/live')

  await api.service.close()

  await Promise.all(silent.map(({ closed }) => closed))
})

onEachBackend(
  'a request that does not come whole, and a viewer whose line is stuck, are waited for half a minute',
  async (open) => {
    const padded = (core: Core): Core =>
      Object.assign(Object.create(core) as Core, {
        async getAudit(...args: Parameters<Core['getAudit']>) {
          const events = await core.getAudit(...args)
          const facts = { pad: 'x'.repeat(4_000_000) }
          return events.map((event) => ({ ...event, envelope: JSON.stringify({ facts }) }))
        },
      })
    await using api = await openApi(open, { ...desk(), wrap: padded })
    const { instanceId } = await api.engine.run({ domain: 'gated' })
    const stuck = await api.watch(`/v1/cases/${instanceId}/stream`)
    stuck.pause()
    const half = connect(Number(new URL(api.url).port), '127.0.0.1')
    half.write(
      'POST /v1/cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{',
    )
    const hungUp = new Promise((resolve) => half.once('close', resolve))
    half.on('error', () => {}).resume()
    await until(() => api.lines.length === 0 && stuck.text().length > 0)
    // The last one to be heard of: the half of a request leaves no trace before it is whole.
    await api.ask('GET', '/health/live')
    let isClosed = false

    const closing = api.service.close().finally(() => (isClosed = true))

    await api.engine.clock.advance(29_999)
    await turns(50)
    assert.equal(isClosed, false)
    await api.engine.clock.advance(1)
    await closing
    await hungUp
    stuck.resume()
    await until(stuck.isOver)
  },
)

test('closing twice is closing once', async () => {
  const service = await startService(settings)

  await Promise.all([service.close(), service.close()])
  await service.close()

  await assert.rejects(ask(service.url, 'GET', '/health/live'), { code: 'ECONNREFUSED' })
})

test('a port that is taken is refused by name, and so is an address that is not ours', async () => {
  const first = await startService(settings)
  const port = Number(new URL(first.url).port)

  await assert.rejects(startService({ ...settings, port }), {
    code: 'CC_ERR_PORT',
    facts: { host: '127.0.0.1', port, why: 'another program listens there' },
  })
  await assert.rejects(startService({ ...settings, host: '192.0.2.1', keys: keysOf({}) }), {
    code: 'CC_ERR_PORT',
    facts: { host: '192.0.2.1', port: 0, why: 'this machine has no such address' },
  })

  assert.equal((await ask(first.url, 'GET', '/health/live')).status, 200)
  await first.close()
})

test('a service says where it is reached', async () => {
  for (const [host, name] of [
    ['127.0.0.1', '127.0.0.1'],
    ['localhost', 'localhost'],
    ['0.0.0.0', '127.0.0.1'],
  ] as const) {
    const service = await startService({ ...settings, host, keys: keysOf(people) })
    assert.match(service.url, new RegExp(`^http://${name}:\\d+$`))
    assert.equal((await ask(service.url, 'GET', '/health/live')).status, 200)
    await service.close()
  }
})

onEachBackend('who keeps cases moving hears how a case stands, and not what it is about', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const held = await api.engine.run({ domain: 'gated', input: { address: secret } })
  const failed = await api.engine.run({ input: { fails: 9, address: secret } })

  const canceled = await api.ask('POST', `/v1/cases/${held.instanceId}/cancel`, {
    as: 'olga',
    body: { reason: 'twice' },
  })
  const retried = await api.ask('POST', `/v1/cases/${failed.instanceId}/retry`, { as: 'olga' })

  assert.deepEqual([canceled.status, retried.status], [200, 200])
  for (const { body, text } of [canceled, retried]) {
    assert.deepEqual([body.outcome, body.proposed], [null, null])
    assert.ok(!text.includes('hotel') && !text.includes('broken') && !text.includes(secret))
  }
})
