import assert from 'node:assert/strict'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openReader } from '../../src/engine/open-reader.ts'
import { openCore } from '../../src/engine/open.ts'
import { backupStore } from '../../src/storage/backup.ts'
import type { CopyProgress } from '../../src/storage/copies.ts'
import { openStoreForReading } from '../../src/storage/open.ts'
import { busyCase, busyConfig, keepBusy } from './busy-store.ts'
import { change, fill, lookInto, makeNewer, makeOlder, makeStore } from './closed-store.ts'
import { withoutWriteRights } from './denied.ts'
import { plainConnection, temporaryFolder, until } from './fixture.ts'
import { holdElsewhere } from './held-store.ts'

test('a backup that is taken while another process commits is one moment of the store, and goes on from there', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await using writer = await keepBusy(path)

  for (const name of ['first.db', 'second.db', 'third.db']) {
    const before = await countEvents(path)
    const report = await backupStore(path, folder.file(name))
    const after = await countEvents(path)

    assert.ok(after > before, 'the writer was at work meanwhile')
    const reader = await openReader({ path: folder.file(name) })
    const verdict = await reader.verify()
    await reader.close()
    assert.deepEqual([verdict.valid, verdict.findings], [true, []])
    assert.ok(verdict.events >= before && verdict.events <= after)
    assert.equal(verdict.instances, report.cases)
  }
  await writer.kill()

  const core = await openCore({ ...busyConfig, path: folder.file('third.db') })
  assert.ok((await core.listCases({ status: 'running' })).items.length > 0, 'some cases were under way')
  core.start()
  await until(async () => (await core.listCases({ status: 'running' })).items.length === 0, 'the end of every case')
  assert.deepEqual((await core.verify()).findings, [])
  await core.close()
})

async function countEvents(path: string): Promise<number> {
  const backend = await openStoreForReading(path)
  const [row] = await backend.read((reader) =>
    reader.query<{ count: number }>('select count(*) as count from audit_events'),
  )
  await backend.close()
  return row!.count
}

test('a backup is one plain file that says what it is, beside a store that somebody holds', async () => {
  using folder = temporaryFolder()
  const [path, file] = [folder.file('store.db'), folder.file('copy.db')]
  await using holder = await holdElsewhere(path)

  const { elapsedMs, ...report } = await backupStore(path, file)

  const { databaseId, epoch, simulated, claimed } = await lookInto(path)
  const { size: bytes } = statSync(file)
  assert.ok(elapsedMs >= 0 && holder.claimed !== '' && claimed === 1)
  assert.deepEqual(report, { databaseId, epoch, simulated, cases: 2, file, bytes })
  const copy = plainConnection(file)
  assert.equal(copy.prepare('pragma application_id').get()!.application_id, 0x43436f72)
  assert.equal(copy.prepare('pragma journal_mode').get()!.journal_mode, 'delete')
  copy.close()
  assert.deepEqual(namesLike(folder.dir, 'copy'), ['copy.db'])
})

test('a backup is as private as the store, and its owner may write it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  for (const [mode, expected] of [
    [0o600, 0o600],
    [0o640, 0o640],
    [0o440, 0o640],
  ] as const) {
    chmodSync(path, mode)

    await backupStore(path, folder.file(`${mode}.db`))

    assert.equal(statSync(folder.file(`${mode}.db`)).mode & 0o777, expected)
  }
})

test('what was erased before a backup is not in it', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  const core = await openCore({ ...busyConfig, path })
  core.start()
  const { instanceId } = await core.submit({ ...busyCase, input: { told: 'in strict confidence' } })
  await core.waitFor(instanceId)
  await backupStore(path, folder.file('earlier.db'))
  const [submitted] = await core.getAudit(instanceId)
  await core.erase({ instanceId, payloadId: submitted!.payloadId!, actor: 'ann', reason: 'Asked for.' })

  await backupStore(path, folder.file('later.db'))

  await core.close()
  const says = (name: string) => readFileSync(folder.file(name)).includes('in strict confidence')
  assert.deepEqual([says('earlier.db'), says('later.db')], [true, false])
})

test('how much there is to copy is told at the beginning: what is in use, not what is free', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  fill(path, 4)
  change(path, 'delete from ballast where number > 2')
  const told: CopyProgress[] = []

  const { bytes } = await backupStore(path, folder.file('copy.db'), { onProgress: (done) => told.push(done) })

  assert.ok(told[0]!.bytes <= bytes)
  assert.ok(Math.abs(told[0]!.totalBytes - bytes) < 100_000, `${told[0]!.totalBytes} for ${bytes}`)
  assert.ok(bytes > 2_000_000 && bytes < 3_000_000)
})

test('a backup that is aborted leaves nothing', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  fill(path, 60)
  const before = readdirSync(folder.dir)
  const abortion = new AbortController()
  const partial = folder.file('copy.db.partial')

  const copying = backupStore(path, folder.file('copy.db'), { signal: abortion.signal })
  const refused = assert.rejects(copying, { code: 'CC_ERR_INTERRUPTED' })
  await until(() => existsSync(partial) && statSync(partial).size > 1_000_000, 'some of the copy')
  abortion.abort()

  await refused
  assert.deepEqual(withoutReaders(readdirSync(folder.dir)), withoutReaders(before))
  await assert.rejects(backupStore(path, folder.file('copy.db'), { signal: abortion.signal }), {
    code: 'CC_ERR_INTERRUPTED',
  })
  await backupStore(path, folder.file('copy.db'))
})

