import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SqliteConnection } from '../../src/storage/sqlite-connection.ts'
import { openStore } from '../../src/storage/open.ts'
import { plainConnection, temporaryFolder } from './fixture.ts'
import { readyCase } from './ready-case.ts'

test('the writer keeps a log and waits for the disk at every commit', async () => {
  using folder = temporaryFolder()
  const { backend } = await openStore({ path: folder.file('store.db'), nowMs: 1_000 })

  const [mode, synchronous] = await backend.transaction(async (tx) => [
    await tx.query<{ journal_mode: string }>('pragma journal_mode'),
    await tx.query<{ synchronous: number }>('pragma synchronous'),
  ])

  assert.equal(mode[0]!.journal_mode, 'wal')
  assert.equal(synchronous[0]!.synchronous, 2)
  await backend.close()
})

test('settings that somebody else left in the file are put right', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const first = await openStore({ path, nowMs: 1_000 })
  await first.backend.close()
  const shell = plainConnection(path)
  shell.exec('pragma journal_mode = delete')
  shell.close()

  const { backend } = await openStore({ path, nowMs: 2_000 })

  const [row] = await backend.read((reader) => reader.query<{ journal_mode: string }>('pragma journal_mode'))
  assert.equal(row!.journal_mode, 'wal')
  await backend.close()
})

test('a log that reaches its size is moved into the file and does not grow on', async () => {
  using folder = temporaryFolder()
  const { backend } = await openStore({ path: folder.file('store.db'), nowMs: 1_000 })
  await readyCase(backend)

  const settings = await backend.transaction(async (tx) => [
    await tx.query('pragma wal_autocheckpoint'),
    await tx.query('pragma journal_size_limit'),
  ])

  assert.deepEqual(
    settings.map(([row]) => Object.values(row!)[0]),
    [4000, 67_108_864],
  )
  await backend.close()
})

test('SQLite itself keeps the event loop for a quarter of a second at most', () => {
  const connection = new SqliteConnection(':memory:', { readOnly: false })

  const timeoutMs = connection.value('pragma busy_timeout') as number

  assert.ok(timeoutMs > 0 && timeoutMs <= 250, `${timeoutMs} ms`)
  connection.close()
})

test('a store whose file somebody is writing to opens once they are done', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const first = await openStore({ path, nowMs: 1_000 })
  await first.backend.close()
  const shell = plainConnection(path)
  shell.exec('begin immediate')
  setTimeout(() => {
    shell.exec('rollback')
    shell.close()
  }, 200)

  const { backend } = await openStore({ path, nowMs: 2_000 })

  await backend.close()
})
