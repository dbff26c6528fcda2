import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { claims, claimWorkflow, openDesk } from './cli.ts'

test('a whole record verifies; a changed one is found, named, and exits with 4', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait')
  const whole = await desk.run('audit', 'verify')
  assert.equal(whole.code, 0)
  assert.match(whole.stdout, /SIMULATED[^]*The record is valid\.[^]*checked +5 cases/)
  assert.match(whole.stdout, /What no check of the store alone can show\n {2}- /)

  const database = new DatabaseSync(desk.env.CC_DB_PATH!)
  const triggers = database.prepare("select name from sqlite_master where type = 'trigger'").all()
  for (const { name } of triggers) database.exec(`drop trigger ${String(name)}`)
  database.exec("update payloads set text = '{}' where kind = 'outcome'")
  database.close()
  const broken = await desk.run('audit', 'verify')
  assert.equal(broken.code, 4)
  assert.match(broken.stdout, /The record is NOT valid\.[^]*payload differs/)
  const report = await desk.json('audit', 'verify')
  assert.equal(report.valid, false)
  assert.equal(report.findings.length, 5)
  const one = await desk.run('audit', 'verify', '--instance', report.findings[0].instance_id, '--json')
  assert.equal(one.code, 4)
  assert.equal(JSON.parse(one.stdout).instances, 1)
})

test('a case is exported to standard output or to a new file, and says that it is a simulation', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims)
  const {
    items: [{ instance_id: instanceId }],
  } = await desk.json('cases', '--limit', '1')
  const file = join(desk.folder, 'case.json')
  const written = await desk.run('audit', 'export', '--instance', instanceId, '--out', file)
  assert.equal(written.code, 0)
  const document = JSON.parse(readFileSync(file, 'utf8'))
  assert.equal(document.instance_id, instanceId)
  assert.equal(document.simulated, true)
  const printed = await desk.run('audit', 'export', '--instance', instanceId)
  assert.equal(JSON.parse(printed.stdout).instance_id, instanceId)

  const again = await desk.run('audit', 'export', '--instance', instanceId, '--out', file)
  assert.equal(again.code, 2)
  assert.match(again.stderr, /CC_ERR_FILE/)
  const overStore = await desk.run('audit', 'export', '--instance', instanceId, '--out', desk.env.CC_DB_PATH!)
  assert.equal(overStore.code, 2)
  assert.equal((await desk.json('audit', 'verify')).valid, true)
})

test('erased content is gone, and the record still verifies', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait')
  const {
    items: [{ instance_id: instanceId }],
  } = await desk.json('cases', '--status', 'completed')
  const { audit } = await desk.json('case', instanceId, '--audit')
  const payload = audit[0].payload_id
  const words = ['audit', 'erase', '--instance', instanceId, '--payload', payload, '--reason', 'Request 12.']
  assert.equal((await desk.json(...words)).erased, true)
  const report = await desk.json('audit', 'verify')
  assert.deepEqual([report.valid, report.erased_payloads], [true, 1])
  assert.match((await desk.run('audit', 'verify')).stdout, /1 of them erased/)
})

test('tables can be made, brought up to date and printed', async () => {
  await using desk = await openDesk()
  assert.equal((await desk.json('db', 'init')).created, true)
  assert.equal((await desk.json('db', 'init')).created, false)
  assert.deepEqual((await desk.json('db', 'migrate')).applied, [])
  const { parts } = await desk.json('db', 'schema', '--dialect', 'postgres')
  assert.deepEqual(Object.keys(parts), ['coordinator', 'audit', 'checkpoint'])
  const { stdout } = await desk.run('db', 'schema', '--part', 'audit')
  new DatabaseSync(':memory:').exec(stdout)
})
