import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openPostgresStore, type PostgresFixture } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const tables = ['audit_events', 'checkpoints', 'payloads'] as const

/** A store with rows in all that only grows, and a session of a superuser beside it. */
async function openRecorded(): Promise<PostgresFixture> {
  const store = await openPostgresStore()
  await readyCase(store.backend)
  await store.backend.hotPath.commitSteps([stepCommit(await claimOne(store.backend))])
  return store
}

async function everything(store: PostgresFixture): Promise<unknown> {
  return await Promise.all(tables.map((table) => store.sql(`select * from only ${table} order by 1, 2, 3`)))
}

/** Tries statements one after the other in a session of its own settings; the last one is refused and undoes the others. */
async function refusesLast(store: PostgresFixture, why: RegExp, ...statements: readonly string[]): Promise<void> {
  const before = await everything(store)
  for (const role of ['origin', 'replica', 'local']) {
    await store.sql(`set session_replication_role = ${role}`)
    await store.sql('begin')
    for (const statement of statements.slice(0, -1)) await store.sql(statement)
    await assert.rejects(store.sql(statements.at(-1)!), why, `${statements.at(-1)} as ${role}`)
    await store.sql('rollback')
  }
  assert.deepEqual(await everything(store), before)
}

const appendOnly = /append-only/

for (const table of tables) {
  const other = table === 'payloads' ? `kind = 'other'` : `instance_id = 'another'`

  test(`postgres: a superuser does not change ${table} by a way around its rows`, async () => {
    await using store = await openRecorded()
    const refuses = (...statements: readonly string[]) => refusesLast(store, appendOnly, ...statements)

    await refuses(`update only ${table} set ${other}`)
    await refuses(`delete from only ${table}`)
    await refuses(`with gone as (delete from ${table} returning 1) select count(*) from gone`)
    await refuses(
      `declare one cursor for select * from ${table} for update`,
      'fetch one',
      `delete from ${table} where current of one`,
    )
    await refuses(`create view seen as select * from ${table}`, `update seen set ${other}`)
    await refuses(`create view gone as select * from ${table}`, 'delete from gone')
    await refuses(`do $$ begin delete from ${table}; end $$`)
    await refuses(`prepare wipe as delete from ${table}`, 'execute wipe')
  })

  test(`postgres: a superuser does not reach the rows of ${table} through another table`, async () => {
    await using store = await openRecorded()
    const refuses = (...statements: readonly string[]) => refusesLast(store, appendOnly, ...statements)
    const above = [`create table above (like ${table})`, `alter table ${table} inherit above`]
    // From 17 on a partition has no identity of its own; whoever owns the table can take that away, too.
    const anonymous = table === 'payloads' ? [] : [`alter table ${table} alter column entry drop identity`]
    const parts = [
      ...anonymous,
      `create table above (like ${table}) partition by list (instance_id)`,
      `alter table above attach partition ${table} default`,
    ]
    for (const parent of [above, parts]) {
      await refuses(...parent, 'truncate above')
      await refuses(...parent, 'delete from above')
      await refuses(...parent, `update above set ${other}`)
    }
    // A row that moves to another partition is taken out of its own.
    const moving = `create table moved partition of above for values in ('another')`
    await refuses(...parts, moving, `update above set instance_id = 'another'`)

    const cases = [
      'create table parents (instance_id text collate "C" primary key)',
      `insert into parents select distinct instance_id from ${table}`,
    ]
    const tied = (what: string) =>
      `alter table ${table} add foreign key (instance_id) references parents on ${what} cascade`
    // What one table does to another by its keys rests in a session that plays the part of a replica.
    for (const [what, act] of [
      ['delete', 'delete from parents'],
      ['update', `update parents set instance_id = 'x' || instance_id`],
    ] as const) {
      const before = await everything(store)
      await store.sql('set session_replication_role = origin')
      await store.sql('begin')
      for (const statement of [...cases, tied(what)]) await store.sql(statement)
      await assert.rejects(store.sql(act), appendOnly)
      await store.sql('rollback')
      assert.deepEqual(await everything(store), before)
    }
    await refuses(...cases, tied('delete'), 'truncate parents cascade')
  })

  test(`postgres: a superuser does not put rows over those of ${table} by copying`, async () => {
    await using store = await openRecorded()
    const twin = [`create temp table twin on commit drop as select * from ${table}`]
    const duplicate = /duplicate key/

    await refusesLast(store, duplicate, ...twin, `insert into ${table} select * from twin`)
    await refusesLast(
      store,
      duplicate,
      `copy (select * from ${table}) to '/dev/null'`,
      `insert into ${table} select * from ${table}`,
    )
    const key = table === 'payloads' ? 't.payload_id = s.payload_id' : 't.entry = s.entry'
    const merge = `merge into ${table} t using twin s on ${key}`
    await refusesLast(store, appendOnly, ...twin, `${merge} when matched then update set ${other}`)
    await refusesLast(store, appendOnly, ...twin, `${merge} when matched then delete`)
    await refusesLast(
      store,
      duplicate,
      ...twin,
      `merge into ${table} t using twin s on false when not matched then insert values (s.*)`,
    )
  })
}

test('postgres: COPY FROM over keys that are there is refused, and nothing of it stays', async () => {
  await using store = await openRecorded()
  const folder = await store.sql<{ dir: string }>(`select current_setting('data_directory') as dir`)
  for (const table of tables) {
    const file = `${folder[0]!.dir}/${store.schema}_${table}.copy`
    await store.sql(`copy ${table} to '${file}'`)
    await refusesLast(store, /duplicate key/, `copy ${table} from '${file}'`)
    await refusesLast(store, /COPY FREEZE|was not created or truncated/, `copy ${table} from '${file}' with (freeze)`)
  }
})

test('postgres: triggers fire always, whatever a session says it is', async () => {
  await using store = await openRecorded()
  const triggers = await store.sql(
    `select tgname as name, tgenabled as enabled from pg_trigger t join pg_class c on c.oid = t.tgrelid
      where c.relnamespace = current_schema()::regnamespace and not tgisinternal order by 1`,
  )
  assert.deepEqual(
    triggers,
    tables.flatMap((table) =>
      ['all', 'rows', 'values'].map((what) => ({ name: `${table}_keeps_${what}`, enabled: 'A' })),
    ),
  )
})
