import assert from 'node:assert/strict'
import type { ServerEvent } from '../../src/api/event-stream.ts'
import type { AuditEvent } from '../../src/domain/audit.ts'
import type { Core } from '../../src/engine/core.ts'
import { onEachBackend, type OpenStore, turns, until } from '../storage/fixture.ts'
import { type ApiFixture, type ApiOptions, type Asking, desk, openApi, serviceOn, type Watching } from './fixture.ts'

const people = { kim: 'submitter', lena: 'submitter', ann: 'reviewer', olga: 'operator' } as const

interface Story extends AsyncDisposable {
  readonly api: ApiFixture
  readonly instanceId: string
  readonly taskId: string
  /** Makes so many events, one after the other. */
  readonly happen: (count: number) => Promise<void>
  readonly watch: (asking?: Asking & { readonly after?: number }, api?: ApiFixture) => Promise<Watching>
}

/** A service with a case that is held, so that its record grows when somebody claims its task and not otherwise. */
async function openHeld(open: OpenStore, options: ApiOptions = {}): Promise<Story> {
  const api = await openApi(open, { ...desk(), people: { ...people, ...crowd }, ...options })
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const taskId = openTasks[0]!
  let claims = 0
  return {
    api,
    instanceId,
    taskId,
    async happen(count) {
      for (const end = claims + count; claims < end; claims++) {
        await api.engine.core.claimTask({ taskId, actor: 'ann', forMs: 1_000 + claims })
      }
    },
    watch: ({ after, ...asking } = {}, on = api) =>
      on.watch(`/v1/cases/${instanceId}/stream${after === undefined ? '' : `?after=${after}`}`, {
        as: 'kim',
        ...asking,
      }),
    [Symbol.asyncDispose]: () => api[Symbol.asyncDispose](),
  }
}

const idsOf = ({ events }: Watching) => events.flatMap(({ id }) => (id === undefined ? [] : [Number(id)]))
const typesOf = (events: readonly ServerEvent[]) => events.map(({ event }) => event)
const from = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, index) => first + index)
const decision = { decision: 'approve', reason: 'seen' }

/** Ten more people, since one alone may not follow everything. */
const crowd = Object.fromEntries(from(1, 10).map((number) => [`viewer-${number}`, 'auditor' as const]))

/** Until the stream has told everything up to this event. */
async function hasTold(watching: Watching, seq: number): Promise<void> {
  await until(() => idsOf(watching).at(-1) === seq, `event ${seq}`)
}

async function viewersOf(api: ApiFixture): Promise<number> {
  const { text } = await api.ask('GET', '/metrics', { as: 'olga' })
  return Number(/^cc_stream_viewers (\d+)$/m.exec(text)![1])
}

onEachBackend('every event of a case is told, in order, as it happens, and then the end', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const { instanceId } = await api.engine.submit({ domain: 'gated', input: { waits: true } })
  const watching = await api.watch(`/v1/cases/${instanceId}/stream`, { as: 'kim' })
  await hasTold(watching, 1)
  assert.equal(watching.headers['content-type'], 'text/event-stream; charset=utf-8')
  assert.match(watching.text(), /^retry: 1000\n\nid: 1\nevent: case\.submitted\ndata: \{/)

  gate.resolve()
  await hasTold(watching, 5)
  assert.equal(watching.isOver(), false, 'somebody has to decide')
  const { openTasks } = await api.engine.core.getCase(instanceId)
  await api.ask('POST', `/v1/tasks/${openTasks[0]}/decision`, { as: 'ann', body: decision })

  await until(watching.isOver, 'the end')
  assert.deepEqual(typesOf(watching.events), [
    'case.submitted',
    'step.completed',
    'step.completed',
    'case.held',
    'task.opened',
    'task.decided',
    'case.completed',
    'end',
  ])
  assert.deepEqual(idsOf(watching), from(1, 7))
  const { body } = await api.ask('GET', `/v1/cases/${instanceId}/audit`, { as: 'kim' })
  const told = watching.events.slice(0, -1).map(({ data }) => JSON.parse(data) as object)
  assert.deepEqual(
    told,
    body.items.map(({ envelope: _, ...shown }: { envelope: string }) => shown),
  )
  const { id, data } = watching.events.at(-1)!
  assert.deepEqual([id, JSON.parse(data)], [undefined, { instance_id: instanceId, status: 'completed', tier: 'gate' }])
  assert.equal(await viewersOf(api), 0)
})

