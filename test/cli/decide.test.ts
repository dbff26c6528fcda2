import assert from 'node:assert/strict'
import { test } from 'node:test'
import { decideByHand } from './by-hand.ts'
import { claims, claimWorkflow, openDesk } from './cli.ts'

test('a person at a terminal is asked for what is missing, until it makes sense', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait', '--as', 'kim')
  const {
    items: [task],
  } = await desk.json('tasks', '--queue', 'claims_handlers')
  const answers = ['bless', 'approve', '', 'All receipts are there.']
  const { code, stdout, stderr } = await decideByHand(desk.env, [task.task_id], answers)
  assert.equal(code, 0, stderr)
  assert.match(stderr, /review_letter ran out of loops/)
  assert.match(stderr, /One of: approve, approve_with_changes, deny, refer/)
  assert.match(stdout, /Decided: approve by unverified:/)
  const { audit } = await desk.json('case', task.instance_id, '--audit')
  assert.equal(audit.at(-1).type, 'case.completed')

  const again = await decideByHand(desk.env, [task.task_id], [])
  assert.equal(again.code, 5, 'nobody is asked about a task that is decided')
})

test('who may not decide is told before being asked', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait', '--as', 'kim')
  const {
    items: [task],
  } = await desk.json('tasks', '--queue', 'claims_handlers')
  const { code, stderr } = await decideByHand(desk.env, [task.task_id, '--as', 'kim'], [])
  assert.equal(code, 1)
  assert.match(stderr, /CC_ERR_FOUR_EYES/)
  assert.doesNotMatch(stderr, /Decision:/)
})

test('who ends the input has decided nothing', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait', '--as', 'kim')
  const {
    items: [task],
  } = await desk.json('tasks', '--queue', 'claims_handlers')
  const { code, stderr } = await decideByHand(desk.env, [task.task_id, 'deny'], [])
  assert.equal(code, 2)
  assert.match(stderr, /nothing was decided/)
  assert.equal((await desk.json('task', task.task_id)).status, 'open')
})
