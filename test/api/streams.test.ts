import assert from 'node:assert/strict'
import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { ServerEvent } from '../../src/api/event-stream.ts'
import type { AuditEvent } from '../../src/domain/audit.ts'
import type { Role } from '../../src/domain/role.ts'
import type { Core } from '../../src/engine/core.ts'
import { onEachBackend, type OpenStore, turns, until } from '../storage/fixture.ts'
import {
  type ApiFixture,
  type ApiOptions,
  type Asking,
  desk,
  openApi,
  secretOf,
  serviceOn,
  type Watching,
} from './fixture.ts'

const people = { kim: 'submitter', lena: 'submitter', ann: 'reviewer', olga: 'operator' } as const

/** One caller has at most a hundred streams, so that many viewers are many people. */
const crowd = Object.fromEntries(Array.from({ length: 11 }, (_, index) => [`person ${index}`, 'auditor' as const]))

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
  const api = await openApi(open, { ...desk(), people, ...options })
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

/** Counts how often the record of each case is read. */
function countReads() {
  const counts = new Map<string, number>()
  const gates = new Map<string, Promise<void>>()
  let active = 0
  const during = async <T>(act: () => Promise<T>): Promise<T> => {
    active++
    return await act().finally(() => active--)
  }
  /** Until nobody reads any more. */
  const quiet = async () => {
    for (let times = 0; times < 3; times = active === 0 ? times + 1 : 0) await turns()
  }
  return {
    quiet,
    wrap: (core: Core) =>
      replacing(core, {
        getAudit: (id, ...options) =>
          during(async () => {
            counts.set(id, (counts.get(id) ?? 0) + 1)
            await gates.get(id)
            return await core.getAudit(id, ...options)
          }),
        getCase: (id) => during(() => core.getCase(id)),
      }),
    readsOf: ({ instanceId }: Pick<Story, 'instanceId'>) => counts.get(instanceId) ?? 0,
    /** Counts anew, once nobody reads any more. */
    async begin() {
      await quiet()
      counts.clear()
    },
    /** Keeps everybody reading this case until what it returns is called. */
    hold({ instanceId }: Pick<Story, 'instanceId'>) {
      const held = Promise.withResolvers<void>()
      gates.set(instanceId, held.promise)
      return held.resolve
    },
  }
}

/** Another case that somebody follows: once news of it are told, hints that came before have been told as well. */
async function openOther({ api }: Story): Promise<() => Promise<void>> {
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const watching = await api.watch(`/v1/cases/${instanceId}/stream`, { as: 'ann' })
  let seq = 5
  return async () => {
    await api.engine.core.claimTask({ taskId: openTasks[0]!, actor: 'ann', forMs: 1_000 + seq })
    await hasTold(watching, ++seq)
  }
}

onEachBackend('two hundred viewers of a case cost one read for each change', async (open) => {
  const { wrap, begin, readsOf } = countReads()
  await using story = await openHeld(open, { wrap, people: { ...people, ...crowd } })
  const viewers = await Promise.all(from(1, 200).map((number) => story.watch({ as: `person ${number % 4}` })))
  for (const viewer of viewers) await hasTold(viewer, 5)
  await begin()

  for (const change of from(1, 20)) {
    await story.happen(1)
    for (const viewer of viewers) await hasTold(viewer, 5 + change)
    assert.equal(readsOf(story), change)
  }

  for (const viewer of viewers) assert.deepEqual(idsOf(viewer), from(1, 25))
})

onEachBackend('what happens while a case is being read costs one more read, however much it is', async (open) => {
  const { wrap, begin, quiet, hold, readsOf } = countReads()
  await using story = await openHeld(open, { wrap })
  const watching = await story.watch()
  await hasTold(watching, 5)
  const hintsAreTold = await openOther(story)
  await hintsAreTold()
  await begin()
  const goOn = hold(story)
  await story.happen(1)
  await until(() => readsOf(story) === 1)

  await story.happen(9)
  await hintsAreTold()
  assert.equal(readsOf(story), 1)
  goOn()

  await hasTold(watching, 15)
  await until(() => readsOf(story) > 1)
  await quiet()
  assert.equal(readsOf(story), 2)
  assert.deepEqual(idsOf(watching), from(1, 15))
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

/** What the service holds ready for those who have asked it since, in bytes, by the path that they asked for. */
function watchLines(): Disposable & { readonly waiting: (path: string) => number } {
  const begun: { readonly request: IncomingMessage; readonly response: ServerResponse }[] = []
  const note = (message: unknown) => void begun.push(message as (typeof begun)[number])
  subscribe('http.server.request.start', note)
  return {
    waiting: (path) =>
      begun
        .filter(({ request }) => request.url?.startsWith(path))
        .reduce((sum, one) => sum + one.response.writableLength, 0),
    [Symbol.dispose]: () => void unsubscribe('http.server.request.start', note),
  }
}

/** A viewer who stops reading until the service has to keep what it tells. */
async function watchUntilStuck(story: Story, lines: ReturnType<typeof watchLines>): Promise<Watching> {
  const stuck = await story.watch({ as: 'ann' })
  await hasTold(stuck, 5)
  stuck.pause()
  for (let count = 0; !(await staysFull(lines)); count++) {
    assert.ok(count < 100, 'its line is never full')
    await story.happen(1)
    await turns()
  }
  return stuck
}

const growingMs = 400

/** Buffers of the system grow for a while: what waits for them at one moment they may take at the next. */
async function staysFull(lines: ReturnType<typeof watchLines>): Promise<boolean> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < growingMs) {
    if (lines.waiting('/v1/cases') === 0) return false
    await turns()
  }
  return true
}

