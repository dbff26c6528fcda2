import assert from 'node:assert/strict'
import type { CaseView, DecisionRequest } from '../../src/engine/core.ts'
import type { Task } from '../../src/domain/task.ts'
import { type CoreError } from '../../src/errors.ts'
import { onEachBackend, type OpenStore } from '../storage/fixture.ts'
import { draftStep, type EngineFixture, openEngine, writing } from './fixture.ts'

const config = {
  governance_tiers: {
    spot_check: { sample_rate: 1, queue: 'quality', sla: 600 },
    gate: { queue: 'handlers', sla: 600, escalation_queue: 'leads' },
    hold: { queue: 'compliance', sla: 1200, escalation_queue: 'directors' },
  },
}
const proposed = { artifact: { amount: 100, currency: 'EUR', note: 'as claimed' } }

interface Held {
  readonly engine: EngineFixture
  readonly taskId: string
  readonly instanceId: string
}

/** An engine with one case of this tier, submitted by kim, whose task is open. */
async function openHeld(open: OpenStore, tier: string): Promise<Held & AsyncDisposable> {
  const engine = await openEngine(open, {
    governance: tier,
    config,
    steps: [draftStep],
    answers: { draft: writing(proposed.artifact) },
  })
  const { instanceId, openTasks } = await engine.run()
  await engine.clock.advance(1_000)
  return { engine, instanceId, taskId: openTasks[0]!, [Symbol.asyncDispose]: () => engine[Symbol.asyncDispose]() }
}

const decide = ({ engine, taskId }: Held, decision: string, request: Partial<DecisionRequest> = {}) =>
  engine.core.decide({ taskId, decision, reason: 'seen and weighed', actor: 'ann', ...request })

interface Effect {
  readonly case: Partial<CaseView>
  readonly events: readonly string[]
  /** The task that is open afterwards. */
  readonly opens?: Partial<Task>
}

const events = (tier: string) =>
  ['case.submitted', 'step.completed', tier === 'spot_check' ? 'case.completed' : 'case.held', 'task.opened'] as const
const changes = { artifact: { amount: 80, note: null } }
const changed = { artifact: { amount: 80, currency: 'EUR' } }

/** The closed table: what each word does at each tier. What is not here is refused. */
const table: Readonly<Record<string, Readonly<Record<string, Effect>>>> = {
  gate: {
    approve: {
      case: { status: 'completed', tier: 'gate', outcome: proposed },
      events: ['task.decided', 'case.completed'],
    },
    approve_with_changes: {
      case: { status: 'completed', tier: 'gate', outcome: changed },
      events: ['task.decided', 'case.completed'],
    },
    deny: {
      case: { status: 'terminated', tier: 'gate', outcome: undefined },
      events: ['task.decided', 'case.terminated'],
    },
    refer: {
      case: { status: 'suspended', tier: 'hold', outcome: undefined },
      events: ['task.decided', 'task.opened'],
      opens: {
        tier: 'hold',
        queue: 'compliance',
        escalationQueue: 'directors',
        barred: ['ann'],
        because: 'referred by ann',
      },
    },
  },
  hold: {
    release: {
      case: { status: 'completed', tier: 'hold', outcome: proposed },
      events: ['task.decided', 'case.completed'],
    },
    approve_with_changes: {
      case: { status: 'completed', tier: 'hold', outcome: changed },
      events: ['task.decided', 'case.completed'],
    },
    deny: {
      case: { status: 'terminated', tier: 'hold', outcome: undefined },
      events: ['task.decided', 'case.terminated'],
    },
    escalate: {
      case: { status: 'suspended', tier: 'hold', outcome: undefined },
      events: ['task.decided', 'task.opened'],
      opens: { tier: 'hold', queue: 'directors', barred: ['ann'], because: 'escalated by ann' },
    },
  },
  spot_check: {
    confirm: {
      case: { status: 'completed', tier: 'spot_check', outcome: proposed, disputed: false },
      events: ['task.decided'],
    },
    object: {
      case: { status: 'completed', tier: 'hold', outcome: proposed, disputed: true },
      events: ['task.decided', 'case.disputed', 'task.opened'],
      opens: { tier: 'hold', queue: 'compliance', barred: ['ann'], because: 'disputed by ann' },
    },
  },
}

