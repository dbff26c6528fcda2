import assert from 'node:assert/strict'
import { onEachBackend, until } from '../storage/fixture.ts'
import { type EngineFixture, openEngine } from './fixture.ts'

/** Loses the answer to the next COMMIT, or to none. */
function losing() {
  let isArmed = false
  return {
    loseNext: () => void (isArmed = true),
    get isLost() {
      return !isArmed
    },
    after: () => {
      if (!isArmed) return
      isArmed = false
      throw new Error('the connection broke')
    },
  }
}

interface Story {
  readonly governance?: string
  readonly isBroken?: boolean
  /** What a person does, once the case has come to rest or waits in line. */
  readonly act: (engine: EngineFixture, about: { instanceId: string; taskId: string }) => Promise<unknown>
  /** What it must have added to the chain, once. */
  readonly adds: readonly string[]
}

const stories: Readonly<Record<string, Story>> = {
  'a claim of a task': {
    governance: 'gate',
    act: async ({ core }, { taskId }) => {
      assert.equal((await core.claimTask({ taskId, actor: 'ann' })).claimedBy, 'ann')
    },
    adds: ['task.claimed'],
  },
  'an approval': {
    governance: 'gate',
    act: async ({ core }, { taskId }) => {
      const decided = await core.decide({ taskId, decision: 'approve', reason: 'fine', actor: 'ann' })
      assert.deepEqual([decided.status, decided.repeated], ['completed', false])
    },
    adds: ['task.decided', 'case.completed'],
  },
  'a referral': {
    governance: 'gate',
    act: async ({ core }, { taskId }) => {
      const decided = await core.decide({ taskId, decision: 'refer', reason: 'too large', actor: 'ann' })
      assert.equal((await core.getTask(decided.openedTaskId!)).status, 'open')
    },
    adds: ['task.decided', 'task.opened'],
  },
  'a cancel': {
    governance: 'gate',
    act: async ({ core }, { instanceId }) => {
      assert.equal((await core.cancel({ instanceId, actor: 'olga', reason: 'twice' })).status, 'canceled')
    },
    adds: ['cancel.requested', 'case.canceled'],
  },
  'a retry': {
    isBroken: true,
    act: async ({ core }, { instanceId }) => {
      // Its worker may be faster than whoever reads the case for the answer.
      assert.match((await core.retry({ instanceId, actor: 'olga' })).status, /^(running|failed)$/)
      assert.equal((await core.waitFor(instanceId)).status, 'failed')
    },
    adds: ['case.retried', 'step.failed', 'case.failed'],
  },
  'an erasure': {
    act: async ({ core, store }, { instanceId }) => {
      const [row] = await store.sql<{ id: string }>(`select payload_id as id from payloads where kind = 'input'`)
      await core.erase({ instanceId, payloadId: row!.id, actor: 'olga', reason: 'asked for' })
    },
    adds: ['payload.erased'],
  },
  'a task whose time has passed': {
    governance: 'gate',
    act: async ({ clock, core }, { taskId }) => {
      await clock.advance(60_000)
      await until(async () => (await core.getTask(taskId)).escalatedAtMs !== undefined)
    },
    adds: ['task.escalated'],
  },
}

for (const [what, { governance = 'auto', isBroken = false, act, adds }] of Object.entries(stories)) {
  onEachBackend(`${what} whose answer is lost has happened once`, async (open) => {
    const loss = losing()
    await using engine = await openEngine(open, {
      governance,
      probe: loss,
      steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 1 } }],
      plays: {
        first: () => {
          if (isBroken) throw new Error('broken')
          return {}
        },
      },
      config: { governance_tiers: { gate: { sla: 60 } } },
    })
    const { instanceId, openTasks } = await engine.run()
    const before = await engine.events(instanceId)
    await engine.clock.advance(1_000)
    loss.loseNext()

    await act(engine, { instanceId, taskId: openTasks[0]! })

    assert.ok(loss.isLost)
    assert.deepEqual(await engine.events(instanceId), [...before, ...adds])
    await engine.verify()
  })
}

for (const key of [undefined, 'k']) {
  onEachBackend(`a submission ${key ? 'with' : 'without'} a key whose answer is lost is one case`, async (open) => {
    const loss = losing()
    await using engine = await openEngine(open, { probe: loss, isStarted: false })
    loss.loseNext()

    const submitted = await engine.submit(key === undefined ? {} : { key })

    assert.ok(loss.isLost)
    assert.deepEqual([submitted.status, submitted.seen], ['running', false])
    assert.equal((await engine.store.rowCounts()).instances, 1)
    assert.deepEqual(await engine.events(submitted.instanceId), ['case.submitted'])
    await engine.verify()
  })
}

onEachBackend('a cancel while a step is under way, whose answer is lost, has happened once', async (open) => {
  const loss = losing()
  const gate = Promise.withResolvers<void>()
  await using engine = await openEngine(open, {
    probe: loss,
    plays: {
      first: async () => {
        await gate.promise
        return {}
      },
    },
  })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')
  loss.loseNext()

  await engine.core.cancel({ instanceId, actor: 'olga', reason: 'twice' })
  gate.resolve()

  await engine.reach(instanceId, { status: 'canceled' })
  assert.deepEqual(await engine.events(instanceId), [
    'case.submitted',
    'cancel.requested',
    'step.completed',
    'case.canceled',
  ])
  await engine.verify()
})

onEachBackend('a write whose answer is lost again and again is given up, and its caller is told', async (open) => {
  let isBroken = false
  await using engine = await openEngine(open, {
    isStarted: false,
    probe: {
      before: () => {
        if (isBroken) throw new Error('no room on the disk')
      },
    },
  })
  const { instanceId } = await engine.submit()
  isBroken = true

  await assert.rejects(engine.core.cancel({ instanceId, actor: 'olga', reason: 'twice' }), /no room on the disk/)

  isBroken = false
  assert.deepEqual(await engine.events(instanceId), ['case.submitted'])
})
