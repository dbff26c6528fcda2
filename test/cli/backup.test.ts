import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { change, fill } from '../storage/closed-store.ts'
import { until } from '../storage/fixture.ts'
import { claims, claimWorkflow, type Desk, openDesk } from './cli.ts'

/** A desk whose store has cases in it. */
async function openFilledDesk(): Promise<Desk & { file(name: string): string }> {
  const desk = await openDesk()
  const { code } = await desk.run(...claimWorkflow, '--input', claims, '--wait')
  assert.notEqual(code, 2)
  return { ...desk, file: (name) => join(desk.folder, name) }
}

test('a backup is written, said to be a simulation, and can be checked with the command that is named', async () => {
  await using desk = await openFilledDesk()

  const { code, stdout, stderr } = await desk.run('backup', desk.file('copy.db'))

  assert.deepEqual([code, stderr], [0, ''])
  assert.match(
    stdout,
    /^SIMULATED[^]*\nWrote 5 cases to .*copy\.db: \d\.\d MB in \d+ ms\.\n {2}check it: CC_DB_PATH=\S+copy\.db npm run/,
  )
  const verdict = await desk.json('audit', 'verify', '--db', desk.file('copy.db'))
  assert.deepEqual([verdict.valid, verdict.instances], [true, 5])
})

test('a backup is restored in the place of the store only with --replace, and cases go on from it', async () => {
  await using desk = await openFilledDesk()
  const written = await desk.json('backup', desk.file('copy.db'))
  assert.deepEqual(
    { ...written, database_id: '', elapsed_ms: 0, notice: '' },
    {
      simulated: true,
      notice: '',
      file: desk.file('copy.db'),
      bytes: statSync(desk.file('copy.db')).size,
      cases: 5,
      database_id: '',
      epoch: 1,
      elapsed_ms: 0,
    },
  )
  await desk.run(...claimWorkflow, '--input', claims)

  const refused = await desk.run('restore', desk.file('copy.db'))
  assert.equal(refused.code, 3)
  assert.match(
    refused.stderr,
    /stands at \S+cases\.db already\.\n.*restore \S+copy\.db --replace \(CC_ERR_STORE_EXISTS\)/,
  )
  const restored = await desk.json('restore', desk.file('copy.db'), '--replace')

  assert.equal(restored.location, desk.file('cases.db'))
  assert.match(restored.replaced, /cases\.db\.replaced-\d{8}T\d{6}Z$/)
  assert.deepEqual([restored.cases, restored.database_id, restored.simulated], [5, written.database_id, true])
  assert.equal(restored.epoch, 4)
  assert.equal((await desk.json('cases', '--db', restored.replaced)).items.length, 10)
  assert.equal((await desk.json('audit', 'verify')).instances, 5)
  const { code } = await desk.run(...claimWorkflow, '--input', claims, '--wait')
  assert.notEqual(code, 3)
  assert.equal((await desk.json('cases')).items.length, 10)
})

test('people read where a restored store is, and where the one is that it replaced', async () => {
  await using desk = await openFilledDesk()
  await desk.run('backup', desk.file('copy.db'))

  const fresh = await desk.run('restore', desk.file('copy.db'), '--db', desk.file('fresh.db'))
  const again = await desk.run('restore', desk.file('copy.db'), '--db', desk.file('fresh.db'), '--replace')

  assert.match(fresh.stdout, /^SIMULATED[^]*\nRestored 5 cases to \S+fresh\.db, under epoch 2\.\n {2}check it: \S+/)
  assert.match(
    again.stdout,
    /\nRestored 5 cases to .*epoch 4\.\nThe store that stood there is kept as \S+fresh\.db\.replaced-/,
  )
})

test('refusals of backup and restore have their exit codes', async () => {
  await using desk = await openFilledDesk()
  const store = desk.file('cases.db')
  const refusals = [
    [['backup', store], 2, 'CC_ERR_FILE_EXISTS'],
    [['backup', desk.file('none/copy.db')], 2, 'CC_ERR_FILE'],
    [['backup', desk.file('copy.db'), '--db', desk.file('none.db')], 2, 'CC_ERR_NO_STORE'],
    [['restore', desk.file('none.db')], 2, 'CC_ERR_FILE'],
    [['restore', store, '--replace'], 2, 'CC_ERR_FILE'],
    [['restore', claims, '--replace'], 3, 'CC_ERR_NOT_A_STORE'],
  ] as const
  const before = readdirSync(desk.folder)
  for (const [args, exit, expected] of refusals) {
    const { code, stdout } = await desk.run(...args, '--json')
    assert.deepEqual([code, JSON.parse(stdout).code], [exit, expected], args.join(' '))
  }
  assert.deepEqual(new Set(readdirSync(desk.folder)), new Set([...before, 'cases.db-wal', 'cases.db-shm']))
})

for (const command of ['backup', 'restore'] as const) {
  test(`${command} that is interrupted ends with 130 and leaves nothing`, async () => {
    await using desk = await openFilledDesk()
    const store = desk.file('cases.db')
    fill(store, 100)
    const args =
      command === 'backup' ? ['backup', desk.file('copy.db')] : ['restore', desk.file('full.db'), '--replace']
    if (command === 'restore') {
      await desk.run('backup', desk.file('full.db'))
      change(store, 'drop table ballast')
    }
    const isOurs = (name: string) => !/-(wal|shm)$/.test(name)
    const before = readdirSync(desk.folder).filter(isOurs)
    const content = readFileSync(store)
    const growing = command === 'backup' ? desk.file('copy.db.partial') : `${store}.restoring`

    const { child, answer } = desk.start([...args, '--json'])
    await until(() => existsSync(growing) && statSync(growing).size > 1_000_000, 'some of the copy')
    child.kill('SIGINT')
    const { code, stdout } = await answer

    assert.deepEqual([code, JSON.parse(stdout).code], [130, 'CC_ERR_INTERRUPTED'])
    assert.deepEqual(readdirSync(desk.folder).filter(isOurs), before)
    assert.deepEqual(readFileSync(store), content)
  })
}
