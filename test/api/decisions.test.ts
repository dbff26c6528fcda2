import assert from 'node:assert/strict'
import type { Role } from '../../src/domain/role.ts'
import { onEachBackend, type OpenStore, until } from '../storage/fixture.ts'
import {
  artifact,
  type Answer,
  type ApiFixture,
  type ApiOptions,
  type Asking,
  checkProblem,
  desk,
  openApi,
} from './fixture.ts'

const people: Readonly<Record<string, Role>> = {
  kim: 'submitter',
  ann: 'reviewer',
  bob: 'reviewer',
  eve: 'reviewer',
  aude: 'auditor',
  olga: 'operator',
}

const proposed = { artifact }

interface Held extends AsyncDisposable {
  readonly api: ApiFixture
  readonly instanceId: string
  readonly taskId: string
  /** The case as an auditor reads it. */
  readonly case: () => Promise<any>
  readonly task: (taskId?: string) => Promise<any>
  /** Types of the events of its record. */
  readonly events: () => Promise<readonly string[]>
  readonly decide: (body: object, asking?: Asking) => Promise<Answer>
}

/** A service with one case that kim has submitted, and that is held or was sampled. */
async function openHeld(
  open: OpenStore,
  domain: string,
  options: Pick<ApiOptions, 'people'> & Parameters<typeof desk>[0] = {},
): Promise<Held> {
  const api = await openApi(open, { ...desk(options), people, ...options })
  const instanceId = await submit(api, { domain })
  const view = await rested(api, instanceId)
  await api.engine.clock.advance(1_000)
  const taskId = view.open_tasks[0] as string
  const get = async (path: string) => (await api.ask('GET', path, { as: 'aude' })).body
  return {
    api,
    instanceId,
    taskId,
    case: () => get(`/v1/cases/${instanceId}`),
    task: (id = taskId) => get(`/v1/tasks/${id}`),
    events: async () => (await get(`/v1/cases/${instanceId}/audit`)).items.map(({ type }: { type: string }) => type),
    decide: (body, asking) =>
      api.ask('POST', `/v1/tasks/${taskId}/decision`, {
        as: 'ann',
        body: { reason: 'seen and weighed', ...body },
        ...asking,
      }),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

async function submit(api: ApiFixture, request: object = {}): Promise<string> {
  const body = { workflow: 'review', domain: 'plain', input: {}, ...request }
  const { status, body: submitted } = await api.ask('POST', '/v1/cases', { as: 'kim', body })
  assert.equal(status, 202)
  return submitted.instance_id as string
}

async function rested(api: ApiFixture, instanceId: string): Promise<any> {
  return (await api.ask('GET', `/v1/cases/${instanceId}?wait=60`, { as: 'kim' })).body
}

const changes = { artifact: { amount: 80, note: null, lines: [{ item: 'hotel', price: 80 }] } }
const changed = { artifact: { amount: 80, currency: 'EUR', lines: [{ item: 'hotel', price: 80 }] } }

interface Effect {
  readonly status: string
  readonly tier: string
  readonly outcome: object | null
  readonly events: readonly string[]
  readonly disputed?: boolean
  /** The task that is open afterwards. */
  readonly opens?: { readonly queue: string; readonly escalation_queue: string; readonly because: string }
}

const held = { status: 'suspended', outcome: null, events: ['task.decided', 'task.opened'] }
const done = { status: 'completed', events: ['task.decided', 'case.completed'] }
const ended = { status: 'terminated', outcome: null, events: ['task.decided', 'case.terminated'] }
const hold = { queue: 'compliance', escalation_queue: 'directors' }

/** The table of the contract. */
const table: Readonly<Record<string, Readonly<Record<string, Effect>>>> = {
  gated: {
    approve: { ...done, tier: 'gate', outcome: proposed },
    approve_with_changes: { ...done, tier: 'gate', outcome: changed },
    deny: { ...ended, tier: 'gate' },
    refer: { ...held, tier: 'hold', opens: { ...hold, because: 'referred by ann' } },
  },
  held: {
    release: { ...done, tier: 'hold', outcome: proposed },
    approve_with_changes: { ...done, tier: 'hold', outcome: changed },
    deny: { ...ended, tier: 'hold' },
    escalate: { ...held, tier: 'hold', opens: { ...hold, queue: 'directors', because: 'escalated by ann' } },
  },
  checked: {
    confirm: { status: 'completed', tier: 'spot_check', outcome: proposed, events: ['task.decided'] },
    object: {
      status: 'completed',
      tier: 'hold',
      outcome: proposed,
      disputed: true,
      events: ['task.decided', 'case.disputed', 'task.opened'],
      opens: { ...hold, because: 'disputed by ann' },
    },
  },
}

const words = Object.values(table).flatMap((row) => Object.keys(row))
const noWords = ['Approve', 'approve ', 'reject', 'constructor', '']

for (const [domain, row] of Object.entries(table)) {
  for (const [word, effect] of Object.entries(row)) {
    onEachBackend(`a case that is ${domain}: ${word} has its effect, and no other`, async (open) => {
      await using story = await openHeld(open, domain)
      const before = await story.events()

      const body = word === 'approve_with_changes' ? { decision: word, changes } : { decision: word }
      const answer = await story.decide(body)

      const { opened_task_id: opened, ...decided } = answer.body
      const { instanceId, taskId } = story
      assert.equal(answer.status, 200)
      assert.deepEqual(decided, {
        task_id: taskId,
        instance_id: instanceId,
        decision: word,
        decided_by: 'ann',
        status: effect.status,
        repeated: false,
      })
      const view = await story.case()
      assert.deepEqual(
        [view.status, view.tier, view.outcome, view.proposed, view.disputed],
        [effect.status, effect.tier, effect.outcome, proposed, effect.disputed ?? false],
      )
      assert.deepEqual(await story.events(), [...before, ...effect.events])
      const task = await story.task()
      assert.deepEqual([task.status, task.decision, task.decided_by, task.allowed], ['decided', word, 'ann', []])
      assert.deepEqual([task.reason, task.changes], ['seen and weighed', body.changes ?? null])
      await isOpened(story, opened, effect)
      await story.api.engine.verify()
    })
  }

  onEachBackend(`a case that is ${domain}: every other word is refused, and changes nothing`, async (open) => {
    await using story = await openHeld(open, domain)
    const before = await everythingOf(story)
    assert.deepEqual((await story.task()).allowed, Object.keys(row))

    for (const decision of new Set([...words, ...noWords].filter((word) => !(word in row)))) {
      const body = decision === 'approve_with_changes' ? { decision, changes } : { decision }
      checkProblem(await story.decide(body), [422, 'CC_ERR_DECISION'])
    }

    assert.deepEqual(await everythingOf(story), before)
  })
}

async function isOpened(story: Held, opened: string | null, { opens }: Effect): Promise<void> {
  const { api, instanceId } = story
  assert.deepEqual((await story.case()).open_tasks, opens ? [opened] : [])
  if (!opens) return assert.equal(opened, null)
  const { items } = (await api.ask('GET', `/v1/tasks?queue=${opens.queue}`, { as: 'bob' })).body
  const [{ task_id, instance_id, tier, barred, status, queue, escalation_queue, because, due_at_ms }] = items
  assert.deepEqual({ queue, escalation_queue, because }, opens)
  assert.deepEqual([task_id, instance_id, tier, barred, status], [opened, instanceId, 'hold', ['ann'], 'open'])
  assert.equal(due_at_ms, api.engine.clock.nowMs() + 1_200_000)
  const words = ['release', 'approve_with_changes', 'deny', 'escalate']
  assert.deepEqual((await story.task(opened!)).allowed, words)
}

async function everythingOf(story: Held): Promise<readonly unknown[]> {
  return [await story.case(), await story.task(), await story.events(), await story.api.engine.store.rowCounts()]
}

onEachBackend('changes reach the outcome whole, and both versions are kept', async (open) => {
  const letter = Array.from({ length: 4_000 }, (_, index) => ({
    line: index,
    text: `Zeile ${index}: Grüße, 山田 \u{1F600}`,
  }))
  const document = { letter, terms: { a: { b: { keep: 1, drop: 2, change: 3 } } }, gone: { x: 1 }, nothing: false }
  await using story = await openHeld(open, 'gated', { artifact: document })
  const patch = {
    letter: letter.map(({ line, text }) => ({ line, text: `${text}!` })),
    terms: { a: { b: { drop: null, change: { deeper: [null, 1] }, added: '' } } },
    gone: null,
    never: null,
    empty: { a: null },
  }
  const { status } = await story.decide({ decision: 'approve_with_changes', changes: { artifact: patch } })

  assert.equal(status, 200)
  const view = await story.case()
  assert.deepEqual(view.proposed, { artifact: document })
  assert.deepEqual(view.outcome, {
    artifact: {
      letter: patch.letter,
      terms: { a: { b: { keep: 1, change: { deeper: [null, 1] }, added: '' } } },
      nothing: false,
      empty: {},
    },
  })
  assert.deepEqual((await story.task()).changes, { artifact: patch })
  const exported = await story.api.ask('GET', `/v1/cases/${story.instanceId}/export`, { as: 'aude' })
  for (const text of ['Zeile 3999: Grüße, 山田 \u{1F600}"', 'Zeile 3999: Grüße, 山田 \u{1F600}!']) {
    assert.ok(JSON.stringify(exported.body).includes(text.slice(0, -1)), text)
  }
  await story.api.engine.verify()
})

for (const [what, submitter, decider] of [
  ['the same name', 'ann', 'ann'],
  ['the name in other letters', 'Ａｎｎ', 'ann'],
  ['the name before it was verified', 'unverified:ann', 'ann'],
] as const) {
  onEachBackend(`who submits a case does not decide it: ${what}`, async (open) => {
    await using api = await openApi(open, { ...desk(), people })
    const { instanceId, openTasks } = await api.engine.run({ domain: 'gated', actor: submitter })
    const before = await api.engine.core.getAudit(instanceId)
    const decision = { decision: 'approve', reason: 'mine' }

    const path = `/v1/tasks/${openTasks[0]}`
    checkProblem(await api.ask('POST', `${path}/decision`, { as: decider, body: decision }), [403, 'CC_ERR_FOUR_EYES'])
    checkProblem(await api.ask('POST', `${path}/claim`, { as: decider }), [403, 'CC_ERR_FOUR_EYES'])

    assert.deepEqual(await api.engine.core.getAudit(instanceId), before)
    assert.equal((await api.ask('POST', `${path}/decision`, { as: 'bob', body: decision })).status, 200)
  })
}

onEachBackend('without keys as well who submits a case does not decide it', async (open) => {
  await using api = await openApi(open, desk())
  const instanceId = await submit(api, { domain: 'gated' })
  const { open_tasks: tasks } = await rested(api, instanceId)
  const body = { decision: 'approve', reason: 'seen' }

  checkProblem(await api.ask('POST', `/v1/tasks/${tasks[0]}/decision`, { as: 'Kim', body }), [403, 'CC_ERR_FOUR_EYES'])

  const { status, body: decided } = await api.ask('POST', `/v1/tasks/${tasks[0]}/decision`, { as: 'Jürgen', body })
  assert.deepEqual([status, decided.decided_by], [200, 'unverified:Jürgen'])
})

for (const [domain, word] of [
  ['gated', 'refer'],
  ['held', 'escalate'],
  ['checked', 'object'],
] as const) {
  onEachBackend(`who says ${word} does not decide what comes of it, and somebody else does`, async (open) => {
    await using story = await openHeld(open, domain)
    const { opened_task_id: opened } = (await story.decide({ decision: word })).body
    const path = `/v1/tasks/${opened}`
    const body = { decision: 'deny', reason: 'on second thoughts' }

    checkProblem(await story.api.ask('POST', `${path}/decision`, { as: 'ann', body }), [403, 'CC_ERR_FOUR_EYES'])
    checkProblem(await story.api.ask('POST', `${path}/claim`, { as: 'ann' }), [403, 'CC_ERR_FOUR_EYES'])
    const { status } = await story.api.ask('POST', `${path}/decision`, { as: 'bob', body })

    assert.equal(status, 200)
    const view = await story.case()
    assert.deepEqual([view.status, view.outcome, view.open_tasks], ['terminated', null, []])
    await story.api.engine.verify()
  })
}

onEachBackend('while a claim is live others are told who has the task, and until when', async (open) => {
  await using story = await openHeld(open, 'gated')
  const { api, taskId } = story
  const claimed = await api.ask('POST', `/v1/tasks/${taskId}/claim`, { as: 'bob' })
  const untilMs = api.engine.clock.nowMs() + 900_000
  assert.deepEqual([claimed.status, claimed.body.claimed_by, claimed.body.claimed_until_ms], [200, 'bob', untilMs])
  const before = await everythingOf(story)

  for (const answer of [
    await story.decide({ decision: 'approve' }),
    await api.ask('POST', `/v1/tasks/${taskId}/claim`, { as: 'ann' }),
  ]) {
    checkProblem(answer, [409, 'CC_ERR_CLAIMED'])
    const { holder, claimed_until, detail } = answer.body
    assert.deepEqual([holder, Date.parse(claimed_until as string)], ['bob', untilMs])
    assert.match(detail, /bob/)
  }

  assert.deepEqual(await everythingOf(story), before)
  assert.equal((await story.decide({ decision: 'approve' }, { as: 'bob' })).status, 200)
})

onEachBackend('a claim lasts as long as was asked for, and keeps nobody out afterwards', async (open) => {
  await using story = await openHeld(open, 'held')
  const { api, taskId } = story
  const claim = (as: string, seconds: number) => api.ask('POST', `/v1/tasks/${taskId}/claim`, { as, body: { seconds } })
  const { body } = await claim('bob', 60)
  assert.equal(body.claimed_until_ms, api.engine.clock.nowMs() + 60_000)
  assert.equal(Date.parse(body.claimed_until as string), body.claimed_until_ms)

  await api.engine.clock.advance(59_999)
  assert.equal((await story.decide({ decision: 'release' })).status, 409)
  assert.equal((await claim('ann', 60)).status, 409)

  await api.engine.clock.advance(1)
  assert.equal((await claim('ann', 86_400)).body.claimed_by, 'ann')
  assert.equal((await story.decide({ decision: 'release' }, { as: 'bob' })).body.code, 'CC_ERR_CLAIMED')
  assert.equal((await story.decide({ decision: 'release' })).status, 200)
  await api.engine.verify()
})

onEachBackend('a claim without a body is one for a quarter of an hour', async (open) => {
  await using story = await openHeld(open, 'gated')
  const { api, taskId } = story
  for (const asking of [{}, { body: {} }, { body: 'null' }]) {
    const { status, body } = await api.ask('POST', `/v1/tasks/${taskId}/claim`, { as: 'bob', ...asking })
    assert.deepEqual([status, body.claimed_until_ms], [200, api.engine.clock.nowMs() + 900_000])
  }
})

onEachBackend('the same decision by the same person is answered with the first one', async (open) => {
  await using story = await openHeld(open, 'gated')
  const body = { decision: 'approve_with_changes', reason: 'a receipt is missing', changes: { a: 1, b: { c: 2 } } }
  const first = await story.decide(body)
  assert.deepEqual([first.status, first.body.repeated], [200, false])
  const before = await everythingOf(story)
  await story.api.engine.clock.advance(5_000)

  const again = await story.decide(body)
  const otherOrder = await story.decide({
    changes: { b: { c: 2 }, a: 1 },
    reason: body.reason,
    decision: body.decision,
  })

  for (const answer of [again, otherOrder]) {
    assert.deepEqual([answer.status, answer.body], [200, { ...first.body, repeated: true }])
  }
  assert.deepEqual(await everythingOf(story), before)
})

const secondOpinions: Readonly<Record<string, readonly [body: object, as: string]>> = {
  'another word': [{ decision: 'deny' }, 'ann'],
  'another reason': [{ decision: 'refer', reason: 'on second thoughts' }, 'ann'],
  'a word that there is not': [{ decision: 'nonsense' }, 'ann'],
  'another person': [{ decision: 'refer' }, 'bob'],
}

for (const [what, [body, as]] of Object.entries(secondOpinions)) {
  onEachBackend(`a decided task takes no second opinion: ${what}`, async (open) => {
    await using story = await openHeld(open, 'gated')
    await story.decide({ decision: 'refer' })
    const decidedAtMs = story.api.engine.clock.nowMs()
    const before = await everythingOf(story)
    await story.api.engine.clock.advance(1_000)

    const answer = await story.decide(body, { as })

    checkProblem(answer, [409, 'CC_ERR_ALREADY_DECIDED'])
    assert.deepEqual(answer.body.decision, {
      decision: 'refer',
      decided_by: 'ann',
      decided_at_ms: decidedAtMs,
      decided_at: new Date(decidedAtMs).toISOString(),
    })
    const claim = await story.api.ask('POST', `/v1/tasks/${story.taskId}/claim`, { as: 'bob' })
    assert.deepEqual([claim.status, claim.body.decision], [409, answer.body.decision])
    assert.deepEqual(await everythingOf(story), before)
  })
}

onEachBackend('a task of a case that was canceled is withdrawn', async (open) => {
  await using story = await openHeld(open, 'gated')
  const { api, instanceId, taskId } = story
  const canceled = await api.ask('POST', `/v1/cases/${instanceId}/cancel`, { as: 'olga', body: { reason: 'twice' } })
  assert.deepEqual([canceled.status, canceled.body.status, canceled.body.open_tasks], [200, 'canceled', []])

  checkProblem(await story.decide({ decision: 'approve' }), [409, 'CC_ERR_WITHDRAWN'])
  checkProblem(await api.ask('POST', `/v1/tasks/${taskId}/claim`, { as: 'ann' }), [409, 'CC_ERR_WITHDRAWN'])

  const task = await story.task()
  assert.deepEqual([task.status, task.allowed, task.decision], ['withdrawn', [], null])
  assert.deepEqual((await api.ask('GET', '/v1/tasks', { as: 'ann' })).body.items, [])
})

onEachBackend('a decision on what is not there is not found', async (open) => {
  await using story = await openHeld(open, 'gated')
  const body = { decision: 'approve', reason: 'seen' }
  // The case is not its task.
  for (const id of [story.instanceId, '019b8d62-7a80-7000-8000-000000000000']) {
    const answer = await story.api.ask('POST', `/v1/tasks/${id}/decision`, { as: 'ann', body })
    checkProblem(answer, [404, 'CC_ERR_UNKNOWN_TASK'])
  }
})

onEachBackend('a brief holds all that is needed to decide', async (open) => {
  await using story = await openHeld(open, 'gated')

  const { case: view, steps, input, ...task } = await story.task()

  assert.deepEqual(view, await story.case())
  assert.deepEqual(input, {})
  assert.deepEqual(
    steps.map(({ step, output }: { step: string; output: { artifact: unknown } }) => [step, output.artifact]),
    [
      ['first', undefined],
      ['draft', artifact],
    ],
  )
  assert.deepEqual([task.because, task.submitted_by, task.tier], ['domain: floor of gated', 'kim', 'gate'])
})

onEachBackend('a case runs, waits for its worker, and is completed', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const instanceId = await submit(api, { input: { waits: true } })
  const view = async () => (await api.ask('GET', `/v1/cases/${instanceId}`, { as: 'kim' })).body
  await until(async () => (await view()).work === 'claimed')
  assert.deepEqual([(await view()).status, (await view()).ended_at], ['running', null])

  const waiting = rested(api, instanceId)
  gate.resolve()

  const { status, work, outcome, path, ended_at_ms } = await waiting
  assert.deepEqual([status, work, outcome, path], ['completed', null, proposed, ['first', 'draft']])
  assert.equal(ended_at_ms, api.engine.clock.nowMs())
})

onEachBackend('a case that failed says why, and completes when it is tried again', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const instanceId = await submit(api, { input: { fails: 1 } })
  const failed = await rested(api, instanceId)
  assert.deepEqual([failed.status, failed.failure.code, failed.outcome], ['failed', 'primitive_error', null])
  assert.match(failed.failure.message, /broken/)

  const retried = await api.ask('POST', `/v1/cases/${instanceId}/retry`, { as: 'olga', body: {} })
  assert.equal(retried.status, 200)
  assert.ok(['running', 'suspended'].includes(retried.body.status), retried.body.status)

  const { status, failure, outcome, path } = await rested(api, instanceId)
  assert.deepEqual([status, failure, outcome, path], ['completed', null, proposed, ['first', 'first', 'draft']])
  const again = await api.ask('POST', `/v1/cases/${instanceId}/retry`, { as: 'olga' })
  checkProblem(again, [409, 'CC_ERR_NOT_RETRYABLE'])
  await api.engine.verify()
})

