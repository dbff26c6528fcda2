import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { until } from './fixture.ts'
import { openDatabase, openOwned, type TestRole } from './postgres-database.ts'
import { openPostgresStore, type PostgresFixture } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const lockClass = 0x43436f72

/** Takes the store back to what the version before the second migration had. */
async function unmigrate({ sql, schema }: PostgresFixture): Promise<void> {
  await sql(
    `drop index ${['instances_by_submitter', 'instances_of_submitter', 'instances_of_workflow', 'work_claimed'].map((name) => `${schema}.${name}`).join(', ')}`,
  )
  await sql('delete from schema_migrations where number > 1')
}

/** Opens the store beside whoever has it, as a process of a newer version does. */
function migrating(store: PostgresFixture, patienceMs = 20_000) {
  return openPostgres({ dsn: store.dsn, schema: store.schema, nowMs: 1, poolMin: 0, patienceMs })
}

test('postgres: whoever changes the tables is waited for, and what has been waited for is done by then', async () => {
  await using store = await openPostgresStore()
  await using beside = await openPostgresStore()
  await unmigrate(store)
  await beside.sql('begin')
  await beside.sql('select pg_advisory_xact_lock($1::int, hashtext($2))', lockClass, store.schema)
  const opening = migrating(store)
  await until(async () => {
    const waiting = `select 1 from pg_locks where locktype = 'advisory' and not granted and objid = hashtext($1)::oid`
    return (await store.sql(waiting, store.schema)).length > 0
  }, 'the wait for the lock')

  await beside.sql('commit')

  const { applied, backend } = await opening
  assert.deepEqual(applied, [2, 3, 4, 5, 6])
  await backend.close()
})

test('postgres: who changes the tables for too long is named', async () => {
  await using store = await openPostgresStore()
  await using beside = await openPostgresStore()
  await unmigrate(store)
  await beside.sql(`set application_name = 'a migration of yesterday'`)
  await beside.sql('begin')
  await beside.sql('select pg_advisory_xact_lock($1::int, hashtext($2))', lockClass, store.schema)
  const [{ pid }] = (await beside.sql<{ pid: number }>('select pg_backend_pid() as pid')) as [{ pid: number }]
  const startedAt = performance.now()

  await assert.rejects(migrating(store, 300), {
    code: 'CC_ERR_MIGRATING',
    message: new RegExp(`within 300 ms: process ${pid} \\(a migration of yesterday, role \\w+\\) has them\\.$`),
  })

  assert.ok(performance.now() - startedAt < 5_000)
  await beside.sql('rollback')
})

test('postgres: a transaction that uses the tables for too long is named', async () => {
  await using store = await openPostgresStore()
  await using beside = await openPostgresStore()
  await unmigrate(store)
  await beside.sql(`set application_name = 'a report'`)
  await beside.sql('begin')
  await beside.sql(`update ${store.schema}.meta set created_at_ms = 1`)
  await beside.sql(`lock table ${store.schema}.work in row exclusive mode`)
  await beside.sql(`lock table ${store.schema}.instances in row exclusive mode`)

  await assert.rejects(migrating(store, 300), {
    code: 'CC_ERR_MIGRATING',
    message: /process \d+ \(a report, role \w+\) has them\.$/,
  })

  await beside.sql('rollback')
  assert.deepEqual((await store.sql('select number from schema_migrations')).length, 1, 'nothing of it was kept')
  const { applied, backend } = await migrating(store)
  assert.deepEqual(applied, [2, 3, 4, 5, 6])
  await backend.close()
})

