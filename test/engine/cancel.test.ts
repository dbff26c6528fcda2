import assert from 'node:assert/strict'
import { onEachBackend } from '../storage/fixture.ts'
import { openEngine, type Play } from './fixture.ts'

const why = { actor: 'olga', reason: 'submitted twice' }

/** A step that goes on when the test says so. */
function gated() {
  const gate = Promise.withResolvers<void>()
  const wait: Play = async () => {
    await gate.promise
    return { done: true }
  }
  return { open: () => gate.resolve(), wait }
}

onEachBackend('a case that waits for a worker is canceled at once and never runs', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()

  const view = await engine.core.cancel({ instanceId, ...why })

  assert.equal(view.status, 'canceled')
  assert.equal(view.endedAtMs, engine.clock.nowMs())
  assert.deepEqual(await engine.events(instanceId), ['case.submitted', 'cancel.requested', 'case.canceled'])
  engine.core.start()
  await engine.clock.advance(10_000)
  assert.deepEqual(engine.ran(), [])
  await engine.verify()
})

onEachBackend('who canceled is recorded, and why is content', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()

  await engine.core.cancel({ instanceId, ...why })

  const [requested] = await engine.envelopes(instanceId, 'cancel.requested')
  assert.deepEqual([requested!.actor, requested!.payload!.kind], ['olga', 'reason'])
  const [payload] = await engine.store.sql<{ text: string }>(
    'select text from payloads where payload_id = $1',
    requested!.payload!.id,
  )
  assert.deepEqual(JSON.parse(payload!.text), { reason: 'submitted twice' })
})

onEachBackend('a case that sleeps until its next attempt is canceled at once and does not wake', async (open) => {
  await using engine = await openEngine(open, { plays: { first: () => Promise.reject(new Error('not yet')) } })
  const { instanceId } = await engine.submit()
  await engine.reach(instanceId, { work: 'sleeping' })

  const view = await engine.core.cancel({ instanceId, ...why })

  assert.equal(view.status, 'canceled')
  await engine.clock.advance(60_000)
  assert.deepEqual(engine.ran(), ['first#1.1'])
  await engine.verify()
})

onEachBackend('a held case is canceled at once, and its task is withdrawn', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate' })
  const { instanceId, openTasks } = await engine.run()
  const taskId = openTasks[0]!

  const view = await engine.core.cancel({ instanceId, ...why })

  assert.deepEqual([view.status, view.openTasks], ['canceled', []])
  assert.equal((await engine.core.getTask(taskId)).status, 'withdrawn')
  assert.deepEqual((await engine.core.listTasks()).items, [])
  const late = { taskId, decision: 'approve', reason: 'fine', actor: 'ann' }
  await assert.rejects(engine.core.decide(late), { code: 'CC_ERR_WITHDRAWN', facts: { taskId, instanceId } })
  await assert.rejects(engine.core.claimTask({ taskId, actor: 'ann' }), { code: 'CC_ERR_WITHDRAWN' })
  await engine.verify()
})

onEachBackend('a step under way is recorded, and then the case is canceled', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, {
    steps: [
      { name: 'first', primitive: 'play' },
      { name: 'second', primitive: 'play' },
    ],
    plays: { first: wait },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')

  const view = await engine.core.cancel({ instanceId, ...why })
  assert.deepEqual([view.status, view.work], ['running', 'claimed'])
  goOn()

  const ended = await engine.reach(instanceId, { status: 'canceled' })
  assert.deepEqual(ended.path, ['first'])
  assert.equal(ended.outcome, undefined)
  assert.deepEqual(engine.ran(), ['first#1.1'])
  assert.deepEqual(await engine.events(instanceId), [
    'case.submitted',
    'cancel.requested',
    'step.completed',
    'case.canceled',
  ])
  await engine.verify()
})

/** Ways for the step under way to end; none of them saves the case. */
const endings: Readonly<Record<string, { readonly options: object; readonly events: readonly string[] }>> = {
  'was the last one': { options: { governance: 'gate' }, events: ['step.completed'] },
  fails: {
    options: { steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 1 } }], isFailing: true },
    events: ['step.failed'],
  },
  'would be tried again': { options: { isFailing: true }, events: [] },
}

