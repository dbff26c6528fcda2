import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { openDesk } from './cli.ts'
import { openSleepyDesk } from './sleepy.ts'

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  test(`${signal} ends a command in order with 130, and its case can go on`, async () => {
    await using desk = await openSleepyDesk()
    const { child, answer } = desk.start([...desk.submit, '--key', 'S', '--json'])
    child.stderr!.once('data', () => child.kill(signal))
    const { code, stdout } = await answer
    assert.equal(code, 130)
    assert.equal(JSON.parse(stdout).code, 'CC_ERR_INTERRUPTED')

    const { items } = await desk.json('cases')
    assert.equal(items.length, 1)
    assert.deepEqual([items[0].status, items[0].work], ['running', 'sleeping'])
    assert.equal((await desk.json('audit', 'verify')).valid, true)
    const next = await desk.run(...desk.submit, '--key', 'S', '--timeout', '0.05')
    assert.equal(next.code, 124, 'the store is free again')
  })
}

test('a trial run that is interrupted leaves nothing behind', async () => {
  await using desk = await openSleepyDesk()
  const file = join(desk.folder, 'case.json')
  writeFileSync(file, '{"case_id": "S-1"}')
  const temporary = join(desk.folder, 'tmp')
  mkdirSync(temporary)
  const { child, answer } = desk.start(['run', desk.pack, '--case', file, '--json'], { TMPDIR: temporary })
  child.stderr!.once('data', () => child.kill('SIGTERM'))
  assert.equal((await answer).code, 130)
  assert.deepEqual(readdirSync(temporary), [])
})

test('whoever sets a limit is told when it is over, with 124', async () => {
  await using desk = await openSleepyDesk()
  const { code, stderr } = await desk.run(...desk.submit, '--timeout', '0.2')
  assert.equal(code, 124)
  assert.match(stderr, /did not end within 200 ms; it is running\.\n.*CC_ERR_TIMED_OUT/)
})

test('beside a process that runs cases one may read, and is told who it is when one may not write', async () => {
  await using desk = await openSleepyDesk()
  const { child, answer } = desk.start([...desk.submit, '--json'])
  await once(child.stderr!, 'data')
  const { items } = await desk.json('cases')
  assert.equal(items.length, 1)
  assert.equal((await desk.json('audit', 'verify')).valid, true)
  const { code, stderr } = await desk.run('cancel', items[0].instance_id, '--reason', 'Withdrawn.')
  assert.equal(code, 3)
  assert.match(stderr, new RegExp(`in use by .*${child.pid}[^]*CC_ERR_LOCKED`))
  child.kill()
  assert.equal((await answer).code, 130)
})

test('a reader that stops reading does not stop the command', async () => {
  await using desk = await openDesk()
  const { child, answer } = desk.start(['db', 'schema'])
  child.stdout!.destroy()
  const { code, stderr } = await answer
  assert.deepEqual([code, stderr], [0, ''])
})