onEachBackend('whoever comes back is told what came after, without gap and without repeat', async (open) => {
  await using story = await openHeld(open)
  await story.happen(4)
  for (const after of from(0, 9)) {
    const byHeader = await story.watch({ headers: { 'last-event-id': String(after) } })
    const byQuery = await story.watch({ after })
    const byBoth = await story.watch({ after: 0, headers: { 'last-event-id': String(after) } })
    await story.happen(1)
    const last = 10 + after
    for (const watching of [byHeader, byQuery, byBoth]) {
      await hasTold(watching, last)
      assert.deepEqual(idsOf(watching), from(after + 1, last))
      watching.leave()
    }
  }
})

onEachBackend('a viewer who knows more than there is waits for what comes', async (open) => {
  await using story = await openHeld(open)
  const watching = await story.watch({ after: 6 })

  await story.happen(2)

  await hasTold(watching, 7)
  assert.deepEqual(idsOf(watching), [7])
})

onEachBackend('a case that has ended is told to its end, and then there is nothing more', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId } = await api.engine.run()
  const path = `/v1/cases/${instanceId}/stream`
  for (const after of [0, 1, 3]) {
    const watching = await api.watch(`${path}?after=${after}`, { as: 'kim' })
    await until(watching.isOver)
    assert.deepEqual(idsOf(watching), from(after + 1, 4))
    assert.equal(watching.events.at(-1)!.event, 'end')
  }

  for (const asking of [{ headers: { 'last-event-id': '4' } }, { headers: { 'last-event-id': '999' } }]) {
    const answer = await api.ask('GET', path, { as: 'kim', ...asking })
    assert.deepEqual([answer.status, answer.text], [204, ''])
  }
  assert.equal((await api.ask('GET', `${path}?after=4`, { as: 'kim' })).status, 204)
})

onEachBackend('a case that is spot-checked is followed until nobody is asked any more', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId, openTasks, status } = await api.engine.run({ domain: 'checked' })
  assert.equal(status, 'completed')
  const watching = await api.watch(`/v1/cases/${instanceId}/stream`, { as: 'kim' })
  await hasTold(watching, 5)
  assert.equal(watching.isOver(), false)

  await api.engine.core.decide({ taskId: openTasks[0]!, decision: 'confirm', reason: 'seen', actor: 'ann' })

  await until(watching.isOver)
  assert.deepEqual(typesOf(watching.events).slice(-2), ['task.decided', 'end'])
})

for (const [what, end, types] of [
  ['denied', { decision: 'deny' }, ['task.decided', 'case.terminated', 'end']],
  ['canceled', { reason: 'twice' }, ['cancel.requested', 'case.canceled', 'end']],
] as const) {
  onEachBackend(`a case that is ${what} has ended`, async (open) => {
    await using story = await openHeld(open)
    const { api, instanceId, taskId } = story
    const watching = await story.watch()
    await hasTold(watching, 5)

    if ('decision' in end) await api.engine.core.decide({ taskId, ...decision, ...end, actor: 'ann' })
    else await api.engine.core.cancel({ instanceId, ...end, actor: 'olga' })

    await until(watching.isOver)
    assert.deepEqual(typesOf(watching.events).slice(-3), types)
  })
}

