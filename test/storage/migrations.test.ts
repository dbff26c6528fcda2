import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import { openStore, openStoreForReading } from '../../src/storage/open.ts'
import { plainConnection, temporaryFolder } from './fixture.ts'

/** Makes a store, does this to it with plain SQL, and leaves nothing beside the file. */
async function storeFile(path: string, ...statements: string[]): Promise<void> {
  const { backend } = await openStore({ path, nowMs: 1_000 })
  await backend.close()
  const shell = plainConnection(path)
  for (const statement of statements) shell.exec(statement)
  shell.close()
}

test('a new store gets its tables and is a database of this program', async () => {
  using folder = temporaryFolder()
  const path = folder.file('new.db')

  const opened = await openStore({ path, nowMs: 1_000 })

  assert.equal(opened.created, true)
  assert.deepEqual(opened.applied, [1, 2, 3, 4, 5, 6])
  const [row] = await opened.backend.read((reader) =>
    reader.query('select number, name, applied_at_ms from schema_migrations'),
  )
  assert.deepEqual({ ...row }, { number: 1, name: 'first', applied_at_ms: 1_000 })
  await opened.backend.close()
})

test('opening a store again applies nothing twice and keeps what the store is', async () => {
  using folder = temporaryFolder()
  const path = folder.file('again.db')
  const first = await openStore({ path, nowMs: 1_000 })
  const [before] = await first.backend.read((reader) => reader.query('select database_id, created_at_ms from meta'))
  await first.backend.close()

  const second = await openStore({ path, nowMs: 2_000 })

  assert.equal(second.created, false)
  assert.deepEqual(second.applied, [])
  const [after] = await second.backend.read((reader) => reader.query('select database_id, created_at_ms from meta'))
  assert.deepEqual(after, before)
  const migrations = await second.backend.read((reader) => reader.query('select number from schema_migrations'))
  assert.deepEqual(
    migrations.map(({ number }) => number),
    [1, 2, 3, 4, 5, 6],
  )
  await second.backend.close()
})

test('folders on the way to a new store are made', async () => {
  using folder = temporaryFolder()

  const { backend } = await openStore({ path: folder.file('a/b/store.db'), nowMs: 1_000 })

  assert.ok(readdirSync(folder.file('a/b')).includes('store.db'))
  await backend.close()
})

const newer = `insert into schema_migrations (number, name, sha256, applied_at_ms) values (7, 'next', '${'0'.repeat(64)}', 1)`

test('a database of a newer version is refused and left byte for byte as it was', async () => {
  using folder = temporaryFolder()
  const path = folder.file('newer.db')
  await storeFile(path, newer)
  const before = readFileSync(path)
  const refusal = { code: 'CC_ERR_DATABASE_NEWER', facts: { location: path, found: 7, known: 6 } }

  await assert.rejects(openStore({ path, nowMs: 2_000 }), refusal)
  await assert.rejects(openStoreForReading(path), refusal)

  assert.deepEqual(readFileSync(path), before)
  // The lock is free again: the version that made it can open it.
  await assert.rejects(openStore({ path, nowMs: 2_000 }), refusal)
})

test('a database whose migration is not ours is refused and left as it was', async () => {
  using folder = temporaryFolder()
  const path = folder.file('changed.db')
  await storeFile(path, `update schema_migrations set sha256 = '${'0'.repeat(64)}' where number = 1`)
  const before = readFileSync(path)
  const refusal = { code: 'CC_ERR_MIGRATION_CHANGED', facts: { location: path, number: 1 } }

  await assert.rejects(openStore({ path, nowMs: 2_000 }), refusal)
  await assert.rejects(openStoreForReading(path), refusal)

  assert.deepEqual(readFileSync(path), before)
})

test('a history with a gap is refused', async () => {
  using folder = temporaryFolder()
  const path = folder.file('gap.db')
  await storeFile(path, 'update schema_migrations set number = 0 where number = 1')

  await assert.rejects(openStore({ path, nowMs: 2_000 }), { code: 'CC_ERR_MIGRATION_CHANGED' })
})