onEachBackend('a viewer whose line is stuck costs little, keeps nobody waiting, and is told the rest', async (open) => {
  using lines = watchLines()
  await using story = await openHeld(open, { wrap: swollen(400_000) })
  const stuck = await watchUntilStuck(story, lines)
  const full = lines.waiting('/v1/cases')

  const quick = await story.watch()
  await story.happen(30)

  const last = (await story.api.engine.core.getAudit(story.instanceId)).length
  await hasTold(quick, last)
  assert.deepEqual(idsOf(quick), from(1, last))
  assert.ok(lines.waiting('/v1/cases') <= full, 'nothing is added to what waits for it already')
  stuck.resume()
  await hasTold(stuck, last)
  assert.deepEqual(idsOf(stuck), from(1, last))
})

onEachBackend('whoever takes nothing for half a minute is let go, and comes back', async (open) => {
  using lines = watchLines()
  await using story = await openHeld(open, { wrap: swollen(400_000) })
  const { api } = story
  const stuck = await watchUntilStuck(story, lines)
  const quick = await story.watch()
  const last = (await api.engine.core.getAudit(story.instanceId)).length
  await hasTold(quick, last)
  await api.engine.clock.advance(29_000)
  assert.equal(await viewersOf(api), 2)

  await api.engine.clock.advance(31_000)

  await until(async () => (await viewersOf(api)) === 1, 'it is let go')
  stuck.resume()
  await until(stuck.isOver)
  const known = idsOf(stuck).at(-1)!
  assert.ok(known < last)
  assert.deepEqual(idsOf(stuck), from(1, known), 'what it was told has no gap')
  const again = await story.watch({ as: 'ann', after: known })
  await hasTold(again, last)
  assert.deepEqual(idsOf(again), from(known + 1, last))
  assert.equal(quick.isOver(), false)
})

