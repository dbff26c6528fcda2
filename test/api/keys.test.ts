import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { chmod, chown, mkdtemp, readFile, rename, rm, symlink, unlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { promisify } from 'node:util'
import { KeysFile } from '../../src/api/keys.ts'
import { type Clock, systemClock } from '../../src/clock.ts'
import { maxJsonBytes } from '../../src/domain/json.ts'
import { isCoreError } from '../../src/errors.ts'

const folder = await mkdtemp(join(tmpdir(), 'keys-'))
after(() => rm(folder, { recursive: true }))

const nowMs = Date.UTC(2026, 0, 5, 9)
const ann = { name: 'ann', role: 'reviewer' } as const
const bob = { name: 'bob', role: 'operator' } as const

let files = 0
/** A file that is not there, in a folder that is not there either. */
function newPath(): string {
  return join(folder, String((files += 1)), 'api-keys.json')
}

/** A file with a key for Ann, and her secret. */
async function withAnn(): Promise<{ readonly path: string; readonly keys: KeysFile; readonly secret: string }> {
  const path = newPath()
  const keys = new KeysFile(path)
  return { path, keys, secret: await keys.add(ann, nowMs) }
}

/** To this clock every file is old, so that its times alone say whether it has changed. */
const laterClock: Clock = { ...systemClock, nowMs: () => Date.now() + 60_000 }

const sha256 = (text: string) => createHash('sha256').update(text).digest('hex')
const namesIn = async (keys: KeysFile) => (await keys.list()).map(({ name }) => name)
const beside = (path: string) => readdirSync(join(path, '..'))
const isUnusable = (problem: RegExp) => (error: unknown) =>
  isCoreError(error, 'CC_ERR_KEYS_FILE') && problem.test(String(error.facts.problem))

test('a key is found by its secret, and the file never holds the secret', async () => {
  const { path, keys, secret } = await withAnn()
  assert.match(secret, /^cc_[\w-]{43}$/)

  const key = { ...ann, sha256: sha256(secret), created: '2026-01-05T09:00:00.000Z' }
  assert.deepEqual(keys.find(secret), key)
  assert.equal(keys.find(`${secret}x`), undefined)
  assert.equal(keys.find(''), undefined)
  assert.equal(keys.find(key.sha256), undefined)

  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')), [key])
  assert.equal(statSync(path).mode & 0o777, 0o600)
  assert.deepEqual(beside(path), ['api-keys.json'], 'lock and temporary file are gone')
})

test('keys are listed by name', async () => {
  const keys = new KeysFile(newPath())
  for (const name of ['kim', 'ann', 'Zoe']) await keys.add({ name, role: 'auditor' }, nowMs)
  assert.deepEqual(await namesIn(keys), ['Zoe', 'ann', 'kim'])
})

for (const [what, clock] of [
  ['just after the file was written', systemClock],
  ['long after the file was written', laterClock],
] as const) {
  test(`a service that knows a key refuses it as soon as another process has revoked it: ${what}`, async () => {
    const { path, secret } = await withAnn()
    const service = new KeysFile(path, clock)
    assert.equal(service.find(secret)?.name, 'ann')

    const revoked = await new KeysFile(path).revoke('ann')
    assert.equal(service.find(secret), undefined)
    assert.equal(revoked.sha256, sha256(secret))

    const next = await new KeysFile(path).add(ann, nowMs)
    assert.deepEqual([service.find(secret), service.find(next)?.name], [undefined, 'ann'])
  })
}

test('a change that leaves size and modification time as they were is seen', async () => {
  const { path, secret } = await withAnn()
  const text = await readFile(path, 'utf8')
  for (const clock of [systemClock, laterClock]) {
    const service = new KeysFile(path, clock)
    await writeFile(path, text)
    const { atime, mtime } = statSync(path)
    assert.equal(service.find(secret)?.role, 'reviewer')
    // The clock of a file system may stand still for some milliseconds.
    await systemClock.sleep(20)
    await writeFile(path, text.replace(sha256(secret), sha256('another')))
    await utimes(path, atime, mtime)
    assert.equal(service.find(secret), undefined)
  }
})

test('a file without keys lets nobody in', async () => {
  const { keys, secret } = await withAnn()
  await keys.revoke('ann')
  assert.deepEqual([keys.find(secret), await keys.list()], [undefined, []])
})

test('a key that is not there cannot be revoked', async () => {
  const { keys } = await withAnn()
  await assert.rejects(keys.revoke('Ann'), { code: 'CC_ERR_UNKNOWN_KEY', message: /has no key of the name 'Ann'\.$/ })
  assert.deepEqual(await namesIn(keys), ['ann'])
})

test('without a file everything is refused but the making of a key', async () => {
  const keys = new KeysFile(newPath())
  assert.throws(() => keys.find('cc_any'), isUnusable(/^it is not there$/))
  await assert.rejects(keys.list(), isUnusable(/^it is not there$/))
  await assert.rejects(keys.revoke('ann'), isUnusable(/^it is not there$/))
  assert.ok(keys.find(await keys.add(ann, nowMs)))
})

test('a file that goes away takes every key with it, until it is back', async () => {
  const { path, secret } = await withAnn()
  const service = new KeysFile(path, laterClock)
  assert.ok(service.find(secret))
  await rename(path, `${path}.away`)
  for (const time of ['at first', 'again']) {
    assert.throws(() => service.find(secret), isUnusable(/^it is not there$/), time)
  }
  await rename(`${path}.away`, path)
  assert.ok(service.find(secret))
})

const entry = (fields: object = {}) => ({ ...bob, sha256: '0'.repeat(64), created: '2026-01-05T09:00:00Z', ...fields })

const broken: readonly (readonly [what: string, text: string | Buffer, problem: RegExp])[] = [
  ['nothing', '', /^the JSON text is broken at line 1, column 1/],
  ['half of it', '[{"name": "ann", ', /^the JSON text is broken/],
  ['bytes that are no UTF-8', Buffer.from([0x5b, 0xff, 0x5d]), /not UTF-8/],
  ['more than a list of keys could be', ' '.repeat(maxJsonBytes + 1), /bytes; at most/],
  ['no list', '{}', /expected array/],
  ['a key with another field', JSON.stringify([entry({ key: 'cc_secret' })]), /^key 1: .*"key"/],
  ['a key without a role', JSON.stringify([entry({ role: undefined })]), /^key 1: role: /],
  ['an unknown role', JSON.stringify([entry(), entry({ role: 'admin' })]), /^key 2: role: .*"submitter"/],
  ['no digest', JSON.stringify([entry({ sha256: 'cc_secret' })]), /^key 1: sha256: 64 digits/],
  ['no time', JSON.stringify([entry({ created: 'yesterday' })]), /^key 1: created: /],
  ['a name that no key can have', JSON.stringify([entry({ name: 'unverified:kim' })]), /'unverified:kim' cannot be/],
  ['one name twice', JSON.stringify([entry(), entry({ sha256: '1'.repeat(64) })]), /^'bob' is there twice$/],
  ['one secret twice', JSON.stringify([entry(), entry({ name: 'kim' })]), /^'0+' is there twice$/],
]

for (const [what, text, problem] of broken) {
  test(`a file with ${what} lets nobody in, is not written over, and heals`, async () => {
    const { path, keys, secret } = await withAnn()
    const whole = await readFile(path)
    assert.ok(keys.find(secret))

    await writeFile(path, text)
    for (const time of ['at first', 'again']) assert.throws(() => keys.find(secret), isUnusable(problem), time)
    await assert.rejects(keys.list(), isUnusable(problem))
    await assert.rejects(keys.add(bob, nowMs), isUnusable(problem))
    await assert.rejects(keys.revoke('ann'), isUnusable(problem))
    assert.deepEqual(readFileSync(path), Buffer.from(text))
    assert.deepEqual(beside(path), ['api-keys.json'])

    await writeFile(path, whole)
    assert.ok(keys.find(secret))
  })
}

test('a folder is no file of keys, and a pipe keeps nobody waiting', async () => {
  const { path } = await withAnn()
  assert.throws(() => new KeysFile(join(path, '..')).find('cc_any'), isUnusable(/^it is no file$/))
  await promisify(execFile)('mkfifo', [`${path}.pipe`])
  assert.throws(() => new KeysFile(`${path}.pipe`).find('cc_any'), isUnusable(/^it is no file$/))
})

for (const name of ['ann', 'Ann', 'ANN', 'ａｎｎ']) {
  test(`there is no second key for one person: ${name}`, async () => {
    const { path, keys } = await withAnn()
    const before = await readFile(path, 'utf8')
    await assert.rejects(keys.add({ name, role: 'operator' }, nowMs), {
      code: 'CC_ERR_KEY_NAME',
      message: `'${name}' cannot be the name of a key: 'ann' has a key already.`,
    })
    assert.equal(await readFile(path, 'utf8'), before)
  })
}

for (const [name, code] of [
  ['unverified:kim', 'CC_ERR_KEY_NAME'],
  ['Unverified: kim', 'CC_ERR_KEY_NAME'],
  ['engine', 'CC_ERR_KEY_NAME'],
  ['Engine', 'CC_ERR_KEY_NAME'],
  ['', 'CC_ERR_ACTOR'],
  [' kim', 'CC_ERR_ACTOR'],
  ['k\nim', 'CC_ERR_ACTOR'],
] as const) {
  test(`${JSON.stringify(name)} is no name of a key, and no file is made for it`, async () => {
    const path = newPath()
    await assert.rejects(new KeysFile(path).add({ name, role: 'reviewer' }, nowMs), { code })
    assert.ok(!existsSync(join(path, '..')))
  })
}

test('twenty keys that are made at once are all there', async () => {
  const path = newPath()
  const names = Array.from({ length: 20 }, (_, index) => `kim-${String(index).padStart(2, '0')}`)
  const secrets = await Promise.all(names.map((name) => new KeysFile(path).add({ name, role: 'submitter' }, nowMs)))

  const keys = new KeysFile(path)
  assert.deepEqual(await namesIn(keys), names)
  assert.deepEqual(
    secrets.map((secret) => keys.find(secret)?.name),
    names,
  )
  assert.deepEqual(beside(path), ['api-keys.json'])
})

test('processes that make and revoke keys at once lose nothing of each other', async () => {
  const { path, keys } = await withAnn()
  const source = JSON.stringify(join(import.meta.dirname, '../../src/api/keys.ts'))
  const program = (name: string) => `
    import { KeysFile } from ${source}
    const keys = new KeysFile(${JSON.stringify(path)})
    for (const no of [1, 2, 3]) await keys.add({ name: '${name}-' + no, role: 'submitter' }, ${nowMs})
    await keys.revoke('${name}-2')`
  const run = (name: string) => promisify(execFile)(process.execPath, ['--input-type=module', '-e', program(name)])
  await Promise.all(['b', 'c', 'd', 'e'].map(run))

  const expected = ['b', 'c', 'd', 'e'].flatMap((name) => [`${name}-1`, `${name}-3`])
  assert.deepEqual(await namesIn(keys), ['ann', ...expected])
})

test('the lock of a process that has died is taken over', async () => {
  const { path, keys } = await withAnn()
  await writeFile(`${path}.lock`, '')
  await utimes(`${path}.lock`, Date.now() / 1000 - 11, Date.now() / 1000 - 11)
  await keys.add(bob, nowMs)
  assert.deepEqual(await namesIn(keys), ['ann', 'bob'])
  assert.deepEqual(beside(path), ['api-keys.json'])
})

test('the lock of another process is waited for, then left in peace', async () => {
  const { path } = await withAnn()
  await writeFile(`${path}.lock`, '')
  const startMs = Date.now()
  let waitedMs = 0
  const clock: Clock = {
    ...systemClock,
    nowMs: () => startMs + waitedMs,
    sleep: async (ms) => void (waitedMs += ms),
  }
  const keys = new KeysFile(path, clock)
  await assert.rejects(keys.add(bob, nowMs), isUnusable(/another program is changing it; .*api-keys\.json\.lock$/))
  assert.equal(waitedMs, 5_000)
  assert.deepEqual(beside(path), ['api-keys.json', 'api-keys.json.lock'])

  await unlink(`${path}.lock`)
  await keys.add(bob, nowMs)
})

test('whoever has lost the lock meanwhile writes nothing', async () => {
  const { path, keys } = await withAnn()
  const adding = assert.rejects(keys.add(bob, nowMs), isUnusable(/^another program took its lock meanwhile$/))
  while (!existsSync(`${path}.lock`)) await turn()
  await unlink(`${path}.lock`)
  await writeFile(`${path}.lock`, 'of another')
  await adding
  assert.deepEqual(await namesIn(keys), ['ann'])
  assert.equal(await readFile(`${path}.lock`, 'utf8'), 'of another')
})

test('rights wider than the owner’s are taken away, and narrower ones kept', async () => {
  const { path, keys } = await withAnn()
  for (const [given, expected] of [
    [0o644, 0o600],
    [0o640, 0o600],
    [0o400, 0o400],
  ] as const) {
    await chmod(path, given)
    await keys.add({ name: `kim-${given}`, role: 'auditor' }, nowMs)
    assert.equal(statSync(path).mode & 0o777, expected)
  }
})

test('the file stays its owner’s, also when root changes it', async () => {
  const { path, keys } = await withAnn()
  // Nobody but root can give a file away.
  const owner = process.getuid!() === 0 ? 1234 : process.getuid!()
  await chown(path, owner, process.getgid!())
  await keys.add(bob, nowMs)
  assert.equal(statSync(path).uid, owner)
})

test('a link goes on leading to the file that it names', async () => {
  const { path, secret } = await withAnn()
  const link = join(folder, 'link.json')
  await symlink(path, link)
  const linked = new KeysFile(link)
  await linked.add(bob, nowMs)
  assert.deepEqual(await namesIn(new KeysFile(path)), ['ann', 'bob'])
  assert.ok(linked.find(secret))
})