for (const [what, { options, events }] of Object.entries(endings)) {
  onEachBackend(`a case is canceled also when the step under way ${what}`, async (open) => {
    const gate = Promise.withResolvers<void>()
    const isFailing = 'isFailing' in options
    const first: Play = async () => {
      await gate.promise
      if (isFailing) throw new Error('broken')
      return {}
    }
    await using engine = await openEngine(open, { ...options, plays: { first } })
    const { instanceId } = await engine.submit()
    await engine.reachCall('first#1.1')
    await engine.core.cancel({ instanceId, ...why })
    gate.resolve()

    const view = await engine.reach(instanceId, { status: 'canceled' })

    assert.deepEqual([view.openTasks, view.tier, view.failure], [[], undefined, undefined])
    assert.deepEqual(await engine.events(instanceId), [
      'case.submitted',
      'cancel.requested',
      ...events,
      'case.canceled',
    ])
    await engine.verify()
  })
}

onEachBackend('an outside effect that was not tried yet does not happen once the case is canceled', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, {
    steps: [
      { name: 'first', primitive: 'play' },
      { name: 'pay', primitive: 'play', external_effect: true },
    ],
    plays: { first: wait },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')
  await engine.core.cancel({ instanceId, ...why })
  goOn()
  await engine.reach(instanceId, { status: 'canceled' })

  assert.deepEqual(await engine.envelopes(instanceId, 'step.intended'), [])
  assert.deepEqual(engine.ran(), ['first#1.1'])
})

onEachBackend('canceling twice is canceling once', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, { plays: { first: wait } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')

  await engine.core.cancel({ instanceId, ...why })
  await engine.core.cancel({ instanceId, actor: 'ann', reason: 'me too' })
  goOn()
  await engine.reach(instanceId, { status: 'canceled' })
  await engine.core.cancel({ instanceId, ...why })

  assert.equal((await engine.envelopes(instanceId, 'cancel.requested')).length, 1)
  assert.equal((await engine.envelopes(instanceId, 'case.canceled')).length, 1)
  await engine.verify()
})

onEachBackend('a hundred people who cancel at the same time cancel once', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()

  await Promise.all(
    Array.from({ length: 100 }, (_, index) =>
      engine.core.cancel({ instanceId, actor: `person ${index}`, reason: 'stop' }),
    ),
  )

  assert.deepEqual(await engine.events(instanceId), ['case.submitted', 'cancel.requested', 'case.canceled'])
  await engine.verify()
})

onEachBackend(
  'a case whose canceling was asked for is canceled after a crash, and its step does not run again',
  async (open) => {
    const { wait } = gated()
    await using engine = await openEngine(open, { plays: { first: wait } })
    const { instanceId } = await engine.submit()
    await engine.reachCall('first#1.1')
    await engine.core.cancel({ instanceId, ...why })

    await using next = await engine.crash()

    await next.reach(instanceId, { status: 'canceled' })
    assert.deepEqual(next.ran(), [])
    await next.verify()
  },
)

const ended = ['completed', 'failed', 'terminated'] as const

for (const status of ended) {
  onEachBackend(`a case that is ${status} cannot be canceled`, async (open) => {
    await using engine = await openEngine(open, {
      governance: status === 'terminated' ? 'gate' : 'auto',
      steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 1 } }],
      plays: {
        first: () => {
          if (status === 'failed') throw new Error('broken')
          return {}
        },
      },
    })
    const { instanceId, openTasks } = await engine.run()
    if (status === 'terminated') {
      await engine.core.decide({ taskId: openTasks[0]!, decision: 'deny', reason: 'no', actor: 'ann' })
    }
    const before = [await engine.core.getCase(instanceId), await engine.store.rowCounts()]

    await assert.rejects(engine.core.cancel({ instanceId, ...why }), {
      code: 'CC_ERR_NOT_CANCELABLE',
      facts: { instanceId, status },
    })

    assert.deepEqual([await engine.core.getCase(instanceId), await engine.store.rowCounts()], before)
  })
}

onEachBackend('canceling takes a case, a name and a reason', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const before = await engine.store.rowCounts()

  await assert.rejects(engine.core.cancel({ ...why, instanceId: 'nothing' }), { code: 'CC_ERR_UNKNOWN_CASE' })
  await assert.rejects(engine.core.cancel({ ...why, instanceId, reason: ' ' }), { code: 'CC_ERR_REASON' })
  await assert.rejects(engine.core.cancel({ ...why, instanceId, reason: 'a\0b' }), { code: 'CC_ERR_INPUT' })
  await assert.rejects(engine.core.cancel({ ...why, instanceId, reason: '\ud800' }), { code: 'CC_ERR_INPUT' })
  await assert.rejects(engine.core.cancel({ ...why, instanceId, actor: '' }), { code: 'CC_ERR_ACTOR' })

  assert.deepEqual(await engine.store.rowCounts(), before)
})
