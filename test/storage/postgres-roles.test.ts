import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPostgres, openPostgresForReading } from '../../src/storage/postgres-open.ts'
import { grantPostgres, grantsFor } from '../../src/storage/postgres-open.ts'
import { openOwned, type TestRole } from './postgres-database.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const schema = 'cases'

/** A store that its owner has made, with a case under way, and a role that has the rights of the service. */
async function openGranted() {
  const database = await openOwned()
  const made = await openPostgres({ dsn: database.owner.dsn, schema, nowMs: 1 })
  await made.backend.close()
  const { granting } = await grantPostgres({ dsn: database.owner.dsn, schema, nowMs: 1 }, database.app.name)
  assert.equal(granting, 'applied')
  const { backend, applied, created } = await openPostgres({ dsn: database.app.dsn, schema, nowMs: 1 })
  assert.deepEqual([applied, created], [[], false], 'it finds all there and changes nothing')
  await readyCase(backend)
  assert.deepEqual(await backend.hotPath.commitSteps([stepCommit(await claimOne(backend))]), [{ kind: 'committed' }])
  await backend.close()
  return database
}

/** In a session that sees the tables by their names alone. */
async function inSchema({ sql }: TestRole, text: string): Promise<unknown> {
  await sql(`set search_path = ${schema}`)
  return await sql(text)
}

const denied = { code: '42501' }

/** What somebody who has got hold of the service's password would try. */
const refusedToApp = [
  ...['audit_events', 'checkpoints', 'payloads'].flatMap((table) => [
    `delete from ${table}`,
    `truncate ${table}`,
    `truncate ${table} restart identity cascade`,
    `update ${table} set instance_id = 'another'`,
    `merge into ${table} t using (select 1) as s on true when matched then delete`,
    `alter table ${table} disable trigger all`,
    `drop trigger ${table}_keeps_rows on ${table}`,
    `drop table ${table}`,
    `create table heir () inherits (${table})`,
    `create rule nothing as on insert to ${table} do instead nothing`,
    `create or replace function ${table}_refuse() returns trigger language plpgsql as 'begin return new; end'`,
    `do 'begin lock table ${table} in access exclusive mode; end'`,
  ]),
  `insert into audit_events (entry, instance_id, seq, type, at_ms, envelope, prev_hash, hash)
    values (1000, 'another', 1, 'a', 1, '{}', 'a', 'b')`,
  `insert into audit_events (instance_id, seq, type, at_ms, envelope, prev_hash, hash)
    select instance_id, seq, type, at_ms, envelope, prev_hash, hash from audit_events
    on conflict (instance_id, seq) do update set envelope = '{}'`,
  `select setval(pg_get_serial_sequence('audit_events', 'entry'), 1000)`,
  `update payloads set kind = 'other', text = null, salt = null, erased_at_ms = 1`,
  `update meta set epoch = 9`,
  `update meta set database_id = 'another'`,
  `delete from meta`,
  `insert into schema_migrations values (99, 'next', 'x', 1)`,
  `delete from schema_migrations`,
  `delete from instances`,
  `delete from tasks`,
  `delete from definitions`,
  `update definitions set text = '{}'`,
  `update submission_keys set instance_id = 'another'`,
  `truncate work`,
  `create table beside (id bigint)`,
  `create index slow on work (token)`,
  `alter table work add column extra text`,
  `set session_replication_role = replica`,
]

test('postgres: the role of the service may not touch what was recorded, nor anything else that is not its business', async () => {
  await using database = await openGranted()
  const before = await database.owner.sql(`select * from ${schema}.audit_events order by entry`)

  for (const statement of refusedToApp) {
    await assert.rejects(inSchema(database.app, statement), denied, statement)
  }
  await assert.rejects(database.app.sql(`set role ${database.owner.name}`), denied)

  assert.deepEqual(await database.owner.sql(`select * from ${schema}.audit_events order by entry`), before)
  assert.equal(before.length > 0, true)
})

test('postgres: every table has its rights written down', async () => {
  await using database = await openGranted()
  const tables = await database.sql<{ name: string }>(
    `select relname::text as name from pg_class where relnamespace = '${schema}'::regnamespace and relkind = 'r' order by 1`,
  )
  const granted = grantsFor({ dsn: '', schema }, 'core_app')
    .map((statement) => / on cases\.(\w+) to /.exec(statement)?.[1])
    .filter((name) => name !== undefined)

  assert.deepEqual(
    granted.toSorted(),
    tables.map(({ name }) => name),
  )
})

test('postgres: rights that are given again are exactly those, whatever the role had before', async () => {
  await using database = await openGranted()
  await database.owner.sql(`grant all on all tables in schema ${schema} to ${database.app.name}`)
  await database.owner.sql(`grant create on schema ${schema} to ${database.app.name}`)
  await inSchema(database.app, 'create table beside (id bigint)')

  await grantPostgres({ dsn: database.owner.dsn, schema, nowMs: 1 }, database.app.name)

  for (const statement of ['delete from audit_events', 'truncate payloads', 'create table other (id bigint)']) {
    await assert.rejects(inSchema(database.app, statement), denied, statement)
  }
})

