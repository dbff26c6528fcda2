import assert from 'node:assert/strict'
import { copyFileSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { openStore, openStoreForReading } from '../../src/storage/open.ts'
import { readWork } from '../../src/storage/work.ts'
import { withoutWriteRights } from './denied.ts'
import { onEachBackend, plainConnection, temporaryFolder } from './fixture.ts'
import { holdElsewhere } from './held-store.ts'
import { readyCase } from './ready-case.ts'

async function countInstances(path: string): Promise<number> {
  const reader = await openStoreForReading(path)
  try {
    const [row] = await reader.read((tx) => tx.query<{ count: number }>('select count(*) as "count" from instances'))
    return row!.count
  } finally {
    await reader.close()
  }
}

test('a reader works beside a holder in another process and sees what it has committed', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)

  assert.equal(await countInstances(path), 2)
  const reader = await openStoreForReading(path)
  const work = await reader.read((tx) => readWork(tx, holder.claimed))
  assert.equal(work!.state, 'claimed')
  await reader.close()
})

test('a reader sees what a holder had committed when it was killed, and frees nothing', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)
  await holder.kill()
  assert.ok(readdirSync(folder.dir).includes('store.db-wal'), 'the log was left behind')

  assert.equal(await countInstances(path), 2)
  const reader = await openStoreForReading(path)
  assert.equal((await reader.read((tx) => readWork(tx, holder.claimed)))!.state, 'claimed')
  await reader.close()
})

test('a reader takes no lock: a holder opens beside it and it sees what comes later', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const first = await openStore({ path, nowMs: 1_000 })
  await first.backend.close()
  const reader = await openStoreForReading(path)

  const { backend } = await openStore({ path, nowMs: 2_000 })
  const instanceId = await readyCase(backend)

  assert.ok(await reader.read((tx) => readWork(tx, instanceId)))
  await backend.close()
  await reader.close()
})

test('a store that was opened for reading cannot be written through it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })
  await backend.close()
  const reader = await openStoreForReading(path)

  await assert.rejects(
    reader.transaction((tx) => tx.execute('update meta set epoch = 9')),
    /opened for reading/,
  )
  await assert.rejects(
    reader.read((tx) => tx.query('update meta set epoch = 9 returning epoch')),
    /readonly database/,
  )
  await reader.close()
})

onEachBackend('a read is one snapshot, whatever is committed meanwhile', async (open) => {
  await using store = await open()
  const count = async (read: Parameters<Parameters<typeof store.backend.read>[0]>[0]) =>
    (await read.query<{ count: number }>('select count(*) as "count" from instances'))[0]!.count

  const seen = await store.backend.read(async (reader) => {
    const before = await count(reader)
    await readyCase(store.backend)
    return [before, await count(reader)]
  })

  assert.deepEqual(seen, [0, 0])
  assert.equal(await store.backend.read(count), 1)
})

onEachBackend('more readers than there are connections wait for one and all get their turn', async (open) => {
  await using store = await open()
  const gate = Promise.withResolvers<void>()
  let running = 0
  let most = 0
  const reads = Array.from({ length: 20 }, () =>
    store.backend.read(async (reader) => {
      most = Math.max(most, ++running)
      await gate.promise
      running -= 1
      return (await reader.query('select 1 as "one"')).length
    }),
  )

  gate.resolve()

  assert.equal((await Promise.all(reads)).length, 20)
  assert.ok(most < 20, `${most} snapshots at a time`)
})

onEachBackend('a read that fails leaves its connection as good as new', async (open) => {
  await using store = await open()
  for (let index = 0; index < 10; index++) {
    await assert.rejects(
      store.backend.read(async (reader) => {
        await reader.query('select 1')
        throw new Error('no')
      }),
      /no/,
    )
    await assert.rejects(store.backend.read((reader) => reader.query('select nothing from nowhere')))
  }

  assert.equal((await store.backend.read((reader) => reader.query('select 1 as "one"'))).length, 1)
})

onEachBackend('a store that is closed refuses reads and writes', async (open) => {
  await using store = await open()
  await store.backend.close()
  const refusal = { code: 'CC_ERR_CLOSED' }

  await assert.rejects(
    store.backend.read((reader) => reader.query('select 1')),
    refusal,
  )
  await assert.rejects(
    store.backend.transaction((tx) => tx.query('select 1')),
    refusal,
  )
  await assert.rejects(store.backend.hotPath.anyReady(), refusal)
  await assert.rejects(store.backend.hotPath.claim({ limit: 1, claimedBy: 'worker', nowMs: 1 }), refusal)
  await assert.rejects(store.backend.hotPath.commitSteps([]), refusal)
})

onEachBackend('closing waits for no read, and a read under way ends as it would have', async (open) => {
  await using store = await open()
  const gate = Promise.withResolvers<void>()
  const reading = store.backend.read(async (reader) => {
    await gate.promise
    return await reader.query('select epoch as "epoch" from meta')
  })

  await store.backend.close()
  gate.resolve()

  assert.equal((await reading).length, 1)
})

test('a closed store is read from a folder that cannot be written', async (context) => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })
  await readyCase(backend)
  await backend.close()

  const isDenied = await withoutWriteRights(folder.dir, async () => {
    assert.equal(await countInstances(path), 1)
    assert.deepEqual(readdirSync(folder.dir).sort(), ['store.db', 'store.db-lock'])
  })

  if (!isDenied) context.skip('nobody can be denied to write here')
})

test('a store whose holder was killed is read, log and all, from a folder that cannot be written', async (context) => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)
  await holder.kill()

  const isDenied = await withoutWriteRights(folder.dir, async () => {
    assert.equal(await countInstances(path), 2)
  })

  if (!isDenied) context.skip('nobody can be denied to write here')
})

test('a store that cannot be written is refused to a writer, who is told so', async (context) => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })
  await backend.close()
  const refusal = { code: 'CC_ERR_NOT_PERMITTED', facts: { location: path, what: 'write' } }

  const isDenied = await withoutWriteRights(folder.dir, async () => {
    await assert.rejects(openStore({ path, nowMs: 2_000 }), refusal)
  })

  if (!isDenied) context.skip('nobody can be denied to write here')
})

test('a log that cannot be read is not passed over in silence', async (context) => {
  using folder = temporaryFolder()
  using copies = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)
  // A copy of file and log without the index that SQLite keeps beside them.
  for (const name of ['store.db', 'store.db-wal']) copyFileSync(folder.file(name), copies.file(name))
  await holder.kill()

  const isDenied = await withoutWriteRights(copies.dir, async () => {
    await assert.rejects(countInstances(copies.file('store.db')), { code: 'CC_ERR_NOT_PERMITTED' })
  })

  if (!isDenied) context.skip('nobody can be denied to write here')
  assert.equal(await countInstances(copies.file('store.db')), 2)
})

test('a reader changes nothing in the file', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })
  await readyCase(backend)
  await backend.close()
  const before = readFileSync(path)

  assert.equal(await countInstances(path), 1)

  assert.deepEqual(readFileSync(path), before)
  const shell = plainConnection(path)
  assert.equal(shell.prepare('select epoch from meta').get()!.epoch, 1)
  shell.close()
})
