import assert from 'node:assert/strict'
import { once } from 'node:events'
import { test } from 'node:test'
import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import { openModel } from '../../src/cognition/models.ts'
import { StepFailure, type StepFailureCode } from '../../src/cognition/primitive.ts'
import { Turnstile } from '../../src/cognition/providers/turnstile.ts'
import type { ProviderSettings } from '../../src/config.ts'
import {
  completing,
  cutting,
  dripping,
  dropping,
  hanging,
  type ModelServer,
  modelServer,
  type Play,
  replying,
} from './model-server.ts'

/** Real client code against a server of our own; each test makes one call and looks at both ends of it. */

const key = 'sk-never-to-be-read'

async function openOn(server: ModelServer, settings: ProviderSettings = {}): Promise<Model> {
  const providers = { compatible: { baseUrl: server.url, ...settings } }
  return await openModel('compatible/test', { providers, env: { CC_MODEL_API_KEY: key } })
}

function request(overrides: Partial<ModelRequest> = {}): ModelRequest {
  return {
    address: { case: 'A-1', step: 'sort', primitive: 'classify', call: 'main', run: 1, attempt: 1 },
    alias: undefined,
    temperature: undefined,
    instructions: 'Sort it.',
    prompt: 'the case',
    schema: { type: 'object' },
    signal: new AbortController().signal,
    ...overrides,
  }
}

async function failureOf(answer: Promise<unknown>): Promise<StepFailure> {
  const error = await answer.then(
    () => assert.fail('it was answered'),
    (error: unknown) => error,
  )
  assert.ok(error instanceof StepFailure, String(error))
  return error
}

const answered = { model: 'compatible/test-model-2026-01-05', inputTokens: 120, outputTokens: 30 }
const toolCall = { id: 't', type: 'function', function: { name: 'decide', arguments: '{"category":"a"}' } }
const ok = completing('{"category":"a"}')
const notText: Play = (response) =>
  void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(Buffer.of(0xff))

type Fault = readonly [
  name: string,
  play: Play,
  code: StepFailureCode,
  isRetryable: boolean,
  says: RegExp,
  spent?: object,
]

const faults: readonly Fault[] = [
  ['429', replying({ error: { message: 'slow down' } }, 429), 'rate_limit', true, /answered HTTP 429: slow down/],
  ['500', replying({ error: { message: 'oops' } }, 500), 'outage', true, /answered HTTP 500: oops/],
  ['503 of a proxy', replying('<h1>Unavailable</h1>', 503), 'outage', true, /answered HTTP 503/],
  ['529', replying({ error: { message: 'overloaded' } }, 529), 'outage', true, /answered HTTP 529/],
  [
    '401',
    replying({ error: { message: `no such key: ${key}` } }, 401),
    'rejected',
    false,
    /HTTP 401: no such key: \*\*\*$/,
  ],
  ['404', replying({ error: { message: 'no such model' } }, 404), 'rejected', false, /answered HTTP 404/],
  ['a redirection', replying('', 307, { location: 'http://127.0.0.1:9/' }), 'rejected', false, /answered HTTP 307/],
  ['a cut connection', cutting, 'outage', true, /broke off its answer/],
  ['a dropped connection', dropping, 'outage', true, /could not be reached/],
  ['an HTML page', replying('<html>Sign in</html>'), 'unparseable', true, /sent no answer/],
  ['garbage', replying({ hello: 'world' }), 'unparseable', true, /sent no answer/],
  ['a body that is no text', notText, 'unparseable', true, /cannot be read: it is not UTF-8/],
  [
    'a refusal',
    completing({ content: null, refusal: 'I will not.' }),
    'refusal',
    false,
    /refused to answer: I will not\./,
    answered,
  ],
  ['a filter', completing({ content: '{"a', finish: 'content_filter' }), 'refusal', false, /refused/, answered],
  [
    'a prompt that a filter stopped',
    replying({ error: { message: 'x', code: 'content_filter' } }, 400),
    'refusal',
    false,
    /HTTP 400/,
  ],
  [
    'truncation',
    completing({ content: '{"category":"a"}', finish: 'length' }),
    'truncation',
    false,
    /ran out of tokens/,
    answered,
  ],
  [
    'a tool call',
    completing({ content: null, tool_calls: [toolCall], finish: 'tool_calls' }),
    'unparseable',
    true,
    /called a tool/,
    answered,
  ],
]

