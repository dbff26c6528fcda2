import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Backend } from '../../src/storage/backend.ts'
import { openCutProxy } from '../storage/cut-proxy.ts'
import { turns, until } from '../storage/fixture.ts'
import { onEachPostgres } from '../storage/postgres-store.ts'
import { type EngineFixture, openEngine } from './fixture.ts'
import { openFleet, without } from './open-fleet.ts'

onEachPostgres(
  'a case that one process takes is run by another, and whoever waits for it hears of its end',
  async (open) => {
    await using fleet = await openFleet(open, without, {})
    const [api, worker] = fleet.engines as [EngineFixture, EngineFixture]
    await until(async () => (await fleet.store.rowCounts()).workers === 2)

    // Time stands still: nobody polls.
    const view = await api.run()

    assert.equal(view.status, 'completed')
    assert.deepEqual([api.ran(), worker.ran()], [[], ['first#1.1']])
    await worker.verify()
  },
)

onEachPostgres('processes share what is in line, and nothing runs twice', async (open) => {
  await using fleet = await openFleet(open, without, {}, {})
  const [api, one, two] = fleet.engines as [EngineFixture, EngineFixture, EngineFixture]
  const submitted = await Promise.all(Array.from({ length: 40 }, () => api.submit()))

  for (const { instanceId } of submitted) assert.equal((await api.core.waitFor(instanceId)).status, 'completed')

  assert.equal(one.calls.length + two.calls.length, 40)
  await api.verify()
})

onEachPostgres('what sleeps in one process that dies is woken by another when it is due', async (open) => {
  const first = ({ attempt }: { attempt: number }) => {
    if (attempt === 1) throw new Error('not yet')
    return {}
  }
  await using fleet = await openFleet(
    open,
    { plays: { first } },
    { ...without, plays: { first } },
    { plays: { first }, isStarted: false },
  )
  const [one, api, other] = fleet.engines as [EngineFixture, EngineFixture, EngineFixture]
  const { instanceId } = await one.submit()
  await one.reach(instanceId, { work: 'sleeping' })
  await one.core.drain()

  other.core.start()
  await until(async () => {
    await other.clock.advance(1_000)
    await turns(50)
    return (await api.core.getCase(instanceId)).status === 'completed'
  })

  assert.deepEqual([one.ran(), other.ran()], [['first#1.1'], ['first#1.2']])
  await api.verify()
})

onEachPostgres(
  'a process that leaves takes itself off the table, and one that drains keeps its claims meanwhile',
  async (open) => {
    const gate = Promise.withResolvers<void>()
    const first = async () => {
      await gate.promise
      return {}
    }
    await using fleet = await openFleet(open, { plays: { first } }, {})
    const [one, two] = fleet.engines as [EngineFixture, EngineFixture]
    await two.core.drain()
    const { instanceId } = await one.submit()
    await one.reachCall('first#1.1')
    await until(async () => (await fleet.store.rowCounts()).workers === 1)

    const draining = one.core.drain()
    await one.clock.advance(20_000)
    await turns(50)
    assert.equal((await fleet.store.rowCounts()).workers, 1)
    gate.resolve()
    await draining

    assert.equal((await one.core.getCase(instanceId)).status, 'completed')
    assert.equal((await fleet.store.rowCounts()).workers, 0)
  },
)

onEachPostgres(
  'a server that is started anew costs no step: its result is recorded when the server is back',
  async (open) => {
    await using store = await open()
    await using proxy = await openCutProxy(store.dsn)
    const backend = await store.join({ dsn: proxy.dsn })
    const gate = Promise.withResolvers<void>()
    const first = async () => {
      await gate.promise
      return { said: 'yes' }
    }
    const beside = { ...store, backend, [Symbol.asyncDispose]: async () => {} }
    await using engine = await openEngine(() => Promise.resolve(beside), { plays: { first } })
    const submitted = await Promise.all(Array.from({ length: 4 }, () => engine.submit()))
    await until(() => engine.calls.length === 4)

    proxy.restart(1000)
    gate.resolve()

    for (const { instanceId } of submitted) assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')
    assert.equal(engine.calls.length, 4)
    await engine.verify()
  },
)

