import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { initStore, openPlace, openPlaceForReading } from '../../src/storage/stores.ts'
import { runHere } from '../cli/cli.ts'
import { openPostgresStore, type PostgresFixture } from './postgres-store.ts'

const folder = mkdtempSync(join(tmpdir(), 'beside-'))
const file = join(folder, 'cases.db')
let fixture: PostgresFixture

before(async () => {
  await initStore({ path: file })
  fixture = await openPostgresStore()
})
after(async () => {
  await fixture[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

const place = (path: string, isPathSet: boolean) => {
  const { dsn, schema } = fixture
  return { path, isPathSet, postgres: { dsn, schema } }
}

async function warningsOf(path: string, isPathSet: boolean): Promise<string[]> {
  const warnings: string[] = []
  const { backend } = await openPlace(place(path, isPathSet), { nowMs: 1000, warn: (one) => warnings.push(one) })
  await backend.close()
  return warnings
}

test('a SQLite store that nobody named stays behind, and one warning says how to move it', async () => {
  const warnings = await warningsOf(file, false)
  assert.equal(warnings.length, 1)
  assert.match(warnings[0]!, /cases\.db stay behind .* cognitive-core graduate --to DSN$/)
  const reader = await openPlaceForReading(place(file, false))
  await reader.close()
})

test('a SQLite store that somebody named is refused, for reading too: both cannot be meant', async () => {
  const refusal = { code: 'CC_ERR_TWO_STORES', exit: 3, message: /cases\.db/, remedy: /graduate --to DSN.*leave/ }
  await assert.rejects(openPlace(place(file, true), { nowMs: 1000 }), refusal)
  await assert.rejects(openPlaceForReading(place(file, true)), refusal)
})

test('the refusal comes of CC_DB_PATH and of --db alike, before the database is touched', async () => {
  const env = { CC_DB_BACKEND: 'postgres', CC_DB_DSN: fixture.dsn, CC_DB_SCHEMA: `${fixture.schema}_new` }
  for (const [args, more] of [
    [['db', 'migrate'], { CC_DB_PATH: file }],
    [['cases', '--db', file], {}],
    [['db', 'init', '--db', file], {}],
  ] as const) {
    const { code, stderr } = await runHere(args, { ...env, ...more })
    assert.equal(code, 3, args.join(' '))
    assert.match(stderr, /CC_ERR_TWO_STORES/)
  }
  const schemas = await fixture.sql('select 1 from pg_namespace where nspname = $1', `${fixture.schema}_new`)
  assert.deepEqual(schemas, [])
})

test('a path without a store, and a file of another program, are nobody’s cases', async () => {
  const other = join(folder, 'notes.txt')
  writeFileSync(other, 'no database')
  for (const path of [join(folder, 'none.db'), other]) {
    for (const isPathSet of [true, false]) assert.deepEqual(await warningsOf(path, isPathSet), [])
  }
})
