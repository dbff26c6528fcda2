import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { chooseRoute } from '../../src/cognition/routing.ts'
import type { RunContext } from '../../src/cognition/run-context.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { endOfWorkflow, type Route, type Step, type Transition } from '../../src/domain/workflow.ts'
import { routedStep, runSoFar } from './run-so-far.ts'

const nothing = runSoFar({})
const steps = ['first', 'second', 'third'].map((name) => routedStep(name))

/** The route from `second`, whose neighbours are `first` and `third`. */
function routeFrom(
  routing: Partial<Step>,
  { output = {}, run = 1, context = nothing }: { output?: JsonObject; run?: number; context?: RunContext } = {},
): Route {
  const step = routedStep('second', routing)
  return chooseRoute(step, output, run, context, [steps[0]!, step, steps[2]!])
}

test('without transitions a step goes to the next one, and the last one to the end', () => {
  assert.deepEqual(routeFrom({}), { to: 'third', by: 'sequence' })
  assert.deepEqual(chooseRoute(steps[2]!, {}, 1, nothing, steps), { to: endOfWorkflow, by: 'sequence' })
})

test('with only a default the loop bound has no effect', () => {
  const routing = { transitions: [{ default: 'first' }], maxLoops: 1, loopFallback: 'third' }
  assert.deepEqual(routeFrom(routing, { run: 7 }), { to: 'first', by: 'default' })
})

test('the first condition that holds decides, wherever the default stands', () => {
  const transitions: Transition[] = [
    { default: 'first' },
    { when: 'output.n > 5', goto: 'third' },
    { when: 'output.n > 3', goto: endOfWorkflow },
  ]
  assert.deepEqual(routeFrom({ transitions }, { output: { n: 9 } }), {
    to: 'third',
    by: 'when',
    condition: 'output.n > 5',
  })
  assert.deepEqual(routeFrom({ transitions }, { output: { n: 4 } }), {
    to: endOfWorkflow,
    by: 'when',
    condition: 'output.n > 3',
  })
  assert.deepEqual(routeFrom({ transitions }, { output: { n: 1 } }), { to: 'first', by: 'default' })
})

test('when no condition holds and there is no default, the next step follows', () => {
  const transitions = [{ when: 'output.n > 5', goto: 'first' }]
  assert.deepEqual(routeFrom({ transitions }, { output: { n: 1 } }), { to: 'third', by: 'sequence' })
})

test('at the loop bound the fallback comes before a condition that holds', () => {
  const transitions: Transition[] = [{ when: 'output.good == true', goto: 'third' }, { default: 'first' }]
  const output = { good: true }
  const bounded = { transitions, maxLoops: 3, loopFallback: 'first' }
  assert.equal(routeFrom(bounded, { output, run: 2 }).by, 'when')
  assert.deepEqual(routeFrom(bounded, { output, run: 3 }), { to: 'first', by: 'loop_fallback' })
  assert.deepEqual(routeFrom({ transitions, maxLoops: 3 }, { output, run: 4 }), {
    to: endOfWorkflow,
    by: 'loop_fallback',
  })
})

test('the loop bound comes before a choice of the model too', () => {
  const agentDecide = { prompt: 'where', options: [{ step: 'first', description: '' }] }
  const routing = { transitions: [{ agentDecide }], maxLoops: 2, loopFallback: 'third' }
  assert.deepEqual(routeFrom(routing, { run: 2 }), { to: 'third', by: 'loop_fallback' })
  const output = { _route: { chosen_step: 'first' } }
  assert.deepEqual(routeFrom(routing, { output }), { to: 'first', by: 'agent' })
  assert.deepEqual(routeFrom(routing), { to: 'first', by: 'agent_fallback' })
})

test('conditions see the case, other steps, this run and how often the step ran', () => {
  const context = runSoFar({ amount: 250, _expected: 'gate' }, [
    { step: 'first', output: { confidence: 0.9 } },
    { step: 'second', output: { n: 'of the run before' } },
  ])
  const holds = (when: string) =>
    routeFrom({ transitions: [{ when, goto: 'first' }] }, { output: { n: 'of this run' }, run: 2, context }).by ===
    'when'
  assert.ok(holds('first.confidence >= 0.85'))
  assert.ok(holds('_loop_count == 2'))
  assert.ok(holds('input.amount > 100'))
  assert.ok(holds("output.n == 'of this run'"))
  assert.ok(holds("second.n == 'of this run'"))
  assert.ok(!holds('input._expected == gate'))
})

