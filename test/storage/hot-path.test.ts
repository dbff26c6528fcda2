import assert from 'node:assert/strict'
import { newId } from '../../src/domain/identity.ts'
import type { Work } from '../../src/domain/instance.ts'
import { type Backend, CommitUnknownError } from '../../src/storage/backend.ts'
import { readCheckpoints } from '../../src/storage/checkpoints.ts'
import type { Fence, NextWork, StepCommit } from '../../src/storage/hot-path.ts'
import { readInstance } from '../../src/storage/instances.ts'
import { readTasksOf } from '../../src/storage/tasks.ts'
import { readWork, releaseClaim, releaseClaimsOf, requestCancel, wakeDue } from '../../src/storage/work.ts'
import { onEachBackend, type StoreFixture } from './fixture.ts'
import { claimOne, nextEvent, readyCase, stepCommit } from './ready-case.ts'

const claimAll = (backend: Backend, limit = 100) =>
  backend.hotPath.claim({ limit, claimedBy: 'worker 1', nowMs: 1_500 })

const workOf = (backend: Backend, instanceId: string) => backend.read((reader) => readWork(reader, instanceId))

/** Everything that a step can change, to see that nothing did. */
async function everything(store: StoreFixture): Promise<unknown[]> {
  const tables = ['work', 'instances', 'payloads', 'checkpoints', 'audit_events', 'tasks']
  return await Promise.all(tables.map((table) => store.sql(`select * from ${table} order by 1, 2, 3`)))
}

onEachBackend('claims go by priority, then by age', async (open) => {
  await using store = await open()
  const low = await readyCase(store.backend, { priority: -1, nowMs: 1 })
  const younger = await readyCase(store.backend, { nowMs: 30 })
  const older = await readyCase(store.backend, { nowMs: 20 })
  const urgent = await readyCase(store.backend, { priority: 9, nowMs: 40 })

  const claimed = await claimAll(store.backend)

  assert.deepEqual(
    claimed.map(({ instanceId }) => instanceId),
    [urgent, older, younger, low],
  )
})

onEachBackend('no more is claimed than was asked for, and nothing twice', async (open) => {
  await using store = await open()
  for (let index = 0; index < 5; index++) await readyCase(store.backend)

  const claims = await Promise.all([claimAll(store.backend, 2), claimAll(store.backend, 2), claimAll(store.backend, 2)])

  assert.deepEqual(claims.map(({ length }) => length).sort(), [1, 2, 2])
  assert.equal(new Set(claims.flat().map(({ instanceId }) => instanceId)).size, 5)
})

onEachBackend('each claim has a token of its own, which nobody can guess, and says whose it is', async (open) => {
  await using store = await open()
  for (let index = 0; index < 20; index++) await readyCase(store.backend)

  const claimed = await claimAll(store.backend)

  assert.equal(new Set(claimed.map(({ token }) => token)).size, 20)
  for (const { submitted, ...work } of claimed) {
    assert.equal(submitted?.instanceId, work.instanceId)
    assert.match(work.token!, /^[0-9a-f]{32}$/)
    assert.equal(work.state, 'claimed')
    assert.equal(work.claimedBy, 'worker 1')
    assert.equal(work.claimedAtMs, 1_500)
    assert.partialDeepStrictEqual(work, await workOf(store.backend, work.instanceId))
  }
})

onEachBackend('a claim that was given back is claimed anew with another token', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const first = await claimOne(store.backend)
  await store.backend.transaction((tx) => releaseClaim(tx, first.instanceId, 'not the token'))
  assert.deepEqual(await claimAll(store.backend), [])

  await store.backend.transaction((tx) => releaseClaim(tx, first.instanceId, first.token!))

  const second = await claimOne(store.backend)
  assert.equal(second.instanceId, first.instanceId)
  assert.notEqual(second.token, first.token)
})

