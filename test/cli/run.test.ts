import assert from 'node:assert/strict'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { soundPack, packFolder } from '../cognition/pack-folder.ts'
import { claims, openDesk } from './cli.ts'

const pack = 'packs/travel-claims'

test('a trial run shows the steps and the tier of each case, and keeps nothing', async () => {
  await using desk = await openDesk({ CC_MODEL: '' })
  const { code, stdout } = await desk.run('run', pack, '--case', claims)
  assert.equal(code, 6, 'two of the cases are held')
  assert.match(stdout, /SIMULATED/)
  assert.match(stdout, /answers that the pack brings along/)
  assert.match(stdout, /^TC-103\n +1 {2}gather_claim +retrieve/m)
  assert.match(stdout, /→ examine_claim because output\.category == 'doubtful'/)
  assert.match(stdout, /review_letter +verify · run 3/)
  assert.match(stdout, /fallback +review_letter ran out of loops/)
  assert.match(stdout, /sort_claim is tried again/)
  assert.equal(existsSync(desk.env.CC_DB_PATH!), false)
})

test('for programs a list is a list and a case is a case, with its steps', async () => {
  await using desk = await openDesk({ CC_MODEL: '' })
  const { items } = await desk.json('run', pack, '--case', claims)
  assert.deepEqual(
    items.map(({ case_id, tier }: any) => `${case_id} ${tier}`),
    ['TC-101 auto', 'TC-102 spot_check', 'TC-103 hold', 'TC-104 gate', 'TC-105 auto'],
  )
  const file = join(desk.folder, 'one.json')
  writeFileSync(file, JSON.stringify({ ...items[0].steps[0].output.data, case_id: 'TC-101' }))
  const one = await desk.json('run', pack, '--case', file)
  assert.equal(one.case_id, 'TC-101')
  assert.equal(one.steps[0].step, 'gather_claim')
})

test('answers of a file win over those of the pack, and a wrong file is refused', async () => {
  await using desk = await openDesk()
  const script = join(desk.folder, 'script.yaml')
  writeFileSync(script, '- when: { step: sort_claim }\n  error: timeout\n')
  const failed = await desk.run('run', pack, '--case', claims, '--scripted', script)
  assert.equal(failed.code, 1)
  writeFileSync(script, 'answers: none\n')
  const refused = await desk.run('run', pack, '--case', claims, '--scripted', script)
  assert.equal(refused.code, 1)
  assert.match(refused.stderr, /CC_ERR_SCRIPT/)
})

test('where a pack has several workflows, one has to be named', async () => {
  const second = soundPack['workflows/review.yaml'].replace('name: review', 'name: second')
  await using folder = await packFolder({ 'workflows/second.yaml': second, 'case.json': '{}' })
  await using desk = await openDesk({ CC_MODEL: '' })
  const args = ['run', folder.dir, '--case', join(folder.dir, 'case.json')]
  const { code, stderr } = await desk.run(...args)
  assert.equal(code, 2)
  assert.match(stderr, /--workflow review --domain plain, --workflow second --domain plain/)
  const without = await desk.run(...args, '--workflow', 'second')
  assert.match(without.stderr, /CC_ERR_NO_MODEL/)
  const unknown = await desk.run(...args, '--workflow', 'third')
  assert.match(unknown.stderr, /CC_ERR_UNKNOWN_WORKFLOW/)
})
