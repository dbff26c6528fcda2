import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { claims, claimWorkflow, openDesk, root } from './cli.ts'

const simulated = /SIMULATED/

/** The sample case of this id, as text. */
function sample(caseId: string): string {
  const all = JSON.parse(readFileSync(join(root, claims), 'utf8')) as { case_id: string }[]
  return JSON.stringify(all.find(({ case_id }) => case_id === caseId))
}

test('a case that needs nobody is run to its end, and the exit code is 0', async () => {
  await using desk = await openDesk()
  const { code, stdout, stderr } = await desk.spawn([...claimWorkflow, '--input', '-', '--wait'], {
    input: sample('TC-101'),
  })
  assert.equal(code, 0, stderr)
  assert.match(stdout, simulated)
  assert.match(stdout, /completed/)
  assert.match(stdout, /gather_claim → sort_claim → check_terms/)
  assert.match(stderr, /step\.completed {2}gather_claim/)
})

test('a list is one case each, under numbered keys; the highest exit code counts, and a repeat finds them again', async () => {
  await using desk = await openDesk()
  const args = [...claimWorkflow, '--input', claims, '--key', 'K']
  const stored = await desk.run(...args)
  assert.equal(stored.code, 0)
  assert.match(stored.stdout, simulated)
  assert.match(stored.stderr, /No service is running/)

  const first = await desk.json(...args)
  const { code, stdout, stderr } = await desk.run(...args, '--wait', '--json')
  assert.equal(code, 6)
  const { items, next_cursor, ...mark } = JSON.parse(stdout)
  assert.equal(next_cursor, null)
  assert.equal(mark.simulated, true)
  assert.match(mark.notice, simulated)
  assert.deepEqual(
    items.map(({ key, status, tier, seen, simulated }: any) => [key, status, tier, seen, simulated]),
    [
      ['K-1', 'completed', 'auto', true, true],
      ['K-2', 'completed', 'spot_check', true, true],
      ['K-3', 'suspended', 'hold', true, true],
      ['K-4', 'suspended', 'gate', true, true],
      ['K-5', 'completed', 'auto', true, true],
    ],
  )
  assert.deepEqual(
    items.map(({ instance_id }: any) => instance_id),
    first.items.map(({ instance_id }: any) => instance_id),
  )
  const progress = stderr
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.ok(progress.some(({ event, step }) => event === 'step.completed' && step === 'examine_claim'))
})

test('one item of a list that is refused does not stop the others', async () => {
  await using desk = await openDesk()
  const file = join(desk.folder, 'two.json')
  writeFileSync(file, `[${sample('TC-101')}]`)
  await desk.run(...claimWorkflow, '--input', file, '--key', 'K')
  writeFileSync(file, `[${sample('TC-105')}, ${sample('TC-101')}]`)
  const { code, stdout } = await desk.run(...claimWorkflow, '--input', file, '--key', 'K', '--json')
  const { items } = JSON.parse(stdout)
  assert.equal(code, 5)
  assert.equal(items[0].error.code, 'CC_ERR_KEY_REUSED')
  assert.equal(items[1].status, 'running')
})