test('a step that was skipped opens no way, and the record says what was missing', () => {
  const transitions: Transition[] = [
    { when: 'not (third.ok == true)', goto: 'first' },
    { when: 'output.gone != 1 or third.ok == true', goto: 'first' },
    { default: 'third' },
  ]
  assert.deepEqual(routeFrom({ transitions }), { to: 'third', by: 'default', missing: ['third.ok', 'output.gone'] })
})

test('what was missing before the condition that held is recorded with it', () => {
  const transitions = ['third.ok == true', 'output.n == 1', 'output.gone == 1'].map((when) => ({ when, goto: 'first' }))
  assert.deepEqual(routeFrom({ transitions }, { output: { n: 1 } }), {
    to: 'first',
    by: 'when',
    condition: 'output.n == 1',
    missing: ['third.ok'],
  })
})

test('an output that is no object at all opens no way and breaks nothing', () => {
  const transitions = [{ when: 'output.n == 1', goto: 'first' }]
  const output = undefined as unknown as JsonObject
  assert.deepEqual(routeFrom({ transitions }, { output }), { to: 'third', by: 'sequence', missing: ['output.n'] })
})

test('more conditions than are kept parsed are all evaluated rightly, again and again', () => {
  for (let round = 0; round < 2; round++) {
    for (let n = 0; n < 1100; n++) {
      const route = routeFrom({ transitions: [{ when: `output.n == ${n}`, goto: 'first' }] }, { output: { n } })
      assert.equal(route.to, 'first')
    }
  }
})

// --- property -------------------------------------------------------------------------------------------------------

const settings = { seed: 20260101, numRuns: 1000 }
const target = fc.constantFrom('first', 'second', 'third', endOfWorkflow)
const routing = fc.record({
  /** Conditions that are plainly true, false or about something missing, so that the rules need no evaluator. */
  whens: fc.array(fc.tuple(fc.constantFrom('output.n == 1', 'output.n == 2', 'third.n != 1'), target), {
    maxLength: 4,
  }),
  byDefault: fc.option(target, { nil: undefined }),
  defaultFirst: fc.boolean(),
  maxLoops: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
  loopFallback: fc.option(target, { nil: undefined }),
  run: fc.integer({ min: 1, max: 5 }),
})

/** The rules of the pack language in their order, one after the other. */
function goesByTheRules(choose: typeof chooseRoute) {
  return fc.property(routing, ({ whens, byDefault, defaultFirst, maxLoops, loopFallback, run }) => {
    const conditional = whens.map(([when, goto]) => ({ when, goto }))
    const fallback = byDefault === undefined ? [] : [{ default: byDefault }]
    const transitions = defaultFirst ? [...fallback, ...conditional] : [...conditional, ...fallback]
    const step = routedStep('second', { transitions, maxLoops, loopFallback })
    const list = [steps[0]!, step, steps[2]!]
    const route = choose(step, { n: 1 }, run, nothing, list)

    assert.ok([...list.map(({ name }) => name), endOfWorkflow].includes(route.to))
    const held = whens.find(([when]) => when === 'output.n == 1')
    const expected =
      whens.length > 0 && maxLoops !== undefined && run >= maxLoops
        ? ['loop_fallback', loopFallback ?? endOfWorkflow]
        : held
          ? ['when', held[1]]
          : byDefault !== undefined
            ? ['default', byDefault]
            : ['sequence', 'third']
    assert.deepEqual([route.by, route.to], expected)
    const lookedAt = held ? whens.slice(0, whens.indexOf(held)) : whens
    const missing = route.by !== 'loop_fallback' && lookedAt.some(([when]) => when === 'third.n != 1')
    assert.deepEqual(route.missing, missing ? ['third.n'] : undefined)
  })
}

test('every route goes by the rules, in their order, to a step there is or to the end', () => {
  fc.assert(goesByTheRules(chooseRoute), settings)
})

test('a router that ignores max_loops, takes the last condition that holds, or loses its way would be caught', () => {
  const faulty: readonly (typeof chooseRoute)[] = [
    (step, output, run, context, list) => chooseRoute({ ...step, maxLoops: undefined }, output, run, context, list),
    (step, output, run, context, list) =>
      chooseRoute({ ...step, transitions: step.transitions.toReversed() }, output, run, context, list),
    (step, output, run, context, list) => chooseRoute(step, output, run + 1, context, list),
    (step, output, run, context) => chooseRoute(step, output, run, context, []),
  ]
  for (const choose of faulty) assert.throws(() => fc.assert(goesByTheRules(choose), settings), /Property failed/)
})
