import assert from 'node:assert/strict'
import { StepFailure } from '../../src/cognition/primitive.ts'
import { onEachBackend, until } from '../storage/fixture.ts'
import { applying, draftStep, governStep, openEngine, type Play, writing } from './fixture.ts'

const step = (name: string, settings: object = {}) => ({ name, primitive: 'play', ...settings })

onEachBackend('a straight workflow runs each step once, in order, and completes', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('first'), step('second'), step('third')],
    plays: { first: () => ({ said: 1 }), second: ({ context }) => ({ heard: context.outputs.get('first')!.output }) },
  })

  const view = await engine.run({ input: { case_id: 'A-1' } })

  assert.deepEqual([view.status, view.tier, view.path], ['completed', 'auto', ['first', 'second', 'third']])
  assert.deepEqual(engine.ran(), ['first#1.1', 'second#1.1', 'third#1.1'])
  assert.equal(engine.calls[0]!.caseId, 'A-1')
  assert.deepEqual(await engine.events(view.instanceId), [
    'case.submitted',
    'step.completed',
    'step.completed',
    'step.completed',
    'case.completed',
  ])
  const steps = await engine.core.getSteps(view.instanceId)
  assert.deepEqual(
    steps.map(({ stepNo, step, run, attempts, status }) => [stepNo, step, run, attempts, status]),
    [
      [1, 'first', 1, 1, 'completed'],
      [2, 'second', 1, 1, 'completed'],
      [3, 'third', 1, 1, 'completed'],
    ],
  )
  assert.deepEqual(steps[1]!.output, { heard: { said: 1 } })
  assert.equal((await engine.store.rowCounts()).work, 0)
  await engine.verify()
})

onEachBackend('the outcome is what the workflow proposed, once the case has completed', async (open) => {
  await using engine = await openEngine(open, {
    steps: [draftStep, governStep],
    answers: { draft: writing('Dear Sir'), decide: applying('auto') },
  })

  const { outcome, proposed } = await engine.run()

  assert.deepEqual(outcome, { artifact: 'Dear Sir', disposition: 'proceed' })
  assert.deepEqual(proposed, outcome)
})

const branching = [
  step('sort', { transitions: [{ when: "output.kind == 'odd'", goto: 'look_closer' }, { default: 'close' }] }),
  step('look_closer'),
  step('close'),
]

for (const [kind, path] of Object.entries({ odd: ['sort', 'look_closer', 'close'], even: ['sort', 'close'] })) {
  onEachBackend(`a branch goes where its condition says, and says why: ${kind}`, async (open) => {
    await using engine = await openEngine(open, { steps: branching, plays: { sort: () => ({ kind }) } })

    const view = await engine.run()

    assert.deepEqual(view.path, path)
    const [sorted] = await engine.core.getSteps(view.instanceId)
    assert.equal(sorted!.route.to, path[1])
    assert.equal(sorted!.route.by, kind === 'odd' ? 'when' : 'default')
    await engine.verify()
  })
}

const looping = [
  step('ask', {
    transitions: [{ when: 'output.enough == false', goto: 'ask' }, { default: 'close' }],
    max_loops: 3,
    loop_fallback: 'close',
  }),
  step('close'),
]

onEachBackend('a loop runs until its condition fails', async (open) => {
  await using engine = await openEngine(open, { steps: looping, plays: { ask: ({ run }) => ({ enough: run === 2 }) } })

  const view = await engine.run()

  assert.deepEqual(view.path, ['ask', 'ask', 'close'])
  assert.deepEqual([view.status, view.tier], ['completed', 'auto'])
  assert.deepEqual(engine.ran(), ['ask#1.1', 'ask#2.1', 'close#1.1'])
})

