import assert from 'node:assert/strict'
import { answering, applying, draftStep, governStep, pack } from '../engine/fixture.ts'
import { type Desk, onPage } from './desk.ts'

/** Would run if any of it were taken for markup, for an address or for a template. */
const markup = [
  '<img src=x onerror="window.wasRun=1">',
  '<script>window.wasRun=1</script>',
  '</script></style></textarea><svg onload=window.wasRun=1>',
  '<a href="javascript:window.wasRun=1">pay</a>',
  'javascript:window.wasRun=1',
  "{{constructor.constructor('window.wasRun=1')()}}",
].join(' ')

const ranges = [
  [0x01, 0x1f],
  [0x7f, 0x9f],
  [0x200b, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x2064],
  [0x2066, 0x2069],
  [0xe0041, 0xe0043],
] as const
const characters = [
  0xad,
  0x61c,
  0xfeff,
  ...ranges.flatMap(([first, last]) => Array.from({ length: last - first + 1 }, (_, index) => first + index)),
]

/** Moves a cursor, turns the direction of reading, cannot be seen at all. */
const unseen = `\u001b[31m\u202edetcejer ${String.fromCodePoint(...characters)}`
const evil = `${markup}\n${unseen}`
const name = `<img src=x onerror="window.wasRun=1">`

/** The same text as a person reads it; a line break and a tab stay what they are. */
const escaped = [...unseen]
  .map((character) => {
    const code = character.codePointAt(0)!
    if (!characters.includes(code) || character === '\n' || character === '\t') return character
    const hex = code.toString(16)
    return hex.length > 4 ? `\\u{${hex}}` : `\\u${hex.padStart(4, '0')}`
  })
  .join('')

const settings = {
  packs: [pack({ steps: [draftStep, governStep] })],
  model: answering({
    draft: { confidence: 0.9, reasoning: evil, artifact: { [`letter ${markup}`]: evil } },
    decide: applying('gate'),
  }),
}

async function checkShown({ page, text, complaints }: Desk, where: string, ...expected: string[]): Promise<void> {
  await page.getByRole('heading', { level: 1 }).first().waitFor()
  await page.getByText('<img src=x').first().waitFor({ state: 'attached' })
  const shown = await text()
  for (const part of expected) assert.ok(shown.includes(part), `${where} shows ${part}`)
  // Of the page's own text only line breaks and tabs are outside of what is printed.
  assert.doesNotMatch(
    shown,
    /[\u0001-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/,
    where,
  )
  const made = 'main :is(img, script, svg, iframe, object, [onerror], [onload]), [href^="javascript:"]'
  assert.equal(await page.locator(made).count(), 0, `${where}: no element was made of it`)
  assert.equal(await page.evaluate('window.wasRun'), undefined, where)
  assert.deepEqual(complaints, [], where)
}

onPage('stored markup and escape codes are read as text and do nothing', settings, async (desk) => {
  const { core, page, ask, open } = desk
  const input = { loss: evil, [`key ${markup}`]: [evil, { deep: [markup] }] }
  const { instanceId } = await core.submit({ workflow: 'review', domain: 'plain', input, actor: name, key: name })
  const held = await core.waitFor(instanceId)
  const [taskId] = held.openTasks

  await open(`#/tasks/${taskId}`)
  await checkShown(desk, 'the task', markup, escaped, `key ${markup}`, `letter ${markup}`)
  await page.getByRole('radio', { name: 'approve_with_changes' }).check()
  await page.getByRole('textbox', { name: 'Changes' }).fill(JSON.stringify({ recommendation: evil, [markup]: markup }))
  await checkShown(desk, 'the preview', escaped, `${markup}added`)
  await page.getByRole('textbox', { name: 'Changes' }).fill(markup)
  await checkShown(desk, 'the fault in the changes')

  const changes = { recommendation: evil, [markup]: markup }
  const decided = await ask('ann', `/v1/tasks/${taskId}/decision`, {
    decision: 'approve_with_changes',
    reason: evil,
    changes,
  })
  assert.equal(decided.status, 'completed')
  await page.getByText('Decided', { exact: true }).waitFor()
  await checkShown(desk, 'the decided task', markup, escaped)

  await open(`#/cases/${instanceId}`)
  await page.getByText('What was submitted').click()
  await page.getByText('case.submitted').waitFor()
  for (const payload of await page.locator('td details > summary').all())
    await payload.click({ position: { x: 3, y: 8 } })
  await page
    .getByText('Decided', { exact: true })
    .or(page.getByText('reason', { exact: true }))
    .first()
    .waitFor()
  await checkShown(desk, 'the case and its record', escaped, `key ${markup}`, `letter ${markup}`, name)
  await open('#/cases')
  await checkShown(desk, 'the list of cases', `proceed · ${markup}`, escaped, name)
  await open('#/tasks?status=decided')
  await checkShown(desk, 'the list of tasks', name)
})

onPage('an address that names markup shows it as text', {}, async (desk) => {
  await desk.run()
  await desk.open(`#/cases?status=${encodeURIComponent(markup)}`)
  await checkShown(desk, 'an unknown status')
  await desk.open(`#/cases/${encodeURIComponent(name)}`)
  await desk.page.getByText('There is no case').waitFor()
  assert.deepEqual(desk.complaints, [])
  assert.equal(await desk.page.evaluate('window.wasRun'), undefined)
})