onEachPostgres(
  'what one process cannot run is waited for while others have workers, and refused when none has',
  async (open) => {
    const other = { workflows: [{ name: 'other', steps: [{ name: 'first', primitive: 'rare' }] }] }
    const packs = [{ name: 'rare', ...other, domains: [{ domain_name: 'plain', governance: 'auto' }] }]
    const rare = { name: 'rare', needsModel: false, requiredParams: [], defaultParams: {} }
    const primitives = [{ ...rare, run: () => Promise.resolve({ output: {} }) }]
    await using fleet = await openFleet(open, { packs, core: { primitives }, isStarted: false }, without, {})
    const [able, waiting, unable] = fleet.engines as [EngineFixture, EngineFixture, EngineFixture]
    const { instanceId } = await able.submit({ workflow: 'other' })
    await until(() => unable.complaints.some((complaint) => complaint.includes('CC_ERR_NO_PRIMITIVE')), 'it is met')

    const waited = waiting.core.waitFor(instanceId)
    // It hears of what was given back as well.
    able.core.start()
    assert.equal((await waited).status, 'completed')

    const next = await able.submit({ workflow: 'other' })
    assert.equal((await waiting.core.waitFor(next.instanceId)).status, 'completed')
    await able.core.drain()
    await unable.core.drain()
    const { instanceId: left } = await able.submit({ workflow: 'other' })
    await assert.rejects(waiting.core.waitFor(left), { code: 'CC_ERR_NO_PRIMITIVE' })
  },
)

onEachPostgres('where no hint arrives, whoever waits hears of the end with a beat', async (open) => {
  await using fleet = await openFleet(open, { ...without, isDeaf: true }, {})
  const [api, worker] = fleet.engines as [EngineFixture, EngineFixture]
  const { instanceId } = await api.submit()
  let isOver = false
  const waiting = api.core.waitFor(instanceId).then((view) => {
    isOver = true
    return view
  })
  // It has looked, and the case was under way.
  await delay(200)
  await worker.clock.advance(6_000)
  await worker.reach(instanceId, { status: 'completed' })
  await turns(50)
  assert.equal(isOver, false, 'nobody told it')

  await api.clock.advance(2_000)

  assert.equal((await waiting).status, 'completed')
})

onEachPostgres(
  'whoever follows cases is told with a beat what hints have missed, at the cost of one statement',
  async (open) => {
    const gate = Promise.withResolvers<void>()
    const first = async () => {
      await gate.promise
      return {}
    }
    await using fleet = await openFleet(
      open,
      { ...without, isDeaf: true },
      { plays: { first }, core: { workerConcurrency: 50 } },
    )
    const [api, worker] = fleet.engines as [EngineFixture, EngineFixture]
    const ids: string[] = []
    for (let count = 0; count < 50; count++) ids.push((await worker.submit()).instanceId)
    const heard: unknown[] = []
    let known = 0
    api.core.onChange(
      (instanceId) => heard.push(instanceId),
      () => ids.map((instanceId) => [instanceId, known] as const),
    )
    known = 1
    await api.clock.advance(2_000)
    await turns(50)
    assert.deepEqual(heard.filter(Boolean), [], 'of nothing that is known already')

    gate.resolve()
    for (const instanceId of ids) await worker.reach(instanceId, { status: 'completed' })
    const statements = countStatements(api.store.backend)
    await api.clock.advance(1_200)

    await until(() => ids.every((instanceId) => heard.includes(instanceId)), 'news of all')
    assert.ok(statements.count() <= 2, String(statements.count()))
  },
)

/** Statements outside of transactions that go to the store from now on, beats not counted. */
function countStatements(backend: Backend) {
  let count = 0
  const { query } = backend
  Object.assign(backend, {
    query: (...asked: Parameters<Backend['query']>) => {
      count += 1
      return query.apply(backend, asked)
    },
  })
  return { count: () => count }
}
