import assert from 'node:assert/strict'
import { CommitUnknownError, type Transaction } from '../../src/storage/backend.ts'
import type { PostgresBackend } from '../../src/storage/postgres.ts'
import { grantPostgres, openPostgres, openPostgresForReading } from '../../src/storage/postgres-open.ts'
import { openCutProxy } from './cut-proxy.ts'
import { until } from './fixture.ts'
import { onEachPostgres } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const setTime = (tx: Transaction, value: number) => tx.execute('update meta set created_at_ms = $1', [value])

async function timeOf(backend: PostgresBackend): Promise<number> {
  const [row] = await backend.read((reader) => reader.query<{ at: number }>('select created_at_ms as "at" from meta'))
  return row!.at
}

onEachPostgres(
  'processes that start together on an empty database all come up, and one of them makes the tables',
  async (open) => {
    await using store = await open()
    const schema = `${store.schema}_empty`
    const options = { ...store.way(), schema, poolMin: 1, poolMax: 2 }

    const opened = await Promise.all([1, 2, 3, 4].map((nowMs) => openPostgres({ ...options, nowMs })))

    assert.equal(opened.filter(({ created }) => created).length, 1)
    assert.equal(opened.filter(({ applied }) => applied.length > 0).length, 1)
    const times = await Promise.all(opened.map(({ backend }) => timeOf(backend)))
    assert.equal(new Set(times).size, 1, 'there is one store')
    for (const { backend } of opened) await backend.close()
    await store.sql(`drop schema ${schema} cascade`)
  },
)

onEachPostgres('a store that is there is opened without a lock, whoever is changing tables meanwhile', async (open) => {
  await using store = await open()
  await using beside = await open()
  await beside.sql('begin')
  await beside.sql('select pg_advisory_xact_lock($1::int, hashtext($2))', 0x43436f72, store.schema)

  const other = await store.join()

  assert.equal(await timeOf(other), 1_000)
  await beside.sql('rollback')
})

onEachPostgres('a reader is refused what it would misread, and changes nothing', async (open) => {
  await using store = await open()
  const options = { ...store.way(), schema: store.schema, nowMs: 1 }
  const reader = await openPostgresForReading(options)
  await assert.rejects(
    reader.transaction((tx) => setTime(tx, 1)),
    /opened for reading/,
  )
  await assert.rejects(
    reader.read((tx) => tx.query('update meta set created_at_ms = 1 returning id')),
    /read-only transaction/,
  )
  await reader.close()

  const none = { ...options, schema: `${store.schema}_none` }
  await assert.rejects(openPostgresForReading(none), { code: 'CC_ERR_DATABASE_OLDER' })
  await store.sql(`insert into schema_migrations select 1 + max(number), 'next', 'x', 1 from schema_migrations`)
  await assert.rejects(openPostgresForReading(options), { code: 'CC_ERR_DATABASE_NEWER' })
  await assert.rejects(openPostgres(options), { code: 'CC_ERR_DATABASE_NEWER' })
})

onEachPostgres('what cannot be reached says what is wrong, and never a password', async (open) => {
  await using store = await open()
  const about = (change: (url: URL) => void) => {
    const url = new URL(store.dsn)
    change(url)
    return { ...store.way(), dsn: url.href, schema: store.schema, nowMs: 1 }
  }
  const role = `${store.schema}_out`
  await store.sql(`create role ${role} nologin`)
  const isPooled = store.way().directDsn !== undefined
  const wrong = [
    ['CC_ERR_SERVER_AWAY', about((url) => (url.port = '1'))],
    ['CC_ERR_SERVER_LOGIN', about((url) => (url.username = role))],
    // PgBouncer lets strangers guess.
    [isPooled ? 'CC_ERR_SERVER_LOGIN' : 'CC_ERR_NO_DATABASE', about((url) => (url.pathname = '/nowhere'))],
    ['CC_ERR_SERVER_TLS', about((url) => (url.search = '?sslmode=verify-full'))],
  ] as const
  for (const [code, options] of wrong) {
    await assert.rejects(openPostgres(options), (error: Error & { code: string; remedy: string }) => {
      assert.equal(error.code, code, String(error))
      assert.doesNotMatch(error.message + error.remedy, /secret/)
      return true
    })
  }
  assert.match(store.backend.location, /^postgres:\/\/t_[0-9a-f]+_0:\*\*\*@/)
  await store.sql(`drop role ${role}`)
})

