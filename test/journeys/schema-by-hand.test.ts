import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { openStore } from '../../src/storage/open.ts'
import { openDesk } from '../cli/cli.ts'
import { catalogOf } from '../storage/postgres-catalog.ts'
import { openDatabase, openOwned } from '../storage/postgres-database.ts'
import { temporaryFolder } from '../storage/fixture.ts'
import { ask, claimRequest, rested, serve } from './serving.ts'

/** Why the journeys that type psql are not run, or false. */
const withoutPsql = spawnSync('psql', ['--version']).error ? 'not run: needs psql (postgresql-client)' : false

/** Pipes a text into psql as it would be typed. */
async function psql(dsn: string, input: string, env: object = {}): Promise<{ code: number | null; stderr: string }> {
  const child = spawn('psql', ['-v', 'ON_ERROR_STOP=1', '-q', dsn], { env: { ...process.env, ...env } })
  let stderr = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
  child.stdout.resume()
  child.stdin.end(input)
  const { promise, resolve } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  return { code: await promise, stderr }
}

const onPostgres = (dsn: string, schema = 'public') =>
  openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsn, CC_DB_SCHEMA: schema, CC_DB_POOL_MIN: '0' })

async function ddlOf(dialect: string): Promise<string> {
  await using desk = await openDesk()
  return (await desk.run('db', 'schema', '--dialect', dialect)).stdout
}

