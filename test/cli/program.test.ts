import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { fakeStreams, openDesk, root, runHere } from './cli.ts'

const commands = [
  'run',
  'submit',
  'cases',
  'case',
  'cancel',
  'retry',
  'tasks',
  'task',
  'claim',
  'decide',
  'demo',
  'audit verify',
  'audit export',
  'audit erase',
  'db init',
  'db migrate',
  'db schema',
  'pack check',
  'pack schema',
] as const

const notYet = [
  'serve',
  'worker',
  'doctor',
  'keys add NAME',
  'keys list',
  'keys revoke NAME',
  'backup FILE',
  'restore FILE',
  'graduate --to postgres://db/cases',
  'provision azure',
  'demo --keep',
  'cases --url http://x',
  'cases --api-key k',
  'db init --app-role app',
] as const

for (const command of [...commands, ...notYet.map((typed) => typed.replace(/ [-A-Z].*/, ''))]) {
  test(`${command} --help says what the command takes, and gives an example`, async () => {
    const { code, stdout, stderr } = await runHere([...command.split(' '), '--help'], {})
    assert.equal(code, 0)
    assert.equal(stderr, '')
    assert.match(stdout, new RegExp(`^Usage: cognitive-core ${command}`))
    for (const option of ['--json', '--db <path>', '--as <name>', '--url', '--api-key', '--help']) {
      assert.ok(stdout.includes(option), option)
    }
    assert.match(stdout, new RegExp(`Examples?:\n  npm run --silent cli -- ${command}`))
    assert.ok(
      stdout.split('\n').every((line) => line.length <= 100),
      stdout,
    )
  })
}

for (const typed of notYet) {
  test(`${typed} is refused as not yet there, with something to do instead`, async () => {
    const { code, stdout, stderr } = await runHere(typed.split(' '), {})
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^error: .* is not part of this version\.\nhint: {2}.{10,} \(CC_ERR_NOT_YET\)\n$/)
  })
}

test('docs/cli.md names every command and every exit code that the catalogue uses', async () => {
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8')
  for (const command of [...commands, ...notYet.map((typed) => typed.replace(/ [-A-Z].*/, ''))]) {
    assert.ok(text.includes(`\`${command}`), command)
  }
  const { catalogue } = await import('../../src/errors.ts')
  for (const { exit } of Object.values(catalogue)) assert.match(text, new RegExp(`^\\| ${exit} +\\|`, 'm'))
})

test('a word that is nearly right is answered with the right one', async () => {
  const command = await runHere(['taks'], {})
  assert.equal(command.code, 2)
  assert.match(command.stderr, /^error: Unknown command 'taks' \(Did you mean one of task, tasks\?\)/)

  const option = await runHere(['cases', '--statis', 'failed'], {})
  assert.equal(option.code, 2)
  assert.match(option.stderr, /Did you mean --status\?/)
  assert.match(option.stderr, /-- cases --help \(CC_ERR_USAGE\)/)
})

const wrongUses = [
  ['submit'],
  ['submit', 'w', '--domain', 'd'],
  ['cases', '--status', 'odd'],
  ['cases', '--limit', 'few'],
  ['retry', 'id', '--timeout', 'soon'],
  ['cancel', 'id'],
  ['case'],
  ['case', 'one', 'two'],
  ['decide', 'task'],
  ['decide', 'task', 'approve'],
  ['audit'],
  [],
] as const

for (const args of wrongUses) {
  test(`'${args.join(' ')}' is wrong use: exit 2, and one JSON document for programs`, async () => {
    const env = { CC_DB_PATH: '/nowhere/cases.db' }
    const people = await runHere(args, env)
    assert.equal(people.code, 2)
    assert.equal(people.stdout, '')
    assert.match(people.stderr, /CC_ERR_USAGE|Usage: /)

    const program = await runHere([...args, '--json'], env)
    assert.equal(program.code, 2)
    const refusal = JSON.parse(program.stdout)
    assert.deepEqual(Object.keys(refusal), ['code', 'detail', 'remedy'])
    assert.equal(refusal.code, 'CC_ERR_USAGE')
    assert.equal(program.stderr, '')
  })
}

test('reading a store that is not there makes none', async () => {
  await using desk = await openDesk()
  for (const args of [
    ['cases'],
    ['case', 'x'],
    ['tasks'],
    ['task', 'x'],
    ['audit', 'verify'],
    ['claim', 'x'],
    ['retry', 'x'],
  ]) {
    const { code, stderr } = await desk.run(...args)
    assert.equal(code, 2, args.join(' '))
    assert.match(stderr, /CC_ERR_NO_STORE/)
  }
})

test('a defect is told in one line, with its place only for those who debug', async () => {
  const env = { CC_DB_PATH: 'package.json/cases.db', CC_PACKS: 'packs/travel-claims' }
  const args = ['submit', 'w', '--domain', 'd', '--input', 'package.json']
  const { code, stderr } = await runHere(args, env)
  assert.equal(code, 1)
  assert.match(stderr, /^error: Something happened that should not: .*\nhint: .*\(CC_ERR_UNEXPECTED\)\n$/)
  const debugging = await runHere(args, { ...env, CC_LOG_LEVEL: 'debug' })
  assert.match(debugging.stderr, /\n {4}at .*storage/)
})

test('colours are for terminals that want them', async () => {
  const cases = async (env: Record<string, string>, isTerminal: boolean) =>
    (await runHere(['cases'], { CC_DB_PATH: '/nowhere/cases.db', ...env }, fakeStreams({ isTerminal }))).stderr
  assert.ok((await cases({}, true)).includes('\u001b[31merror:'))
  assert.ok(!(await cases({ NO_COLOR: '1' }, true)).includes('\u001b'))
  assert.ok(!(await cases({}, false)).includes('\u001b'))
})