onEachBackend('a loop that runs out falls back, and a person looks at what comes of it', async (open) => {
  await using engine = await openEngine(open, { steps: looping, plays: { ask: () => ({ enough: false }) } })

  const view = await engine.run()

  assert.deepEqual(view.path, ['ask', 'ask', 'ask', 'close'])
  assert.deepEqual([view.status, view.tier], ['suspended', 'gate'])
  assert.equal(view.outcome, undefined)
  const task = await engine.core.getTask(view.openTasks[0]!)
  assert.match(task.because, /ask ran out of loops/)
  await engine.verify()
})

onEachBackend('a loop keeps its place and its count when another worker goes on', async (open) => {
  const gate = Promise.withResolvers<void>()
  const ask: Play = async ({ run }) => {
    if (run === 2) await gate.promise
    return { enough: false }
  }
  await using engine = await openEngine(open, { steps: looping, plays: { ask } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('ask#2.1')
  await using next = await engine.crash()
  gate.resolve()

  const view = await next.core.waitFor(instanceId)

  assert.deepEqual(view.path, ['ask', 'ask', 'ask', 'close'])
  assert.equal(view.tier, 'gate')
  await next.verify()
})

onEachBackend('a step that takes too long is ended, and its late answer goes nowhere', async (open) => {
  const late = Promise.withResolvers<object>()
  await using engine = await openEngine(open, {
    steps: [step('slow', { timeout_seconds: 5, retry: { max_attempts: 1 } })],
    plays: { slow: () => late.promise as Promise<Record<string, never>> },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('slow#1.1')
  await engine.clock.advance(4_999)
  assert.equal((await engine.core.getCase(instanceId)).status, 'running')

  await engine.clock.advance(1)

  const view = await engine.reach(instanceId, { status: 'failed' })
  assert.deepEqual(view.failure, { code: 'timeout', message: 'slow took longer than 5000 ms' })
  assert.equal(engine.calls[0]!.signal.aborted, true)
  late.resolve({})
  await engine.clock.advance(1_000)
  assert.deepEqual(await engine.events(instanceId), ['case.submitted', 'step.failed', 'case.failed'])
  await engine.verify()
})

onEachBackend('each step has its own time', async (open) => {
  const never: Play = () => new Promise<never>(() => {})
  await using engine = await openEngine(open, {
    steps: [
      step('first', { timeout_seconds: 1, retry: { max_attempts: 1 } }),
      step('second', { timeout_seconds: 100, retry: { max_attempts: 1 } }),
    ],
    plays: { second: never },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('second#1.1')

  await engine.clock.advance(50_000)
  assert.equal((await engine.core.getCase(instanceId)).status, 'running')
  await engine.clock.advance(50_000)

  await engine.reach(instanceId, { status: 'failed' })
})

onEachBackend(
  'what may pass is tried again after a pause that doubles, and each attempt is recorded with its reason',
  async (open) => {
    const moody: Play = ({ attempt }) => {
      if (attempt <= 2) throw new StepFailure('rate_limit', `too many, attempt ${attempt}`, { retryable: true })
      return { done: true }
    }
    await using engine = await openEngine(open, {
      steps: [step('moody', { retry: { max_attempts: 5, backoff_seconds: 10, max_backoff_seconds: 60 } })],
      plays: { moody },
    })
    const { instanceId } = await engine.submit()
    const startedAtMs = engine.clock.nowMs()
    await engine.reach(instanceId, { work: 'sleeping' })

    await engine.clock.advance(4_999)
    assert.deepEqual(engine.ran(), ['moody#1.1'])
    await engine.clock.advance(5_001)
    assert.deepEqual(engine.ran(), ['moody#1.1', 'moody#1.2'])
    await engine.clock.advance(20_000)

    const view = await engine.reach(instanceId, { status: 'completed' })
    assert.deepEqual(engine.ran(), ['moody#1.1', 'moody#1.2', 'moody#1.3'])
    const [recorded] = await engine.core.getSteps(instanceId)
    assert.deepEqual([recorded!.attempts, recorded!.run, recorded!.status], [3, 1, 'completed'])
    const retries = await engine.envelopes(instanceId, 'step.retried')
    assert.deepEqual(
      retries.map(({ facts }) => [facts!.run, facts!.attempt, facts!.error]),
      [
        [1, 1, 'rate_limit'],
        [1, 2, 'rate_limit'],
      ],
    )
    const [first, second] = retries.map(({ at, facts }) => (facts!.due_ms as number) - at)
    assert.ok(first! >= 5_000 && first! <= 10_000, `${first}`)
    assert.ok(second! >= 10_000 && second! <= 20_000, `${second}`)
    assert.equal(retries[0]!.at, startedAtMs)
    assert.equal(retries[0]!.payload!.kind, 'error')
    const [reason] = await engine.store.sql<{ text: string }>(
      `select text from payloads where payload_id = $1`,
      retries[0]!.payload!.id,
    )
    assert.deepEqual(JSON.parse(reason!.text), { code: 'rate_limit', message: 'too many, attempt 1' })
    assert.equal(view.tier, 'auto')
    await engine.verify()
  },
)

onEachBackend('the pause between attempts is bounded', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('moody', { retry: { max_attempts: 8, backoff_seconds: 10, max_backoff_seconds: 15 } })],
    plays: { moody: () => Promise.reject(new Error('no')) },
  })
  const { instanceId } = await engine.submit()
  await engine.reach(instanceId, { work: 'sleeping' })

  await engine.clock.advance(7 * 15_000)

  await engine.reach(instanceId, { status: 'failed' })
  for (const { at, facts } of await engine.envelopes(instanceId, 'step.retried')) {
    assert.ok((facts!.due_ms as number) - at <= 15_000)
  }
})

onEachBackend('a step whose attempts are used up fails with the last reason', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('moody', { retry: { max_attempts: 2, backoff_seconds: 1 } }), step('never')],
    plays: { moody: ({ attempt }) => Promise.reject(new Error(`broken ${attempt}`)) },
  })
  const { instanceId } = await engine.submit()
  await engine.reach(instanceId, { work: 'sleeping' })
  await engine.clock.advance(1_000)

  const view = await engine.reach(instanceId, { status: 'failed' })

  assert.deepEqual(view.failure, { code: 'primitive_error', message: 'broken 2' })
  assert.deepEqual(view.path, ['moody'])
  assert.equal(view.outcome, undefined)
  const [failed] = await engine.core.getSteps(instanceId)
  assert.deepEqual([failed!.status, failed!.attempts, failed!.errorCode], ['failed', 2, 'primitive_error'])
  assert.deepEqual(await engine.events(instanceId), ['case.submitted', 'step.retried', 'step.failed', 'case.failed'])
  await engine.verify()
})