onEachBackend('sleeping instances are not claimed until they were woken', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const next = { to: 'sleep', dueMs: 9_000, attempt: 1 } as const
  await store.backend.hotPath.commitSteps([{ ...eventsOnly(await claimOne(store.backend)), next }])

  assert.equal(await store.backend.hotPath.anyReady(), false)
  assert.equal(await store.backend.transaction((tx) => wakeDue(tx, 8_999, 10)), 0)
  assert.deepEqual(await claimAll(store.backend), [])

  assert.equal(await store.backend.transaction((tx) => wakeDue(tx, 9_000, 10)), 1)
  assert.equal(await store.backend.hotPath.anyReady(), true)
  assert.equal((await claimOne(store.backend)).attempt, 1)
})

onEachBackend('an idle poll writes nothing', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  await claimAll(store.backend)
  const before = await store.version()

  for (let index = 0; index < 10; index++) {
    assert.equal(await store.backend.hotPath.anyReady(), false)
    assert.deepEqual(await claimAll(store.backend), [])
  }

  assert.equal(await store.version(), before)
})

/** Only an event, as before an outside effect or when a step is to be tried again. */
function eventsOnly(work: Work): StepCommit {
  const { instanceId, auditSeq: seq, auditHead: hash } = work
  const events = [nextEvent({ instanceId, seq, hash }, 'step.intended')]
  return { ...stepCommit(work), checkpoint: undefined, payloads: [], events, next: { to: 'stay' } }
}

onEachBackend('a step is committed in one piece, and the same claim goes on', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const { submitted: _, ...work } = await claimOne(store.backend)
  const commit = stepCommit(work, { next: { to: 'step', step: 'second', run: 3 } })

  assert.deepEqual(await store.backend.hotPath.commitSteps([commit]), [{ kind: 'committed' }])

  const { backend } = store
  const [checkpoint, ...others] = await backend.read((reader) => readCheckpoints(reader, work.instanceId))
  assert.deepEqual({ ...checkpoint }, commit.checkpoint)
  assert.deepEqual(others, [])
  const [last] = commit.events
  assert.deepEqual(await workOf(backend, work.instanceId), {
    ...work,
    step: 'second',
    run: 3,
    stepNo: 1,
    auditSeq: 2,
    auditHead: last!.hash,
  })
  const [payload] = await store.sql('select text from payloads where kind = $1', 'output')
  assert.deepEqual({ ...payload }, { text: '{"said":"yes"}' })
})

const sentTwice: readonly NextWork[] = [
  { to: 'step', step: 'second', run: 1 },
  { to: 'sleep', dueMs: 9_000, attempt: 1 },
  { to: 'stay' },
  { to: 'release', step: 'first', run: 1, attempt: 0 },
]

for (const next of sentTwice) {
  onEachBackend(`a commit that goes on to '${next.to}' is taken once, however often it is sent`, async (open) => {
    await using store = await open()
    await readyCase(store.backend)
    const work = await claimOne(store.backend)
    const commit = next.to === 'step' ? stepCommit(work, { next }) : { ...eventsOnly(work), next }

    assert.deepEqual(await store.backend.hotPath.commitSteps([commit]), [{ kind: 'committed' }])
    const after = await everything(store)

    assert.deepEqual(await store.backend.hotPath.commitSteps([commit]), [{ kind: 'fenced' }])
    assert.deepEqual(await everything(store), after)
  })
}

const otherFences: Readonly<Record<string, (fence: Fence) => Fence>> = {
  'another token': (fence) => ({ ...fence, token: 'f'.repeat(32) }),
  'another step number': (fence) => ({ ...fence, stepNo: fence.stepNo + 1 }),
  'another run': (fence) => ({ ...fence, run: fence.run + 1 }),
  'an older event': (fence) => ({ ...fence, auditSeq: fence.auditSeq - 1 }),
  'a later event': (fence) => ({ ...fence, auditSeq: fence.auditSeq + 1 }),
}

for (const [what, change] of Object.entries(otherFences)) {
  onEachBackend(`a commit with ${what} is fenced off and writes nothing`, async (open) => {
    await using store = await open()
    await readyCase(store.backend)
    const commit = stepCommit(await claimOne(store.backend))
    const before = await everything(store)

    const [result] = await store.backend.hotPath.commitSteps([{ ...commit, fence: change(commit.fence) }])

    assert.deepEqual(result, { kind: 'fenced' })
    assert.deepEqual(await everything(store), before)
  })
}

