import assert from 'node:assert/strict'
import { onEachBackend, until } from '../storage/fixture.ts'
import { openEngine } from './fixture.ts'

const config = {
  governance_tiers: {
    spot_check: { sample_rate: 1, queue: 'quality', sla: 30 },
    gate: { queue: 'handlers', sla: 30, escalation_queue: 'leads' },
    hold: { queue: 'compliance', sla: 30 },
  },
}

const escalations = { spot_check: 'compliance', gate: 'leads', hold: 'compliance' } as const

for (const [tier, escalationQueue] of Object.entries(escalations)) {
  onEachBackend(
    `a task of tier ${tier} whose time has passed moves to ${escalationQueue}, once, and is not decided`,
    async (open) => {
      await using engine = await openEngine(open, { governance: tier, config })
      const before = await engine.run()
      const taskId = before.openTasks[0]!
      const { queue, dueMs } = await engine.core.getTask(taskId)
      assert.equal(dueMs, engine.clock.nowMs() + 30_000)
      await engine.clock.advance(29_999)
      assert.equal((await engine.core.getTask(taskId)).escalatedAtMs, undefined)

      await engine.clock.advance(1)

      const task = await engine.core.getTask(taskId)
      assert.deepEqual([task.queue, task.escalatedAtMs, task.status], [escalationQueue, dueMs, 'open'])
      await engine.clock.advance(3_600_000)
      const [escalated, ...more] = await engine.envelopes(before.instanceId, 'task.escalated')
      assert.deepEqual([escalated!.actor, escalated!.at, more], ['engine', dueMs, []])
      assert.deepEqual(escalated!.facts, { task: taskId, from: queue, to: escalationQueue, due_ms: dueMs })
      const after = await engine.core.getCase(before.instanceId)
      assert.deepEqual(after, { ...before, updatedAtMs: dueMs })
      await engine.verify()
    },
  )
}

onEachBackend('a task that has moved can still be decided, and its claim ended with the move', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  const { openTasks } = await engine.run()
  const taskId = openTasks[0]!
  await engine.core.claimTask({ taskId, actor: 'bob' })

  await engine.clock.advance(30_000)

  const task = await engine.core.getTask(taskId)
  assert.deepEqual([task.claimedBy, task.claimedUntilMs], [undefined, undefined])
  const decided = await engine.core.decide({ taskId, decision: 'approve', reason: 'fine', actor: 'ann' })
  assert.equal(decided.status, 'completed')
  await engine.verify()
})

onEachBackend('a task that nobody has to decide any more does not move', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  const decided = await engine.run()
  const canceled = await engine.run()
  const late = { decision: 'approve', reason: 'fine', actor: 'ann' }
  await engine.core.decide({ ...late, taskId: decided.openTasks[0]! })
  await engine.core.cancel({ instanceId: canceled.instanceId, actor: 'olga', reason: 'twice' })

  await engine.clock.advance(60_000)

  for (const { instanceId } of [decided, canceled]) {
    assert.deepEqual(await engine.envelopes(instanceId, 'task.escalated'), [])
  }
})

onEachBackend('a task that a person passed on has a time of its own', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  const { instanceId, openTasks } = await engine.run()
  await engine.clock.advance(20_000)
  const referred = { taskId: openTasks[0]!, decision: 'refer', reason: 'too large', actor: 'ann' }
  const { openedTaskId } = await engine.core.decide(referred)

  await engine.clock.advance(29_999)
  assert.deepEqual(await engine.envelopes(instanceId, 'task.escalated'), [])
  await engine.clock.advance(1)

  const [escalated] = await engine.envelopes(instanceId, 'task.escalated')
  assert.equal(escalated!.facts!.task, openedTaskId)
  await engine.verify()
})

onEachBackend('what fell due while nobody was there is done at the next start', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  const { instanceId, openTasks } = await engine.run()
  await engine.core.drain()
  await engine.clock.advance(3_600_000)
  assert.equal((await engine.core.getTask(openTasks[0]!)).queue, 'handlers')

  await using next = await engine.crash()
  await next.clock.advance(0)

  assert.equal((await next.core.getTask(openTasks[0]!)).queue, 'leads')
  assert.equal((await next.envelopes(instanceId, 'task.escalated')).length, 1)
})

onEachBackend('many tasks that fall due together all move', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  const submitted = await Promise.all(Array.from({ length: 40 }, () => engine.submit()))
  for (const { instanceId } of submitted) await engine.core.waitFor(instanceId)

  await engine.clock.advance(30_000)

  await until(async () => (await engine.core.listTasks({ queue: 'leads', limit: 100 })).items.length === 40)
  await engine.verify()
})

onEachBackend('the sweeper sleeps until what is due first, and an idle engine writes nothing', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate', config })
  await engine.run()
  const dueMs = engine.clock.nowMs() + 30_000
  await engine.clock.advance(0)
  assert.ok(engine.clock.dueMs.includes(dueMs))
  const before = await engine.store.version()

  await engine.clock.advance(29_000)

  assert.equal(await engine.store.version(), before)
  assert.ok(engine.clock.dueMs.includes(dueMs))
})

onEachBackend('what falls due sooner than what the sweeper sleeps for wakes it', async (open) => {
  await using engine = await openEngine(open, {
    steps: [
      { name: 'late', primitive: 'play', retry: { max_attempts: 2, backoff_seconds: 20, max_backoff_seconds: 50 } },
    ],
    plays: {
      late: ({ attempt, context }) => {
        if (attempt === 1) throw new Error('not yet')
        return { ...context.input }
      },
    },
  })
  const slow = await engine.submit()
  await engine.reach(slow.instanceId, { work: 'sleeping' })
  // Its own pause is drawn between 10 and 20 s; the later case's begins 1 s after, so it may be due before or after.
  await engine.clock.advance(1_000)
  const soon = await engine.submit()
  await engine.reach(soon.instanceId, { work: 'sleeping' })
  const dueMs = await engine.store.sql<{ due: number }>('select due_ms as due from work order by due_ms')

  await engine.clock.advance(dueMs[0]!.due - engine.clock.nowMs())

  assert.equal(engine.calls.filter(({ attempt }) => attempt === 2).length, 1)
  await engine.clock.advance(dueMs[1]!.due - engine.clock.nowMs())
  assert.equal(engine.calls.filter(({ attempt }) => attempt === 2).length, 2)
})

onEachBackend('a sweep that fails is tried again', async (open) => {
  let isBroken = false
  const before = () => {
    if (isBroken) throw new Error('no room on the disk')
  }
  await using engine = await openEngine(open, { governance: 'gate', config, probe: { before } })
  const { instanceId } = await engine.run()
  isBroken = true
  await engine.clock.advance(31_500)
  assert.ok(engine.complaints.some((complaint) => complaint.includes('what is due could not be done')))
  assert.deepEqual(await engine.envelopes(instanceId, 'task.escalated'), [])

  isBroken = false
  await engine.clock.advance(1_000)

  assert.equal((await engine.envelopes(instanceId, 'task.escalated')).length, 1)
  await engine.verify()
})
