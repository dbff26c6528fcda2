import assert from 'node:assert/strict'
import { onEachBackend, turns, until } from '../storage/fixture.ts'
import { openEngine, type Play } from './fixture.ts'

const two = ['first', 'second'].map((name) => ({ name, primitive: 'play' }))

/** A step that goes on when the test says so. */
function gated() {
  const gate = Promise.withResolvers<void>()
  const wait: Play = async () => {
    await gate.promise
    return { done: true }
  }
  return { open: () => gate.resolve(), wait }
}

onEachBackend('a drain records the step under way and gives the rest of the case back', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, { steps: two, plays: { first: wait } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')

  const draining = engine.core.drain()
  await turns()
  goOn()
  await draining

  const view = await engine.core.getCase(instanceId)
  assert.deepEqual([view.status, view.work, view.path], ['running', 'ready', ['first']])
  assert.deepEqual(engine.ran(), ['first#1.1'])
  await engine.verify()

  await using next = await engine.crash()
  assert.deepEqual((await next.core.waitFor(instanceId)).path, ['first', 'second'])
  assert.deepEqual(next.ran(), ['second#1.1'])
  await next.verify()
})

onEachBackend('a drain lets the last step end the case', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, { plays: { first: wait } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')

  const draining = engine.core.drain()
  goOn()
  await draining

  assert.equal((await engine.core.getCase(instanceId)).status, 'completed')
})

onEachBackend('nothing is claimed once a drain has begun', async (open) => {
  await using engine = await openEngine(open)
  await engine.run()
  await engine.core.drain()

  const { instanceId } = await engine.submit()
  engine.core.start()
  await engine.clock.advance(60_000)

  assert.equal((await engine.core.getCase(instanceId)).work, 'ready')
})

onEachBackend(
  'a step that outlasts the patience of a drain leaves no record, and runs again at the next start',
  async (open) => {
    await using engine = await openEngine(open, { steps: two, plays: { first: () => new Promise<never>(() => {}) } })
    const { instanceId } = await engine.submit()
    await engine.reachCall('first#1.1')

    const draining = engine.core.drain({ patienceMs: 2_000 })
    await engine.clock.advance(1_999)
    assert.equal(engine.calls[0]!.signal.aborted, false)
    await engine.clock.advance(1)
    await draining

    assert.equal(engine.calls[0]!.signal.aborted, true)
    assert.deepEqual(await engine.events(instanceId), ['case.submitted'])
    await using next = await engine.crash({ steps: two })
    const view = await next.core.waitFor(instanceId)
    assert.deepEqual([view.status, next.ran()], ['completed', ['first#1.1', 'second#1.1']])
    assert.deepEqual(
      (await next.core.getSteps(instanceId)).map(({ attempts }) => attempts),
      [1, 1],
    )
    await next.verify()
  },
)

onEachBackend(
  'a step whose attempt failed during a drain is tried again at the next start, in its time',
  async (open) => {
    const gate = Promise.withResolvers<void>()
    const first: Play = async () => {
      await gate.promise
      throw new Error('not yet')
    }
    await using engine = await openEngine(open, { plays: { first } })
    const { instanceId } = await engine.submit()
    await engine.reachCall('first#1.1')

    const draining = engine.core.drain()
    gate.resolve()
    await draining

    assert.equal((await engine.core.getCase(instanceId)).work, 'sleeping')
    await using next = await engine.crash({})
    await next.clock.advance(60_000)
    const view = await next.reach(instanceId, { status: 'completed' })
    assert.deepEqual([view.path, next.ran()], [['first'], ['first#1.2']])
  },
)

onEachBackend('closing drains, and gives the store back', async (open) => {
  const { open: goOn, wait } = gated()
  await using engine = await openEngine(open, { steps: two, plays: { first: wait } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')

  const closing = engine.core.close()
  let isClosed = false
  void closing.then(() => (isClosed = true))
  await turns()
  assert.equal(isClosed, false)
  goOn()
  await closing

  const [row] = await engine.store.sql<{ state: string; step: string; pid: number | null }>(
    'select state, step, lease_pid as pid from work, meta where instance_id = $1',
    instanceId,
  )
  assert.deepEqual({ ...row }, { state: 'ready', step: 'second', pid: null })
  await assert.rejects(engine.submit(), { code: 'CC_ERR_CLOSED' })
})

onEachBackend('an engine that was never started drains and closes at once', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })

  await engine.core.drain()
  await engine.core.close()
  await engine.core.close()
})

onEachBackend('many cases in flight are all recorded or given back, none twice', async (open) => {
  const slow: Play = async () => {
    await turns(1)
    return {}
  }
  const steps = Array.from({ length: 10 }, (_, index) => ({ name: `step_${index}`, primitive: 'play' }))
  const plays = Object.fromEntries(steps.map(({ name }) => [name, slow]))
  await using engine = await openEngine(open, { steps, plays, core: { workerConcurrency: 8 } })
  const submitted = await Promise.all(Array.from({ length: 12 }, () => engine.submit()))
  await until(() => engine.calls.length >= 30)

  await engine.core.drain()

  const rows = await engine.store.sql<{ state: string }>('select state from work')
  assert.ok(rows.length > 0)
  assert.ok(rows.every(({ state }) => state === 'ready'))
  await using next = await engine.crash()
  for (const { instanceId } of submitted) {
    const { path } = await next.core.waitFor(instanceId)
    assert.deepEqual(
      path,
      steps.map(({ name }) => name),
    )
  }
  // Nothing that was recorded ran again, and nothing was begun that the drain did not let end.
  assert.equal(engine.calls.length + next.calls.length, 120)
  await next.verify()
})

onEachBackend('whoever waits for a case is told when the engine closes', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const waiting = engine.core.waitFor(instanceId)
  const told = assert.rejects(waiting, { code: 'CC_ERR_CLOSED' })
  await turns()

  await engine.core.close()

  await told
})
