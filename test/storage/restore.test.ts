import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import {
  existsSync,
  linkSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openCore } from '../../src/engine/open.ts'
import { backupStore } from '../../src/storage/backup.ts'
import { openStore, openStoreForReading } from '../../src/storage/open.ts'
import { restoreStore, type RestoreStep } from '../../src/storage/restore.ts'
import { busyConfig, keepBusy, killed } from './busy-store.ts'
import { change, fill, lookInto, makeNewer, makeOlder, makeStore } from './closed-store.ts'
import { plainConnection, type TemporaryFolder, temporaryFolder, until } from './fixture.ts'
import { holdElsewhere } from './held-store.ts'

const keep = { replace: false }
const replace = { replace: true }

test('a backup is restored where no store is, under a new epoch, with its claims free and nobody as its holder', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await using holder = await holdElsewhere(folder.file('held.db'))
  const { databaseId, epoch } = await backupStore(folder.file('held.db'), backup)
  const held = await lookInto(backup)
  assert.deepEqual([held.claimed, held.leases, holder.claimed !== ''], [1, 1, true])
  const before = readFileSync(backup)

  const report = await restoreStore(backup, path, keep)

  const facts = { databaseId, epoch: epoch + 1, simulated: undefined, cases: 2 }
  assert.deepEqual(report, { ...facts, location: path, replaced: undefined })
  assert.deepEqual(await lookInto(path), { ...facts, claimed: 0, leases: 0 })
  assert.deepEqual(readFileSync(backup), before)
  assert.deepEqual(storesIn(folder), ['backup.db', 'held.db', 'store.db'])
})

test('folders on the way to a restored store are made', async () => {
  using folder = temporaryFolder()
  const { backup } = placesIn(folder)
  await makeStore(backup)

  await restoreStore(backup, folder.file('a/b/store.db'), keep)

  assert.equal((await lookInto(folder.file('a/b/store.db'))).cases, 2)
})

test('a restored store goes on where its backup was taken', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await using writer = await keepBusy(folder.file('busy.db'))
  await backupStore(folder.file('busy.db'), backup)
  await writer.kill()

  await restoreStore(backup, path, keep)

  const core = await openCore({ ...busyConfig, path })
  assert.ok((await core.listCases({ status: 'running' })).items.length > 0, 'some cases were under way')
  core.start()
  await until(async () => (await core.listCases({ status: 'running' })).items.length === 0, 'the end of every case')
  assert.deepEqual((await core.verify()).findings, [])
  await core.close()
})

test('a store that stands there is refused unless it is to be replaced, be it without any case', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await makeStore(path, { cases: 0 })
  const before = readFileSync(path)

  await assert.rejects(restoreStore(backup, path, keep), {
    code: 'CC_ERR_STORE_EXISTS',
    facts: { location: path, from: backup },
  })

  assert.deepEqual(readFileSync(path), before)
  assert.deepEqual(storesIn(folder), ['backup.db', 'store.db'])
})

for (const [what, epochs] of Object.entries({ 'the newer epoch': [1, 5], 'the older epoch': [5, 1] })) {
  test(`a store of ${what} gives way and is kept, and no holder of either passes for one of the new one`, async () => {
    using folder = temporaryFolder()
    const { backup, path } = placesIn(folder)
    await makeStore(backup, { cases: 2, epoch: epochs[0]! })
    await makeStore(path, { cases: 3, epoch: epochs[1]! })
    const old = await lookInto(path)

    const { epoch, replaced } = await restoreStore(backup, path, replace)

    assert.match(replaced!, /\/store\.db\.replaced-\d{8}T\d{6}Z$/)
    const kept = await lookInto(replaced!)
    assert.deepEqual(kept, { ...old, epoch: old.epoch + 1 })
    assert.ok(epoch > kept.epoch && epoch > (await lookInto(backup)).epoch)
    assert.deepEqual([(await lookInto(path)).cases, (await lookInto(path)).epoch], [2, epoch])
    const opened = await openStore({ path: replaced!, nowMs: 2_000 })
    await opened.backend.close()
  })
}