const badInputs = [
  ['no JSON', '{', 'CC_ERR_JSON_SYNTAX'],
  ['twice the same key', '{"a": 1, "a": 2}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  ['a bare word', '"case"', 'CC_ERR_CASE_FILE'],
  ['an empty list', '[]', 'CC_ERR_CASE_FILE'],
  ['a list with something else in it', '[{}, 7]', 'CC_ERR_CASE_FILE'],
] as const

for (const [what, text, code] of badInputs) {
  test(`an input of ${what} is refused whole`, async () => {
    await using desk = await openDesk()
    const file = join(desk.folder, 'input.json')
    writeFileSync(file, text)
    const refused = await desk.run(...claimWorkflow, '--input', file, '--json')
    assert.equal(refused.code, 2)
    assert.equal(JSON.parse(refused.stdout).code, code)
  })
}

test('a held case goes its way: list, brief, claim, decision, and once only', async () => {
  await using desk = await openDesk()
  const file = join(desk.folder, 'case.json')
  writeFileSync(file, sample('TC-103'))
  const held = await desk.run(...claimWorkflow, '--input', file, '--wait', '--as', 'kim')
  assert.equal(held.code, 6)
  const {
    items: [task],
  } = await desk.json('tasks', '--queue', 'special_investigations')
  assert.ok(held.stdout.includes(`task ${task.task_id}`), 'it says how to look at it')
  assert.equal(typeof task.due_at_ms, 'number')
  assert.equal(new Date(task.due_at).getTime(), task.due_at_ms)

  const brief = await desk.run('task', task.task_id)
  for (const part of [
    simulated,
    /hold · open/,
    /applied hold/,
    /Rhona Abbott/,
    /examine_claim/,
    /recommendation: /,
    /one of: release, approve_with_changes, deny, escalate/,
    /not by +unverified:kim/,
  ]) {
    assert.match(brief.stdout, part)
  }
  const document = await desk.json('task', task.task_id)
  assert.deepEqual(document.allowed, ['release', 'approve_with_changes', 'deny', 'escalate'])
  assert.equal(document.input.case_id, 'TC-103')
  assert.equal(document.steps.length, 8)
  assert.equal(document.case.proposed.disposition, 'hold')

  assert.equal((await desk.json('claim', task.task_id, '--as', 'ann')).claimed_by, 'unverified:ann')
  const claimed = await desk.run('decide', task.task_id, 'deny', '--reason', 'No.', '--as', 'bob')
  assert.equal(claimed.code, 5)
  assert.match(claimed.stderr, /claimed by unverified:ann/)
  const own = await desk.run('decide', task.task_id, 'deny', '--reason', 'No.', '--as', 'kim')
  assert.equal(own.code, 1)
  assert.match(own.stderr, /CC_ERR_FOUR_EYES/)

  const decide = ['decide', task.task_id, 'deny', '--reason', 'Settled before.', '--as', 'ann']
  const decided = await desk.json(...decide)
  assert.equal(decided.status, 'terminated')
  assert.equal(decided.repeated, false)
  assert.equal((await desk.json(...decide)).repeated, true)
  assert.equal((await desk.run('decide', task.task_id, 'release', '--reason', 'Yes.', '--as', 'ann')).code, 5)

  const view = await desk.json('case', task.instance_id, '--steps', '--audit')
  assert.deepEqual(
    [view.status, view.tier, view.outcome, view.simulated, view.path[2]],
    ['terminated', 'hold', null, true, 'examine_claim'],
  )
  assert.equal(view.steps.length, 8)
  assert.equal(view.audit[0].actor, 'unverified:kim')
  assert.equal(view.audit.at(-1).type, 'case.terminated')
  assert.equal(JSON.parse(view.audit[0].envelope).simulated, true)
})

test('changes are a merge patch from a file, and both versions are kept', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait')
  const {
    items: [task],
  } = await desk.json('tasks', '--queue', 'claims_handlers')
  const changes = join(desk.folder, 'changes.json')
  writeFileSync(changes, '{"recommendation": "pay_in_part"}')
  const words = ['approve_with_changes', '--reason', 'The ticket was refunded.', '--as', 'ann']
  const without = await desk.run('decide', task.task_id, ...words)
  assert.equal(without.code, 2)
  assert.match(without.stderr, /CC_ERR_CHANGES/)
  await desk.json('decide', task.task_id, ...words, '--changes', changes)
  const view = await desk.json('case', task.instance_id)
  assert.equal(view.outcome.recommendation, 'pay_in_part')
  assert.equal(view.proposed.recommendation, 'pay_in_full')
})