const words = [
  'approve',
  'approve_with_changes',
  'deny',
  'refer',
  'release',
  'escalate',
  'confirm',
  'object',
  'Approve',
  '',
]

for (const [tier, row] of Object.entries(table)) {
  for (const word of words) {
    const effect = row[word]
    if (effect) onEachBackend(`at ${tier}, ${word} has its effect`, (open) => hasEffect(open, tier, word, effect))
    else onEachBackend(`at ${tier}, '${word}' is refused and changes nothing`, (open) => isRefused(open, tier, word))
  }
}

async function hasEffect(open: OpenStore, tier: string, word: string, effect: Effect): Promise<void> {
  await using held = await openHeld(open, tier)
  const { engine, instanceId, taskId } = held
  const endedBefore = (await engine.core.getCase(instanceId)).endedAtMs

  const decided = await decide(held, word, word === 'approve_with_changes' ? { changes } : {})

  const view = await engine.core.getCase(instanceId)
  for (const [field, value] of Object.entries(effect.case))
    assert.deepEqual(view[field as keyof CaseView], value, field)
  assert.deepEqual(view.proposed, proposed)
  const hasEndedNow = effect.events.some((type) => /^case\.(completed|terminated)$/.test(type))
  assert.equal(view.endedAtMs, hasEndedNow ? engine.clock.nowMs() : endedBefore)
  assert.deepEqual(await engine.events(instanceId), [...events(tier), ...effect.events])

  const { openedTaskId, ...answer } = decided
  const status = effect.case.status
  assert.deepEqual(answer, { taskId, instanceId, decision: word, decidedBy: 'ann', status, repeated: false })
  assert.deepEqual(view.openTasks, effect.opens ? [openedTaskId] : [])
  if (effect.opens) {
    const opened = await engine.core.getTask(openedTaskId!)
    for (const [field, value] of Object.entries(effect.opens))
      assert.deepEqual(opened[field as keyof Task], value, field)
    assert.equal(opened.dueMs, engine.clock.nowMs() + 1_200_000)
  }
  const task = await engine.core.getTask(taskId)
  assert.deepEqual(
    [task.status, task.decision, task.decidedBy, task.decidedAtMs],
    ['decided', word, 'ann', engine.clock.nowMs()],
  )
  await engine.verify()
}

async function isRefused(open: OpenStore, tier: string, word: string): Promise<void> {
  await using held = await openHeld(open, tier)
  const before = await everythingOf(held)

  await assert.rejects(decide(held, word, word === 'approve_with_changes' ? { changes } : {}), {
    code: 'CC_ERR_DECISION',
  })

  assert.deepEqual(await everythingOf(held), before)
}

async function everythingOf({ engine, instanceId, taskId }: Held): Promise<unknown[]> {
  const [view, task] = [await engine.core.getCase(instanceId), await engine.core.getTask(taskId)]
  return [view, { ...task, case: undefined }, await engine.core.getAudit(instanceId), await engine.store.rowCounts()]
}

onEachBackend('what was decided, by whom and why is part of the record', async (open) => {
  await using held = await openHeld(open, 'gate')

  await decide(held, 'approve_with_changes', { changes, reason: 'a receipt is missing' })

  const [decided] = await held.engine.envelopes(held.instanceId, 'task.decided')
  assert.deepEqual([decided!.actor, decided!.tier, decided!.payload!.kind], ['ann', 'gate', 'decision'])
  assert.deepEqual(decided!.facts, { task: held.taskId, decision: 'approve_with_changes', reason_given: true })
  const [payload] = await held.engine.store.sql<{ text: string }>(
    `select text from payloads where kind = 'decision' and instance_id = $1`,
    held.instanceId,
  )
  assert.deepEqual(JSON.parse(payload!.text), {
    decision: 'approve_with_changes',
    reason: 'a receipt is missing',
    changes,
  })
})

