import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { ModelRequest } from '../../src/cognition/model.ts'
import type { PackObjects } from '../../src/cognition/pack.ts'
import type { ModelSettings } from '../../src/config.ts'
import type { Envelope } from '../../src/domain/chain.ts'
import type { CaseView, Core, StepView } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'
import { CoreError } from '../../src/errors.ts'
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
} from '../cognition/model-server.ts'

/**
 * Whole cases through the real client: what a model does wrong at one step, how often it was called for it, how the case
 * ended, and what stands in the record. Nothing here may end `completed`.
 */

const sorted = { confidence: 0.9, reasoning: 'plain', category: 'odd' }
const governed = {
  confidence: 0.9,
  reasoning: 'plain',
  tier_applied: 'auto',
  tier_rationale: 'plain',
  disposition: 'proceed',
}
const sorting = completing(JSON.stringify(sorted))
const governing = completing(JSON.stringify(governed))

const pause = { backoff_seconds: 0.02, max_backoff_seconds: 0.05 }
const steps = [
  {
    name: 'sort',
    primitive: 'classify',
    params: { categories: 'odd, even', criteria: 'look', context: 'the case: ${input.said}' },
    timeout_seconds: 0.5,
    retry: { max_attempts: 2, ...pause },
  },
  {
    name: 'decide',
    primitive: 'govern',
    params: { workflow_state: '${sort.category}', governance_context: 'auto', context: 'none' },
    timeout_seconds: 0.5,
    retry: { max_attempts: 2, ...pause },
  },
]

function packOf(workflow: readonly object[]): PackObjects {
  return {
    name: 'test',
    workflows: [{ name: 'review', steps: workflow }],
    domains: [{ domain_name: 'plain' }],
    config: {},
  }
}

interface World extends AsyncDisposable {
  readonly core: Core
  readonly server: ModelServer
  /** Submits a case, and says how it came to rest. */
  run(): Promise<Story>
}

interface Story {
  readonly view: CaseView
  readonly steps: readonly StepView[]
  readonly events: readonly Envelope[]
  readonly calls: number
  readonly elapsedMs: number
}

async function openWorld(
  plays: readonly Play[],
  own: Partial<ModelSettings> = {},
  workflow: readonly object[] = steps,
): Promise<World> {
  const server = await modelServer(...plays)
  const dir = await mkdtemp(join(tmpdir(), 'models-'))
  const core = await openCore({
    path: join(dir, 'cases.db'),
    packs: [packOf(workflow)],
    model: 'compatible/test',
    models: { aliases: {}, ...own, providers: { compatible: { baseUrl: server.url, ...own.providers?.compatible } } },
  })
  core.start()
  return {
    core,
    server,
    async run() {
      const before = server.calls.length
      const startedAt = performance.now()
      const request = { workflow: 'review', domain: 'plain', input: { case_id: 'A-1', said: 'hello' }, actor: 'kim' }
      const { instanceId } = await core.submit(request)
      const view = await core.waitFor(instanceId, { timeoutMs: 20_000 })
      const elapsedMs = performance.now() - startedAt
      const report = await core.verify({ instanceId })
      assert.deepEqual([report.valid, report.findings], [true, []])
      return {
        view,
        steps: await core.getSteps(instanceId),
        events: (await core.getAudit(instanceId)).map(({ envelope }) => JSON.parse(envelope) as Envelope),
        calls: server.calls.length - before,
        elapsedMs,
      }
    },
    async [Symbol.asyncDispose]() {
      await core.close()
      await server[Symbol.asyncDispose]()
      await rm(dir, { recursive: true, force: true })
    },
  }
}

const by = 'compatible/test-model-2026-01-05'
const cost = [by, 120, 30] as const
const free = [undefined, undefined, undefined] as const

