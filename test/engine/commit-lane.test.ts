import assert from 'node:assert/strict'
import type { AuditEvent } from '../../src/domain/audit.ts'
import { nextHead } from '../../src/domain/audit.ts'
import { baseOf, CommitLane } from '../../src/engine/commit-lane.ts'
import { insertEvents } from '../../src/storage/audit.ts'
import { type Backend, CommitUnknownError } from '../../src/storage/backend.ts'
import type { StepCommit } from '../../src/storage/hot-path.ts'
import { readWork, releaseClaim } from '../../src/storage/work.ts'
import { onEachBackend, turns, until } from '../storage/fixture.ts'
import { claimOne, nextEvent, readyCase, stepCommit } from '../storage/ready-case.ts'
import { type EngineOptions, openEngine, type Play } from './fixture.ts'

/** Fails around COMMIT as often as it was told to. */
function trouble() {
  const left = { before: 0, after: 0 }
  let commits = 0
  const strike = (when: 'before' | 'after') => {
    if (left[when] === 0) return
    left[when] -= 1
    throw new Error(`trouble ${when} COMMIT`)
  }
  return {
    left,
    get commits() {
      return commits
    },
    before: () => {
      strike('before')
      commits += 1
    },
    after: () => strike('after'),
  }
}

const two = ['first', 'second'].map((name) => ({ name, primitive: 'play' }))

/** What a lost answer may be the answer to, and the events there must be once all is over. */
const lost: Readonly<
  Record<
    string,
    { readonly options: EngineOptions; readonly ran: readonly string[]; readonly events: readonly string[] }
  >
> = {
  'a step that goes on': {
    options: { steps: two },
    ran: ['first#1.1', 'second#1.1'],
    events: ['step.completed', 'step.completed', 'case.completed'],
  },
  'the last step of a case': {
    options: {},
    ran: ['first#1.1'],
    events: ['step.completed', 'case.completed'],
  },
  'the last step of a case that is held': {
    options: { governance: 'gate' },
    ran: ['first#1.1'],
    events: ['step.completed', 'case.held', 'task.opened'],
  },
  'a step that failed': {
    options: { steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 1 } }] },
    ran: ['first#1.1'],
    events: ['step.failed', 'case.failed'],
  },
}

for (const [what, { options, ran, events }] of Object.entries(lost)) {
  for (const times of [1, 3]) {
    onEachBackend(
      `${what} is committed once when its answer is lost ${times} times, and does not run again`,
      async (open) => {
        const probe = trouble()
        const first: Play = () => {
          probe.left.after = times
          if (events.includes('step.failed')) throw new Error('broken')
          return { said: 'yes' }
        }
        await using engine = await openEngine(open, { ...options, probe, plays: { first } })

        const view = await engine.run()

        assert.notEqual(view.status, 'running')
        assert.deepEqual(engine.ran(), ran)
        assert.deepEqual(await engine.events(view.instanceId), ['case.submitted', ...events])
        await engine.verify()
      },
    )
  }
}

onEachBackend('an attempt that is to be repeated is recorded once when its answer is lost', async (open) => {
  const probe = trouble()
  const first: Play = ({ attempt }) => {
    if (attempt > 1) return {}
    probe.left.after = 1
    throw new Error('not yet')
  }
  await using engine = await openEngine(open, { probe, plays: { first } })
  const { instanceId } = await engine.submit()
  await engine.reach(instanceId, { work: 'sleeping' })
  await engine.clock.advance(1_000)

  await engine.reach(instanceId, { status: 'completed' })

  assert.deepEqual(engine.ran(), ['first#1.1', 'first#1.2'])
  assert.deepEqual(await engine.events(instanceId), [
    'case.submitted',
    'step.retried',
    'step.completed',
    'case.completed',
  ])
  await engine.verify()
})

onEachBackend('an intent is recorded once when its answer is lost, and the effect is tried once', async (open) => {
  const probe = trouble()
  await using engine = await openEngine(open, {
    probe,
    steps: [two[0]!, { ...two[1]!, external_effect: true }],
  })
  // What is committed behind the first step is the intent of the second.
  engine.core.onProgress(({ step }) => {
    if (step === 'first') probe.left.after = 1
  })

  const { instanceId } = await engine.run()

  assert.equal(probe.left.after, 0)
  assert.deepEqual(engine.ran(), ['first#1.1', 'second#1.1'])
  assert.deepEqual(await engine.events(instanceId), [
    'case.submitted',
    'step.completed',
    'step.intended',
    'step.completed',
    'case.completed',
  ])
  await engine.verify()
})

