import assert from 'node:assert/strict'
import { answering, applying, draftStep, governStep, pack, writing } from '../engine/fixture.ts'
import { until } from '../storage/fixture.ts'
import { onPage } from './desk.ts'

onPage('the page asks for nothing outside of its own origin and keeps to its policy', {}, async (desk) => {
  const { page, open, run, requested, complaints, url } = desk
  const { instanceId, openTasks } = await run()
  for (const place of ['', '#/tasks', '#/cases', `#/tasks/${openTasks[0]}`, `#/cases/${instanceId}`]) {
    await open(place)
    await page.getByRole('heading', { level: 1 }).waitFor()
  }
  await page.getByRole('button', { name: 'Verify' }).click()
  await page.getByText('The record is whole.').waitFor()
  await page.getByText('What no check of it can show:').waitFor()
  const [download] = await Promise.all([
    page.waitForEvent('download'),
    page.getByRole('button', { name: 'Export' }).click(),
  ])
  assert.equal(download.suggestedFilename(), `case-${instanceId}.json`)

  const foreign = requested.filter((address) => ![url, 'data:', `blob:${url}`].some((own) => address.startsWith(own)))
  assert.deepEqual(foreign, [])
  assert.deepEqual(complaints, [])
})

onPage('the policy would stop what the page itself let through', {}, async ({ page, open, complaints }) => {
  await open('#/cases')
  await page.evaluate(`document.body.insertAdjacentHTML('beforeend', '<img src="/x" onerror="window.wasRun=1">')`)
  await page.evaluate('document.images[0].decode().catch(() => {})')
  await until(() => complaints.includes('policy: script-src-attr'))
  assert.equal(await page.evaluate('window.wasRun'), undefined)
})

const model = answering({ draft: writing('a letter'), decide: applying('auto') }, { simulated: true })

onPage(
  'a simulation says so in every view',
  { packs: [pack({ steps: [draftStep, governStep] })], model },
  async (desk) => {
    const { page, open, run } = desk
    await open('#/cases')
    await page.getByRole('heading', { name: 'Cases' }).waitFor()
    const { instanceId } = await run()
    for (const place of ['#/cases', '#/tasks', `#/cases/${instanceId}`]) {
      await open(place)
      await page.getByRole('note').getByText('The answers of the model were written beforehand').waitFor()
    }
  },
)
