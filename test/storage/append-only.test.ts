import assert from 'node:assert/strict'
import type { Row } from '../../src/storage/backend.ts'
import { onEachBackend, onSqlite, type OpenStore, type StoreFixture } from './fixture.ts'
import { onEachPostgres } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const appendOnly = ['audit_events', 'checkpoints', 'payloads'] as const
type AppendOnly = (typeof appendOnly)[number]

/** A store with rows in each of the tables that only grow: two events, one checkpoint, two payloads. */
async function openWithRows(open: OpenStore): Promise<StoreFixture> {
  const store = await open()
  await readyCase(store.backend)
  await store.backend.hotPath.commitSteps([stepCommit(await claimOne(store.backend))])
  return store
}

async function rowsOf(store: StoreFixture, table: string): Promise<Row[]> {
  return await store.sql(`select * from ${table} order by 1, 2, 3`)
}

/** Settings of a shell with which a statement might pass; each statement is tried with all of them. */
const settings = {
  sqlite: ['pragma recursive_triggers = off', 'pragma recursive_triggers = on'],
  postgres: ['set session_replication_role = origin', 'set session_replication_role = replica'],
}

/** Every statement is tried as a person at a shell would run it. */
async function refuses(store: StoreFixture, table: AppendOnly, statement: string, why = /append-only/): Promise<void> {
  const before = await rowsOf(store, table)
  for (const setting of settings[store.backend.dialect.name]) {
    await store.sql(setting)
    await assert.rejects(store.sql(statement), why, `${statement} with ${setting}`)
  }
  assert.deepEqual(await rowsOf(store, table), before, statement)
}

/** Statements that SQLite alone knows, and with which it replaces a row without removing it. */
function inSqlite(store: StoreFixture, ...statements: readonly string[]): readonly string[] {
  return store.backend.dialect.name === 'sqlite' ? statements : []
}

for (const table of appendOnly) {
  onEachBackend(`no row of ${table} is removed or changed, whichever column it is`, async (open) => {
    await using store = await openWithRows(open)
    const [row] = await rowsOf(store, table)

    await refuses(store, table, `delete from ${table}`)
    for (const [column, value] of Object.entries(row!)) {
      // The column by which content is erased has rules of its own, below.
      if (column === 'erased_at_ms') continue
      const other = typeof value === 'string' ? 'changed' : Number(value) + 100
      const changed = column === 'payload_id' && table === 'payloads' ? `'x' || payload_id` : `'${other}'`
      await refuses(store, table, `update ${table} set ${column} = ${changed}`)
      await refuses(store, table, `update ${table} set ${column} = ${column}`)
      for (const verb of inSqlite(store, 'update or replace', 'update or ignore')) {
        await refuses(store, table, `${verb} ${table} set ${column} = ${changed}`)
      }
    }
  })
}

/** What PostgreSQL has beside UPDATE and DELETE to be rid of rows. */
for (const table of appendOnly) {
  onEachPostgres(`${table} is neither emptied nor merged into`, async (open) => {
    await using store = await openWithRows(open)

    await refuses(store, table, `truncate ${table}`)
    await refuses(store, table, `truncate ${table} restart identity cascade`)
    const merge = `merge into ${table} t using (select 1) as s on true when matched then`
    await refuses(store, table, `${merge} delete`)
    await refuses(store, table, `${merge} update set instance_id = 'another'`)
  })
}

/** What a row is called beside its key, where SQLite has such a name for it. */
const hiddenNames = ['rowid', '_rowid_', 'oid']

for (const table of appendOnly) {
  onSqlite(`no row of ${table} gives way to another by a hidden name`, async (open) => {
    await using store = await openWithRows(open)
    const [row] = await rowsOf(store, table)
    const values = Object.entries(row!).filter(([column]) => column !== 'entry')
    const names = values.map(([column]) => column).join(', ')
    const others = values.map(([column]) => (/_id$/.test(column) ? `'another'` : column)).join(', ')
    for (const hidden of hiddenNames) {
      const why = /append-only|no such column|has no column/
      await refuses(store, table, `delete from ${table} where ${hidden} = 1`, why)
      await refuses(store, table, `update or replace ${table} set ${hidden} = 2 where ${hidden} = 1`, why)
      const insert = `insert or replace into ${table} (${hidden}, ${names}) select 1, ${others} from ${table} limit 1`
      await refuses(store, table, insert, why)
    }
  })
}

/** The unique keys of each table, as every combination of columns that must find the row that is there. */
const keys: Readonly<Record<AppendOnly, readonly (readonly string[])[]>> = {
  audit_events: [['entry'], ['instance_id', 'seq']],
  checkpoints: [['entry'], ['instance_id', 'step_no'], ['instance_id', 'step', 'run']],
  payloads: [['instance_id', 'payload_id']],
}

/** A row that meets a stored one in this key alone; every other value is new. */
function colliding(row: Row, key: readonly string[]): Row {
  const fresh = Object.entries(row).map(([column, value]) => {
    if (key.includes(column)) return [column, value]
    if (column === 'entry') return [column, 1000]
    if (column === 'status') return [column, 'failed']
    return [column, typeof value === 'string' ? `new ${column}` : Number(value) + 1000]
  })
  return Object.fromEntries(fresh) as Row
}