/** Changes that do not fit, by the word they come with. */
const misfits: readonly (readonly [string, string, Partial<DecisionRequest>, string])[] = [
  ['approve with changes', 'approve', { changes: {} }, 'CC_ERR_CHANGES'],
  ['deny with changes', 'deny', { changes }, 'CC_ERR_CHANGES'],
  ['approve_with_changes without any', 'approve_with_changes', {}, 'CC_ERR_CHANGES'],
  ['approve_with_changes with a list', 'approve_with_changes', { changes: [1] }, 'CC_ERR_CHANGES'],
  ['approve_with_changes with null', 'approve_with_changes', { changes: null }, 'CC_ERR_CHANGES'],
  ['approve_with_changes with NaN', 'approve_with_changes', { changes: { a: Number.NaN } }, 'CC_ERR_INPUT'],
  ['approve without a reason', 'approve', { reason: '' }, 'CC_ERR_REASON'],
  ['approve with blanks for a reason', 'approve', { reason: ' \n' }, 'CC_ERR_REASON'],
  ['approve with NUL in the reason', 'approve', { reason: 'a\0' }, 'CC_ERR_INPUT'],
  ['approve by nobody', 'approve', { actor: '' }, 'CC_ERR_ACTOR'],
]

for (const [what, word, request, code] of misfits) {
  onEachBackend(`${what} is refused and changes nothing`, async (open) => {
    await using held = await openHeld(open, 'gate')
    const before = await everythingOf(held)

    await assert.rejects(decide(held, word, request), { code })

    assert.deepEqual(await everythingOf(held), before)
  })
}

onEachBackend('a task that is not there is refused', async (open) => {
  await using held = await openHeld(open, 'gate')

  await assert.rejects(decide(held, 'approve', { taskId: 'nothing' }), { code: 'CC_ERR_UNKNOWN_TASK' })
  await assert.rejects(held.engine.core.claimTask({ taskId: 'nothing', actor: 'ann' }), { code: 'CC_ERR_UNKNOWN_TASK' })
})

for (const actor of ['kim', 'unverified:kim']) {
  onEachBackend(`${actor} does not decide or claim what kim submitted`, async (open) => {
    await using held = await openHeld(open, 'gate')
    const before = await everythingOf(held)

    await assert.rejects(decide(held, 'approve', { actor }), { code: 'CC_ERR_FOUR_EYES' })
    await assert.rejects(held.engine.core.claimTask({ taskId: held.taskId, actor }), { code: 'CC_ERR_FOUR_EYES' })

    assert.deepEqual(await everythingOf(held), before)
  })
}

onEachBackend('whoever was verified later does not decide what they submitted without it', async (open) => {
  await using engine = await openEngine(open, { governance: 'gate' })
  const { openTasks } = await engine.run({ actor: 'unverified:kim' })

  const request = { taskId: openTasks[0]!, decision: 'approve', reason: 'fine', actor: 'kim' }
  await assert.rejects(engine.core.decide(request), { code: 'CC_ERR_FOUR_EYES' })
})

const passedOn = [
  ['gate', 'refer'],
  ['hold', 'escalate'],
  ['spot_check', 'object'],
] as const

