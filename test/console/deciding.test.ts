import assert from 'node:assert/strict'
import { type Desk, onPage } from './desk.ts'

const people = { ann: 'reviewer', bob: 'reviewer', kim: 'submitter' } as const

async function openTask({ run, open, signIn, page }: Desk) {
  const { instanceId, openTasks } = await run()
  await open(`#/tasks/${openTasks[0]}`)
  await signIn('key-ann')
  await page.getByRole('button', { name: 'Decide' }).waitFor()
  return { instanceId, taskId: openTasks[0]! }
}

onPage(
  'a reviewer signs in, claims, and decides with changes that are shown before and after',
  { people },
  async (desk) => {
    const { page, open, run, signIn, core } = desk
    const { instanceId } = await run()
    await open('')
    await signIn('a-wrong-key')
    await page.getByText('The service does not know this API key.').waitFor()
    await page.getByText('Ask whoever runs the service for a key').waitFor()
    assert.equal(await page.evaluate('sessionStorage.length'), 0, 'a key that is refused is not kept')

    await signIn('key-ann')
    await page.getByText('govern: decide applied gate').click()
    await page.getByRole('button', { name: 'Claim for 15 minutes' }).click()
    await page.getByText('Yours until').waitFor()
    assert.equal(await page.title(), '(1) review · Cognitive Core')

    await page.getByRole('radio', { name: 'approve_with_changes' }).check()
    const changes = page.getByRole('textbox', { name: 'Changes' })
    await page.getByText('nothing is changed yet').waitFor()
    await changes.fill('{"artifact": "Dear Ms Abbott, we pay 40 EUR."')
    await page.getByText('This is no JSON yet').waitFor()
    await changes.fill('{"artifact": "Dear Ms Abbott, we pay 40 EUR.", "disposition": null, "checked": true}')
    const preview = page.locator('section', { hasText: 'The outcome would be' })
    await preview.getByText('we pay 40 EUR').waitFor()
    assert.match(
      (await preview.textContent())!,
      /artifactchanged.*dispositionremovedproceed.*checkedaddedtrue|checkedaddedtrue.*dispositionremovedproceed/,
    )
    await page.getByLabel('Reason').fill('The second receipt was missing.')
    await page.getByRole('button', { name: 'Decide' }).click()

    await page.getByText('Decided: approve_with_changes').waitFor()
    await page.getByRole('link', { name: 'The case' }).click()
    await page.getByText('changed by a person').waitFor()
    await page.getByText('we pay 40 EUR').waitFor()
    const { status, outcome } = await core.getCase(instanceId)
    assert.equal(status, 'completed')
    assert.deepEqual(outcome, { artifact: 'Dear Ms Abbott, we pay 40 EUR.', checked: true })
    assert.deepEqual(desk.complaints, [])
  },
)

onPage(
  'what the service would have to change of the changes is refused, and can be corrected',
  { people },
  async (desk) => {
    const { page } = desk
    await openTask(desk)
    await page.getByRole('radio', { name: 'approve_with_changes' }).check()
    await page.getByRole('textbox', { name: 'Changes' }).fill('{"amount": 1, "amount": 2}')
    await page.getByLabel('Reason').fill('Typed in a hurry.')
    await page.getByRole('button', { name: 'Decide' }).click()
    const refusal = page.getByRole('alert')
    await refusal.getByText("has the key 'amount' twice").waitFor()
    await refusal.getByText(/CC_ERR_JSON_DUPLICATE_KEY · request [\w-]+/).waitFor()
    assert.equal(await page.getByLabel('Reason').inputValue(), 'Typed in a hurry.', 'what was typed is still there')
  },
)

onPage('whoever comes second is told who holds the task, and who decided it', { people }, async (desk) => {
  const { page, ask } = desk
  const { taskId } = await openTask(desk)
  await page.getByRole('radio', { name: 'deny' }).check()
  await page.getByLabel('Reason').fill('Not covered.')
  await ask('bob', `/v1/tasks/${taskId}/claim`, {})
  await page.getByText('bob has claimed this task and alone can decide it until').waitFor()
  assert.equal(await page.getByLabel('Reason').inputValue(), 'Not covered.', 'a claim leaves the form as it is')
  await page.getByRole('button', { name: 'Decide' }).click()
  await page.getByRole('alert').getByText('is claimed by bob').waitFor()

  await ask('bob', `/v1/tasks/${taskId}/decision`, { decision: 'approve', reason: 'All is there.' })
  await page.getByText('All is there.').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Decide' }).count(), 0)
})

onPage(
  'a case that is passed on leads to its new task, which whoever passed it on may not decide',
  { people },
  async (desk) => {
    const { page } = desk
    await openTask(desk)
    await page.getByRole('radio', { name: 'refer' }).check()
    await page.getByLabel('Reason').fill('A colleague knows the shop.')
    await page.getByRole('button', { name: 'Decide' }).click()
    await page.getByRole('link', { name: 'a new task' }).click()
    await page.getByText('Who passes a case on does not decide it.').waitFor()
    assert.equal(await page.getByRole('button', { name: 'Decide' }).count(), 0)
  },
)

onPage('without keys a person gives a name, and who submitted a case is told so before deciding', {}, async (desk) => {
  const { page, run, open } = desk
  const { openTasks } = await run()
  await open(`#/tasks/${openTasks[0]}`)
  await page.getByText('unverified:ann').first().waitFor()
  await page.getByRole('button', { name: 'Change name' }).click()
  await page.getByLabel('Name').fill('Zoë')
  await page.getByRole('button', { name: 'Use this name' }).click()
  await page.getByText('unverified:Zoë').first().waitFor()
  await page.getByRole('button', { name: 'Decide' }).waitFor()

  await page.getByRole('button', { name: 'Change name' }).click()
  await page.getByLabel('Name').fill('KIM')
  await page.getByRole('button', { name: 'Use this name' }).click()
  await page.getByText('Who submits a case does not decide it.').waitFor()
  assert.equal(await page.getByRole('button', { name: 'Decide' }).count(), 0)
})