onEachBackend('steps that share a lost answer are all committed once', async (open) => {
  const probe = trouble()
  const gate = Promise.withResolvers<void>()
  const first: Play = async () => {
    await gate.promise
    probe.left.after = 1
    return {}
  }
  await using engine = await openEngine(open, { steps: two, probe, plays: { first } })
  const submitted = await Promise.all(Array.from({ length: 4 }, () => engine.submit()))
  await until(() => engine.calls.length === 4)

  gate.resolve()

  for (const { instanceId } of submitted) {
    assert.deepEqual((await engine.core.waitFor(instanceId)).path, ['first', 'second'])
  }
  assert.equal(engine.calls.length, 8)
  await engine.verify()
})

onEachBackend('cases that were claimed with a lost answer are given back and run once', async (open) => {
  const probe = trouble()
  await using engine = await openEngine(open, { probe, core: { workerConcurrency: 2 }, isStarted: false })
  const submitted = await Promise.all(Array.from({ length: 10 }, () => engine.submit()))
  // Each end takes another case in the same commit; the first answer is lost, and every third after it.
  engine.core.onProgress(({ event }) => {
    if (event === 'case.completed' && engine.calls.length % 3 === 0) probe.left.after = 1
  })
  probe.left.after = 1

  engine.core.start()

  await until(async () => {
    await engine.clock.advance(1_000)
    return (await engine.store.rowCounts()).work === 0
  })
  for (const { instanceId } of submitted) assert.equal((await engine.core.getCase(instanceId)).status, 'completed')
  assert.equal(engine.calls.length, 10)
  await engine.verify()
})

/** Adds an event to a case while a step of it is under way, as a person's act would. */
async function intervene({ backend }: { backend: Backend }, instanceId: string): Promise<AuditEvent> {
  return await backend.transaction(async (tx) => {
    const work = (await readWork(tx, instanceId))!
    const [row] = await tx.query<{ hash: string }>(
      'select definition_hash as "hash" from work where instance_id = $1',
      [instanceId],
    )
    const event = nextEvent({ instanceId, seq: work.auditSeq, hash: work.auditHead }, 'task.claimed', 2_000, row!.hash)
    const { seq, hash } = nextHead(event)
    await tx.execute('update work set audit_seq = $2, audit_head = $3 where instance_id = $1', [instanceId, seq, hash])
    await insertEvents(tx, [event])
    return event
  })
}

onEachBackend("a person's event in between goes before the step, which does not run again", async (open) => {
  const first: Play = async ({ instanceId }) => {
    await intervene(engine.store, instanceId)
    await intervene(engine.store, instanceId)
    return {}
  }
  await using engine = await openEngine(open, { steps: two, plays: { first } })
  const { instanceId } = await engine.submit()

  await engine.core.waitFor(instanceId)

  assert.deepEqual(engine.ran(), ['first#1.1', 'second#1.1'])
  assert.deepEqual(await engine.events(instanceId), [
    'case.submitted',
    'task.claimed',
    'task.claimed',
    'step.completed',
    'step.completed',
    'case.completed',
  ])
  assert.deepEqual(engine.complaints, [])
  await engine.verify()
})

onEachBackend('the result of a claim that somebody else has by now is dropped, and theirs is kept', async (open) => {
  const first: Play = async ({ instanceId }) => {
    if (engine.calls.length > 1) return { by: 'the second claim' }
    const work = await engine.store.backend.read((reader) => readWork(reader, instanceId))
    await engine.store.backend.transaction((tx) => releaseClaim(tx, instanceId, work!.token!))
    return { by: 'the first claim' }
  }
  await using engine = await openEngine(open, { plays: { first } })
  const { instanceId } = await engine.submit()
  await until(() => engine.complaints.length > 0)
  assert.match(engine.complaints[0]!, /dropped.*claim_lost/)
  await engine.clock.advance(5_000)

  await engine.core.waitFor(instanceId)

  const [step, ...more] = await engine.core.getSteps(instanceId)
  assert.deepEqual([step!.output, more], [{ by: 'the second claim' }, []])
  await engine.verify()
})

onEachBackend('the result of a case that has ended meanwhile is dropped', async (open) => {
  const first: Play = async ({ instanceId }) => {
    await engine.store.sql('delete from work where instance_id = $1', instanceId)
    return {}
  }
  await using engine = await openEngine(open, { plays: { first } })
  const { instanceId } = await engine.submit()

  await until(() => engine.complaints.length > 0)

  assert.match(engine.complaints[0]!, /dropped.*ended/)
  assert.deepEqual(await engine.events(instanceId), ['case.submitted'])
})

/** Changes what is sent to the store, for commits of this case. */
function tamper(
  backend: Backend,
  isMeant: (commit: StepCommit) => boolean,
  change: (commit: StepCommit) => StepCommit,
) {
  const { hotPath } = backend
  const commitSteps = hotPath.commitSteps.bind(hotPath)
  hotPath.commitSteps = (commits, refill) =>
    commitSteps(
      commits.map((commit) => (isMeant(commit) ? change(commit) : commit)),
      refill,
    )
}