test('cancel and retry change what they may, and name what they may not', async () => {
  await using desk = await openDesk()
  const {
    items: [first],
  } = await desk.json(...claimWorkflow, '--input', claims)
  const canceled = await desk.json('cancel', first.instance_id, '--reason', 'Withdrawn.')
  assert.equal(canceled.status, 'canceled')
  await desk.run(...claimWorkflow, '--input', claims, '--key', 'other', '--wait')
  const {
    items: [completed],
  } = await desk.json('cases', '--status', 'completed')
  assert.equal((await desk.run('cancel', completed.instance_id, '--reason', 'Too late.')).code, 5)
  assert.equal((await desk.run('retry', first.instance_id)).code, 5)
  const { items } = await desk.json('cases', '--status', 'canceled', '--workflow', 'travel_claim_settlement')
  assert.deepEqual(
    items.map(({ instance_id }: any) => instance_id),
    [first.instance_id],
  )
})

test('a failed case is tried again, and fails again as long as its answers do', async () => {
  const pack = join(root, 'packs/account-appeals')
  await using desk = await openDesk({ CC_PACKS: pack, CC_MODEL: `scripted:${join(pack, 'scripted.yaml')}` })
  const args = ['submit', 'restriction_appeal', '--domain', 'retail_banking', '--input']
  await desk.run(...args, join(pack, 'cases/appeals.json'), '--wait')
  const {
    items: [failed],
  } = await desk.json('cases', '--status', 'failed')
  assert.equal(failed.failure.code, 'unparseable')
  const again = await desk.run('retry', failed.instance_id, '--wait')
  assert.equal(again.code, 1)
  assert.match(again.stdout, /unparseable/)
})

test('lists go on where they ended', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims)
  const ids: string[] = []
  let cursor: string[] = []
  do {
    const { items, next_cursor } = await desk.json('cases', '--limit', '2', ...cursor)
    ids.push(...items.map(({ instance_id }: any) => instance_id))
    cursor = next_cursor === null ? [] : ['--cursor', next_cursor]
  } while (cursor.length > 0)
  assert.equal(new Set(ids).size, 5)
})

test('every command upon a simulated store says so, in both languages', async () => {
  await using desk = await openDesk()
  const { items } = await desk.json(...claimWorkflow, '--input', claims, '--as', 'kim', '--timeout', '30')
  const [first, second] = (await desk.json('tasks')).items
  const {
    items: [stored],
  } = await desk.json(...claimWorkflow, '--input', claims)
  const { audit } = await desk.json('case', items[0].instance_id, '--audit')
  const erase = ['audit', 'erase', '--instance', items[0].instance_id, '--reason', 'Request 12.', '--payload']
  const commands = [
    ['cases'],
    ['case', items[0].instance_id],
    ['tasks'],
    ['task', first.task_id],
    ['claim', first.task_id],
    ['decide', first.task_id, first.tier === 'spot_check' ? 'confirm' : 'deny', '--reason', 'Seen.'],
    ['decide', second.task_id, second.tier === 'spot_check' ? 'object' : 'deny', '--reason', 'Seen.'],
    ['cancel', stored.instance_id, '--reason', 'Withdrawn.'],
    ['audit', 'verify'],
    ['audit', 'export', '--instance', items[0].instance_id],
    [...erase, audit[0].payload_id],
    ['db', 'init'],
    ['db', 'migrate'],
  ]
  for (const args of commands) {
    const people = await desk.run(...args)
    assert.equal(people.code, 0, `${args.join(' ')}: ${people.stderr}`)
    assert.match(people.stdout, simulated, args.join(' '))
  }
  // Once more for programs; erasing and deciding again is a repeat.
  for (const args of commands) {
    const { stdout } = await desk.run(...args, '--json')
    const document = JSON.parse(stdout)
    if ('code' in document) continue
    assert.equal(document.simulated, true, args.join(' '))
    assert.match(document.notice, simulated, args.join(' '))
  }
})