onEachBackend('a case that failed has ended, and is followed again when it is tried again', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { instanceId } = await api.engine.run({ input: { fails: 1 } })
  const path = `/v1/cases/${instanceId}/stream`
  const first = await api.watch(path, { as: 'kim' })
  await until(first.isOver)
  const last = idsOf(first).at(-1)!

  await api.ask('POST', `/v1/cases/${instanceId}/retry`, { as: 'olga' })

  const second = await api.watch(`${path}?after=${last}`, { as: 'kim' })
  await until(second.isOver)
  assert.equal(second.events[0]!.event, 'case.retried')
  assert.deepEqual(idsOf(second), from(last + 1, (await api.engine.core.getAudit(instanceId)).length))
})

onEachBackend('a stream goes on after a restart of the service, and of the engine', async (open) => {
  await using story = await openHeld(open)
  const first = await story.watch()
  await hasTold(first, 5)
  await story.api.service.close()
  await until(first.isOver)
  assert.equal(first.events.at(-1)!.event, 'task.opened', 'it is not told that the case has ended')
  await story.happen(3)

  {
    await using again = await serviceOn(story.api.engine, { people })
    const second = await story.watch({ headers: { 'last-event-id': String(idsOf(first).at(-1)) } }, again)
    await hasTold(second, 8)
    await story.happen(1)
    await hasTold(second, 9)
    assert.deepEqual(idsOf(second), from(6, 9))
  }

  const { taskId, instanceId } = story
  await using next = await story.api.engine.crash()
  await using restarted = await serviceOn(next, { people })
  const third = await story.watch({ after: 9 }, restarted)
  await next.core.decide({ taskId, ...decision, actor: 'ann' })
  await until(third.isOver)
  assert.deepEqual(idsOf(third), from(10, (await next.core.getAudit(instanceId)).length))
})

onEachBackend('whenever viewers come, each is told everything once and in order', async (open) => {
  await using story = await openHeld(open)
  const begun: Promise<readonly [after: number, watching: Watching]>[] = []
  for (const round of from(0, 39)) {
    const after = (round * 7) % 12
    begun.push(story.watch({ after }).then((watching) => [after, watching] as const))
    if (round % 2 === 0) await story.happen(1)
    if (round % 3 === 0) await turns(round % 5)
  }
  await story.api.engine.core.decide({ taskId: story.taskId, ...decision, actor: 'ann' })
  const last = (await story.api.engine.core.getAudit(story.instanceId)).length

  for (const [after, watching] of await Promise.all(begun)) {
    await until(watching.isOver)
    assert.deepEqual(idsOf(watching), from(after + 1, last))
    assert.equal(typesOf(watching.events).filter((event) => event === 'end').length, 1)
  }
})

onEachBackend('to a submitter the streams of others do not exist', async (open) => {
  await using story = await openHeld(open)
  const path = `/v1/cases/${story.instanceId}/stream`

  const { status, body } = await story.api.ask('GET', path, { as: 'lena' })

  assert.deepEqual([status, body.code], [404, 'CC_ERR_UNKNOWN_CASE'])
  assert.equal((await story.api.ask('GET', path, { as: 'olga' })).status, 403)
})

/** The core with some verbs replaced. */
function replacing(core: Core, verbs: Partial<Core>): Core {
  return Object.assign(Object.create(core) as Core, verbs)
}

onEachBackend('two hundred viewers of a case cost one read for each change', async (open) => {
  let reads = 0
  const wrap = (core: Core) =>
    replacing(core, {
      getAudit(...args) {
        reads++
        return core.getAudit(...args)
      },
    })
  await using story = await openHeld(open, { wrap })
  const viewers = await Promise.all(from(1, 200).map((number) => story.watch({ as: `viewer-${1 + (number % 4)}` })))
  for (const viewer of viewers) await hasTold(viewer, 5)
  await turns()
  reads = 0

  for (const change of from(1, 20)) {
    await story.happen(1)
    for (const viewer of viewers) await hasTold(viewer, 5 + change)
    assert.equal(reads, change)
  }

  for (const viewer of viewers) assert.deepEqual(idsOf(viewer), from(1, 25))
})