onEachBackend('what cannot pass is not tried again', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('broken')],
    plays: {
      broken: () => {
        throw new StepFailure('missing_params', 'nothing to work with', { retryable: false })
      },
    },
  })

  const view = await engine.run()

  assert.deepEqual([view.status, engine.ran()], ['failed', ['broken#1.1']])
})

onEachBackend('retry goes on at the step that failed, as a new run of it, and the case completes', async (open) => {
  let isBroken = true
  await using engine = await openEngine(open, {
    steps: [step('first'), step('weak', { retry: { max_attempts: 1 } }), step('last')],
    plays: {
      weak: () => {
        if (isBroken) throw new Error('not today')
        return { fine: true }
      },
    },
  })
  const { instanceId } = await engine.run()
  isBroken = false
  await engine.clock.advance(1_000)

  await engine.core.retry({ instanceId, actor: 'olga' })

  const view = await engine.core.waitFor(instanceId)
  assert.equal(view.status, 'completed')
  assert.deepEqual(engine.ran(), ['first#1.1', 'weak#1.1', 'weak#2.1', 'last#1.1'])
  assert.deepEqual(view.path, ['first', 'weak', 'weak', 'last'])
  assert.equal(view.failure, undefined)
  const [retried] = await engine.envelopes(instanceId, 'case.retried')
  assert.deepEqual([retried!.actor, retried!.step, retried!.facts], ['olga', 'weak', { run: 2 }])
  await engine.verify()
})

