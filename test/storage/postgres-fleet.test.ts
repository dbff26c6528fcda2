import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import type { Fleet, Hint } from '../../src/storage/fleet.ts'
import { readWork } from '../../src/storage/work.ts'
import { until } from './fixture.ts'
import { onEachPostgres, type OpenPostgresStore } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const beat = (fleet: Fleet, workerId = 'one', { nowMs = 1_000, except = [] as string[] } = {}) =>
  fleet.beat({ workerId, host: 'here', pid: 1, concurrency: 4, nowMs, except })

onEachPostgres(
  'claims of a process that beats no more are freed, once, and its token is worth nothing',
  async (open) => {
    await using store = await open()
    const { backend } = store
    const { fleet, hotPath } = backend
    await readyCase(backend)
    await beat(fleet, 'one')
    const [work] = await hotPath.claim({ limit: 1, claimedBy: 'one.1', nowMs: 1 })
    assert.equal((await beat(fleet, 'two')).freed, 0, 'it lives')
    await store.sql(`update workers set beat_at_ms = beat_at_ms - 21000 where worker_id = 'one'`)

    const pulses = [await beat(fleet, 'two'), await beat(fleet, 'two')]

    assert.deepEqual(
      pulses.map(({ freed, isReady }) => [freed, isReady]),
      [
        [1, true],
        [0, true],
      ],
    )
    assert.deepEqual(await hotPath.commitSteps([stepCommit(work!)]), [{ kind: 'fenced' }])
  },
)

onEachPostgres(
  'claims that no process of the table answers for are freed, and never those of who asks',
  async (open) => {
    await using store = await open()
    const { fleet, hotPath } = store.backend
    await readyCase(store.backend)
    await readyCase(store.backend)
    await hotPath.claim({ limit: 1, claimedBy: 'one.1', nowMs: 1 })
    await hotPath.claim({ limit: 1, claimedBy: 'nobody.1', nowMs: 1 })

    assert.equal((await beat(fleet, 'one')).freed, 1)

    const rows = await store.sql<{ by: string }>(`select claimed_by as by from work where state = 'claimed'`)
    assert.deepEqual(
      rows.map(({ by }) => by),
      ['one.1'],
    )
  },
)

onEachPostgres('who leaves is free of its claims at once', async (open) => {
  await using store = await open()
  const { fleet } = store.backend
  await readyCase(store.backend)
  await beat(fleet, 'one')
  await store.backend.hotPath.claim({ limit: 1, claimedBy: 'one.1', nowMs: 1 })

  await fleet.leave('one')

  assert.equal((await beat(fleet, 'two')).freed, 1)
})

onEachPostgres('a beat wakes who is due, says what is ready and what is due next', async (open) => {
  await using store = await open()
  const { backend } = store
  const { fleet } = backend
  assert.deepEqual(await beat(fleet), { freed: 0, woken: 0, isReady: false, dueMs: undefined })
  await readyCase(backend)
  const work = await claimOne(backend)
  const next = { to: 'sleep', dueMs: 9_000, attempt: 1 } as const
  const { fence } = stepCommit(work)
  await backend.hotPath.commitSteps([{ ...stepCommit(work), fence, checkpoint: undefined, payloads: [], next }])

  assert.deepEqual(await beat(fleet, 'one', { nowMs: 8_999 }), { freed: 0, woken: 0, isReady: false, dueMs: 9_000 })
  assert.deepEqual(await beat(fleet, 'one', { nowMs: 9_000 }), { freed: 0, woken: 1, isReady: true, dueMs: undefined })

  const { definitionHash } = (await backend.read((reader) => readWork(reader, work.instanceId)))!
  assert.equal((await beat(fleet, 'one', { except: [definitionHash] })).isReady, false)
})

/** Two processes on one store, and what the second one hears. */
async function listening(open: OpenPostgresStore) {
  const store = await open()
  const [one, two] = [store.backend.fleet, (await store.join()).fleet]
  const heard: Hint[] = []
  const ends = [await one.listen(() => assert.fail('it hears itself')), await two.listen((hint) => heard.push(hint))]
  return {
    ...{ store, one, two, heard },
    async [Symbol.asyncDispose]() {
      for (const end of ends) await end()
      await store[Symbol.asyncDispose]()
    },
  }
}

onEachPostgres('a process hears what others tell, gathered, and never itself', async (open) => {
  await using pair = await listening(open)
  const { one, two, heard } = pair
  assert.deepEqual([one.isListening, two.isListening], [true, true])

  for (let times = 0; times < 50; times++) one.tell({ is: 'work' })
  one.tell({ is: 'timer', dueMs: 9 })
  one.tell({ is: 'timer', dueMs: 7 })
  one.tell({ is: 'timer', dueMs: 8 })
  for (let index = 0; index < 300; index++) one.tell({ is: 'rest', instanceId: `instance ${index}`.padEnd(36) })

  await until(() => heard.length >= 302)
  await delay(50)
  assert.equal(heard.length, 302)
  assert.deepEqual(heard.slice(0, 2), [{ is: 'work' }, { is: 'timer', dueMs: 7 }])
})

onEachPostgres('a process whose session was ended listens again, and knows meanwhile that it is deaf', async (open) => {
  await using pair = await listening(open)
  const { store, one, two, heard } = pair
  await store.sql(
    `select pg_terminate_backend(pid) from pg_stat_activity where query like 'listen %' and usename = $1`,
    new URL(store.dsn).username,
  )
  await until(() => !two.isListening)

  await until(() => two.isListening)
  one.tell({ is: 'work' })

  await until(() => heard.length === 1)
})

onEachPostgres('whatever else is told on the channel is passed over', async (open) => {
  await using pair = await listening(open)
  const { store, one, heard } = pair
  for (const text of ['', 'hello', '{}', '[]', '{"from":"x"}']) {
    await store.sql('select pg_notify($1, $2)', `cc_${store.schema}`, text)
  }
  one.tell({ is: 'work' })

  await until(() => heard.length > 0)

  assert.deepEqual(heard, [{ is: 'work' }])
})