test('a reader refuses a store that was not migrated, and does not migrate it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('older.db')
  await storeFile(path, 'delete from schema_migrations')
  const before = readFileSync(path)

  await assert.rejects(openStoreForReading(path), {
    code: 'CC_ERR_DATABASE_OLDER',
    facts: { location: path, found: 0, known: 6 },
  })

  assert.deepEqual(readFileSync(path), before)
})

test('a store of the first version is brought up to date when it is opened for writing', async () => {
  using folder = temporaryFolder()
  const path = folder.file('first.db')
  await storeFile(
    path,
    'drop index instances_by_submitter',
    'drop index instances_of_submitter',
    'drop index instances_of_workflow',
    'delete from schema_migrations where number > 1',
  )
  await assert.rejects(openStoreForReading(path), {
    code: 'CC_ERR_DATABASE_OLDER',
    facts: { location: path, found: 1, known: 6 },
  })

  const { backend, applied, created } = await openStore({ path, nowMs: 2_000 })

  assert.deepEqual([applied, created], [[2, 3, 4, 5, 6], false])
  const indexes = await backend.read((reader) =>
    reader.query(`select name from sqlite_master where name = 'instances_by_submitter'`),
  )
  assert.equal(indexes.length, 1)
  await backend.close()
})

test('a store that was killed while it was made is refused by a reader and finished by a writer', async () => {
  using folder = temporaryFolder()
  const path = folder.file('unfinished.db')
  const shell = plainConnection(path)
  shell.exec('pragma journal_mode = wal; pragma application_id = 0x43436f72')
  shell.close()

  await assert.rejects(openStoreForReading(path), { code: 'CC_ERR_DATABASE_OLDER' })

  const { backend, applied } = await openStore({ path, nowMs: 1_000 })
  assert.deepEqual(applied, [1, 2, 3, 4, 5, 6])
  await backend.close()
})

/** What people point a program at by mistake, and how it came to be there. */
const foreign: Readonly<Record<string, (path: string) => void>> = {
  'a SQLite file of another program': (path) => {
    const shell = plainConnection(path)
    shell.exec('create table notes (id integer primary key)')
    shell.close()
  },
  'a SQLite file of another program in WAL mode': (path) => {
    const shell = plainConnection(path)
    shell.exec('pragma journal_mode = wal; create table notes (id integer primary key)')
    shell.close()
  },
  'a SQLite file that another program marked as its own': (path) => {
    const shell = plainConnection(path)
    shell.exec('pragma application_id = 7')
    shell.close()
  },
  'a text file': (path) => writeFileSync(path, 'claims, of May\n'.repeat(100)),
  'a text file of a few characters': (path) => writeFileSync(path, 'claims of May'),
  'a text file of one character': (path) => writeFileSync(path, 'x'),
  'a folder': (path) => mkdirSync(path),
}

for (const [what, make] of Object.entries(foreign)) {
  test(`${what} is refused and left as it was`, async () => {
    using folder = temporaryFolder()
    const path = folder.file('foreign')
    make(path)
    const content = () => (what === 'a folder' ? readdirSync(path) : readFileSync(path))
    const [before, beside] = [content(), readdirSync(folder.dir)]
    const refusal = { code: 'CC_ERR_NOT_A_STORE' }

    await assert.rejects(openStore({ path, nowMs: 1_000 }), refusal)
    await assert.rejects(openStoreForReading(path), refusal)

    assert.deepEqual(content(), before)
    // Whoever reads a file in WAL mode leaves an empty log and its index beside it.
    const left = readdirSync(folder.dir).filter((name) => !/-(wal|shm)$/.test(name))
    assert.deepEqual(left, beside)
  })
}

test('an empty file becomes a store, and a reader says that there is none yet', async () => {
  using folder = temporaryFolder()
  const path = folder.file('empty.db')
  writeFileSync(path, '')

  await assert.rejects(openStoreForReading(path), { code: 'CC_ERR_NO_STORE' })
  const { backend, created } = await openStore({ path, nowMs: 1_000 })

  assert.equal(created, true)
  await backend.close()
})

test('a reader does not make the file it is asked to read', async () => {
  using folder = temporaryFolder()

  await assert.rejects(openStoreForReading(folder.file('none.db')), { code: 'CC_ERR_NO_STORE' })

  assert.deepEqual(readdirSync(folder.dir), [])
})