/** What can have happened to a work row under a worker's hands. */
const lostClaims: Readonly<Record<string, (store: StoreFixture, work: Work) => Promise<unknown>>> = {
  'a claim that was given back': (store, work) =>
    store.backend.transaction((tx) => releaseClaim(tx, work.instanceId, work.token!)),
  'a claim that somebody else has by now': async (store, work) => {
    await store.backend.transaction((tx) => releaseClaim(tx, work.instanceId, work.token!))
    await claimOne(store.backend)
  },
  'an instance that is out of line': (store) => store.sql('delete from work'),
  "a person's event in between": (store, work) =>
    store.backend.transaction((tx) => requestCancel(tx, work, { seq: 2, hash: 'e'.repeat(64) })),
}

for (const [what, lose] of Object.entries(lostClaims)) {
  onEachBackend(`a commit after ${what} is fenced off and writes nothing`, async (open) => {
    await using store = await open()
    await readyCase(store.backend)
    const work = await claimOne(store.backend)
    await lose(store, work)
    const before = await everything(store)

    assert.deepEqual(await store.backend.hotPath.commitSteps([stepCommit(work)]), [{ kind: 'fenced' }])

    assert.deepEqual(await everything(store), before)
  })
}

onEachBackend('steps of several instances share a commit, each with its own answer', async (open) => {
  let commits = 0
  await using store = await open({ probe: { before: () => void (commits += 1) } })
  for (let index = 0; index < 4; index++) await readyCase(store.backend)
  const [a, b, c, d] = (await claimAll(store.backend)).map((work) => stepCommit(work))
  commits = 0

  const results = await store.backend.hotPath.commitSteps([
    a!,
    { ...b!, fence: { ...b!.fence, token: 'f'.repeat(32) } },
    c!,
    d!,
  ])

  assert.deepEqual(
    results.map(({ kind }) => kind),
    ['committed', 'fenced', 'committed', 'committed'],
  )
  assert.equal(commits, 1)
  assert.equal((await workOf(store.backend, b!.instanceId))!.stepNo, 0)
  assert.equal((await store.sql('select 1 from checkpoints')).length, 3)
})

/** Data that a table refuses, or that no database takes. */
const poisons: Readonly<Record<string, (commit: ReturnType<typeof stepCommit>) => StepCommit>> = {
  'a payload whose id is taken': (commit) => ({ ...commit, payloads: [...commit.payloads, ...commit.payloads] }),
  'a checkpoint whose place is taken': (commit) => ({ ...commit, checkpoint: { ...commit.checkpoint, stepNo: 0 } }),
  'a checkpoint that breaks a rule': (commit) => ({ ...commit, checkpoint: { ...commit.checkpoint, attempts: 0 } }),
  'an event whose place is taken': (commit) => ({
    ...commit,
    events: commit.events.map((event) => ({ ...event, seq: 1 })),
  }),
  'a number that is not whole': (commit) => ({ ...commit, checkpoint: { ...commit.checkpoint, inputTokens: 1.5 } }),
  'a value that no column takes': (commit) => ({
    ...commit,
    checkpoint: { ...commit.checkpoint, model: { name: 'm' } as never },
  }),
}

for (const [what, poison] of Object.entries(poisons)) {
  onEachBackend(`a member with ${what} stands alone with its error, and the others are committed`, async (open) => {
    await using store = await open()
    for (let index = 0; index < 3; index++) await readyCase(store.backend)
    const [a, b, c] = (await claimAll(store.backend)).map((work) => stepCommit(work))

    const results = await store.backend.hotPath.commitSteps([a!, poison(b!), c!])

    assert.deepEqual(
      results.map(({ kind }) => kind),
      ['committed', 'poisoned', 'committed'],
    )
    assert.ok(results[1]!.kind === 'poisoned' && results[1]!.error instanceof Error)
    assert.equal((await workOf(store.backend, b!.instanceId))!.state, 'claimed')
    assert.equal((await store.sql('select 1 from audit_events where instance_id = $1', b!.instanceId)).length, 1)
    assert.equal((await store.sql('select 1 from payloads where instance_id = $1', b!.instanceId)).length, 1)
    assert.deepEqual(await store.backend.hotPath.commitSteps([b!]), [{ kind: 'committed' }])
  })
}

