import assert from 'node:assert/strict'
import { openCutProxy } from '../storage/cut-proxy.ts'
import { turns, until } from '../storage/fixture.ts'
import { onEachPostgres, type OpenPostgresStore } from '../storage/postgres-store.ts'
import { type EngineFixture, type EngineOptions, openEngine } from './fixture.ts'

/** Engines on one store, each with connections of its own, as in processes of their own. */
async function openFleet(open: OpenPostgresStore, ...options: readonly EngineOptions[]) {
  const store = await open()
  const engines: EngineFixture[] = []
  for (const option of options) {
    const backend = await store.join()
    engines.push(
      await openEngine(
        () => Promise.resolve({ ...store, backend, underWay: 0, [Symbol.asyncDispose]: async () => {} }),
        option,
      ),
    )
  }
  return {
    engines,
    store,
    async [Symbol.asyncDispose]() {
      for (const engine of engines) await engine[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

const without: EngineOptions = { core: { workerConcurrency: 0 } }

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