onEachBackend('whoever takes no hints for half a minute is let go, however many there are meanwhile', async (open) => {
  using lines = watchLines()
  let hint: (instanceId: string) => void = () => {}
  const wrap = (core: Core) =>
    replacing(core, {
      onChange(listener) {
        hint = listener
        return () => {}
      },
    })
  await using api = await openApi(open, { ...desk(), people, wrap })
  const { clock } = api.engine
  const stuck = await api.watch('/v1/stream', { as: 'ann' })
  stuck.pause()
  for (let count = 0; lines.waiting('/v1/stream') === 0; count++) {
    assert.ok(count < 20, 'its line is never full')
    hint('x'.repeat(4_000_000))
    await clock.advance(500)
  }
  assert.equal(await viewersOf(api), 1)

  for (let count = 0; count < 100; count++) {
    hint(`case ${count}`)
    await clock.advance(500)
  }

  await until(async () => (await viewersOf(api)) === 0, 'it is let go')
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
  const { wrap, begin, readsOf } = countReads()
  await using story = await openHeld(open, { wrap })
  const { api } = story
  const viewers = await Promise.all([story.watch(), story.watch(), api.watch('/v1/stream', { as: 'ann' })])
  await hasTold(viewers[0]!, 5)
  assert.equal(await viewersOf(api), 3)
  const hintsAreTold = await openOther(story)

  for (const viewer of viewers) viewer.leave()

  await until(async () => (await viewersOf(api)) === 1, 'they have left')
  await begin()
  await story.happen(3)
  await hintsAreTold()
  assert.equal(readsOf(story), 0)
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

onEachBackend('a record of many events is told in parts, and is whole', async (open) => {
  const asked: (number | undefined)[] = []
  const wrap = (core: Core) =>
    replacing(core, {
      getAudit(id, options) {
        asked.push(options?.limit)
        return core.getAudit(id, options)
      },
    })
  await using story = await openHeld(open, { wrap })
  await story.happen(600)

  const watching = await story.watch()

  await hasTold(watching, 605)
  assert.deepEqual(idsOf(watching), from(1, 605))
  assert.ok(asked.every((limit) => limit !== undefined && limit <= 500))
  await story.api.engine.core.decide({ taskId: story.taskId, ...decision, actor: 'ann' })
  await until(watching.isOver)
  assert.deepEqual(typesOf(watching.events).slice(-3), ['task.decided', 'case.completed', 'end'])
})

onEachBackend(
  'a thousand viewers are admitted, a hundred of each caller, and the next when one has left',
  async (open) => {
    await using story = await openHeld(open, { people: { ...people, ...crowd } })
    const { api } = story
    const viewers: Watching[] = []
    const isFull = async (as: string, max: number) => {
      for (const path of ['/v1/stream', `/v1/cases/${story.instanceId}/stream`]) {
        const { status, headers, body } = await api.ask('GET', path, { as })
        assert.deepEqual([status, body.code, headers['retry-after']], [503, 'CC_ERR_TOO_MANY_STREAMS', '1'])
        assert.equal(body.facts.max, max)
      }
    }
    for (const as of Object.keys(crowd).slice(0, 10)) {
      viewers.push(...(await Promise.all(from(1, 100).map(() => api.watch('/v1/stream', { as })))))
      await isFull(as, 100)
    }
    assert.equal(await viewersOf(api), 1_000)
    await isFull('person 10', 1_000)

    viewers.pop()!.leave()

    await until(async () => (await viewersOf(api)) === 999, 'one has left')
    const watching = await story.watch({ as: 'person 10' })
    await hasTold(watching, 5)
  },
)

/** Keys that come and go. */
function changingKeys() {
  const held = new Map<string, Role>(Object.entries(people))
  const find = (secret: string) => {
    const name = [...held.keys()].find((candidate) => secretOf(candidate) === secret)
    if (name === undefined) return undefined
    return { name, role: held.get(name)!, sha256: '0'.repeat(64), created: '2026-01-05T09:00:00Z' }
  }
  return { held, keys: { find } }
}

const changes: Readonly<Record<string, (held: Map<string, Role>) => void>> = {
  'was revoked': (held) => held.delete('ann'),
  'has another role': (held) => held.set('ann', 'submitter'),
  'may not do this any more': (held) => held.set('ann', 'operator'),
}

for (const [what, change] of Object.entries(changes)) {
  onEachBackend(`what was opened with a key ends when the key ${what}, and shows nothing more`, async (open) => {
    const { held, keys } = changingKeys()
    await using story = await openHeld(open, { settings: { keys } })
    const { clock } = story.api.engine
    const others = await story.watch()
    const [busy, hints] = [await story.watch({ as: 'ann' }), await story.api.watch('/v1/stream', { as: 'ann' })]
    await hasTold(busy, 5)
    await hasTold(others, 5)

    change(held)
    await story.happen(1)
    await clock.advance(500)

    await until(() => busy.isOver() && hints.isOver())
    assert.deepEqual(idsOf(busy), from(1, 5))
    assert.deepEqual(hints.events, [])
    await hasTold(others, 6)
    assert.equal(await viewersOf(story.api), 1)
  })
}

onEachBackend('a silent stream ends as well, with its next sign of life', async (open) => {
  const { held, keys } = changingKeys()
  await using story = await openHeld(open, { settings: { keys } })
  const watching = await story.watch({ as: 'ann' })
  await hasTold(watching, 5)

  held.delete('ann')
  await story.api.engine.clock.advance(15_000)

  await until(watching.isOver)
})

onEachBackend('a key that is unknown for a moment ends a stream, and never the process', async (open) => {
  const { held, keys } = changingKeys()
  let refusals = 0
  const find = (secret: string) => (refusals-- === 1 ? undefined : keys.find(secret))
  // A record of which the next part is there at once, before the connection of a stream that was ended has gone.
  const facts = { pad: 'x' }
  const made = (seq: number): AuditEvent => ({
    ...{ instanceId: 'a', seq, type: 'task.claimed', atMs: 1, payloadId: undefined, prevHash: 'a', hash: 'b' },
    envelope: JSON.stringify({ facts }),
  })
  const wrap = (core: Core) =>
    replacing(core, {
      getAudit: (_id, { after = 0, limit = 0 } = {}) =>
        Promise.resolve(from(after + 1, Math.min(after + limit, 5_000)).map(made)),
    })
  await using story = await openHeld(open, { wrap, settings: { keys: { find } } })
  refusals = 3

  const watching = await story.watch({ as: 'ann' })

  await until(watching.isOver)
  assert.ok(held.has('ann') && refusals < 0)
  assert.ok(idsOf(watching).length < 5_000)
  assert.equal((await story.api.ask('GET', '/v1/me', { as: 'ann' })).status, 200)
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