onEachBackend('a result that the store refuses fails its own step and nothing else', async (open) => {
  const gate = Promise.withResolvers<void>()
  const first: Play = async () => {
    await gate.promise
    return {}
  }
  await using engine = await openEngine(open, { plays: { first } })
  const submitted = await Promise.all(Array.from({ length: 4 }, () => engine.submit()))
  const [poisoned, ...others] = submitted.map(({ instanceId }) => instanceId)
  await until(() => engine.calls.length === 4)
  tamper(
    engine.store.backend,
    ({ instanceId, checkpoint }) => instanceId === poisoned && checkpoint?.status === 'completed',
    (commit) => ({ ...commit, payloads: [...commit.payloads, commit.payloads[0]!] }),
  )

  gate.resolve()

  const view = await engine.core.waitFor(poisoned!)
  assert.equal(view.status, 'failed')
  assert.match(view.failure!.message, /the result of first cannot be stored/)
  for (const instanceId of others) assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')
  assert.equal(engine.calls.length, 4)
  await engine.verify()
})

onEachBackend('trouble that passes costs no step: the batch is sent again, whole', async (open) => {
  const probe = trouble()
  const gate = Promise.withResolvers<void>()
  const first: Play = async () => {
    await gate.promise
    probe.left.before = 4
    return {}
  }
  await using engine = await openEngine(open, { probe, plays: { first } })
  const submitted = await Promise.all(Array.from({ length: 3 }, () => engine.submit()))
  await until(() => engine.calls.length === 3)

  gate.resolve()

  for (const { instanceId } of submitted) assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')
  assert.equal(probe.left.before, 0)
  assert.equal(engine.calls.length, 3)
  await engine.verify()
})

onEachBackend('trouble that lasts gives the case back, and its step runs again once it is over', async (open) => {
  const probe = trouble()
  const first: Play = () => {
    if (engine.calls.length === 1) probe.left.before = 1_000
    return {}
  }
  await using engine = await openEngine(open, { probe, plays: { first } })
  const { instanceId } = await engine.submit()
  await until(() => engine.complaints.length > 0)
  assert.deepEqual(await engine.events(instanceId), ['case.submitted'])

  probe.left.before = 0
  await engine.clock.advance(10_000)

  assert.equal((await engine.reach(instanceId, { status: 'completed' })).path.length, 1)
  assert.deepEqual(engine.ran(), ['first#1.1', 'first#1.1'])
  await engine.verify()
})

onEachBackend(
  'a COMMIT that may have happened and did not is sent again without running the step again',
  async (open) => {
    await using store = await open()
    await readyCase(store.backend)
    const work = await claimOne(store.backend)
    const lane = new CommitLane(store.backend)
    const { hotPath } = store.backend
    const commitSteps = hotPath.commitSteps.bind(hotPath)
    let sent = 0
    hotPath.commitSteps = (commits) => {
      sent += 1
      if (sent <= 2) return Promise.reject(new CommitUnknownError('the connection broke before COMMIT arrived'))
      return commitSteps(commits)
    }
    let built = 0
    const commit = stepCommit(work)

    const outcome = await lane.commit(baseOf(work), () => {
      built += 1
      return commit
    })

    assert.deepEqual(outcome, { kind: 'committed', commit })
    assert.deepEqual([sent, built], [3, 3])
    assert.equal((await store.sql('select 1 from checkpoints')).length, 1)
  },
)

onEachBackend('what arrives while a commit is under way travels together with the next one', async (open) => {
  const probe = trouble()
  await using store = await open({ probe })
  for (let index = 0; index < 30; index++) await readyCase(store.backend)
  const works = await store.backend.hotPath.claim({ limit: 30, claimedBy: 'worker', nowMs: 1 })
  const lane = new CommitLane(store.backend)
  const before = probe.commits

  const outcomes = await Promise.all(
    works.map(async (work, index) => {
      // A third at once, the others while the first are on their way.
      if (index % 3 !== 0) await turns(index % 3)
      return await lane.commit(baseOf(work), () => stepCommit(work))
    }),
  )

  assert.ok(outcomes.every(({ kind }) => kind === 'committed'))
  assert.ok(probe.commits - before <= 3, `${probe.commits - before} commits`)
})

onEachBackend('a commit that cannot be built is poisoned for its caller and for nobody else', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const work = await claimOne(store.backend)
  const lane = new CommitLane(store.backend)

  const broken = lane.commit(baseOf(work), () => {
    throw new Error('nothing to build from')
  })
  const sound = lane.commit(baseOf(work), () => stepCommit(work))

  const outcome = await broken
  assert.equal(outcome.kind, 'poisoned')
  assert.match(String(outcome.kind === 'poisoned' && outcome.error), /nothing to build from/)
  assert.equal((await sound).kind, 'committed')
})