for (const [tier, word] of passedOn) {
  onEachBackend(
    `whoever says ${word} does not decide the task that comes of it, and somebody else does`,
    async (open) => {
      await using held = await openHeld(open, tier)
      const { engine, instanceId } = held
      const { openedTaskId } = await decide(held, word)
      const next = { taskId: openedTaskId!, decision: 'release', reason: 'looked at it again' }

      for (const actor of ['ann', 'unverified:ann', 'kim']) {
        await assert.rejects(engine.core.decide({ ...next, actor }), { code: 'CC_ERR_FOUR_EYES' })
        await assert.rejects(engine.core.claimTask({ taskId: openedTaskId!, actor }), { code: 'CC_ERR_FOUR_EYES' })
      }

      const decided = await engine.core.decide({ ...next, actor: 'bob' })
      assert.equal(decided.status, 'completed')
      assert.deepEqual((await engine.core.getCase(instanceId)).outcome, proposed)
      await engine.verify()
    },
  )
}

onEachBackend('everybody who passed a case on stays out of it', async (open) => {
  await using held = await openHeld(open, 'gate')
  const { engine } = held
  const first = await decide(held, 'refer')
  const second = await decide({ ...held, taskId: first.openedTaskId! }, 'escalate', { actor: 'bob' })

  for (const actor of ['ann', 'bob', 'kim']) {
    await assert.rejects(decide({ ...held, taskId: second.openedTaskId! }, 'release', { actor }), {
      code: 'CC_ERR_FOUR_EYES',
    })
  }

  await decide({ ...held, taskId: second.openedTaskId! }, 'release', { actor: 'eve' })
  assert.equal((await engine.core.getCase(held.instanceId)).status, 'completed')
  await engine.verify()
})

onEachBackend('a case that was objected to is terminated when the objection is upheld', async (open) => {
  await using held = await openHeld(open, 'spot_check')
  const { openedTaskId } = await decide(held, 'object')

  const decided = await decide({ ...held, taskId: openedTaskId! }, 'deny', { actor: 'bob' })

  assert.equal(decided.status, 'terminated')
  const view = await held.engine.core.getCase(held.instanceId)
  assert.deepEqual([view.status, view.outcome, view.disputed], ['terminated', undefined, true])
  await held.engine.verify()
})

onEachBackend('a decision needs no claim, and the claimer decides as anybody else', async (open) => {
  await using held = await openHeld(open, 'gate')
  await held.engine.core.claimTask({ taskId: held.taskId, actor: 'ann' })

  await decide(held, 'approve')

  assert.equal((await held.engine.core.getCase(held.instanceId)).status, 'completed')
})

onEachBackend('while a claim is live others are told who has the task and until when', async (open) => {
  await using held = await openHeld(open, 'gate')
  const { engine, taskId } = held
  const task = await engine.core.claimTask({ taskId, actor: 'bob' })
  assert.deepEqual([task.claimedBy, task.claimedUntilMs], ['bob', engine.clock.nowMs() + 900_000])
  const before = await everythingOf(held)
  const until = new Date(task.claimedUntilMs!).toISOString()
  const refusal = { code: 'CC_ERR_CLAIMED', facts: { taskId, holder: 'bob', until } }

  await assert.rejects(decide(held, 'approve'), refusal)
  await assert.rejects(engine.core.claimTask({ taskId, actor: 'ann' }), refusal)

  assert.deepEqual(await everythingOf(held), before)
})

onEachBackend('a claim that has lapsed keeps nobody out', async (open) => {
  await using held = await openHeld(open, 'hold')
  const { engine, taskId } = held
  await engine.core.claimTask({ taskId, actor: 'bob' })
  await engine.clock.advance(899_999)
  await assert.rejects(decide(held, 'release'), { code: 'CC_ERR_CLAIMED' })

  await engine.clock.advance(1)
  assert.equal((await engine.core.claimTask({ taskId, actor: 'ann' })).claimedBy, 'ann')

  await assert.rejects(decide(held, 'release', { actor: 'bob' }), { code: 'CC_ERR_CLAIMED' })
  await decide(held, 'release')
  await engine.verify()
})