test('what the old store had only in its log is kept with it', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await using holder = await holdElsewhere(path)
  await holder.kill()
  assert.ok(statSync(`${path}-wal`).size > 0)

  const { replaced } = await restoreStore(backup, path, replace)

  assert.equal((await lookInto(replaced!)).cases, 2)
  assert.ok(readFileSync(replaced!).includes(holder.claimed), 'in the one file')
})

test('two stores that give way in the same second are both kept', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await makeStore(path)

  const replaced = [1, 2, 3].map(async () => (await restoreStore(backup, path, replace)).replaced!)
  const outcomes = await Promise.allSettled(replaced)
  const again = await restoreStore(backup, path, replace)

  const names = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
  assert.equal(names.length, 1, 'the others found it locked')
  assert.notEqual(again.replaced, names[0])
  for (const name of [again.replaced!, ...names]) assert.equal((await lookInto(name)).cases, 2)
})

test('a store that another process holds stays, with --replace as well', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await using holder = await holdElsewhere(path)

  await assert.rejects(restoreStore(backup, path, replace), (error: Error) =>
    error.message.includes(`in use by process ${holder.pid}, since `),
  )

  assert.equal((await lookInto(path)).claimed, 1)
  assert.deepEqual(storesIn(folder), ['backup.db', 'store.db'])
})

test('whoever reads the old store is waited for: its log must not be taken for the one of the new store', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await makeStore(path, { cases: 3 })
  const reader = plainConnection(path, { readOnly: true })
  reader.prepare('select * from meta').all()
  let isClosed = false
  setTimeout(() => {
    isClosed = true
    reader.close()
  }, 300)

  const { replaced } = await restoreStore(backup, path, replace)

  assert.ok(isClosed)
  assert.deepEqual([(await lookInto(replaced!)).cases, (await lookInto(path)).cases], [3, 2])
})

test('a damaged store gives way, and is kept as it is', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await makeStore(path)
  const bytes = readFileSync(path).fill(0xff, 4096)
  writeFileSync(path, bytes)

  const { replaced } = await restoreStore(backup, path, replace)

  assert.deepEqual(readFileSync(replaced!), bytes)
  assert.equal((await lookInto(path)).cases, 2)
})

test('a store of a newer version gives way to a backup of this one', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await makeStore(path, { epoch: 4 })
  makeNewer(path)

  const { epoch } = await restoreStore(backup, path, replace)

  assert.ok(epoch > 5)
  assert.equal((await lookInto(path)).cases, 2)
})

test('a log without its store is set aside: it must not become a part of the restored one', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  await using holder = await holdElsewhere(path)
  await holder.kill()
  const log = readFileSync(`${path}-wal`)
  rmSync(path)

  const { replaced } = await restoreStore(backup, path, keep)

  assert.equal(replaced, undefined)
  assert.ok((await lookInto(path)).cases === 2 && !(await instancesIn(path)).includes(holder.claimed))
  const aside = readdirSync(folder.dir).find((name) => /\.replaced-.*-wal$/.test(name))
  assert.deepEqual(readFileSync(folder.file(aside!)), log)
})

async function instancesIn(path: string): Promise<readonly string[]> {
  const backend = await openStoreForReading(path)
  const rows = await backend.read((reader) => reader.query<{ id: string }>('select instance_id as id from instances'))
  await backend.close()
  return rows.map(({ id }) => id)
}

test('a backup of an older version is migrated on its way', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  makeOlder(backup)

  await restoreStore(backup, path, keep)

  assert.equal((await lookInto(path)).cases, 2)
  await assert.rejects(openStoreForReading(backup), { code: 'CC_ERR_DATABASE_OLDER' })
})