/** Events that say so much that a line can be stuck with a few of them. */
function swollen(bytes: number) {
  const facts = { pad: 'x'.repeat(bytes) }
  const swell = (event: AuditEvent) => ({
    ...event,
    envelope: JSON.stringify({ ...(JSON.parse(event.envelope) as object), facts }),
  })
  return (core: Core) => replacing(core, { getAudit: async (...args) => (await core.getAudit(...args)).map(swell) })
}

onEachBackend('a viewer whose line is stuck is let go, comes back, and others go on', async (open) => {
  await using story = await openHeld(open, { wrap: swollen(400_000) })
  const [stuck, quick] = [await story.watch(), await story.watch()]
  await hasTold(stuck, 5)
  await hasTold(quick, 5)
  stuck.pause()
  for (let seq = 6; seq <= 40; seq++) {
    await story.happen(1)
    await hasTold(quick, seq)
  }
  assert.equal(await viewersOf(story.api), 2, 'it may only be slow')

  await story.api.engine.clock.advance(45_000)

  await until(async () => (await viewersOf(story.api)) === 1, 'the stuck one is let go')
  const last = idsOf(quick).at(-1)!
  assert.equal(quick.isOver(), false)
  stuck.resume()
  await until(stuck.isOver)
  const known = idsOf(stuck).at(-1)!
  assert.ok(known < last)
  assert.deepEqual(idsOf(stuck), from(1, known), 'what it was told has no gap')
  const again = await story.watch({ after: known })
  await hasTold(again, last)
  assert.deepEqual(idsOf(again), from(known + 1, last))
})

onEachBackend('a record that is long by itself reaches its viewers', async (open) => {
  await using story = await openHeld(open, { wrap: swollen(60_000) })
  await story.happen(45)

  const watching = await story.watch()

  await hasTold(watching, 50)
  assert.deepEqual(idsOf(watching), from(1, 50))
  assert.ok(watching.text().length > 2 * 1_048_576)
})