onEachBackend('claiming again keeps the task longer, also once the name was verified', async (open) => {
  await using held = await openHeld(open, 'gate')
  const { engine, taskId } = held
  await engine.core.claimTask({ taskId, actor: 'unverified:ann' })
  await engine.clock.advance(60_000)

  const task = await engine.core.claimTask({ taskId, actor: 'ann' })

  const stored = await engine.core.getTask(taskId)
  assert.deepEqual([stored.claimedBy, stored.claimedUntilMs], ['ann', engine.clock.nowMs() + 900_000])
  assert.deepEqual([task.claimedBy, task.claimedUntilMs], [stored.claimedBy, stored.claimedUntilMs])
  assert.equal((await engine.envelopes(held.instanceId, 'task.claimed')).length, 2)
  await engine.verify()
})

onEachBackend('of a hundred people who claim a task at the same time one gets it', async (open) => {
  await using held = await openHeld(open, 'gate')
  const people = Array.from({ length: 100 }, (_, index) => `person ${index}`)

  const claims = await Promise.allSettled(
    people.map((actor) => held.engine.core.claimTask({ taskId: held.taskId, actor })),
  )

  assert.equal(claims.filter(({ status }) => status === 'fulfilled').length, 1)
  for (const claim of claims)
    if (claim.status === 'rejected') assert.equal((claim.reason as CoreError).code, 'CC_ERR_CLAIMED')
  assert.equal((await held.engine.envelopes(held.instanceId, 'task.claimed')).length, 1)
  await held.engine.verify()
})

onEachBackend('the same decision by the same person is answered with the first one', async (open) => {
  await using held = await openHeld(open, 'gate')
  const first = await decide(held, 'refer')
  const before = await held.engine.core.getAudit(held.instanceId)
  await held.engine.clock.advance(1_000)

  const again = await decide(held, 'refer')

  assert.deepEqual(again, { ...first, repeated: true })
  assert.deepEqual(await held.engine.core.getAudit(held.instanceId), before)
})

const secondOpinions: Readonly<Record<string, Partial<DecisionRequest>>> = {
  'another word': { decision: 'deny' },
  'another reason': { reason: 'on second thoughts' },
  'another person': { actor: 'bob' },
}

for (const [what, request] of Object.entries(secondOpinions)) {
  onEachBackend(`a decided task is not decided again with ${what}`, async (open) => {
    await using held = await openHeld(open, 'gate')
    await decide(held, 'approve')
    const before = await everythingOf(held)
    const { taskId, instanceId } = held
    const { decidedAtMs } = await held.engine.core.getTask(taskId)

    await assert.rejects(decide(held, 'approve', request), {
      code: 'CC_ERR_ALREADY_DECIDED',
      facts: { taskId, instanceId, decision: 'approve', decidedBy: 'ann', decidedAtMs },
    })
    await assert.rejects(held.engine.core.claimTask({ taskId: held.taskId, actor: 'bob' }), {
      code: 'CC_ERR_ALREADY_DECIDED',
    })

    assert.deepEqual(await everythingOf(held), before)
  })
}

onEachBackend('of a hundred people who decide at the same time exactly one decides', async (open) => {
  await using held = await openHeld(open, 'gate')
  const people = Array.from({ length: 100 }, (_, index) => `person ${index}`)

  const decisions = await Promise.allSettled(
    people.map((actor, index) => decide(held, index % 2 === 0 ? 'approve' : 'deny', { actor })),
  )

  const [winner, ...others] = decisions.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  assert.deepEqual(others, [])
  for (const one of decisions) {
    if (one.status === 'rejected') assert.equal((one.reason as CoreError).code, 'CC_ERR_ALREADY_DECIDED')
  }
  const [decided, ...more] = await held.engine.envelopes(held.instanceId, 'task.decided')
  assert.deepEqual([decided!.actor, decided!.facts!.decision, more.length], [winner!.decidedBy, winner!.decision, 0])
  assert.equal((await held.engine.core.getCase(held.instanceId)).status, winner!.status)
  await held.engine.verify()
})

