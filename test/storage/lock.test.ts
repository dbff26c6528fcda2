import assert from 'node:assert/strict'
import { rmSync, symlinkSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { readMeta } from '../../src/storage/meta.ts'
import { lockPath } from '../../src/storage/lock.ts'
import { openStore, openStoreForReading } from '../../src/storage/open.ts'
import { readWork } from '../../src/storage/work.ts'
import { onSqlite, plainConnection, temporaryFolder } from './fixture.ts'
import { holdElsewhere } from './held-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

test('a store is held once: a second opening in the same process is refused and names the holder', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000, url: 'http://127.0.0.1:8080' })

  await assert.rejects(openStore({ path, nowMs: 2_000 }), {
    code: 'CC_ERR_LOCKED',
    facts: {
      location: path,
      holder: `process ${process.pid}, since 1970-01-01T00:00:01.000Z, at http://127.0.0.1:8080`,
      url: 'http://127.0.0.1:8080',
    },
  })

  await backend.transaction((tx) => tx.execute('update meta set created_at_ms = 1'))
  await backend.close()
})

test('a store that another process holds is refused, and the refusal names that process', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)

  await assert.rejects(openStore({ path, nowMs: 2_000 }), (error: Error) =>
    error.message.includes(`in use by process ${holder.pid}, since `),
  )
})

test('whoever closes a store gives lock and lease back', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const first = await openStore({ path, nowMs: 1_000 })
  await first.backend.close()
  const shell = plainConnection(path)
  const lease = shell.prepare('select lease_pid, lease_host, lease_url, lease_since_ms from meta').get()
  shell.close()
  assert.deepEqual({ ...lease }, { lease_pid: null, lease_host: null, lease_url: null, lease_since_ms: null })

  const second = await openStore({ path, nowMs: 2_000 })

  assert.equal((await second.backend.read(readMeta)).epoch, 2)
  await second.backend.close()
})

test('closing twice is closing once', async () => {
  using folder = temporaryFolder()
  const { backend } = await openStore({ path: folder.file('store.db'), nowMs: 1_000 })

  await Promise.all([backend.close(), backend.close()])
  await backend.close()
})

test('a holder that is killed frees the store at once, and its claims with it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using holder = await holdElsewhere(path)
  await holder.kill()

  const { backend } = await openStore({ path, nowMs: 2_000 })

  assert.equal((await backend.read(readMeta)).epoch, 2)
  const work = await backend.read((reader) => readWork(reader, holder.claimed))
  assert.equal(work!.state, 'ready')
  assert.equal(work!.token, undefined)
  assert.equal(work!.claimedBy, undefined)
  assert.equal((await backend.hotPath.claim({ limit: 9, claimedBy: 'worker', nowMs: 2_000 })).length, 2)
  await backend.close()
})

test('the refusal does not wait: a locked store is named at once', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })
  const startedAt = performance.now()

  await assert.rejects(openStore({ path, nowMs: 2_000 }), { code: 'CC_ERR_LOCKED' })

  assert.ok(performance.now() - startedAt < 500)
  await backend.close()
})

onSqlite('whoever lost the store to another holder writes nothing any more', async (open) => {
  await using store = await open()
  const lost = store.backend
  await readyCase(lost)
  const work = await claimOne(lost)
  await store.takeOver()
  const before = await store.sql('select * from meta, work')
  const refusal = { code: 'CC_ERR_STORE_LOST' }

  await assert.rejects(
    lost.transaction((tx) => tx.execute('update meta set created_at_ms = 7')),
    refusal,
  )
  await assert.rejects(lost.hotPath.commitSteps([stepCommit(work)]), refusal)
  await assert.rejects(lost.hotPath.claim({ limit: 1, claimedBy: 'lost', nowMs: 3_000 }), refusal)
  await assert.rejects(readyCase(lost), refusal)

  assert.deepEqual(await store.sql('select * from meta, work'), before)
})

onSqlite('what was queued before the store was lost is refused with it', async (open) => {
  await using store = await open()
  const lost = store.backend
  const taking = store.takeOver()
  const queued = lost.transaction((tx) => tx.execute('update meta set created_at_ms = 7'))

  await taking
  await assert.rejects(queued, { code: 'CC_ERR_STORE_LOST' })
})

onSqlite('each new holder raises the epoch and finds every claim given back', async (open) => {
  await using store = await open()
  const instanceId = await readyCase(store.backend)
  const old = await claimOne(store.backend)

  await store.takeOver()

  assert.equal((await store.backend.read(readMeta)).epoch, 2)
  const fresh = await claimOne(store.backend)
  assert.equal(fresh.instanceId, instanceId)
  assert.notEqual(fresh.token, old.token)
  assert.deepEqual(await store.backend.hotPath.commitSteps([stepCommit(old)]), [{ kind: 'fenced' }])
})

/** Other names for `store.db`, each made before the store or after it. */
const otherNames: Readonly<Record<string, (path: string) => string>> = {
  'a symbolic link to the file': (path) => {
    const link = join(dirname(path), 'link.db')
    symlinkSync(path, link)
    return link
  },
  'a symbolic link to its folder': (path) => {
    const link = `${dirname(path)}-link`
    symlinkSync(dirname(path), link)
    return join(link, basename(path))
  },
  'a relative path': (path) => relative(process.cwd(), path),
}

for (const [what, nameOf] of Object.entries(otherNames)) {
  for (const isFirst of [true, false]) {
    test(`${what} meets the same lock, ${isFirst ? 'opened first' : 'opened second'}`, async (context) => {
      using folder = temporaryFolder()
      const path = folder.file('store.db')
      const other = nameOf(path)
      context.after(() => rmSync(`${folder.dir}-link`, { force: true }))
      const { backend } = await openStore({ path: isFirst ? other : path, nowMs: 1_000 })

      await assert.rejects(openStore({ path: isFirst ? path : other, nowMs: 2_000 }), { code: 'CC_ERR_LOCKED' })
      const reader = await openStoreForReading(isFirst ? path : other)

      assert.equal((await reader.read(readMeta)).epoch, 1)
      await reader.close()
      await backend.close()
    })
  }
}

test('the lock is a file of its own beside the store, so that no reader waits for it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const { backend } = await openStore({ path, nowMs: 1_000 })

  assert.equal(lockPath(path), `${path}-lock`)
  const shell = plainConnection(path, { readOnly: true })
  assert.equal(shell.prepare('select count(*) as count from meta').get()!.count, 1)
  shell.close()
  await backend.close()
})