onEachBackend('a poisoned batch takes nothing of the transactions that share its commit', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const commit = stepCommit(await claimOne(store.backend))
  const beside = [1, 2].map((value) =>
    store.backend.transaction((tx) => tx.execute('update meta set created_at_ms = created_at_ms + $1', [value])),
  )

  const [result] = await store.backend.hotPath.commitSteps([poisons['a payload whose id is taken']!(commit)])

  assert.equal(result!.kind, 'poisoned')
  await Promise.all(beside)
  assert.equal((await store.sql<{ at: number }>('select created_at_ms as at from meta'))[0]!.at, 1_003)
})

onEachBackend('the end of an instance takes the work row and leaves outcome and task', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const work = await claimOne(store.backend)
  const { instanceId } = work
  const commit = stepCommit(work)
  const [last] = commit.events
  const task = {
    taskId: newId(2_000),
    instanceId,
    tier: 'gate',
    queue: 'reviewers',
    escalationQueue: 'leads',
    because: 'floor of plain',
    submittedBy: 'kim',
    barred: ['ann'],
    openedAtMs: 2_000,
    dueMs: 5_000,
  } as const
  const ending = {
    instanceId,
    status: 'suspended',
    tier: 'gate',
    tierContributions: [{ source: 'domain', tier: 'gate', because: 'floor of plain' }],
    proposedPayloadId: commit.payloads[0].payloadId,
    outcomePayloadId: undefined,
    failureCode: undefined,
    resumeStep: undefined,
    disputed: false,
    auditSeq: last!.seq,
    auditHead: last!.hash,
    stepCount: 1,
    atMs: 2_000,
  } as const

  const results = await store.backend.hotPath.commitSteps([{ ...commit, next: { to: 'end', ending, tasks: [task] } }])

  assert.deepEqual(results, [{ kind: 'committed' }])
  const { backend } = store
  assert.equal(await workOf(backend, instanceId), undefined)
  const instance = await backend.read((reader) => readInstance(reader, instanceId))
  const { atMs: updatedAtMs, ...kept } = ending
  assert.deepEqual(instance, { ...instance, ...kept, updatedAtMs, endedAtMs: undefined })
  const tasks = await backend.read((reader) => readTasksOf(reader, instanceId))
  assert.deepEqual(tasks, [{ ...tasks[0], ...task, status: 'open' }])
})

onEachBackend('a release gives the claim back at the step that comes next', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const work = await claimOne(store.backend)
  const next = { to: 'release', step: 'second', run: 2, attempt: 0 } as const

  await store.backend.hotPath.commitSteps([stepCommit(work, { next })])

  const again = await claimOne(store.backend)
  assert.notEqual(again.token, work.token)
  assert.deepEqual([again.step, again.run, again.stepNo, again.auditSeq], ['second', 2, 1, 2])
})

onEachBackend('a release without a word changes no head', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const work = await claimOne(store.backend)
  const next = { to: 'release', step: 'first', run: 1, attempt: 2 } as const

  await store.backend.hotPath.commitSteps([{ ...eventsOnly(work), events: [], next }])

  const again = await claimOne(store.backend)
  assert.deepEqual([again.auditSeq, again.auditHead, again.attempt], [work.auditSeq, work.auditHead, 2])
})