onEachBackend('a decision and a cancel at the same time: one of them wins, whole', async (open) => {
  await using held = await openHeld(open, 'gate')

  await Promise.allSettled([
    decide(held, 'approve'),
    held.engine.core.cancel({ instanceId: held.instanceId, actor: 'olga', reason: 'no need any more' }),
  ])

  const { status } = await held.engine.core.getCase(held.instanceId)
  assert.ok(status === 'completed' || status === 'canceled')
  const ends = (await held.engine.events(held.instanceId)).filter((type) => /^case\.(completed|canceled)$/.test(type))
  assert.deepEqual(ends, [`case.${status}`])
  await held.engine.verify()
})

onEachBackend('a reviewer sees with a task all that there is to decide upon', async (open) => {
  await using held = await openHeld(open, 'gate')

  const task = await held.engine.core.getTask(held.taskId)

  assert.deepEqual(task.allowed, ['approve', 'approve_with_changes', 'deny', 'refer'])
  assert.deepEqual(task.input, { amount: 7 })
  assert.deepEqual(task.case.proposed, proposed)
  assert.deepEqual(
    task.steps.map(({ step, status }) => [step, status]),
    [['draft', 'completed']],
  )
  assert.deepEqual([task.queue, task.submittedBy, task.because], ['handlers', 'kim', 'domain: floor of plain'])
})

onEachBackend('open tasks are listed by their due times, a page at a time, and by queue', async (open) => {
  await using held = await openHeld(open, 'gate')
  const { engine } = held
  const taskIds = [held.taskId]
  for (let index = 0; index < 4; index++) {
    taskIds.push((await engine.run()).openTasks[0]!)
    await engine.clock.advance(1_000)
  }

  const pages: string[][] = []
  let cursor: string | undefined
  do {
    const page = await engine.core.listTasks({ limit: 2, ...(cursor === undefined ? {} : { cursor }) })
    pages.push(page.items.map(({ taskId }) => taskId))
    cursor = page.nextCursor
  } while (cursor !== undefined)

  assert.deepEqual(
    pages.map(({ length }) => length),
    [2, 2, 1],
  )
  assert.deepEqual(pages.flat(), taskIds)
  assert.equal((await engine.core.listTasks({ queue: 'handlers' })).items.length, 5)
  assert.deepEqual((await engine.core.listTasks({ queue: 'leads' })).items, [])
  await decide(held, 'approve')
  assert.deepEqual(
    (await engine.core.listTasks({ status: 'decided' })).items.map(({ taskId }) => taskId),
    [held.taskId],
  )
  await assert.rejects(engine.core.listTasks({ cursor: 'nothing' }), { code: 'CC_ERR_INPUT' })
  await assert.rejects(engine.core.listTasks({ limit: 0 }), { code: 'CC_ERR_INPUT' })
})

for (const actor of ['kim', 'unverified:kim', 'unverified:unverified:kim', 'KIM', 'unverified:Kim', '\uff4bim']) {
  onEachBackend(`who submitted a case does not decide it as ${JSON.stringify(actor)} either`, async (open) => {
    await using held = await openHeld(open, 'gate')
    // The row says somebody else; the chain does not.
    await held.engine.store.sql(`update tasks set submitted_by = 'zoe'`)

    await assert.rejects(decide(held, 'approve', { actor }), { code: 'CC_ERR_FOUR_EYES' })
    await assert.rejects(held.engine.core.claimTask({ taskId: held.taskId, actor }), { code: 'CC_ERR_FOUR_EYES' })
  })
}

onEachBackend('a name with blanks around it is none', async (open) => {
  await using held = await openHeld(open, 'gate')

  for (const actor of ['kim ', ' kim', '\u00a0kim', '']) {
    await assert.rejects(decide(held, 'approve', { actor }), { code: 'CC_ERR_ACTOR' })
  }
})