onEachPostgres(
  'a role without rights to make tables is told so, and works with those that it is given where they are',
  async (open) => {
    await using store = await open()
    const role = `${store.schema}_app`
    await store.sql(`create role ${role} login password 'secret'`)
    const options = { ...store.way(role), nowMs: 1 }
    await assert.rejects(openPostgres({ ...options, schema: `${role}_none` }), { code: 'CC_ERR_NO_SCHEMA' })

    const owner = { ...store.way(), schema: store.schema, nowMs: 1 }
    assert.equal((await grantPostgres(owner, role)).granting, 'applied')
    const { backend, applied } = await openPostgres({ ...options, schema: store.schema })

    assert.deepEqual(applied, [])
    await readyCase(backend)
    assert.deepEqual(await backend.hotPath.commitSteps([stepCommit(await claimOne(backend))]), [{ kind: 'committed' }])
    await backend.close()
    await store.sql(`drop owned by ${role}`)
    await store.sql(`drop role ${role}`)
  },
)

onEachPostgres(
  'transactions that meet are begun anew until each has seen what the one before it wrote',
  async (open) => {
    await using store = await open()
    const { backend } = store
    const met = Promise.withResolvers<void>()
    let runs = 0

    await Promise.all(
      Array.from({ length: 6 }, () =>
        backend.transaction(async (tx) => {
          runs += 1
          const [row] = await tx.query<{ at: number }>('select created_at_ms as "at" from meta')
          if (runs >= 2) met.resolve()
          await met.promise
          await setTime(tx, row!.at + 1)
        }),
      ),
    )

    assert.equal(await timeOf(backend), 1_006)
    assert.ok(runs > 6, 'some met')
  },
)

onEachPostgres('a server that goes away while a store is opened is away, and nothing unforeseen', async (open) => {
  await using store = await open()
  await using proxy = await openCutProxy(store.dsn)
  for (const text of ['current_user::text', 'server_version', 'schema_migrations']) {
    proxy.cut('after', text)

    const opening = openPostgres({ dsn: proxy.dsn, schema: store.schema, nowMs: 1, poolMin: 0, poolMax: 1 })

    await assert.rejects(opening, { code: 'CC_ERR_SERVER_AWAY' }, text)
    assert.ok(proxy.hasCut, text)
  }
})

onEachPostgres('two transactions that wait for each other both come to their end', async (open) => {
  await using store = await open()
  const { backend } = store
  const ids = [await readyCase(backend), await readyCase(backend)]
  const both = Promise.withResolvers<void>()
  let waiting = 0
  const lock = (tx: Transaction, id: string) =>
    tx.execute('update work set priority = priority + 1 where instance_id = $1', [id])

  await Promise.all(
    [ids, ids.toReversed()].map(([first, second]) =>
      backend.transaction(async (tx) => {
        await lock(tx, first!)
        if (++waiting === 2) both.resolve()
        await both.promise
        await lock(tx, second!)
      }),
    ),
  )

  const rows = await store.sql<{ priority: number }>('select priority from work')
  assert.deepEqual(
    rows.map(({ priority }) => priority),
    [2, 2],
  )
})