/** What is no backup, made of one. */
const damages: Readonly<Record<string, (backup: string) => void>> = {
  'a text': (backup) => writeFileSync(backup, 'claims, of May\n'.repeat(1000)),
  'a file of nothing': (backup) => truncateSync(backup, 0),
  'a database of another program': (backup) => {
    rmSync(backup)
    change(backup, 'create table notes (text text)')
  },
  'a store without tables': (backup) => {
    rmSync(backup)
    change(backup, 'pragma application_id = 0x43436f72')
  },
  'half of a backup': (backup) => truncateSync(backup, statSync(backup).size / 2),
  'a backup without its last page': (backup) => truncateSync(backup, statSync(backup).size - 4096),
  'a backup whose first page was changed': (backup) => flipPage(backup, 0),
  'a backup whose second page was changed': (backup) => flipPage(backup, 1),
  'a backup one of whose pages was changed': (backup) => flipPage(backup, pagesOf(backup) >> 1),
  'a backup whose last page was changed': (backup) => flipPage(backup, pagesOf(backup) - 1),
  'a backup in which an index says something else than its table': (backup) => {
    const bytes = readFileSync(backup)
    const isIndex = (page: number) => bytes[page * 4096] === 0x0a
    const page = Array.from({ length: pagesOf(backup) }, (_, number) => number).find(
      (number) => isIndex(number) && bytes.subarray(number * 4096, (number + 1) * 4096).includes('running'),
    )
    bytes.write('runnine', bytes.indexOf('running', page! * 4096))
    writeFileSync(backup, bytes)
  },
}

function pagesOf(file: string): number {
  return statSync(file).size / 4096
}

function flipPage(file: string, page: number): void {
  const bytes = readFileSync(file)
  for (let at = page * 4096; at < (page + 1) * 4096; at++) bytes[at]! ^= 0xff
  writeFileSync(file, bytes)
}

for (const [what, damage] of Object.entries(damages)) {
  for (const isStanding of [false, true]) {
    test(`${what} is not restored, and ${isStanding ? 'the store stays as it was' : 'leaves nothing'}`, async () => {
      using folder = temporaryFolder()
      const { backup, path } = placesIn(folder)
      await makeStore(folder.file('good.db'), { cases: 20 })
      await backupStore(folder.file('good.db'), backup)
      damage(backup)
      if (isStanding) await makeStore(path)
      const before = isStanding ? readFileSync(path) : undefined

      await assert.rejects(restoreStore(backup, path, replace), { code: 'CC_ERR_NOT_A_STORE' })

      assert.deepEqual(existsSync(path) ? readFileSync(path) : undefined, before)
      assert.deepEqual(storesIn(folder), ['backup.db', 'good.db', ...(isStanding ? ['store.db'] : [])])
    })
  }
}

test('a backup of a newer version is not restored', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  makeNewer(backup)

  await assert.rejects(restoreStore(backup, path, keep), { code: 'CC_ERR_DATABASE_NEWER' })

  assert.deepEqual(storesIn(folder), ['backup.db'])
})

/** Names that a backup cannot have, made beside a store, and why. */
const wrongNames: Readonly<Record<string, (path: string) => readonly [from: string, why: string]>> = {
  'a file that is not there': (path) => [`${path}.backup`, 'there is no such file'],
  'the store itself': (path) => [path, 'it is the store itself'],
  'a link to the store': (path) => {
    symlinkSync(path, `${path}.link`)
    return [`${path}.link`, 'it is the store itself']
  },
  'another name of the store': (path) => {
    linkSync(path, `${path}.name`)
    return [`${path}.name`, 'it is the store itself']
  },
  'what an interrupted restore has left': (path) => {
    writeFileSync(`${path}.restoring`, readFileSync(path))
    return [`${path}.restoring`, 'it is what an interrupted restore has left; name the backup']
  },
}

for (const [what, nameBeside] of Object.entries(wrongNames)) {
  test(`${what} is no backup to restore`, async () => {
    using folder = temporaryFolder()
    const { path } = placesIn(folder)
    await makeStore(path)
    const [from, why] = nameBeside(path)
    const before = readdirSync(folder.dir)

    await assert.rejects(restoreStore(from, path, replace), { code: 'CC_ERR_FILE', message: new RegExp(`${why}\\.$`) })

    assert.deepEqual(readdirSync(folder.dir), before)
  })
}