type Fault = readonly [
  name: string,
  play: Play,
  code: string,
  /** How often the step is tried: what may pass, twice; what will not, once. */
  attempts: 1 | 2,
  recorded: readonly [model: string | undefined, inputTokens: number | undefined, outputTokens: number | undefined],
  mostMs?: number,
]

const toolCall = { id: 't', type: 'function', function: { name: 'sort', arguments: JSON.stringify(sorted) } }
const huge = JSON.stringify({ ...sorted, reasoning: 'x'.repeat(1_100_000) })

const faults: readonly Fault[] = [
  ['a hanging server', hanging, 'timeout', 2, free, 5000],
  ['a server that drips', dripping, 'timeout', 2, free, 5000],
  ['429', replying({ error: { message: 'slow down' } }, 429), 'rate_limit', 2, free],
  ['500', replying({ error: { message: 'oops' } }, 500), 'outage', 2, free],
  ['a cut connection', cutting, 'outage', 2, free],
  ['a dropped connection', dropping, 'outage', 2, free],
  ['an HTML page', replying('<html>Sign in</html>'), 'unparseable', 2, free],
  ['garbage', replying({ hello: 'world' }), 'unparseable', 2, free],
  ['401', replying({ error: { message: 'bad key' } }, 401), 'rejected', 1, free],
  ['a refusal', completing({ content: null, refusal: 'I will not.' }), 'refusal', 1, cost],
  ['truncation', completing({ content: JSON.stringify(sorted), finish: 'length' }), 'truncation', 1, cost],
  ['prose', completing('I would rather not say.'), 'unparseable', 2, cost],
  ['an empty answer', completing(''), 'unparseable', 2, cost],
  ['broken JSON', completing('{"confidence": 0.9, "reasoning": "C:\\docs"}'), 'unparseable', 2, cost],
  [
    'another shape',
    completing('{"confidence": "high", "reasoning": "r", "tier_applied": 7}'),
    'schema_mismatch',
    2,
    cost,
  ],
  ['a tool call', completing({ content: null, tool_calls: [toolCall], finish: 'tool_calls' }), 'unparseable', 2, cost],
  ['a huge answer', completing(huge), 'unparseable', 2, cost, 8000],
]

for (const stream of [false, true]) {
  const how = stream ? 'streaming' : 'whole'
  const own = { providers: { compatible: { stream } } }

  for (const [name, play, code, attempts, recorded, mostMs = 3000] of faults) {
    test(`${how}: ${name} at a step fails the case as ${code}, after ${attempts} calls, and is on record`, async () => {
      await using world = await openWorld([play], own)

      const { view, steps, events, calls, elapsedMs } = await world.run()

      assert.deepEqual([view.status, view.failure?.code, view.outcome], ['failed', code, undefined])
      assert.equal(calls, attempts, 'each attempt is one call')
      assert.ok(elapsedMs < mostMs, `${elapsedMs} ms`)
      const [step] = steps
      assert.deepEqual([step!.status, step!.errorCode, step!.attempts], ['failed', code, attempts])
      assert.deepEqual([step!.model, step!.inputTokens, step!.outputTokens], recorded)
      const retried = events.filter(({ type }) => type === 'step.retried')
      assert.equal(retried.length, attempts - 1)
      for (const { facts, model } of retried) {
        assert.deepEqual([facts!.error, model, facts!.input_tokens, facts!.output_tokens], [code, ...recorded])
      }
      const ending = events.slice(-2).map(({ type, facts }) => [type, facts?.error])
      assert.deepEqual(ending, [
        ['step.failed', code],
        ['case.failed', code],
      ])
      for (const { closed } of world.server.calls) await closed
    })

    test(`${how}: ${name} at the govern step ends at a gate, and a person is asked`, async () => {
      await using world = await openWorld([sorting, play], own)

      const { view, steps, events, calls } = await world.run()

      assert.deepEqual([view.status, view.tier, view.outcome], ['suspended', 'gate', undefined])
      assert.equal(view.openTasks.length, 1)
      assert.match((await world.core.getTask(view.openTasks[0]!)).because, /decide failed/)
      assert.equal(calls, 1 + attempts)
      assert.deepEqual(
        steps.map(({ step, status, errorCode }) => [step, status, errorCode]),
        [
          ['sort', 'completed', undefined],
          ['decide', 'failed', code],
        ],
      )
      assert.deepEqual(
        events.slice(-2).map(({ type }) => type),
        ['case.held', 'task.opened'],
      )
    })

    if (attempts === 1) continue
    test(`${how}: ${name} that passes leaves a case that completes, with both attempts on record`, async () => {
      await using world = await openWorld([play, sorting, governing], own)

      const { view, steps, events, calls } = await world.run()

      assert.deepEqual([view.status, view.tier], ['completed', 'auto'])
      assert.equal(calls, 3)
      assert.deepEqual(
        steps.map(({ attempts, model, inputTokens, outputTokens }) => [attempts, model, inputTokens, outputTokens]),
        [
          [2, ...cost],
          [1, ...cost],
        ],
      )
      assert.deepEqual(
        events.map(({ type, model }) => [type, model]),
        [
          ['case.submitted', undefined],
          ['step.retried', recorded[0]],
          ['step.completed', by],
          ['step.completed', by],
          ['case.completed', undefined],
        ],
      )
    })
  }
}