function insertOf(verb: string, table: string, row: Row, behind = ''): string {
  const values = Object.values(row).map((value) => (value === null ? 'null' : `'${value}'`))
  return `${verb} into ${table} (${Object.keys(row).join(', ')}) values (${values.join(', ')}) ${behind}`
}

for (const table of appendOnly) {
  for (const key of keys[table]) {
    onEachBackend(`nothing takes the place of a row of ${table} by its ${key.join(' and ')}`, async (open) => {
      await using store = await openWithRows(open)
      const [stored] = await rowsOf(store, table)
      // `erased_at_ms` is unset together with text and salt; the rest of the row is of the new one.
      const row = { ...colliding(stored!, key), ...(table === 'payloads' ? { erased_at_ms: null } : {}) }
      const set = Object.keys(row)
        .map((column) => `${column} = excluded.${column}`)
        .join(', ')

      for (const verb of inSqlite(store, 'insert or replace', 'replace', 'insert or ignore')) {
        await refuses(store, table, insertOf(verb, table, row))
      }
      await refuses(store, table, insertOf('insert', table, row), /append-only|duplicate key/)
      await refuses(
        store,
        table,
        insertOf('insert', table, row, `on conflict (${key.join(', ')}) do update set ${set}`),
      )
      const beside = insertOf('insert', table, row, 'on conflict do nothing')
      if (store.backend.dialect.name === 'sqlite') await refuses(store, table, beside)
      else {
        const before = await rowsOf(store, table)
        await store.sql(beside)
        assert.deepEqual(await rowsOf(store, table), before)
      }
    })
  }
}

/** A row that meets none: everything in it is new, and nothing of it erased. */
function freshRow(table: AppendOnly, stored: Row): Row {
  return { ...colliding(stored, []), ...(table === 'payloads' ? { erased_at_ms: null } : {}) }
}

onEachBackend('a new row that meets no other is taken', async (open) => {
  await using store = await openWithRows(open)
  for (const table of appendOnly) {
    const before = await rowsOf(store, table)
    for (const verb of ['insert', ...inSqlite(store, 'insert or replace')].slice(-1)) {
      await store.sql(insertOf(verb, table, freshRow(table, before[0]!)))
    }

    assert.equal((await rowsOf(store, table)).length, before.length + 1)
  }
})

onEachBackend('rows are numbered in the order in which they were written, from 1', async (open) => {
  await using store = await openWithRows(open)
  await readyCase(store.backend)

  const rows = await store.sql<{ entry: number; seq: number }>('select entry, seq from audit_events order by entry')

  assert.deepEqual(
    rows.map(({ entry, seq }) => `${entry}: ${seq}`),
    ['1: 1', '2: 2', '3: 1'],
  )
  const [stored] = await rowsOf(store, 'audit_events')
  for (const entry of [0, -1]) {
    const row = { ...freshRow('audit_events', stored!), entry }
    await assert.rejects(store.sql(insertOf('insert', 'audit_events', row)), /constraint/i)
  }
})

const kept = ['payload_id', 'instance_id', 'kind'] as const

onEachBackend('erasing a payload is the one change that passes, and it passes once', async (open) => {
  await using store = await openWithRows(open)
  const erasing = `update payloads set text = null, salt = null, erased_at_ms = 5000 where kind = 'output'`

  await store.sql(erasing)

  const [erased] = await store.sql(`select text, salt, erased_at_ms from payloads where kind = 'output'`)
  assert.deepEqual({ ...erased }, { text: null, salt: null, erased_at_ms: 5000 })
  await refuses(store, 'payloads', erasing)
  await refuses(store, 'payloads', `${erasing.replace('5000', '6000')}`)
  await refuses(
    store,
    'payloads',
    `update payloads set erased_at_ms = null, text = '{}', salt = 'ab' where kind = 'output'`,
  )
  await refuses(store, 'payloads', `update payloads set text = '{}' where kind = 'output'`)
  await refuses(store, 'payloads', `delete from payloads where erased_at_ms is not null`)
})

for (const column of kept) {
  onEachBackend(`erasing a payload does not change its ${column}`, async (open) => {
    await using store = await openWithRows(open)

    await refuses(
      store,
      'payloads',
      `update payloads set text = null, salt = null, erased_at_ms = 5000, ${column} = 'other'`,
    )
  })
}

onEachBackend('erasing leaves neither text nor salt behind', async (open) => {
  await using store = await openWithRows(open)
  const whole = /constraint/i

  await refuses(store, 'payloads', `update payloads set erased_at_ms = 5000`, whole)
  await refuses(store, 'payloads', `update payloads set erased_at_ms = 5000, text = null`, whole)
  await refuses(store, 'payloads', `update payloads set erased_at_ms = 5000, salt = null`, whole)
  await refuses(store, 'payloads', `update payloads set erased_at_ms = 5000, text = 'other', salt = null`, whole)
})