test('postgres: a migration that waits for a table lets those through that stand in line behind it', async () => {
  await using store = await openPostgresStore()
  await using beside = await openPostgresStore()
  await unmigrate(store)
  await beside.sql('begin')
  // A long reader of the table whose indexes come with the second migration would not hinder it; a writer does.
  await beside.sql(`lock table ${store.schema}.instances in row exclusive mode`)
  const opening = migrating(store)
  await until(
    async () =>
      (await store.sql(`select 1 from pg_locks where not granted and relation = 'instances'::regclass`)).length > 0,
    'the wait for the table',
  )

  // A case is submitted meanwhile, and a step is recorded, by a worker of the version before.
  const startedAt = performance.now()
  await readyCase(store.backend)
  const claimed = await claimOne(store.backend)
  assert.deepEqual(await store.backend.hotPath.commitSteps([stepCommit(claimed)]), [{ kind: 'committed' }])
  const tookMs = performance.now() - startedAt

  assert.ok(tookMs < 8_000, `${tookMs} ms`)
  await beside.sql('commit')
  const { applied, backend } = await opening
  assert.deepEqual(applied, [2, 3, 4, 5, 6])
  await backend.close()
})

test('postgres: the lock of one schema is none of another, and of another database neither', async () => {
  await using store = await openPostgresStore()
  await using database = await openDatabase()
  await store.sql('begin')
  await store.sql('select pg_advisory_xact_lock($1::int, hashtext($2))', lockClass, 'one')

  const other = await openPostgres({ dsn: database.dsn, schema: 'one', nowMs: 1, patienceMs: 1_000 })
  await other.backend.close()
  const beside = await openPostgres({ dsn: store.dsn, schema: `${store.schema}_two`, nowMs: 1, patienceMs: 1_000 })

  assert.deepEqual([other.created, beside.created], [true, true])
  await beside.backend.close()
  await store.sql('rollback')
  await store.sql(`drop schema ${store.schema}_two cascade`)
})

test('postgres: workers of the version before go on while the tables are changed under them', async () => {
  await using store = await openPostgresStore()
  await unmigrate(store)
  let isOver = false
  let steps = 0
  const working = (async () => {
    while (!isOver) {
      await readyCase(store.backend)
      const [result] = await store.backend.hotPath.commitSteps([stepCommit(await claimOne(store.backend))])
      assert.equal(result!.kind, 'committed')
      steps += 1
    }
  })()
  await until(() => steps > 20)

  const { applied, backend } = await migrating(store)

  assert.deepEqual(applied, [2, 3, 4, 5, 6])
  const before = steps
  await until(() => steps > before + 20)
  isOver = true
  await working
  await backend.close()
})

test('postgres: a migration and a worker that wait for each other both come to their end', async () => {
  await using store = await openPostgresStore()
  await using beside = await openPostgresStore()
  await unmigrate(store)
  // The migration has `instances` and wants `work`; this one has `work` and then wants `instances`.
  await beside.sql(`set search_path = ${store.schema}`)
  await beside.sql(`set deadlock_timeout = '60s'`)
  await beside.sql('begin')
  await beside.sql('lock table work in row exclusive mode')
  const opening = migrating(store)
  await until(
    async () =>
      (await store.sql(`select 1 from pg_locks where not granted and relation = 'work'::regclass`)).length > 0,
    'the wait for the table',
  )

  await beside.sql('lock table instances in row exclusive mode')
  await beside.sql('commit')

  const { applied, backend } = await opening
  assert.deepEqual(applied, [2, 3, 4, 5, 6])
  await backend.close()
})

/** What a role sees of the schema; nothing when there is nothing. */
async function tablesOf({ sql }: TestRole): Promise<unknown[]> {
  return await sql(
    `select c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = 'cases'`,
  )
}

test('postgres: a migration that fails leaves nothing behind', async () => {
  await using database = await openOwned()
  const { owner } = database
  // The disk is full, or somebody ends the session: here it is a trigger of the database that says no.
  await database.sql(`create function no() returns event_trigger language plpgsql as
    $$ begin
      if exists (select 1 from pg_event_trigger_ddl_commands() where object_identity like '%.checkpoints') then raise 'no room'; end if;
    end $$`)
  await database.sql('create event trigger no on ddl_command_end execute function no()')
  await assert.rejects(openPostgres({ dsn: owner.dsn, schema: 'cases', nowMs: 1 }), /no room/)

  assert.deepEqual(await tablesOf(owner), [])
  await database.sql('drop event trigger no')
  const { backend, created } = await openPostgres({ dsn: owner.dsn, schema: 'cases', nowMs: 1 })
  assert.equal(created, true)
  await backend.close()
})
