import assert from 'node:assert/strict'
import { onPage } from './desk.ts'

onPage('a case that somebody else submits appears by itself, and so does its task', {}, async ({ page, ask, open }) => {
  await open('#/cases')
  await page.getByText('There is no case yet.').waitFor()
  await page.evaluate('window.isSamePage = true')
  await ask('kim', '/v1/cases', { workflow: 'review', domain: 'plain', input: { amount: 7 } })
  await page.getByRole('row', { name: /review.*suspended.*gate.*unverified:kim/s }).waitFor()
  await page.getByRole('link', { name: 'Tasks 1' }).waitFor()
  assert.equal(await page.title(), '(1) Cases · Cognitive Core')
  assert.equal(await page.evaluate('window.isSamePage'), true)
})

onPage('a list that changes leaves the focus where it is', {}, async ({ page, run, open }) => {
  await run()
  await open('#/cases')
  await page.getByRole('link', { name: 'review' }).focus()
  await run()
  await page.locator('tbody tr').nth(1).waitFor()
  assert.equal(await page.evaluate(`document.activeElement.closest('tr')?.rowIndex`), 2, 'now the second')
})

onPage('a case is followed, and goes on being followed after the service has started anew', {}, async (desk) => {
  const { page, run, open, ask, restart } = desk
  const { instanceId, openTasks } = await run()
  await open(`#/cases/${instanceId}`)
  await page.getByRole('cell', { name: 'task.opened' }).waitFor()
  await page.evaluate('window.isSamePage = true')
  await ask('ann', `/v1/tasks/${openTasks[0]}/claim`, {})
  await page.getByRole('cell', { name: 'task.claimed' }).waitFor()

  await restart()
  await ask('ann', `/v1/tasks/${openTasks[0]}/decision`, { decision: 'approve', reason: 'All is there.' })
  await page.getByRole('cell', { name: 'case.completed' }).waitFor()
  await page.getByText('as it was proposed').waitFor()
  await page.getByText('live', { exact: true }).waitFor()
  const sequence = await page.locator('td.seq').allTextContents()
  assert.deepEqual(
    sequence,
    sequence.map((_, index) => String(index + 1)),
    'no event is missing or there twice',
  )
  assert.equal(await page.evaluate('window.isSamePage'), true)
})

onPage('while the service is away the page says so', {}, async ({ page, open, restart }) => {
  await open('#/cases')
  await page.getByText('live', { exact: true }).waitFor()
  const seen = page.getByText('offline, trying again').waitFor()
  await restart()
  await seen
  await page.getByText('live', { exact: true }).waitFor()
})
