import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import { draftStep, governStep, pack } from '../engine/fixture.ts'
import { onPage } from './desk.ts'

onPage('a long list is read page by page, and back', {}, async ({ page, core, open }) => {
  const workflow = { workflow: 'review', domain: 'plain', actor: 'kim' }
  for (let amount = 0; amount < 51; amount++) await core.submit({ ...workflow, input: { amount } })
  await open('#/cases')
  await page.locator('tbody tr').nth(49).waitFor()
  await page.getByRole('link', { name: 'Older' }).click()
  await page.getByRole('link', { name: 'Newest' }).waitFor()
  assert.equal(await page.locator('tbody tr').count(), 1)
  await page.goBack()
  await page.locator('tbody tr').nth(49).waitFor()
})

onPage('a filter stands in the address and keeps the focus', {}, async ({ page, run, ask, open }) => {
  const held = await run()
  const denied = await run()
  await ask('ann', `/v1/tasks/${denied.openTasks[0]}/decision`, { decision: 'deny', reason: 'Not covered.' })
  await open('#/cases')
  const rows = page.locator('tbody tr')
  await rows.nth(1).waitFor()
  await page.getByLabel('Status').focus()
  await page.getByLabel('Status').selectOption('suspended')
  await page.getByRole('button', { name: `Copy ${held.instanceId}` }).waitFor()
  await page.getByRole('button', { name: `Copy ${denied.instanceId}` }).waitFor({ state: 'detached' })
  assert.match(page.url(), /#\/cases\?status=suspended$/)
  await page.locator('#filter-status:focus').waitFor()
  await page.getByLabel('Status').selectOption('failed')
  await page.getByRole('link', { name: 'Show all cases' }).click()
  await rows.nth(1).waitFor()

  await page.getByRole('link', { name: 'Tasks' }).click()
  await page.getByLabel('Show').selectOption('decided')
  await page.getByRole('cell', { name: /^deny/ }).waitFor()
})

onPage('everything is reached by the keyboard', {}, async ({ page, run, open }) => {
  await run()
  await open('#/tasks')
  await page.getByRole('link', { name: 'govern: decide applied gate' }).waitFor()
  const press = async (key: string, times = 1) => {
    for (let time = 0; time < times; time++) await page.keyboard.press(key)
  }
  // From the heading: two filters, then the task.
  await press('Tab', 3)
  await press('Enter')
  await page.getByRole('button', { name: 'Decide' }).waitFor()
  await page.getByRole('radio', { name: 'approve', exact: false }).first().focus()
  await press('ArrowDown', 2)
  assert.equal(await page.getByRole('radio', { name: 'deny' }).isChecked(), true)
  await press('Tab')
  await page.keyboard.type('Not covered.')
  await press('Tab')
  await press('Enter')
  await page.getByText('Decided: deny').waitFor()
})

const hasty = pack({
  steps: [draftStep, governStep],
  config: { governance_tiers: { gate: { sla: 1, queue: 'first' } } },
})

onPage('what nobody decided in time is marked', { packs: [hasty] }, async ({ page, run, open }) => {
  await run()
  await sleep(1_100)
  await open('#/tasks')
  await page.getByText(', overdue').waitFor()
})