onEachBackend('a lost answer is passed on as unknown, and the batch was written', async (open) => {
  let isLost = false
  await using store = await open({
    probe: {
      after: () => {
        if (isLost) throw new Error('pulled the plug')
      },
    },
  })
  await readyCase(store.backend)
  const commit = stepCommit(await claimOne(store.backend))
  isLost = true

  await assert.rejects(store.backend.hotPath.commitSteps([commit]), CommitUnknownError)

  isLost = false
  assert.deepEqual(await store.backend.hotPath.commitSteps([commit]), [{ kind: 'fenced' }])
  assert.equal((await store.sql('select 1 from checkpoints')).length, 1)
})

onEachBackend('for each instance that a commit gives back another one is claimed in the same commit', async (open) => {
  let commits = 0
  await using store = await open({ probe: { before: () => void (commits += 1) } })
  for (let index = 0; index < 2; index++) await readyCase(store.backend, { priority: 1 })
  const [ending, going] = await claimAll(store.backend, 2)
  const waiting: string[] = []
  for (let index = 0; index < 3; index++) waiting.push(await readyCase(store.backend, { nowMs: 10 + index }))
  const next = { to: 'sleep', dueMs: 9_000, attempt: 1 } as const
  const taken: Work[] = []
  commits = 0

  await store.backend.hotPath.commitSteps([{ ...eventsOnly(ending!), next }, stepCommit(going!)], {
    claim: { claimedBy: 'refill 1', nowMs: 2_000 },
    take: (claimed) => void taken.push(...claimed),
  })

  assert.equal(commits, 1)
  assert.deepEqual(
    taken.map(({ instanceId, state, claimedBy }) => [instanceId, state, claimedBy]),
    [[waiting[0], 'claimed', 'refill 1']],
  )
  assert.partialDeepStrictEqual(taken[0], await workOf(store.backend, waiting[0]!))
})

onEachBackend('a commit that is fenced off takes no other instance in its place', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const work = await claimOne(store.backend)
  await readyCase(store.backend)
  const next = { to: 'release', step: 'first', run: 1, attempt: 0 } as const
  const commit = { ...eventsOnly(work), next, fence: { token: 'f'.repeat(32), stepNo: 0, run: 1, auditSeq: 1 } }

  const results = await store.backend.hotPath.commitSteps([commit], {
    claim: { claimedBy: 'refill 1', nowMs: 2_000 },
    take: () => assert.fail('something was claimed'),
  })

  assert.deepEqual(results, [{ kind: 'fenced' }])
})

onEachBackend(
  'what a claim with a lost answer took is given back by the name of that claim, and nothing else',
  async (open) => {
    let isLost = false
    const after = () => {
      if (isLost) throw new Error('the connection broke')
    }
    await using store = await open({ probe: { after } })
    const [known, stray] = [await readyCase(store.backend, { nowMs: 1 }), await readyCase(store.backend, { nowMs: 2 })]
    const { hotPath } = store.backend
    await hotPath.claim({ limit: 1, claimedBy: 'claim 1', nowMs: 1_500 })
    isLost = true
    await assert.rejects(hotPath.claim({ limit: 1, claimedBy: 'claim 2', nowMs: 1_500 }), CommitUnknownError)
    isLost = false
    assert.equal((await workOf(store.backend, stray))!.state, 'claimed')

    await store.backend.transaction((tx) => releaseClaimsOf(tx, 'claim 2'))

    assert.equal((await workOf(store.backend, stray))!.state, 'ready')
    assert.equal((await workOf(store.backend, known))!.state, 'claimed')
  },
)

onEachBackend('instances of definitions that a worker cannot run are left in line', async (open) => {
  await using store = await open()
  await readyCase(store.backend)
  const except = [(await store.sql<{ hash: string }>('select definition_hash as hash from work'))[0]!.hash]
  const request = { limit: 5, claimedBy: 'worker', nowMs: 1_500 }

  assert.equal(await store.backend.hotPath.anyReady(except), false)
  assert.deepEqual(await store.backend.hotPath.claim({ ...request, except }), [])

  assert.equal(await store.backend.hotPath.anyReady(['e'.repeat(64)]), true)
  assert.equal((await store.backend.hotPath.claim({ ...request, except: ['e'.repeat(64)] })).length, 1)
})