test('postgres: who lacks a right is told which, and how it is given', async () => {
  await using database = await openGranted()
  const { app, owner } = database
  const options = { dsn: app.dsn, schema, nowMs: 1 }
  const lacks = [
    ['insert (type) on cases.audit_events', /lacks insert on audit_events/],
    ['select on cases.schema_migrations', /lacks select on schema_migrations/],
    ['update (simulated) on cases.meta', /lacks update on meta/],
    ['delete on cases.work', /lacks delete on work/],
    ['usage on schema cases', /lacks usage on the schema cases/],
  ] as const
  for (const [right, says] of lacks) {
    await owner.sql(`revoke ${right} from ${app.name}`)
    await assert.rejects(openPostgres(options), {
      code: 'CC_ERR_SERVER_RIGHTS',
      message: says,
      remedy: `Run as the owner of the tables: cognitive-core db init --app-role ${app.name}`,
    })
    await owner.sql(`grant ${right} to ${app.name}`)
  }
  const { backend } = await openPostgres(options)
  await backend.close()
})

test('postgres: a role that only reads needs nothing but SELECT, and is told what it lacks of that', async () => {
  await using database = await openGranted()
  const reader = await database.role('reader')
  const options = { dsn: reader.dsn, schema, nowMs: 1 }
  await database.owner.sql(`grant usage on schema ${schema} to ${reader.name}`)
  await assert.rejects(openPostgresForReading(options), { code: 'CC_ERR_SERVER_RIGHTS', message: /lacks select on/ })

  await database.owner.sql(`grant select on all tables in schema ${schema} to ${reader.name}`)
  const backend = await openPostgresForReading(options)

  const rows = await backend.read((tx) => tx.query('select 1 from audit_events'))
  assert.ok(rows.length > 0)
  await backend.close()
  await assert.rejects(openPostgres(options), { code: 'CC_ERR_SERVER_RIGHTS' })
})

test('postgres: a role to whom grants mean nothing is not made the one of the service', async () => {
  await using database = await openGranted()
  const { owner, app } = database
  const options = { dsn: owner.dsn, schema, nowMs: 1 }
  const member = await database.role('member', `in role ${owner.name}`)
  const chief = await database.role('chief', 'superuser')
  const refused = [
    [owner.name, /owns the tables/],
    [member.name, /may act as who does/],
    [chief.name, /superuser/],
    ['public', /not the name of one role/],
    ['none', /not the name of one role/],
  ] as const
  for (const [role, why] of refused) {
    await assert.rejects(grantPostgres(options, role), { code: 'CC_ERR_APP_ROLE', message: why })
  }
  assert.throws(() => grantsFor(options, 'public'), { code: 'CC_ERR_APP_ROLE' })

  assert.equal((await grantPostgres(options, 'nobody_of_this_name')).granting, 'no such role')
  assert.equal((await grantPostgres({ ...options, dsn: app.dsn }, app.name)).granting, 'not the owner')
})

test('postgres: a name that needs quotes has them in every statement', async () => {
  await using database = await openGranted()
  const role = `app of "${database.name}"; drop schema cases`
  const inQuotes = `"${role.replaceAll('"', '""')}"`
  await database.sql(`create role ${inQuotes}`)

  const { granting, statements } = await grantPostgres({ dsn: database.owner.dsn, schema, nowMs: 1 }, role)

  assert.equal(granting, 'applied')
  for (const statement of statements) assert.ok(statement.endsWith(inQuotes), statement)
  const [row] = await database.sql(`select has_table_privilege($1, 'cases.work', 'delete') as "may"`, role)
  assert.deepEqual(row, { may: true })
  await database.sql(`drop owned by ${inQuotes}`)
  await database.sql(`drop role ${inQuotes}`)
})

test('postgres: with a migration under way the role of the service waits for its owner, and has its rights afterwards', async () => {
  await using database = await openGranted()
  const { owner, app } = database
  await owner.sql(`delete from ${schema}.schema_migrations where number > 2`)
  await owner.sql(`drop index ${schema}.work_claimed`)
  // As a table would be that came with the migration: nobody has a right on it yet.
  await owner.sql(`revoke all on ${schema}.work_orders from ${app.name}`)
  const options = { schema, nowMs: 1 }
  await assert.rejects(openPostgres({ ...options, dsn: app.dsn }), {
    code: 'CC_ERR_MIGRATION_RIGHTS',
    remedy: `Run as ${owner.name}: cognitive-core db migrate`,
  })

  const migrated = await openPostgres({ ...options, dsn: owner.dsn })
  assert.equal(migrated.applied[0], 3)
  await migrated.backend.close()

  const { backend, applied } = await openPostgres({ ...options, dsn: app.dsn })
  assert.deepEqual(applied, [])
  await backend.close()
})