onEachBackend('only a failed case can be retried', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate' })
  const { instanceId } = await engine.run()
  await engine.clock.advance(1_000)
  const before = await engine.core.getAudit(instanceId)

  await assert.rejects(engine.core.retry({ instanceId, actor: 'olga' }), { code: 'CC_ERR_NOT_RETRYABLE' })
  await assert.rejects(engine.core.retry({ instanceId: 'nothing', actor: 'olga' }), { code: 'CC_ERR_UNKNOWN_CASE' })

  assert.deepEqual(await engine.core.getAudit(instanceId), before)
})

onEachBackend('a govern step that fails holds the case for a person, with what there is', async (open) => {
  await using engine = await openEngine(open, {
    governance: null,
    steps: [draftStep, { ...governStep, retry: { max_attempts: 1 } }],
    answers: { draft: writing('Dear Sir'), decide: { nonsense: true } },
  })

  const view = await engine.run()

  assert.deepEqual([view.status, view.tier], ['suspended', 'gate'])
  assert.deepEqual(view.proposed, { artifact: 'Dear Sir' })
  assert.equal(view.outcome, undefined)
  assert.equal(view.openTasks.length, 1)
  assert.deepEqual(await engine.events(view.instanceId), [
    'case.submitted',
    'step.completed',
    'step.failed',
    'case.held',
    'task.opened',
  ])
  await engine.verify()
})

onEachBackend('a workflow without a govern step and without a floor is held for a person', async (open) => {
  await using engine = await openEngine(open, { governance: null })

  const { status, tier } = await engine.run()

  assert.deepEqual([status, tier], ['suspended', 'gate'])
})

for (const [floor, applied, tier] of [
  ['auto', 'hold', 'hold'],
  ['gate', 'auto', 'gate'],
  [null, 'spot_check', 'spot_check'],
  [null, 'auto', 'auto'],
] as const) {
  onEachBackend(`a floor of ${floor} and a govern step that applies ${applied} make ${tier}`, async (open) => {
    await using engine = await openEngine(open, {
      governance: floor,
      steps: [governStep],
      answers: { decide: applying(applied) },
    })

    const view = await engine.run()

    assert.equal(view.tier, tier)
    assert.equal(view.status, tier === 'gate' || tier === 'hold' ? 'suspended' : 'completed')
  })
}

onEachBackend('a confidence below its floor sends the case to a person, in a queue of its own', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('unsure'), step('sure')],
    plays: { unsure: () => ({ confidence: 0.4 }), sure: () => ({ confidence: 0.95 }) },
    config: { quality_gates: { min_confidence: 0.6, escalation_tier: 'gate', escalation_queue: 'second_look' } },
  })

  const view = await engine.run()

  assert.deepEqual([view.status, view.tier], ['suspended', 'gate'])
  const { queue, because } = await engine.core.getTask(view.openTasks[0]!)
  assert.equal(queue, 'second_look')
  assert.match(because, /unsure confidence 0\.4 < 0\.6/)
})

onEachBackend('a spot check completes at once, and a reviewer looks at a sample of them', async (open) => {
  const config = (sample_rate: number) => ({ governance_tiers: { spot_check: { sample_rate, queue: 'quality' } } })
  await using all = await openEngine(open, { governance: 'spot_check', config: config(1) })
  await using none = await openEngine(open, { governance: 'spot_check', config: config(0) })

  const [checked, unchecked] = [await all.run(), await none.run()]

  assert.deepEqual([checked.status, checked.tier, checked.openTasks.length], ['completed', 'spot_check', 1])
  assert.equal((await all.core.getTask(checked.openTasks[0]!)).queue, 'quality')
  assert.deepEqual([unchecked.status, unchecked.tier, unchecked.openTasks.length], ['completed', 'spot_check', 0])
  await all.verify()
})