onEachBackend('viewers that leave are forgotten', async (open) => {
  let reads = 0
  const wrap = (core: Core) =>
    replacing(core, {
      getAudit(...args) {
        reads++
        return core.getAudit(...args)
      },
    })
  await using story = await openHeld(open, { wrap })
  const { api } = story
  const viewers = await Promise.all([story.watch(), story.watch(), api.watch('/v1/stream', { as: 'ann' })])
  await hasTold(viewers[0]!, 5)
  assert.equal(await viewersOf(api), 3)

  for (const viewer of viewers) viewer.leave()

  await until(async () => (await viewersOf(api)) === 0, 'nobody is there')
  reads = 0
  await story.happen(3)
  await turns()
  assert.equal(reads, 0)
  await api.engine.clock.advance(60_000)
  assert.deepEqual(
    api.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

onEachBackend('a viewer that leaves before its stream has begun is forgotten as well', async (open) => {
  const reading = Promise.withResolvers<void>()
  const asked = Promise.withResolvers<void>()
  const wrap = (core: Core) =>
    replacing(core, {
      async getAudit(...args) {
        asked.resolve()
        await reading.promise
        return await core.getAudit(...args)
      },
    })
  await using story = await openHeld(open, { wrap })
  const leaving = new AbortController()
  const watching = assert.rejects(story.watch({ signal: leaving.signal }))
  await asked.promise

  leaving.abort()
  await watching
  const ofStream = () => story.api.lines.filter(({ fields }) => fields.route === '/v1/cases/:id/stream')
  await until(() => ofStream().length > 0, 'it has left')
  reading.resolve()
  await turns()

  assert.equal(await viewersOf(story.api), 0)
  assert.deepEqual(
    ofStream().map(({ fields }) => fields.status),
    [499],
  )
})

onEachBackend('a stream that says nothing says every 15 seconds that it is there', async (open) => {
  await using story = await openHeld(open)
  const { api } = story
  const { clock } = api.engine
  const watching = [await story.watch(), await api.watch('/v1/stream', { as: 'ann' })]
  await hasTold(watching[0]!, 5)
  const comments = (viewer: Watching) =>
    viewer
      .text()
      .split('\n')
      .filter((line) => line === ': still here').length
  const heard = (count: number) =>
    until(() => watching.every((viewer) => comments(viewer) === count), `${count} comments`)

  await clock.advance(14_999)
  await turns()
  assert.deepEqual(watching.map(comments), [0, 0])
  await clock.advance(1)
  await heard(1)
  await clock.advance(30_000)
  await heard(3)

  assert.deepEqual(idsOf(watching[0]!), from(1, 5), 'a comment is no event')
  for (const viewer of watching) viewer.leave()
  await until(async () => (await viewersOf(api)) === 0)
  await clock.advance(15_000)
  const later = await story.watch()
  await clock.advance(15_000)
  await until(() => comments(later) === 1, 'it begins again')
})

onEachBackend('a reading that fails ends the stream and nothing else', async (open) => {
  let isBroken = false
  const wrap = (core: Core) =>
    replacing(core, {
      getAudit: (...args) => (isBroken ? Promise.reject(new Error('no disk')) : core.getAudit(...args)),
    })
  await using story = await openHeld(open, { wrap })
  const watching = await story.watch()
  await hasTold(watching, 5)

  isBroken = true
  await story.happen(1)

  await until(watching.isOver)
  assert.ok(!typesOf(watching.events).includes('end'))
  const [complaint] = story.api.lines.filter(({ level }) => level === 'error')
  assert.deepEqual([complaint!.message, complaint!.fields.instance], ['a case could not be followed', story.instanceId])
  isBroken = false
  const again = await story.watch({ after: 5 })
  await hasTold(again, 6)
  assert.equal(await viewersOf(story.api), 1)
})

onEachBackend('a thousand viewers are admitted, and the next when one has left', async (open) => {
  await using story = await openHeld(open)
  const { api } = story
  const viewers: Watching[] = []
  for (let count = 0; count < 10; count++) {
    const as = `viewer-${count + 1}`
    viewers.push(...(await Promise.all(from(1, 100).map(() => api.watch('/v1/stream', { as })))))
    const { body } = await api.ask('GET', '/v1/stream', { as })
    assert.equal(body.code, 'CC_ERR_TOO_MANY_STREAMS', 'nobody takes every place')
  }
  for (const path of ['/v1/stream', `/v1/cases/${story.instanceId}/stream`]) {
    const { status, headers, body } = await api.ask('GET', path, { as: 'ann' })
    assert.deepEqual([status, body.code, headers['retry-after']], [503, 'CC_ERR_TOO_MANY_STREAMS', '1'])
  }
  assert.equal(await viewersOf(api), 1_000)

  viewers.pop()!.leave()

  await until(async () => (await viewersOf(api)) === 999, 'one has left')
  const watching = await story.watch()
  await hasTold(watching, 5)
})

onEachBackend('hints of changes are gathered, and say which cases', async (open) => {
  await using api = await openApi(open, { ...desk(), people, isStarted: false })
  const { engine } = api
  const watching = await api.watch('/v1/stream', { as: 'ann' })
  const [first, second] = [await engine.submit(), await engine.submit()]
  await engine.core.cancel({ instanceId: first.instanceId, actor: 'olga', reason: 'twice' })
  await turns()
  assert.equal(watching.events.length, 0)

  await engine.clock.advance(500)

  await until(() => watching.events.length > 0)
  const hint = { instance_ids: [first.instanceId, second.instanceId], whole: true }
  assert.deepEqual(
    watching.events.map(({ id, event, data }) => [id, event, JSON.parse(data)]),
    [[undefined, 'changed', hint]],
  )
  await engine.clock.advance(5_000)
  await turns()
  assert.equal(watching.events.length, 1, 'nothing changed, nothing is said')

  const many: string[] = []
  for (let count = 0; count < 101; count++) many.push((await engine.submit()).instanceId)
  await engine.clock.advance(500)
  await until(() => watching.events.length > 1)
  assert.deepEqual(JSON.parse(watching.events.at(-1)!.data), { instance_ids: many.slice(0, 100), whole: false })
})