for (const when of ['before', 'after'] as const) {
  onEachPostgres(
    `a transaction whose connection breaks ${when} a statement is begun anew, and is there once`,
    async (open) => {
      await using store = await open()
      await using proxy = await openCutProxy(store.dsn)
      const backend = await store.join({ dsn: proxy.dsn })
      let runs = 0
      proxy.cut(when, 'created_at_ms + 5')

      await backend.transaction(async (tx) => {
        runs += 1
        await tx.execute('update meta set created_at_ms = created_at_ms + 5')
      })

      assert.deepEqual([proxy.hasCut, runs, await timeOf(backend)], [true, 2, 1_005])
    },
  )

  onEachPostgres(`a COMMIT whose connection breaks ${when} it arrives is said to be unknown`, async (open) => {
    await using store = await open()
    await using proxy = await openCutProxy(store.dsn)
    const backend = await store.join({ dsn: proxy.dsn })
    proxy.cut(when, 'commit')

    await assert.rejects(
      backend.transaction((tx) => setTime(tx, 5_000)),
      CommitUnknownError,
    )

    assert.equal(proxy.hasCut, true)
    assert.equal(await timeOf(backend), when === 'after' ? 5_000 : 1_000)
  })

  onEachPostgres(
    `steps whose connection breaks ${when} they are committed may be or not, and reading tells`,
    async (open) => {
      await using store = await open()
      await using proxy = await openCutProxy(store.dsn)
      const backend = await store.join({ dsn: proxy.dsn })
      await readyCase(backend)
      const commit = stepCommit(await claimOne(backend))
      proxy.cut(when, 'new_checkpoints as (insert')

      await assert.rejects(backend.hotPath.commitSteps([commit]), CommitUnknownError)

      assert.equal(proxy.hasCut, true)
      const [again] = await backend.hotPath.commitSteps([commit])
      assert.equal(again!.kind, when === 'after' ? 'fenced' : 'committed')
      assert.equal((await store.sql('select 1 from checkpoints')).length, 1)
    },
  )
}

onEachPostgres(
  'a number that cannot be read exactly is an error, and the connection is none the worse',
  async (open) => {
    await using store = await open()
    await store.sql('update meta set created_at_ms = 9007199254740993')

    await assert.rejects(timeOf(store.backend), RangeError)

    await store.sql('update meta set created_at_ms = 9007199254740991')
    assert.equal(await timeOf(store.backend), Number.MAX_SAFE_INTEGER)
  },
)

onEachPostgres('an error that a transaction passes over does not let the rest be lost in silence', async (open) => {
  await using store = await open()

  const writing = store.backend.transaction(async (tx) => {
    await setTime(tx, 7)
    await tx.execute('update meta set id = 2').catch(() => {})
  })

  await assert.rejects(writing, /failed statement cannot be committed/)
  assert.equal(await timeOf(store.backend), 1_000)
})

onEachPostgres('a step changes its row without touching an index', async (open) => {
  await using store = await open()
  const backend = await store.join()
  await readyCase(backend)
  let work = await claimOne(backend)
  for (let step = 1; step <= 20; step++) {
    const commit = stepCommit(work, { next: { to: 'step', step: `step ${step}`, run: 1 } })
    await backend.hotPath.commitSteps([commit])
    const last = commit.events.at(-1)!
    work = { ...work, step: `step ${step}`, stepNo: step, auditSeq: last.seq, auditHead: last.hash }
  }

  // A session counts what it did when it ends.
  await backend.close()

  const changes = () =>
    store.sql<{ all: number; hot: number }>(
      `select n_tup_upd as "all", n_tup_hot_upd as "hot" from pg_stat_user_tables
        where relname = 'work' and schemaname = current_schema()`,
    )
  await until(async () => (await changes())[0]!.all >= 21)
  const [{ all, hot }] = (await changes()) as [{ all: number; hot: number }]
  assert.equal(all, 21, 'one claim and twenty steps')
  assert.ok(hot >= 20, `${hot} of ${all}`)
})

onEachPostgres('stores in two schemas of one database know nothing of each other', async (open) => {
  await using one = await open()
  await using other = await open()

  await readyCase(one.backend)

  assert.equal((await other.rowCounts()).work, 0)
  assert.equal(await other.backend.hotPath.anyReady(), false)
})

onEachPostgres('closing gives every connection back', async (open) => {
  await using store = await open()
  const backend = await store.join()
  const role = new URL(store.dsn).username
  const sessions = async () =>
    (await store.sql('select 1 from pg_stat_activity where usename = $1 and state is not null', role)).length
  await Promise.all(Array.from({ length: 20 }, () => timeOf(backend)))
  assert.ok((await sessions()) >= 2)

  await backend.close()

  await until(async () => (await sessions()) === 0, 'the end of its sessions')
})