onEachBackend('a case that runs is canceled once its step has ended', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const instanceId = await submit(api, { input: { waits: true } })
  await api.engine.reach(instanceId, { work: 'claimed' })
  const cancel = () => api.ask('POST', `/v1/cases/${instanceId}/cancel`, { as: 'olga', body: { reason: 'twice' } })

  assert.deepEqual([(await cancel()).status, (await cancel()).body.status], [200, 'running'])
  gate.resolve()

  assert.equal((await rested(api, instanceId)).status, 'canceled')
  assert.equal((await cancel()).status, 200)
  const types = await api.engine.events(instanceId)
  assert.equal(types.filter((type) => type === 'cancel.requested').length, 1)
})

onEachBackend('a case that has ended is not canceled', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId } = await api.engine.run()

  const answer = await api.ask('POST', `/v1/cases/${instanceId}/cancel`, { as: 'olga', body: { reason: 'twice' } })

  checkProblem(answer, [409, 'CC_ERR_NOT_CANCELABLE'])
})

onEachBackend('a case without a worker stays ready', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false })
  const instanceId = await submit(api)

  const { body } = await api.ask('GET', `/v1/cases/${instanceId}`, { as: 'kim' })

  assert.deepEqual([body.status, body.work, body.tier, body.path], ['running', 'ready', null, []])
})