test('a provider that asks to be left alone is left alone for as long', async () => {
  await using world = await openWorld([replying({}, 429, { 'retry-after': '1' }), sorting, governing])

  const { view, events, elapsedMs } = await world.run()

  assert.equal(view.status, 'completed')
  assert.ok(elapsedMs >= 1000 && elapsedMs < 8000, `${elapsedMs} ms`)
  const [retried] = events.filter(({ type }) => type === 'step.retried')
  const waitMs = Number(retried!.facts!.due_ms) - retried!.at
  assert.ok(waitMs >= 1000 && waitMs <= 1250, `${waitMs} ms, spread beyond what was asked for`)
})

test('a provider that asks for a day is asked again within a quarter of an hour', async () => {
  await using world = await openWorld([replying({}, 503, { 'retry-after': '86400' })])
  const request = { workflow: 'review', domain: 'plain', input: {}, actor: 'kim' }
  const { instanceId } = await world.core.submit(request)
  while ((await world.core.getCase(instanceId)).work !== 'sleeping')
    await new Promise((resolve) => setTimeout(resolve, 5))

  const envelopes = (await world.core.getAudit(instanceId)).map(({ envelope }) => JSON.parse(envelope) as Envelope)
  const { facts, at } = envelopes.find(({ type }) => type === 'step.retried')!
  const waitMs = Number(facts!.due_ms) - at
  assert.ok(waitMs >= 900_000 && waitMs <= 1_125_000, `${waitMs} ms`)
})

test('the end of a step ends its call: the server sees the connection go', async () => {
  await using world = await openWorld([hanging])
  const story = world.run()
  while (world.server.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))
  const startedAt = performance.now()

  await world.server.calls[0]!.closed

  assert.ok(performance.now() - startedAt < 2000)
  assert.equal((await story).view.failure?.code, 'timeout')
})

test('a process that leaves ends its calls, and nothing is recorded of them', async () => {
  const slow = steps.map((step) => ({ ...step, timeout_seconds: 300 }))
  await using world = await openWorld([hanging], {}, slow)
  const { instanceId } = await world.core.submit({ workflow: 'review', domain: 'plain', input: {}, actor: 'kim' })
  while (world.server.calls.length === 0) await new Promise((resolve) => setTimeout(resolve, 5))

  await world.core.drain({ patienceMs: 50 })

  await world.server.calls[0]!.closed
  assert.deepEqual((await world.core.getSteps(instanceId)).length, 0)
  assert.equal((await world.core.getCase(instanceId)).status, 'running')
})