/** What stands where the backup is to go, and what is told about it. */
const places: Readonly<Record<string, (dir: string) => { readonly to: string; readonly refusal: object }>> = {
  'over a file': (dir) => {
    writeFileSync(join(dir, 'notes.txt'), 'claims of May')
    return taken(join(dir, 'notes.txt'))
  },
  'over the store itself': (dir) => taken(join(dir, 'store.db')),
  'over what a link leads to': (dir) => {
    symlinkSync(join(dir, 'store.db'), join(dir, 'link.db'))
    return taken(join(dir, 'link.db'), join(dir, 'store.db'))
  },
  'over a folder': (dir) => {
    mkdirSync(join(dir, 'folder'))
    return taken(join(dir, 'folder'))
  },
  'beside a log that would become a part of it': (dir) => {
    writeFileSync(join(dir, 'copy.db-wal'), 'frames')
    return taken(join(dir, 'copy.db'), join(dir, 'copy.db-wal'))
  },
  'where another backup is under way': (dir) => {
    writeFileSync(join(dir, 'copy.db.partial'), 'pages')
    return taken(join(dir, 'copy.db'), join(dir, 'copy.db.partial'))
  },
  'into a folder that is not there': (dir) => impossible(join(dir, 'none/copy.db'), 'there is no such folder'),
  'into a file': (dir) => impossible(join(dir, 'store.db/copy.db'), 'its folder is a file'),
}

function taken(to: string, file = to) {
  return { to, refusal: { code: 'CC_ERR_FILE_EXISTS', facts: { file } } }
}

function impossible(to: string, why: string) {
  return { to, refusal: { code: 'CC_ERR_FILE', facts: { file: to, verb: 'written', why } } }
}

for (const [where, prepare] of Object.entries(places)) {
  test(`no backup is written ${where}`, async () => {
    using folder = temporaryFolder()
    const path = folder.file('store.db')
    await makeStore(path)
    const { to, refusal } = prepare(folder.dir)
    const before = contentOf(folder.dir)

    await assert.rejects(backupStore(path, to), refusal)

    assert.deepEqual(contentOf(folder.dir), before)
  })
}

test('a folder that may not be written to is named', async (context) => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  const file = folder.file('copy.db')
  const refusal = { code: 'CC_ERR_FILE', facts: { file, verb: 'written', why: 'it is not allowed' } }

  const isDenied = await withoutWriteRights(folder.dir, async () => {
    await assert.rejects(backupStore(path, file), refusal)
  })

  if (!isDenied) context.skip('nobody can be denied to write here')
})

test('a store of an older version can be backed up before it is migrated', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  makeOlder(path)
  await assert.rejects(openStoreForReading(path), { code: 'CC_ERR_DATABASE_OLDER' })

  const { cases } = await backupStore(path, folder.file('copy.db'))

  assert.equal(cases, 2)
  await assert.rejects(openStoreForReading(folder.file('copy.db')), { code: 'CC_ERR_DATABASE_OLDER' })
})

test('what is no store, or not one that this version knows, is not backed up', async () => {
  using folder = temporaryFolder()
  const [path, to] = [folder.file('store.db'), folder.file('copy.db')]
  await assert.rejects(backupStore(path, to), { code: 'CC_ERR_NO_STORE' })

  writeFileSync(path, 'claims, of May\n'.repeat(100))
  await assert.rejects(backupStore(path, to), { code: 'CC_ERR_NOT_A_STORE' })

  await makeStore(folder.file('newer.db'))
  makeNewer(folder.file('newer.db'))
  await assert.rejects(backupStore(folder.file('newer.db'), to), { code: 'CC_ERR_DATABASE_NEWER' })
  assert.deepEqual(namesLike(folder.dir, 'copy'), [])
})

test('a damaged store is not passed off as a backup', async () => {
  using folder = temporaryFolder()
  const path = folder.file('store.db')
  await makeStore(path)
  const bytes = readFileSync(path)
  bytes.fill(0xff, 8 * 4096, 9 * 4096)
  writeFileSync(path, bytes)

  await assert.rejects(backupStore(path, folder.file('copy.db')), { code: 'CC_ERR_NOT_A_STORE' })

  assert.deepEqual(namesLike(folder.dir, 'copy'), [])
})

/** What stands in a folder, without what a reader of a store leaves there. */
function contentOf(dir: string): Record<string, string> {
  const names = withoutReaders(readdirSync(dir)).filter((name) => statSync(join(dir, name)).isFile())
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(dir, name), 'latin1')]))
}

function withoutReaders(names: readonly string[]): string[] {
  return names.filter((name) => !/^store\.db-(wal|shm)$/.test(name))
}

function namesLike(dir: string, beginning: string): string[] {
  return readdirSync(dir).filter((name) => name.startsWith(beginning))
}