test('a restore that is aborted leaves everything as it was', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup)
  fill(backup, 60)
  await makeStore(path, { cases: 3 })
  const before = readFileSync(path)
  const abortion = new AbortController()

  const restoring = restoreStore(backup, path, { ...replace, signal: abortion.signal })
  const refused = assert.rejects(restoring, { code: 'CC_ERR_INTERRUPTED' })
  await until(() => isBegun(path), 'some of the copy')
  abortion.abort()

  await refused
  assert.deepEqual(readFileSync(path), before)
  assert.deepEqual(storesIn(folder), ['backup.db', 'store.db'])
})

function isBegun(path: string): boolean {
  return (statSync(`${path}.restoring`, { throwIfNoEntry: false })?.size ?? 0) > 1_000_000
}

/** What a process leaves that is killed before each step. */
const crashes: Readonly<Record<RestoreStep, 'old' | 'new'>> = {
  lock: 'old',
  copy: 'old',
  take: 'old',
  retire: 'old',
  'set aside': 'old',
  'put in place': 'old',
  leave: 'new',
}

for (const [step, left] of Object.entries(crashes)) {
  test(`a process that is killed before the step '${step}' leaves the ${left} store in place`, async () => {
    using folder = temporaryFolder()
    const { backup, path } = placesIn(folder)
    await makeStore(backup, { cases: 2, epoch: 3 })
    await makeStore(path, { cases: 3, epoch: 2 })

    const { signal } = spawnSync(process.execPath, [restorer, backup, path, step])

    assert.equal(signal, 'SIGKILL')
    assert.equal((await lookInto(path)).cases, left === 'old' ? 3 : 2)
    await restoresWell(folder)
  })
}

test('a process that is killed while it copies leaves the old store', async () => {
  using folder = temporaryFolder()
  const { backup, path } = placesIn(folder)
  await makeStore(backup, { cases: 2 })
  fill(backup, 60)
  await makeStore(path, { cases: 3 })

  const child = spawn(process.execPath, [restorer, backup, path, 'none'])
  await until(() => isBegun(path), 'some of the copy')
  await killed(child)

  assert.ok(existsSync(`${path}.restoring`))
  assert.equal((await lookInto(path)).cases, 3)
  await restoresWell(folder)
})

const restorer = join(import.meta.dirname, 'restorer.ts')

/** The same command again puts everything in order, whatever a crash has left. */
async function restoresWell(folder: TemporaryFolder): Promise<void> {
  const { backup, path } = placesIn(folder)

  const { epoch } = await restoreStore(backup, path, replace)

  const [oldest] = replacedIn(folder)
  assert.equal((await lookInto(oldest!)).cases, 3, 'the old store is there')
  assert.deepEqual([(await lookInto(path)).cases, (await lookInto(path)).epoch], [2, epoch])
  const others = [backup, ...replacedIn(folder)]
  for (const other of others) assert.ok((await lookInto(other)).epoch < epoch, other)
  assert.deepEqual(
    readdirSync(folder.dir).filter((name) => name.includes('restoring')),
    [],
  )
  const { backend } = await openStore({ path, nowMs: 2_000 })
  await backend.close()
}

function replacedIn(folder: TemporaryFolder): string[] {
  const names = readdirSync(folder.dir).filter((name) => /\.replaced-\w+(-\d+)?$/.test(name))
  return names.sort().map((name) => folder.file(name))
}

function placesIn(folder: TemporaryFolder) {
  return { backup: folder.file('backup.db'), path: folder.file('store.db') }
}

/** Everything but locks, and what a reader of a store leaves. */
function storesIn(folder: TemporaryFolder): string[] {
  return readdirSync(folder.dir).filter((name) => !/-(lock|lock-journal|wal|shm)$/.test(name))
}