onEachBackend(
  'an outside effect is announced before it is tried, with one key for every attempt of a run',
  async (open) => {
    const seen: string[][] = []
    const pay: Play = async ({ instanceId, attempt, idempotencyKey }) => {
      seen.push([...(await engine.events(instanceId)), idempotencyKey])
      if (attempt === 1) throw new Error('the bank is closed')
      return { paid: true }
    }
    await using engine = await openEngine(open, {
      steps: [step('pay', { external_effect: true, retry: { max_attempts: 2, backoff_seconds: 1 } })],
      plays: { pay },
    })
    const { instanceId } = await engine.submit()
    await engine.reach(instanceId, { work: 'sleeping' })
    await engine.clock.advance(1_000)
    await engine.reach(instanceId, { status: 'completed' })

    const key = `${instanceId}/pay/1`
    assert.deepEqual(seen, [
      ['case.submitted', 'step.intended', key],
      ['case.submitted', 'step.intended', 'step.retried', 'step.intended', key],
    ])
    const intents = await engine.envelopes(instanceId, 'step.intended')
    assert.deepEqual(
      intents.map(({ facts }) => facts),
      [
        { run: 1, attempt: 1, key },
        { run: 1, attempt: 2, key },
      ],
    )
    await engine.verify()
  },
)

onEachBackend('an outside effect that nobody heard the end of stays visibly in doubt', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('pay', { external_effect: true })],
    plays: { pay: () => new Promise<never>(() => {}) },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('pay#1.1')
  await using next = await engine.crash({ ...engine.options, plays: {}, isStarted: false })
  assert.equal((await next.core.getCase(instanceId)).inDoubt, 'pay')

  next.core.start()
  assert.equal((await next.core.waitFor(instanceId)).inDoubt, undefined)

  assert.deepEqual(await next.events(instanceId), [
    'case.submitted',
    'step.intended',
    'step.intended',
    'step.completed',
    'case.completed',
  ])
  assert.equal(next.calls[0]!.idempotencyKey, engine.calls[0]!.idempotencyKey)
  await next.verify()
})

/** What a program's own primitive may give back that is no result. */
const noResults: Readonly<Record<string, unknown>> = {
  nothing: undefined,
  null: null,
  'a text': 'done',
  'a result without an output': {},
  'an output that is a text': { output: 'done' },
  'an output that is a list': { output: [1] },
  'an output with NaN': { output: { a: Number.NaN } },
  'an output with NUL': { output: { a: 'x\0' } },
  'an output with a function': { output: { a: () => 1 } },
  'an output with a date': { output: { a: new Date(0) } },
  'a model that is no name': { output: {}, model: { name: 'm' } },
  'a model with a very long name': { output: {}, model: 'm'.repeat(100_000) },
  'tokens that are not counted': { output: {}, inputTokens: 1.5 },
  'tokens below nothing': { output: {}, outputTokens: -1 },
}

for (const [what, result] of Object.entries(noResults)) {
  onEachBackend(`a primitive that returns ${what} fails its step`, async (open) => {
    const odd = {
      name: 'odd',
      needsModel: false,
      requiredParams: [],
      defaultParams: {},
      run: () => Promise.resolve(result as never),
    }
    await using engine = await openEngine(open, {
      steps: [{ name: 'odd', primitive: 'odd' }],
      core: { primitives: [odd] },
    })
    const { instanceId } = await engine.submit()

    const view = await engine.reach(instanceId, { status: 'failed' })

    assert.equal(view.failure!.code, 'primitive_error')
    assert.deepEqual(engine.complaints, [])
    await engine.verify()
  })
}

