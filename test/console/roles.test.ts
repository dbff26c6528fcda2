import assert from 'node:assert/strict'
import { onPage } from './desk.ts'

const people = { kim: 'submitter', lee: 'submitter', ann: 'reviewer', eve: 'auditor', oli: 'operator' } as const

onPage('a submitter sees the own cases, and a sentence in place of the tasks', { people }, async (desk) => {
  const { page, open, run, ask, signIn } = desk
  const { instanceId } = await run()
  await ask('lee', '/v1/cases', { workflow: 'review', domain: 'plain', input: {} })
  await open('')
  await signIn('key-kim')
  await page.getByText('You see the cases that you have submitted.').waitFor()
  assert.equal(await page.locator('tbody tr').count(), 1)
  await page.getByRole('link', { name: 'review' }).click()
  await page.getByText('waits for a person').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Cancel case' }).count(), 0)
  await ask('ann', `/v1/tasks/${(await desk.core.getCase(instanceId)).openTasks[0]}/decision`, {
    decision: 'deny',
    reason: 'no',
  })
  await page.getByRole('cell', { name: 'case.terminated' }).waitFor()

  await page.getByRole('link', { name: 'Tasks' }).click()
  await page.getByText('Tasks are for reviewers, who decide them, and for auditors.').waitFor()
  assert.equal(await page.getByRole('alert').count(), 0)
})

onPage('an auditor reads everything and is offered no decision', { people }, async ({ page, open, run, signIn }) => {
  await run()
  await open('')
  await signIn('key-eve')
  await page.getByText('govern: decide applied gate').click()
  await page.getByText('Reviewers decide tasks; you may read them.').waitFor()
  await page.getByText('we pay.').first().waitFor()
  assert.equal(await page.getByRole('button', { name: /Decide|Claim/ }).count(), 0)
  await page.getByRole('link', { name: 'suspended' }).click()
  await page.getByRole('button', { name: 'Verify' }).click()
  await page.getByText('The record is whole.').waitFor()
})

onPage('an operator sees no case, and cancels one by its id with a reason', { people }, async (desk) => {
  const { page, open, run, signIn, core } = desk
  const { instanceId } = await run()
  await open('')
  await signIn('key-oli')
  await page.getByText('Operators keep cases moving and do not see what is in them.').waitFor()
  await page.getByLabel('Case id').fill(instanceId)
  await page.getByRole('button', { name: 'Go to the case' }).click()
  await page.getByRole('button', { name: 'Retry' }).click()
  await page.getByRole('alert').getByText('only a failed case can be retried').waitFor()
  await page.getByRole('button', { name: 'Cancel case' }).click()
  await page.getByLabel('Reason').fill('Withdrawn by the customer.')
  await page.getByRole('button', { name: 'Cancel the case' }).click()
  await page.getByText('canceled').waitFor()
  assert.equal((await core.getCase(instanceId)).status, 'canceled')
  assert.deepEqual(desk.complaints, [])
})

onPage('whoever signs out, or loses the key, is asked for one', { people }, async ({ page, open, signIn }) => {
  await open('')
  await signIn('key-ann')
  await page.getByText('reviewer · ').waitFor()
  await page.getByRole('button', { name: 'Sign out' }).click()
  await page.getByLabel('API key').waitFor()
  assert.equal(await page.evaluate('sessionStorage.length'), 0)

  await signIn('key-ann')
  await page.getByText('Nothing waits for a person.').waitFor()
  await page.evaluate(`sessionStorage.setItem('key', 'key-gone')`)
  await page.getByRole('link', { name: 'Cases', exact: true }).click()
  await page.getByText('The service does not know this API key.').waitFor()
})