/** Serves the store and runs a case in it, as somebody who has just set it up. */
async function serveOnce(desk: Awaited<ReturnType<typeof openDesk>>): Promise<void> {
  await using service = await serve(desk)
  const { status, body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-101') })
  assert.equal(status, 202)
  assert.equal((await rested(service.url, body.instance_id)).status, 'completed')
  assert.equal((await service.stop()).code, 0)
}

test(
  'the tables that psql made of the printed text are the store that serve runs on',
  { skip: withoutPsql },
  async () => {
    const ddl = await ddlOf('postgres')
    for (const where of ['public', 'cases'] as const) {
      await using database = await openOwned()
      const { owner, app } = database
      if (where !== 'public') await owner.sql(`create schema ${where}`)
      const path = where === 'public' ? {} : { PGOPTIONS: `-c search_path=${where}` }

      assert.deepEqual(await psql(owner.dsn, ddl, path), { code: 0, stderr: '' })

      const rows = async () => await database.sql(`select * from ${where}.schema_migrations order by number`)
      const before = await rows()
      assert.equal(before.length, 6)
      await using served = await onPostgres(app.dsn, where)
      const early = await served.run('serve', '--port', '0')
      assert.equal(early.code, 3, 'the service may not do anything yet')
      await using owned = await onPostgres(owner.dsn, where)
      const migrated = await owned.json('db', 'migrate')
      assert.deepEqual(migrated.applied, [])
      await serveOnce(owned)
      await owned.run('db', 'init', '--app-role', app.name)
      await serveOnce(served)
      assert.deepEqual(await rows(), before)
      assert.match((await served.run('audit', 'verify')).stdout, /The record is valid/)
    }
  },
)

test('what psql made is in everything what db migrate makes', { skip: withoutPsql }, async () => {
  await using database = await openDatabase()
  await database.sql('create schema by_psql')
  const ddl = await ddlOf('postgres')
  assert.equal((await psql(database.dsn, ddl, { PGOPTIONS: '-c search_path=by_psql' })).code, 0)
  await using desk = await onPostgres(database.dsn, 'by_program')
  assert.equal((await desk.run('db', 'init')).code, 0)

  const [byPsql, byProgram] = [await catalogOf(database, 'by_psql'), await catalogOf(database, 'by_program')]

  assert.deepEqual(byPsql, byProgram)
  assert.ok(byPsql.length > 250, `${byPsql.length}`)
  const history = (schema: string) =>
    database.sql(`select number, name, sha256 from ${schema}.schema_migrations order by 1`)
  assert.deepEqual(await history('by_psql'), await history('by_program'))
})

/** Changes by hand that must not go unseen by the comparison above. */
const changes = [
  'alter table by_hand.tasks alter column queue set default 1',
  'alter table by_hand.audit_events enable replica trigger audit_events_keeps_rows',
  'alter table by_hand.work set (fillfactor = 90)',
  'alter table by_hand.work reset (autovacuum_vacuum_threshold)',
  'drop index by_hand.work_ready',
  'alter table by_hand.payloads alter column salt set not null',
  'alter table by_hand.meta alter column database_id type text collate "default"',
  'alter table by_hand.audit_events alter column entry set generated always',
  `create or replace function by_hand.payloads_refuse() returns trigger language plpgsql as 'begin return null; end'`,
  'alter table by_hand.work drop constraint work_run_check',
  'alter table by_hand.checkpoints enable row level security',
]

test('the comparison of two schemas sees every change by hand', async () => {
  await using database = await openDatabase()
  await using desk = await onPostgres(database.dsn, 'by_hand')
  assert.equal((await desk.run('db', 'init')).code, 0)
  const before = await catalogOf(database, 'by_hand')
  for (const change of changes) {
    await database.sql('begin')
    await database.sql(change)
    assert.notDeepEqual(await catalogOf(database, 'by_hand'), before, change)
    await database.sql('rollback')
  }
  assert.deepEqual(await catalogOf(database, 'by_hand'), before)
})

test(
  'psql stops at the first statement that fails, and leaves nothing of the text behind',
  { skip: withoutPsql },
  async () => {
    await using database = await openDatabase()
    await database.sql('create table checkpoints (id int)')

    const { code, stderr } = await psql(database.dsn, await ddlOf('postgres'))

    assert.equal(code, 3)
    assert.match(stderr, /relation "checkpoints" already exists/)
    const tables = await database.sql(
      `select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r'`,
    )
    assert.deepEqual(tables, [{ relname: 'checkpoints' }])
  },
)

test(
  'a part of the text alone makes no store, and what is there of one is left alone',
  { skip: withoutPsql },
  async () => {
    await using database = await openDatabase()
    await using desk = await onPostgres(database.dsn)
    for (const part of ['coordinator', 'audit', 'checkpoint']) {
      const { stdout } = await desk.run('db', 'schema', '--dialect', 'postgres', '--part', part)
      assert.deepEqual(await psql(database.dsn, stdout), { code: 0, stderr: '' })
    }
    const { code, stdout } = await desk.run('db', 'migrate', '--json')
    assert.deepEqual([code, JSON.parse(stdout).code], [3, 'CC_ERR_SCHEMA_TAKEN'])
  },
)

test('columns have the same names in the same order in both databases', async () => {
  await using database = await openDatabase()
  await using desk = await onPostgres(database.dsn)
  await desk.run('db', 'init')
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1 })
  await backend.close()
  using file = new DatabaseSync(path, { readOnly: true })

  const inFile = file
    .prepare(
      `select t.name as "table", c.name as "column" from sqlite_master t, pragma_table_info(t.name) c
        where t.type = 'table' and t.name not like 'sqlite_%' order by t.name, c.cid`,
    )
    .all()
    .map((row) => ({ ...row }))
  const inDatabase = await database.sql(
    `select c.relname::text collate "C" as "table", a.attname::text as "column" from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace = 'public'::regnamespace and c.relkind = 'r' and a.attnum > 0 order by 1, a.attnum`,
  )

  assert.deepEqual(inDatabase, inFile)
  assert.ok(inFile.length > 100)
})

test('the text for SQLite makes a file that serve runs on', async () => {
  await using desk = await openDesk()
  const file = new DatabaseSync(desk.env.CC_DB_PATH!)
  file.exec(await ddlOf('sqlite'))
  file.close()
  const before = readFileSync(desk.env.CC_DB_PATH!)
  assert.ok(before.length > 0)

  assert.deepEqual((await desk.json('db', 'migrate')).applied, [])
  await serveOnce(desk)

  const made = (path: string) => {
    using store = new DatabaseSync(path, { readOnly: true })
    return store.prepare('select type, name, tbl_name, sql from sqlite_master order by type, name').all()
  }
  using folder = temporaryFolder()
  const { backend } = await openStore({ path: folder.file('store.db'), nowMs: 1 })
  await backend.close()
  assert.deepEqual(made(desk.env.CC_DB_PATH!), made(folder.file('store.db')))
})