/** What a primitive may throw. */
const thrown: Readonly<Record<string, unknown>> = {
  'an error': new Error('broken'),
  'a text': 'broken',
  nothing: undefined,
  'an error with NUL in its message': new Error('bro\0ken'),
  'an error with half a character in its message': new Error('broken \ud800'),
  'an error of a megabyte': new Error('x'.repeat(2 ** 20)),
}

for (const [what, error] of Object.entries(thrown)) {
  onEachBackend(`a primitive that throws ${what} fails its step`, async (open) => {
    await using engine = await openEngine(open, {
      steps: [step('broken', { retry: { max_attempts: 1 } })],
      plays: {
        broken: () => {
          throw error
        },
      },
    })

    const view = await engine.run()

    assert.deepEqual([view.status, view.failure!.code], ['failed', 'primitive_error'])
    await engine.verify()
  })
}

onEachBackend('an instance that goes round without an end is stopped', async (open) => {
  await using engine = await openEngine(open, {
    steps: [step('round', { transitions: [{ default: 'round' }] })],
    parts: { maxSteps: 20 },
  })

  const view = await engine.run()

  assert.deepEqual([view.status, view.failure!.code, view.path.length], ['failed', 'step_budget', 20])
  await engine.verify()
})

onEachBackend('steps of many cases run at the same time, up to the number that was set', async (open) => {
  let running = 0
  let most = 0
  const wait: Play = async () => {
    most = Math.max(most, ++running)
    await new Promise((resolve) => setImmediate(resolve))
    running -= 1
    return {}
  }
  await using engine = await openEngine(open, { core: { workerConcurrency: 3 }, plays: { first: wait } })

  const submitted = await Promise.all(Array.from({ length: 12 }, () => engine.submit()))
  for (const { instanceId } of submitted) await engine.core.waitFor(instanceId)

  assert.equal(most, 3)
  await engine.verify()
})

onEachBackend('a case that this program cannot run is left alone, and runs where it can be run', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  await using unable = await engine.crash({ core: { primitives: [], packs: [] } })
  await unable.clock.advance(60_000)

  const { work } = await unable.core.getCase(instanceId)
  assert.equal(work, 'ready')
  assert.deepEqual(await unable.events(instanceId), ['case.submitted'])
  assert.equal(unable.complaints.length, 1)
  await assert.rejects(unable.core.waitFor(instanceId), { code: 'CC_ERR_NO_PRIMITIVE' })

  await using able = await unable.crash({ ...engine.options, isStarted: true })
  assert.equal((await able.core.waitFor(instanceId)).status, 'completed')
  await able.verify()
})

onEachBackend('cases that this program cannot run keep nobody else waiting', async (open) => {
  await using engine = await openEngine(open, { isStarted: false, steps: [{ name: 'first', primitive: 'play' }] })
  for (let index = 0; index < 6; index++) await engine.submit({ priority: 5 })
  await using other = await engine.crash({
    steps: [{ name: 'thinks', primitive: 'generate', params: { requirements: 'a letter', constraints: 'none' } }],
    answers: { thinks: writing('Dear Sir') },
    core: { primitives: [], workerConcurrency: 2 },
    isStarted: true,
  })

  const view = await other.run()

  assert.equal(view.status, 'completed')
})

onEachBackend('a case whose pinned definition was changed in the store does not move', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  await using next = await engine.crash({ isStarted: false })
  await next.store.sql(`update definitions set text = replace(text, '"auto"', '"gate"')`)

  next.core.start()
  await until(() => next.complaints.length > 0)
  await next.clock.advance(60_000)

  assert.match(next.complaints[0]!, /definition .* is gone or was changed/)
  assert.equal(next.complaints.length, 1)
  assert.deepEqual([next.ran(), await next.events(instanceId)], [[], ['case.submitted']])
  assert.equal((await next.core.verify()).valid, false)
})