test('each step is answered by the model that it names, and says so on its checkpoint', async () => {
  const named: Play = (response, received) =>
    replying({
      model: `${String(received.body.model)}-7`,
      choices: [
        {
          message: { content: JSON.stringify(received.body.model === 'small' ? sorted : governed) },
          finish_reason: 'stop',
        },
      ],
    })(response, received)
  const workflow = [
    { ...steps[0]!, model: 'fast', temperature: 0.5 },
    { ...steps[1]!, model: 'compatible/careful' },
  ]
  await using world = await openWorld([named], { aliases: { fast: 'compatible/small' } }, workflow)

  const { view, steps: run } = await world.run()

  assert.equal(view.status, 'completed')
  assert.deepEqual(
    run.map(({ model }) => model),
    ['compatible/small-7', 'compatible/careful-7'],
  )
  assert.deepEqual(
    world.server.calls.map(({ body }) => body.temperature),
    [0.5, 0.1],
  )
})

test('a model that a step names and nobody can call is refused when the store is opened', async () => {
  const packs = [packOf([{ ...steps[0]!, model: 'nobody/nothing' }, steps[1]!])]
  const models = { aliases: {}, providers: { compatible: { baseUrl: 'http://127.0.0.1:9/v1' } } }
  const path = join(tmpdir(), 'never-made.db')
  const opening = openCore({ path, packs, model: 'compatible/test', models })
  await assert.rejects(opening, { code: 'CC_ERR_UNKNOWN_MODEL', exit: 1 })
  assert.ok(!existsSync(path), 'before the store is touched')
})

test('an attempt that fails at its second question has paid for the first one too', async () => {
  const workflow = [
    {
      name: 'gather',
      primitive: 'retrieve',
      params: { specification: 'everything', strategy: 'agentic' },
      retry: { max_attempts: 1 },
    },
    steps[1]!,
  ]
  await using world = await openWorld([completing('{"sources": ["said"]}'), completing('no idea')], {}, workflow)

  const { view, steps: run, calls } = await world.run()

  assert.deepEqual([view.status, view.failure?.code, calls], ['failed', 'unparseable', 2])
  assert.deepEqual([run[0]!.model, run[0]!.inputTokens, run[0]!.outputTokens], [by, 240, 60])
})

test('a case whose model this process cannot call waits for one that can', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'models-'))
  const path = join(dir, 'cases.db')
  const packs = [packOf([{ ...steps[0]!, model: 'strange' }, steps[1]!])]
  const model = (prepare: () => Promise<void>) => ({
    name: 'test/real',
    simulated: false,
    prepare,
    answer: ({ address }: ModelRequest) =>
      Promise.resolve({ text: JSON.stringify(address.step === 'sort' ? sorted : governed), model: 'real-1' }),
  })
  const refuse = () => Promise.reject(new CoreError('CC_ERR_MODEL_KEY', { spec: 'strange/x', variable: 'STRANGE_KEY' }))
  try {
    const able = await openCore({ path, packs, model: model(() => Promise.resolve()) })
    const { instanceId } = await able.submit({ workflow: 'review', domain: 'plain', input: {}, actor: 'kim' })
    await able.close()

    const unable = await openCore({ path, model: model(refuse) })
    unable.start()
    await assert.rejects(unable.waitFor(instanceId, { timeoutMs: 10_000 }), { code: 'CC_ERR_MODEL_KEY' })
    await unable.drain()
    assert.deepEqual(
      [(await unable.getCase(instanceId)).status, (await unable.getSteps(instanceId)).length],
      ['running', 0],
    )
    await unable.close()

    const again = await openCore({ path, model: model(() => Promise.resolve()) })
    again.start()
    assert.equal((await again.waitFor(instanceId, { timeoutMs: 10_000 })).status, 'completed')
    await again.close()
  } finally {
    await rm(dir, { recursive: true, force: true })
  }
})
