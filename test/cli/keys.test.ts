import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { type Answer, openDesk, runHere } from './cli.ts'

/** A desk whose file of keys is still to be made. */
async function openKeyDesk() {
  const desk = await openDesk()
  const file = join(desk.folder, 'keys/api-keys.json')
  const env = { ...desk.env, CC_API_KEYS_FILE: file }
  return {
    file,
    keys: (...args: readonly string[]) => runHere(['keys', ...args], env),
    spawn: (...args: readonly string[]) => desk.spawn(['keys', ...args], { env }),
    [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose](),
  }
}

const documentOf = ({ stdout }: Answer) => JSON.parse(stdout)

test('the secret of a new key stands alone on standard output, once, and the words beside it say so', async () => {
  await using desk = await openKeyDesk()
  const { code, stdout, stderr } = await desk.spawn('add', 'ann', '--role', 'reviewer')
  assert.equal(code, 0, stderr)
  assert.match(stdout, /^cc_[\w-]{43}\n$/)
  assert.match(stderr, /ann \(reviewer\).*never again/)
  assert.match(stderr, /Authorization: Bearer/)
  assert.match(stderr, /CC_API_KEY/)
  assert.ok(!stderr.includes(stdout.trim()) && !readFileSync(desk.file, 'utf8').includes(stdout.trim()))

  const listed = await desk.keys('list')
  assert.match(listed.stdout, /^name +role +created\nann +reviewer +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+\n$/)
})

test('programs get the key and where it is kept, and a list without secrets', async () => {
  await using desk = await openKeyDesk()
  const { key, created, ...made } = documentOf(await desk.keys('add', 'ann', '--role', 'reviewer', '--json'))
  assert.match(key, /^cc_[\w-]{43}$/)
  assert.deepEqual(made, { name: 'ann', role: 'reviewer', file: desk.file })

  const listed = documentOf(await desk.keys('list', '--json'))
  const { sha256 } = listed.items[0]
  assert.match(sha256, /^[0-9a-f]{64}$/)
  assert.deepEqual(listed, { items: [{ name: 'ann', role: 'reviewer', sha256, created }], next_cursor: null })

  const revoked = documentOf(await desk.keys('revoke', 'ann', '--json'))
  assert.deepEqual(revoked, { name: 'ann', role: 'reviewer', sha256, created, revoked: true })
})

test('a key is revoked at once, and what it did stays in the record', async () => {
  await using desk = await openKeyDesk()
  await desk.keys('add', 'ann', '--role', 'reviewer')
  const { code, stdout } = await desk.keys('revoke', 'ann')
  assert.equal(code, 0)
  assert.match(stdout, /From now on it is refused\.\n.*stays in the record/)
  assert.match((await desk.keys('list')).stdout, /^No key: nobody can use the service\.\n$/)

  const again = await desk.keys('revoke', 'ann')
  assert.equal(again.code, 1)
  assert.match(again.stderr, /has no key of the name 'ann'\.\nhint: .*keys list \(CC_ERR_UNKNOWN_KEY\)/)
})

test('a name is taken however it is spelled', async () => {
  await using desk = await openKeyDesk()
  await desk.keys('add', 'ann', '--role', 'reviewer')
  const { code, stdout, stderr } = await desk.keys('add', 'Ann', '--role', 'operator')
  assert.deepEqual([code, stdout], [2, ''])
  assert.match(stderr, /'Ann' cannot be the name of a key: 'ann' has a key already\..*\n.*\(CC_ERR_KEY_NAME\)/)
})

test('a role must be given, and be one of the four', async () => {
  await using desk = await openKeyDesk()
  for (const words of [['ann'], ['ann', '--role', 'admin']]) {
    const { code, stderr } = await desk.keys('add', ...words)
    assert.equal(code, 2)
    assert.match(stderr, /--role <role>/)
  }
  assert.ok(!existsSync(desk.file))
})

test('a file that is not there has no list', async () => {
  await using desk = await openKeyDesk()
  const { code, stderr } = await desk.keys('list')
  assert.equal(code, 1)
  assert.match(stderr, /cannot be used: it is not there\..*\n.*keys add NAME --role ROLE \(CC_ERR_KEYS_FILE\)/)
})

test('where no file is named, the way out says how to name one', async () => {
  await using desk = await openDesk()
  for (const words of [['list'], ['revoke', 'ann'], ['add', 'ann', '--role', 'reviewer']]) {
    const { code, stderr } = await desk.run('keys', ...words)
    assert.equal(code, 2)
    assert.match(stderr, /CC_API_KEYS_FILE=data\/api-keys\.json \(CC_ERR_NO_KEYS_FILE\)/)
  }
})
