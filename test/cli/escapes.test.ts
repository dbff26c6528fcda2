import assert from 'node:assert/strict'
import { test } from 'node:test'
import { claimWorkflow, openDesk } from './cli.ts'

/** Sets a title, clears the screen, turns the direction of reading, and forges a line of its own. */
const evil = '\u001b]0;pwned\u0007\u001b[2J\u009b31m\u007f\u202edetcejer\u2066\nerror: approved\r\u0008'

/** Everything that could act on a terminal, but for the line breaks that the program itself prints. */
const raw = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/

test('stored text reaches no terminal raw, in either language, through the real process', async () => {
  await using desk = await openDesk()
  const input = JSON.stringify({ case_id: 'TC-103', loss: evil, [`key ${evil}`]: [{ evil, n: 1 }, evil] })
  const submitted = await desk.spawn([...claimWorkflow, '--input', '-', '--wait', '--json'], { input })
  const {
    instance_id: instanceId,
    open_tasks: [taskId],
  } = JSON.parse(submitted.stdout)

  const commands = [['tasks'], ['cases'], ['audit', 'export', '--instance', instanceId], ['audit', 'verify']]
  const real = [
    ['case', instanceId, '--steps', '--audit'],
    ['task', taskId],
  ]
  for (const args of [...commands, ...real]) {
    for (const more of [[], ['--json']]) {
      const words = [...args, ...more]
      const { code, stdout, stderr } = await (real.includes(args) ? desk.spawn(words) : desk.run(...words))
      assert.equal(code, 0, stderr)
      assert.doesNotMatch(stdout + stderr, raw, words.join(' '))
    }
  }
  const brief = await desk.run('task', taskId)
  assert.ok(brief.stdout.includes('\\u001b]0;pwned\\u0007\\u001b[2J\\u009b31m\\u007f\\u202edetcejer\\u2066'))
  assert.doesNotMatch(brief.stdout, /^error: approved/m, 'a line of the text stays indented under its name')
  assert.equal((await desk.json('task', taskId)).input.loss, evil, 'programs get the text as it is')
})

test('words of the command line itself are shown as safely', async () => {
  await using desk = await openDesk()
  for (const args of [[evil], ['case', evil], ['--db', evil, 'cases'], ['cases', `--${evil}`], ['submit', evil]]) {
    const { stdout, stderr } = await desk.run(...args)
    assert.doesNotMatch(stdout + stderr, raw, JSON.stringify(args))
    assert.equal(stderr.split('\n').length, 3, 'a refusal is a line and a hint')
  }
})
