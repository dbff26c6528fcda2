import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { openDesk } from '../cli/cli.ts'
import { ask, claimRequest, eventually, rested, serve, type Serving } from '../journeys/serving.ts'
import { openDatabase, type TestDatabase } from '../storage/postgres-database.ts'

const schema = 'cases'

function deskOn({ dsn }: TestDatabase) {
  return openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsn, CC_DB_SCHEMA: schema, CC_DB_POOL_MAX: '3' })
}

/** Everything that a schema has, by kind and name: none when nobody has made anything. */
async function objectsOf({ sql }: TestDatabase): Promise<string[]> {
  const rows = await sql<{ what: string }>(
    `select c.relkind::text || ' ' || c.relname as what from pg_class c join pg_namespace n on n.oid = c.relnamespace
      where n.nspname = $1
     union all select 'f ' || p.proname from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = $1
     order by 1`,
    schema,
  )
  return rows.map(({ what }) => what)
}

for (const count of [2, 5]) {
  test(`${count} replicas that start at once on an empty database all come up on one store`, async () => {
    await using database = await openDatabase()
    await using desk = await deskOn(database)
    const services: Serving[] = []
    try {
      const starting = Array.from({ length: count }, async () => void services.push(await serve(desk)))
      const started = await Promise.allSettled(starting)
      assert.deepEqual(
        started.filter(({ status }) => status === 'rejected'),
        [],
      )

      assert.equal(new Set(services.map(({ about }) => about.database_id)).size, 1)
      assert.equal((await database.sql(`select 1 from ${schema}.meta`)).length, 1)
      // What one takes another one shows, whoever runs it.
      const [first, last] = [services[0]!, services.at(-1)!]
      const { status, body } = await ask(`${first.url}/v1/cases`, { body: claimRequest('TC-101') })
      assert.equal(status, 202)
      assert.equal((await rested(last.url, body.instance_id)).status, 'completed')
      const ended = await Promise.all(services.map((service) => service.stop()))
      assert.deepEqual(new Set(ended.map(({ code }) => code)), new Set([0]))
    } finally {
      for (const service of services) await service.stop('SIGKILL')
    }
  })
}

/** What two migrations have made of the tables when only the first of them is through. */
const half = ['instances_by_submitter', 'instances_of_submitter', 'instances_of_workflow'].map((name) => `i ${name}`)

test('a replica that is killed between two migrations leaves nothing of them, and the next one comes up', async () => {
  await using database = await openDatabase()
  await using desk = await deskOn(database)
  assert.equal((await desk.run('db', 'init')).code, 0)
  const whole = await objectsOf(database)
  for (const name of [...half.map((index) => index.slice(2)), 'work_claimed']) {
    await database.sql(`drop index ${schema}.${name}`)
  }
  await database.sql(`delete from ${schema}.schema_migrations where number > 1`)
  const before = await objectsOf(database)
  // The second migration goes through, and the third waits for the table that it changes.
  await database.sql('begin')
  await database.sql(`lock table ${schema}.work in share update exclusive mode`)
  const replica = desk.start(['serve', '--port', '0'])
  const midway = `select pid from pg_locks l where l.relation = '${schema}.work'::regclass and not l.granted
    and exists (select 1 from pg_locks o where o.pid = l.pid and o.granted and o.mode = 'AccessExclusiveLock' and o.relation not in (select oid from pg_class))`
  let pid: unknown
  await eventually(async () => {
    const [row] = await database.sql<{ pid: number }>(midway)
    return (pid = row?.pid) !== undefined
  }, 'the middle of the migrations')

  replica.child.kill('SIGKILL')
  assert.equal((await replica.answer).code, -2)

  await database.sql('rollback')
  await eventually(
    async () => (await database.sql('select 1 from pg_stat_activity where pid = $1', pid)).length === 0,
    'the end of its session',
  )
  assert.deepEqual(await objectsOf(database), before)
  assert.equal((await database.sql(`select 1 from ${schema}.schema_migrations`)).length, 1)
  await using next = await serve(desk)
  assert.deepEqual(await objectsOf(database), whole)
  assert.equal((await next.stop()).code, 0)
})

/** Each round is killed so much later than the one before. */
const roundMs = 25

test('replicas that are killed at any moment of their first start leave all of the tables, or none', async (t) => {
  await using database = await openDatabase()
  await using desk = await deskOn(database)
  const seen = new Set<string>()
  let whole: string[] | undefined
  for (let round = 0; round < 8; round++) {
    const replica = desk.start(['db', 'init'])
    // From the moment at which its session changes the tables: sometimes at once, sometimes a little later.
    await eventually(
      async () =>
        replica.child.exitCode !== null ||
        (await database.sql(`select 1 from pg_locks where locktype = 'advisory'`)).length > 0,
      'the change of the tables',
    )
    await delay(round * roundMs)
    replica.child.kill('SIGKILL')
    await replica.answer
    await eventually(
      async () =>
        (
          await database.sql(
            `select 1 from pg_stat_activity where datname = $1 and pid <> pg_backend_pid()`,
            database.name,
          )
        ).length === 0,
      'the end of its session',
    )

    const found = await objectsOf(database)
    seen.add(found.length === 0 ? 'none' : 'all')
    if (found.length > 0) assert.deepEqual((whole ??= found), found)
    const { backend } = await openPostgres({ dsn: database.dsn, schema, nowMs: 1 })
    await backend.close()
    const made = await objectsOf(database)
    if (found.length > 0) assert.deepEqual(made, found)
    whole ??= made
    assert.deepEqual(made, whole)
    await database.sql(`drop schema ${schema} cascade`)
  }
  t.diagnostic(`found: ${[...seen].join(', ')}`)
  assert.ok(seen.has('none'), 'some were killed before they were through')
})