onEachBackend('a task whose time has passed is in the queue of those above, and is not decided', async (open) => {
  await using story = await openHeld(open, 'gated')
  const { api, taskId } = story
  const queued = async (queue: string) =>
    (await api.ask('GET', `/v1/tasks?queue=${queue}`, { as: 'ann' })).body.items as any[]
  await api.ask('POST', `/v1/tasks/${taskId}/claim`, { as: 'bob', body: { seconds: 3600 } })
  assert.deepEqual([(await queued('handlers')).length, (await queued('leads')).length], [1, 0])

  await api.engine.clock.advance(598_999)
  assert.deepEqual([(await queued('handlers')).length, (await queued('leads')).length], [1, 0])
  await api.engine.clock.advance(1)

  const [moved] = await queued('leads')
  assert.deepEqual(await queued('handlers'), [])
  assert.deepEqual(
    [moved.task_id, moved.status, moved.escalated_at_ms, moved.claimed_by],
    [taskId, 'open', moved.due_at_ms, null],
  )
  assert.deepEqual((await story.events()).at(-1), 'task.escalated')
  assert.equal((await story.case()).status, 'suspended')
  await api.engine.clock.advance(3_600_000)
  assert.equal((await story.events()).filter((type) => type === 'task.escalated').length, 1)
  assert.equal((await story.decide({ decision: 'approve' })).status, 200)
})

