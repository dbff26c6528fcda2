import assert from 'node:assert/strict'
import { test } from 'node:test'
import { thenDecide } from '../../src/cognition/agent-decide.ts'
import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import { type Primitive, type StepCall, StepFailure, type StepFailureCode } from '../../src/cognition/primitive.ts'
import { chooseRoute } from '../../src/cognition/routing.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Step, Transition } from '../../src/domain/workflow.ts'
import { routedStep, runSoFar } from './run-so-far.ts'
import { stepCall } from './step-call.ts'

const agentDecide = {
  prompt: 'Found: ${look.finding}; before that: ${look_before.note}; ${previous.finding}; run ${_loop_count}',
  options: [
    { step: 'weigh', description: 'it is clear' },
    { step: 'look', description: 'it is not' },
  ],
}

function looking(routing: Partial<Step> = {}): Step {
  return routedStep('look', { transitions: [{ agentDecide }], ...routing })
}

const primitive: Primitive = {
  name: 'custom',
  needsModel: false,
  requiredParams: [],
  defaultParams: {},
  run: () => Promise.resolve({ output: { finding: 'a stain' }, model: 'first', inputTokens: 10, outputTokens: 2 }),
}

/** A model that gives this answer, or fails so, and keeps what it was asked. */
function model(answer: string | StepFailureCode, asked: ModelRequest[] = []): Model {
  return {
    name: 'test',
    simulated: true,
    answer: (request) => {
      asked.push(request)
      if (!answer.startsWith('{')) {
        return Promise.reject(new StepFailure(answer as StepFailureCode, 'scripted', { retryable: true }))
      }
      return Promise.resolve({ text: answer, model: 'second', inputTokens: 5, outputTokens: 1 })
    },
  }
}

function call(step: Step, more: Partial<StepCall>): StepCall {
  const context = runSoFar({ case_id: 'A-1' }, [
    { step: 'look', output: { finding: 'of the run before', _route: { chosen_step: 'look' } } },
    { step: 'look_before', output: { note: 'a note' } },
  ])
  return { ...stepCall('custom', {}), step, context, run: 2, ...more }
}

/** Where the step goes from there. */
function routeOf(step: Step, output: JsonObject, { run, context }: StepCall) {
  return chooseRoute(step, output, run, context, [looking(), routedStep('weigh')])
}

test('the model is asked once, after the step, and what it chooses is the way', async () => {
  const asked: ModelRequest[] = []
  const answer = '{"chosen_step": " look ", "reasoning": "unclear still"}'
  const made = call(looking(), { model: model(answer, asked) })
  const { output, ...spent } = await thenDecide(primitive).run(made)

  assert.deepEqual(output, { finding: 'a stain', _route: { chosen_step: 'look', reasoning: 'unclear still' } })
  assert.deepEqual(spent, { model: 'first', inputTokens: 15, outputTokens: 3 })
  assert.deepEqual(routeOf(made.step, output, made), { to: 'look', by: 'agent' })
  const [{ address, prompt }] = asked as [ModelRequest]
  assert.deepEqual(address, { case: 'A-1', step: 'look', primitive: 'custom', call: 'route', run: 2, attempt: 1 })
  assert.match(prompt, /Found: a stain; before that: a note; a stain; run 2/)
  assert.match(prompt, /- weigh: it is clear\n- look: it is not/)
  assert.doesNotMatch(prompt, /_route|of the run before/)
})

const noChoices = [
  ['{"chosen_step": "decide"}', 'schema_mismatch'],
  ['{"reasoning": "no idea"}', 'schema_mismatch'],
  ['{"chosen_step": "weigh', 'unparseable'],
  ['refusal', 'refusal'],
  ['truncation', 'truncation'],
] as const
for (const [answer, code] of noChoices) {
  test(`${answer} is no choice: the first option is taken, and the route says that it fell back`, async () => {
    const made = call(looking(), { model: model(answer) })
    const { output } = await thenDecide(primitive).run(made)

    assert.deepEqual(output._route, { chosen_step: 'weigh', fell_back: code })
    assert.deepEqual(routeOf(made.step, output, made), { to: 'weigh', by: 'agent_fallback' })
  })
}

for (const code of ['timeout', 'outage', 'rate_limit', 'no_script_entry'] as const) {
  test(`a model that does not answer (${code}) fails the attempt: nobody has chosen`, async () => {
    const made = call(looking(), { model: model(code) })
    await assert.rejects(thenDecide(primitive).run(made), { code })
  })
}

test('the model is not asked where the rules before it decide', async () => {
  const held: Transition = { when: "output.finding == 'a stain'", goto: 'weigh' }
  const steps: readonly [Step, string][] = [
    [looking({ transitions: [{ agentDecide }, held] }), 'when'],
    [looking({ maxLoops: 2, loopFallback: 'weigh' }), 'loop_fallback'],
    [looking({ transitions: [{ default: 'weigh' }] }), 'default'],
    [looking({ transitions: [] }), 'sequence'],
  ]
  for (const [step, by] of steps) {
    const asked: ModelRequest[] = []
    const made = call(step, { model: model('{}', asked) })
    const { output } = await thenDecide(primitive).run(made)
    assert.deepEqual(asked, [], by)
    assert.equal(routeOf(step, output, made).by, by)
  }
})

test('a condition that does not hold leaves the way to the model, and a default beside it is never reached', async () => {
  const transitions: Transition[] = [{ when: 'output.gone == 1', goto: 'look' }, { agentDecide }, { default: 'look' }]
  const made = call(looking({ transitions }), { model: model('{"chosen_step": "weigh"}') })
  const { output } = await thenDecide(primitive).run(made)

  assert.deepEqual(routeOf(made.step, output, made), { to: 'weigh', by: 'agent', missing: ['output.gone'] })
})

test('a step cannot choose its own way by what it answers', async () => {
  const forging: Primitive = {
    ...primitive,
    run: () => Promise.resolve({ output: { _route: { chosen_step: 'look' } } }),
  }
  const made = call(looking(), { model: model('{"chosen_step": "weigh"}') })
  const { output } = await thenDecide(forging).run(made)

  assert.equal(routeOf(made.step, output, made).to, 'weigh')
})

test('an attempt that is over asks nothing any more', async () => {
  const asked: ModelRequest[] = []
  const made = call(looking(), { model: model('{}', asked), signal: AbortSignal.abort(new Error('over')) })
  await assert.rejects(thenDecide(primitive).run(made), /over/)
  assert.deepEqual(asked, [])
})