for (const stream of [false, true]) {
  const how = stream ? 'streaming' : 'whole'

  test(`${how}: an answer comes with the version that gave it and what it cost`, async () => {
    await using server = await modelServer(ok)
    const model = await openOn(server, { stream })

    assert.deepEqual(await model.answer(request()), { text: '{"category":"a"}', ...answered })
    const [call] = server.calls
    assert.equal(call!.path, '/v1/chat/completions')
    assert.equal(call!.headers.authorization, `Bearer ${key}`)
    assert.equal(call!.body.temperature, 0.1)
    assert.deepEqual(call!.body.messages, [
      { role: 'system', content: 'Sort it.' },
      { role: 'user', content: 'the case' },
    ])
  })

  for (const [name, play, code, isRetryable, says, spent = {}] of faults) {
    test(`${how}: ${name} is ${code}, met in one call`, async () => {
      await using server = await modelServer(play, ok)
      const model = await openOn(server, { stream })
      const startedAt = performance.now()

      const failure = await failureOf(model.answer(request()))

      assert.deepEqual([failure.code, failure.retryable, failure.spent], [code, isRetryable, spent])
      assert.match(failure.message, says)
      assert.match(failure.message, /^compatible\/test |^the response/)
      assert.ok(!failure.message.includes(key))
      assert.equal(server.calls.length, 1, 'who asks again is the engine')
      assert.ok(performance.now() - startedAt < 3000)
      assert.equal((await model.answer(request())).text, '{"category":"a"}', 'and the next call is answered')
    })
  }

  for (const [name, play] of Object.entries({ hanging, dripping })) {
    test(`${how}: the signal ends a call to a ${name} server, at the server too`, async () => {
      await using server = await modelServer(play)
      const model = await openOn(server, { stream, concurrency: 1 })
      const controller = new AbortController()
      const answer = model.answer(request({ signal: controller.signal }))
      const heard = answer.catch((error: unknown) => error)
      while (server.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
      const startedAt = performance.now()

      controller.abort(new Error('time is up'))

      await heard
      await server.calls[0]!.closed
      assert.ok(performance.now() - startedAt < 2000)
      await assert.rejects(answer)
      server.play(ok)
      assert.equal((await model.answer(request())).text, '{"category":"a"}', 'its place is free again')
    })
  }

  test(`${how}: an answer without end is not kept in memory`, async () => {
    const endless: Play = async (response, { closed }) => {
      response.writeHead(200, { 'content-type': stream ? 'text/event-stream' : 'application/json' })
      const piece = stream ? `: ${'x'.repeat(1_000_000)}\n\n` : 'x'.repeat(1_000_000)
      while (!response.destroyed) {
        if (!response.write(piece)) await Promise.race([once(response, 'drain'), closed])
      }
    }
    await using server = await modelServer(endless)
    const model = await openOn(server, { stream })

    const failure = await failureOf(model.answer(request()))

    assert.deepEqual([failure.code, failure.retryable], ['unparseable', true])
    assert.match(failure.message, /longer than 33554432 bytes/)
    await server.calls[0]!.closed
  })
}

const pauses = [
  [{ 'retry-after': '7' }, 7000],
  [{ 'retry-after-ms': '250', 'retry-after': '7' }, 250],
  [{ date: 'Mon, 05 Jan 2026 09:00:00 GMT', 'retry-after': 'Mon, 05 Jan 2026 09:02:00 GMT' }, 120_000],
  [{ date: 'Mon, 05 Jan 2026 09:00:00 GMT', 'retry-after': 'Mon, 05 Jan 2026 08:00:00 GMT' }, undefined],
  [{ 'retry-after': 'soon' }, undefined],
  [{ 'retry-after': '-5' }, undefined],
  [{}, undefined],
] as const

test('how long a provider asks to be left alone is passed on, in each way of saying so', async () => {
  await using server = await modelServer()
  const model = await openOn(server)
  for (const [headers, expected] of pauses) {
    for (const status of [429, 503]) {
      server.play(replying({}, status, headers as Record<string, string>))
      const { retryAfterMs } = await failureOf(model.answer(request()))
      assert.equal(retryAfterMs, expected, JSON.stringify(headers))
    }
  }
})

test('a provider that is not there is an outage', async () => {
  const server = await modelServer()
  const model = await openOn(server)
  await server[Symbol.asyncDispose]()

  const failure = await failureOf(model.answer(request()))

  assert.deepEqual([failure.code, failure.retryable], ['outage', true])
  assert.match(failure.message, /could not be reached/)
})

test('an error in the middle of a stream is what it says it is', async () => {
  await using server = await modelServer()
  const model = await openOn(server, { stream: true })
  const breaking =
    (error: object): Play =>
    (response) =>
      void response
        .writeHead(200, { 'content-type': 'text/event-stream' })
        .end(`data: ${JSON.stringify({ error })}\n\n`)

  server.play(breaking({ message: 'too many', code: 'rate_limit_exceeded' }))
  assert.equal((await failureOf(model.answer(request()))).code, 'rate_limit')
  server.play(breaking({ message: 'the engine is overloaded', type: 'server_error' }))
  const failure = await failureOf(model.answer(request()))
  assert.deepEqual([failure.code, failure.retryable], ['outage', true])
  assert.match(failure.message, /broke off its answer: the engine is overloaded/)
})

test('what is configured of a provider reaches it', async () => {
  await using server = await modelServer(ok)
  const model = await openOn(server, { maxOutputTokens: 900, jsonSchema: false })

  await model.answer(request({ temperature: 0.7, schema: { type: 'object', title: 'the schema' } }))

  const { body } = server.calls[0]!
  assert.deepEqual([body.max_tokens, body.temperature], [900, 0.7])
  assert.deepEqual(body.response_format, { type: 'json_object' })
  const [{ content }] = body.messages as [{ content: string }]
  assert.ok(
    content.startsWith('Sort it.') && content.includes('"title":"the schema"'),
    'it is asked to keep to the schema',
  )
})

test('a version that is no name is not recorded; the one that was asked for is', async () => {
  await using server = await modelServer()
  const model = await openOn(server)
  for (const name of ['', 'x'.repeat(201), 'half \ud800']) {
    server.play(replying({ model: name, choices: [{ message: { content: '{}' }, finish_reason: 'stop' }] }))
    assert.deepEqual(await model.answer(request()), { text: '{}', model: 'compatible/test' })
  }
})

test('no more calls are under way than the provider takes, and who came first is first served', async () => {
  await using server = await modelServer()
  const held: (() => void)[] = []
  server.play(async (response, received) => {
    await new Promise<void>((resolve) => held.push(resolve))
    await ok(response, received)
  })
  const model = await openOn(server, { concurrency: 2 })
  const order: number[] = []
  const ask = async (number: number, signal?: AbortSignal) => {
    await model.answer(request({ prompt: String(number), ...(signal && { signal }) }))
    order.push(number)
  }
  const impatient = new AbortController()
  const asked = [0, 1, 2, 3, 4].map((number) => ask(number, number === 3 ? impatient.signal : undefined))
  const gaveUp = assert.rejects(asked[3]!, /enough/)
  const reach = async (count: number) => {
    while (server.calls.length < count || held.length === 0) await new Promise((resolve) => setTimeout(resolve, 2))
  }

  await reach(2)
  impatient.abort(new Error('enough'))
  await gaveUp
  assert.equal(server.calls.length, 2)
  for (const count of [2, 3, 4, 4]) {
    await reach(count)
    held.shift()!()
    await new Promise((resolve) => setTimeout(resolve, 30))
  }

  await Promise.all(asked.filter((_, number) => number !== 3))
  assert.deepEqual(order, [0, 1, 2, 4])
  const prompts = server.calls.map(({ body }) => (body.messages as { content: string }[])[1]!.content)
  assert.deepEqual(prompts.slice(2), ['2', '4'], 'one that gave up while it waited was never made')
})

test('who finds too many waiting is told so at once, and may come back', async () => {
  const turnstile = new Turnstile('openai', { limit: 1, maxWaiting: 1 })
  const { signal } = new AbortController()
  const gate = Promise.withResolvers<void>()
  const inside = turnstile.pass(signal, () => gate.promise)
  const waiting = turnstile.pass(signal, () => Promise.resolve('second'))

  const failure = await failureOf(turnstile.pass(signal, () => Promise.resolve('third')))
  assert.deepEqual([failure.code, failure.retryable], ['rate_limit', true])

  gate.resolve()
  await inside
  assert.equal(await waiting, 'second')
  assert.equal(await turnstile.pass(signal, () => Promise.resolve('again')), 'again')
  await assert.rejects(
    turnstile.pass(AbortSignal.abort(new Error('late')), () => Promise.resolve()),
    /late/,
  )
})
