import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Model } from '../../src/cognition/model.ts'
import { backends } from '../storage/fixture.ts'
import { openEngine } from './fixture.ts'

const steps = [
  {
    name: 'look',
    primitive: 'play',
    max_loops: 4,
    transitions: [
      {
        agent_decide: {
          prompt: 'Look again?',
          options: [
            { step: 'look', description: 'again' },
            { step: 'done', description: 'enough' },
          ],
        },
      },
    ],
  },
  { name: 'done', primitive: 'play' },
]

/** A model whose choices, run by run, are these texts. */
function choosing(...answers: readonly string[]): Model {
  return {
    name: 'test/real',
    simulated: false,
    answer: ({ address }) => Promise.resolve({ text: answers[address.run - 1]!, model: 'real-1' }),
  }
}

const again = '{"chosen_step": "look"}'
const enough = '{"chosen_step": "done", "reasoning": "seen"}'

for (const { name, open } of backends) {
  test(`${name}: the way that the model chooses is gone, recorded with its reasons, and raises nothing`, async () => {
    await using engine = await openEngine(open, { steps, core: { model: choosing(again, enough) } })
    const view = await engine.run()

    assert.deepEqual(view.path, ['look', 'look', 'done'])
    assert.equal(view.status, 'completed')
    const recorded = await engine.core.getSteps(view.instanceId)
    assert.deepEqual(
      recorded.map(({ route }) => [route.to, route.by]),
      [
        ['look', 'agent'],
        ['done', 'agent'],
        ['__end__', 'sequence'],
      ],
    )
    assert.deepEqual(recorded[1]!.output, { done: true, _route: { chosen_step: 'done', reasoning: 'seen' } })
    await engine.verify()
  })

  test(`${name}: a way that was taken because no choice was valid brings the case before a person`, async () => {
    await using engine = await openEngine(open, { steps, core: { model: choosing('nonsense', enough) } })
    const view = await engine.run()

    // A later valid choice of the same step does not make the earlier fallback undone.
    assert.deepEqual(view.path, ['look', 'look', 'done'])
    assert.equal(view.status, 'suspended')
    assert.equal(view.tier, 'gate')
    assert.deepEqual(
      view.tierContributions.filter(({ source }) => source === 'fallback'),
      [{ source: 'fallback', tier: 'gate', because: 'look had no valid choice of the next step' }],
    )
    const [first, second] = await engine.core.getSteps(view.instanceId)
    assert.deepEqual(first!.route, { to: 'look', by: 'agent_fallback' })
    assert.deepEqual(second!.route, { to: 'done', by: 'agent', earlier: 'agent_fallback' })
    await engine.verify()
  })

  test(`${name}: the fallback counts also for an engine that takes the case over afterwards`, async () => {
    const core = { model: choosing('nonsense', enough) }
    const never = () => new Promise<never>(() => {})
    await using first = await openEngine(open, { steps, core, plays: { done: never } })
    const { instanceId } = await first.submit()
    await first.reachCall('done#1.1')
    await using second = await first.crash({ steps, core })
    const view = await second.core.waitFor(instanceId)

    assert.equal(view.tier, 'gate')
    assert.equal(view.status, 'suspended')
  })

  test(`${name}: a workflow that leaves a way to the model needs one`, async () => {
    await using engine = await openEngine(open, { steps })
    await assert.rejects(engine.submit(), { code: 'CC_ERR_NO_MODEL' })
  })
}