onEachBackend('tasks are listed most urgent first, page by page, each once', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const made: string[] = []
  for (let count = 0; count < 7; count++) {
    const { openTasks } = await api.engine.run({ domain: count % 2 === 0 ? 'gated' : 'held' })
    made.push(openTasks[0]!)
    await api.engine.clock.advance(1_000)
  }
  const listed: { task_id: string; due_at_ms: number }[] = []
  let cursor = ''
  do {
    const { body } = await api.ask('GET', `/v1/tasks?limit=2${cursor}`, { as: 'ann' })
    assert.ok(body.items.length <= 2)
    listed.push(...body.items)
    cursor = body.next_cursor === null ? '' : `&cursor=${encodeURIComponent(body.next_cursor as string)}`
  } while (cursor !== '')

  assert.deepEqual(listed.map(({ task_id }) => task_id).sort(), [...made].sort())
  const due = listed.map(({ due_at_ms }) => due_at_ms)
  assert.deepEqual(
    due,
    due.toSorted((a, b) => a - b),
  )
})

onEachBackend('of a hundred people who decide at the same time exactly one decides', async (open) => {
  const crowd = Array.from({ length: 100 }, (_, index) => `person ${index}`)
  const reviewers = Object.fromEntries(crowd.map((name) => [name, 'reviewer' as const]))
  await using story = await openHeld(open, 'gated', { people: { ...people, ...reviewers } })
  const bodyOf = (index: number) => ({ decision: index % 2 === 0 ? 'approve' : 'deny', reason: `as ${index} sees it` })

  const answers = await Promise.all(crowd.map((as, index) => story.decide(bodyOf(index), { as })))

  const winner = answers.findIndex(({ status }) => status === 200)
  const { decision, decided_by: decidedBy } = answers[winner]!.body
  assert.deepEqual([decision, decidedBy], [bodyOf(winner).decision, crowd[winner]])
  for (const [index, answer] of answers.entries()) {
    if (index === winner) continue
    checkProblem(answer, [409, 'CC_ERR_ALREADY_DECIDED'])
    assert.deepEqual([answer.body.decision.decision, answer.body.decision.decided_by], [decision, decidedBy])
  }
  const events = await story.events()
  assert.equal(events.filter((type) => type === 'task.decided').length, 1)
  const again = await Promise.all([1, 2, 3].map(() => story.decide(bodyOf(winner), { as: crowd[winner]! })))
  for (const { status, body } of again) {
    assert.deepEqual([status, body], [200, { ...answers[winner]!.body, repeated: true }])
  }
  assert.deepEqual(await story.events(), events)
  await story.api.engine.verify()
})

onEachBackend('one person who sends the same a hundred times at once decides once', async (open) => {
  await using story = await openHeld(open, 'gated')

  const answers = await Promise.all(Array.from({ length: 100 }, () => story.decide({ decision: 'refer' })))

  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]))
  assert.equal(answers.filter(({ body }) => body.repeated === false).length, 1)
  assert.equal(new Set(answers.map(({ body }) => body.opened_task_id as string)).size, 1)
  assert.equal((await story.events()).filter((type) => type === 'task.opened').length, 2)
  await story.api.engine.verify()
})
