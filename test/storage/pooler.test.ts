import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import type { Hint } from '../../src/storage/fleet.ts'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { openEngine } from '../engine/fixture.ts'
import { type StoreOptions, until } from './fixture.ts'
import { postgresServer } from './postgres-server.ts'
import { openPostgresStore, type PostgresFixture } from './postgres-store.ts'
import { type PoolerOptions, startPooler, withoutPooler } from './private-pooler.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

/** A test behind PgBouncer in transaction mode, which refuses what a session says at its start. */
function behindPooler(
  promise: string,
  story: (through: Through) => Promise<void>,
  settings: PoolerOptions['settings'] = {},
): void {
  test(`behind a pooler: ${promise}`, { skip: withoutPooler }, async () => {
    const server = await postgresServer()
    await using pooler = await startPooler({ server, settings })
    await story({ open: (options) => openPostgresStore({ ...options, server, pooler: pooler.dsn }) })
  })
}

interface Through {
  /** A store that is reached through it. */
  readonly open: (options?: StoreOptions) => Promise<PostgresFixture>
}

/** A pooler that passes over what a session says at its start. */
const silent = {
  ignore_startup_parameters: 'options,statement_timeout,lock_timeout,idle_in_transaction_session_timeout',
}

behindPooler(
  'cases run by the dozen on fewer sessions than there are connections, and each step once',
  async ({ open }) => {
    const steps = Array.from({ length: 4 }, (_, index) => ({ name: `step_${index}`, primitive: 'play' }))
    await using engine = await openEngine(open, { steps, core: { workerConcurrency: 20 } })

    const submitted = await Promise.all(Array.from({ length: 40 }, () => engine.submit()))
    for (const { instanceId } of submitted) assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')

    assert.equal(engine.calls.length, 160)
    assert.deepEqual(engine.complaints, [])
    await engine.verify()
  },
)

behindPooler('what another client has set leads no case into another store', async ({ open }) => {
  await using one = await open()
  await using other = await open()
  const clients = await Promise.all(
    Array.from({ length: 4 }, async () => {
      const client = new pg.Client({ connectionString: one.way().dsn, ssl: false })
      await client.connect()
      return client
    }),
  )
  // Each of the four sessions there are, held for a moment so that each client gets another one.
  await Promise.all(
    clients.map((client) => client.query(`begin; select pg_sleep(0.2); commit; set search_path = ${other.schema}`)),
  )
  const leaked = await clients[0]!.query<{ schema: string }>('select current_schema() as schema')
  assert.equal(leaked.rows[0]!.schema, other.schema, 'the setting leaks')

  for (let times = 0; times < 8; times++) await readyCase(one.backend)
  await one.backend.hotPath.commitSteps([stepCommit(await claimOne(one.backend))])

  assert.equal((await one.rowCounts()).instances, 8)
  assert.equal((await one.rowCounts()).checkpoints, 1)
  const { instances, payloads, audit_events } = await other.rowCounts()
  assert.deepEqual([instances, payloads, audit_events], [0, 0, 0])
  for (const client of clients) await client.end()
})

behindPooler('processes hear each other, since they listen past it', async ({ open }) => {
  await using store = await open()
  const [one, two] = [store.backend.fleet, (await store.join()).fleet]
  const heard: Hint[] = []
  const end = await two.listen((hint) => heard.push(hint))
  assert.equal(two.isListening, true)

  one.tell({ is: 'work' })

  await until(() => heard.length === 1)
  await end()
})

for (const [what, settings] of [
  ['refuses', {}],
  ['passes over', silent],
] as const) {
  behindPooler(
    `one that ${what} what a session says at its start is noticed, told, and worked with by polling`,
    async ({ open }) => {
      await using store = await open()
      const { dsn } = store.way()
      const told: string[] = []
      const warn = (sentence: string) => void told.push(sentence)

      const { backend } = await openPostgres({ dsn, schema: store.schema, nowMs: 1, warn })

      assert.match(told.join('\n'), /leads to a connection pooler: .* Set CC_DB_DIRECT_DSN/)
      const end = await backend.fleet.listen(() => assert.fail('nothing is heard'))
      assert.equal(backend.fleet.isListening, false)
      await readyCase(backend)
      assert.equal((await backend.hotPath.commitSteps([stepCommit(await claimOne(backend))]))[0]!.kind, 'committed')
      await end()
      await backend.close()
    },
    settings,
  )

  behindPooler(
    `tables are not made through one that ${what} what a session says at its start`,
    async ({ open }) => {
      await using store = await open()
      const { dsn, directDsn } = store.way()
      const schema = `${store.schema}_new`
      const refused = (name: string) => (error: Error & { code: string; remedy: string }) => {
        assert.deepEqual(
          [error.code, error.message.startsWith(`${name} leads`)],
          ['CC_ERR_POOLER', true],
          String(error),
        )
        assert.match(error.remedy, /CC_DB_DIRECT_DSN/)
        return true
      }

      await assert.rejects(openPostgres({ dsn, schema, nowMs: 1 }), refused('CC_DB_DSN'))
      await assert.rejects(openPostgres({ dsn, directDsn: dsn, schema, nowMs: 1 }), refused('CC_DB_DIRECT_DSN'))

      assert.deepEqual(await store.sql('select 1 from pg_namespace where nspname = $1', schema), [])
      const { backend, created } = await openPostgres({ dsn, directDsn, schema, nowMs: 1 })
      assert.equal(created, true)
      await backend.close()
      await store.sql(`drop schema ${schema} cascade`)
    },
    settings,
  )
}

behindPooler(
  'whoever listens by a way on which nothing arrives is told so once',
  async ({ open }) => {
    await using store = await open()
    const { dsn } = store.way()
    const told: string[] = []
    const warn = (sentence: string) => void told.push(sentence)
    // Said to lead past the pooler, and does not.
    const { backend } = await openPostgres({ dsn, directDsn: dsn, schema: store.schema, nowMs: 1, warn })

    const end = await backend.fleet.listen(() => {})

    assert.equal(backend.fleet.isListening, false)
    assert.equal(told.filter((sentence) => /Notifications do not arrive.*CC_DB_DIRECT_DSN/.test(sentence)).length, 1)
    await end()
    await backend.close()
  },
  silent,
)

behindPooler('time limits that the role lacks are told with the statements that give them', async ({ open }) => {
  await using store = await open()
  const told: string[] = []
  const warn = (sentence: string) => void told.push(sentence)
  await (await store.join({ warn })).close()

  const statements = [...told.join().matchAll(/alter role "(\w+)" set \w+ = '\d+s';/g)].map(([text]) => text)
  assert.equal(statements.length, 3, told.join())
  const other = `${store.schema}_limited`
  await store.sql(`create role ${other} login superuser password 'secret'`)
  for (const statement of statements) await store.sql(statement.replace(/"\w+"/, `"${other}"`))
  told.length = 0
  const { backend } = await openPostgres({ ...store.way(other), schema: store.schema, nowMs: 1, warn })

  assert.deepEqual(told, [])
  await backend.close()
  await store.sql(`drop role ${other}`)
})
