import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test } from 'node:test'
import { catalogue, type ErrorCode } from '../../src/errors.ts'
import { serve } from '../journeys/serving.ts'
import { type Answer, claims, claimWorkflow, type Desk, fakeStreams, openDesk, root, runHere } from './cli.ts'
import { openSleepyDesk } from './sleepy.ts'

const unknownId = '01a00000-0000-7000-8000-000000000000'

/** A store in which something of every kind has happened, and what can be done to it. */
interface Prepared {
  readonly desk: Desk
  run(...args: readonly string[]): Promise<Answer>
  file(name: string): string
  /** Instances. */
  readonly completed: string
  readonly failed: string
  readonly stored: string
  /** Tasks. */
  readonly gate: string
  readonly hold: string
  readonly payload: string
}

/** What is typed, and what is answered: `done` with exit 0 unless it says otherwise, `refused` with the code of an error. */
interface Row {
  readonly done?: (store: Prepared) => readonly string[]
  readonly refused: (store: Prepared) => readonly string[]
  readonly code: ErrorCode
  /** It wants the store for itself. */
  readonly alone?: true
}

const notYet = (...args: readonly string[]): Row => ({ refused: () => args, code: 'CC_ERR_NOT_YET' })
const appeal = ['submit', 'restriction_appeal', '--domain', 'retail_banking', '--input'] as const

/** Every command, in an order in which each finds what it needs. */
const commands: Readonly<Record<string, Row>> = {
  run: {
    done: ({ file }) => ['run', 'packs/travel-claims', '--case', file('case.json')],
    refused: ({ file }) => ['run', 'packs/none', '--case', file('case.json')],
    code: 'CC_ERR_NO_PACK',
  },
  submit: {
    done: ({ file }) => [...claimWorkflow, '--input', file('case.json'), '--wait'],
    refused: ({ file }) => ['submit', 'none', '--domain', 'travel_insurance', '--input', file('case.json')],
    code: 'CC_ERR_UNKNOWN_WORKFLOW',
  },
  cases: {
    done: () => ['cases', '--status', 'completed', '--limit', '2'],
    refused: () => ['cases', '--limit', 'few'],
    code: 'CC_ERR_USAGE',
  },
  case: {
    done: ({ completed }) => ['case', completed, '--steps', '--audit'],
    refused: () => ['case', unknownId],
    code: 'CC_ERR_UNKNOWN_CASE',
  },
  cancel: {
    done: ({ stored }) => ['cancel', stored, '--reason', 'Withdrawn.'],
    refused: ({ completed }) => ['cancel', completed, '--reason', 'Too late.'],
    code: 'CC_ERR_NOT_CANCELABLE',
  },
  retry: {
    done: ({ failed }) => ['retry', failed],
    refused: ({ completed }) => ['retry', completed],
    code: 'CC_ERR_NOT_RETRYABLE',
  },
  tasks: {
    done: () => ['tasks', '--queue', 'claims_handlers'],
    refused: () => ['tasks', '--status', 'odd'],
    code: 'CC_ERR_USAGE',
  },
  task: { done: ({ hold }) => ['task', hold], refused: () => ['task', unknownId], code: 'CC_ERR_UNKNOWN_TASK' },
  claim: {
    done: ({ gate }) => ['claim', gate, '--as', 'ann', '--for', '5'],
    refused: ({ gate }) => ['claim', gate, '--as', 'bob'],
    code: 'CC_ERR_CLAIMED',
  },
  decide: {
    done: ({ hold }) => ['decide', hold, 'deny', '--reason', 'Settled before.', '--as', 'ann'],
    refused: ({ hold }) => ['decide', hold, 'release', '--reason', 'No.', '--as', 'bob'],
    code: 'CC_ERR_ALREADY_DECIDED',
  },
  'audit verify': {
    done: () => ['audit', 'verify'],
    refused: () => ['audit', 'verify', '--instance', unknownId],
    code: 'CC_ERR_UNKNOWN_CASE',
  },
  'audit export': {
    done: ({ completed }) => ['audit', 'export', '--instance', completed],
    refused: () => ['audit', 'export', '--instance', unknownId],
    code: 'CC_ERR_UNKNOWN_CASE',
  },
  'audit erase': {
    done: (store) => ['audit', 'erase', '--instance', store.completed, '--payload', store.payload, '--reason', 'R 12.'],
    refused: (store) => ['audit', 'erase', '--instance', store.completed, '--payload', unknownId, '--reason', 'R 12.'],
    code: 'CC_ERR_UNKNOWN_PAYLOAD',
  },
  'db init': {
    done: () => ['db', 'init'],
    refused: () => ['db', 'init', '--app-role', 'app'],
    code: 'CC_ERR_USAGE',
    alone: true,
  },
  'db migrate': {
    done: () => ['db', 'migrate'],
    refused: ({ file }) => ['db', 'migrate', '--db', file('none.db')],
    code: 'CC_ERR_NO_STORE',
    alone: true,
  },
  'db schema': {
    done: () => ['db', 'schema', '--part', 'audit'],
    refused: () => ['db', 'schema', '--part', 'odd'],
    code: 'CC_ERR_USAGE',
  },
  backup: {
    done: ({ file }) => ['backup', file('copy.db')],
    refused: ({ file }) => ['backup', file('copy.db')],
    code: 'CC_ERR_FILE_EXISTS',
  },
  restore: {
    done: ({ file }) => ['restore', file('copy.db'), '--db', file('other.db')],
    refused: ({ file }) => ['restore', file('copy.db'), '--db', file('other.db')],
    code: 'CC_ERR_STORE_EXISTS',
  },
  demo: {
    done: () => ['demo'],
    refused: () => ['demo', '--url', 'http://127.0.0.1:9'],
    code: 'CC_ERR_USAGE',
    alone: true,
  },
  // What these two answer when they are not refused, stories in test/journeys tell: they do not end by themselves.
  serve: { refused: () => ['serve', '--host', '0.0.0.0', '--port', '0'], code: 'CC_ERR_OPEN_HOST' },
  worker: { refused: () => ['worker', '--concurrency', '8'], code: 'CC_ERR_WORKER_ON_SQLITE' },
  'keys add': {
    done: () => ['keys', 'add', 'ann', '--role', 'reviewer'],
    refused: () => ['keys', 'add', 'Ann', '--role', 'reviewer'],
    code: 'CC_ERR_KEY_NAME',
  },
  'keys list': { done: () => ['keys', 'list'], refused: () => ['keys', 'list', '--role'], code: 'CC_ERR_USAGE' },
  'keys revoke': {
    done: () => ['keys', 'revoke', 'ann'],
    refused: () => ['keys', 'revoke', 'ann'],
    code: 'CC_ERR_UNKNOWN_KEY',
  },
  doctor: notYet('doctor'),
  'pack check': {
    done: () => ['pack', 'check', 'packs/travel-claims'],
    refused: () => ['pack', 'check', 'packs/none'],
    code: 'CC_ERR_NO_PACK',
  },
  'pack schema': {
    done: () => ['pack', 'schema', 'workflow'],
    refused: () => ['pack', 'schema', 'case'],
    code: 'CC_ERR_USAGE',
  },
  graduate: notYet('graduate', '--to', 'postgres://db/cases'),
  'provision azure': {
    done: () => ['provision', 'azure'],
    refused: () => ['provision', 'azure', '--version', '9'],
    code: 'CC_ERR_SETTING',
  },
}

async function prepare(): Promise<Prepared & AsyncDisposable> {
  const packs = ['travel-claims', 'account-appeals'].map((name) => join(root, 'packs', name))
  const scripts = packs.map((dir) => join(dir, 'scripted.yaml'))
  const desk = await openDesk({
    CC_PACKS: packs.join(delimiter),
    CC_MODEL: `scripted:${scripts.join(delimiter)}`,
  })
  const file = (name: string) => join(desk.folder, name)
  const claim = JSON.parse(readFileSync(join(root, claims), 'utf8'))[0]
  writeFileSync(file('case.json'), JSON.stringify(claim))
  await desk.run(...claimWorkflow, '--input', claims, '--wait', '--as', 'kim')
  await desk.run(...appeal, 'packs/account-appeals/cases/appeals.json', '--wait', '--as', 'kim')
  const first = async (...args: readonly string[]) => (await desk.json(...args)).items[0]
  const { instance_id: completed } = await first('cases', '--status', 'completed')
  const { instance_id: failed } = await first('cases', '--status', 'failed')
  const [gate, hold] = [
    await first('tasks', '--queue', 'claims_handlers'),
    await first('tasks', '--queue', 'special_investigations'),
  ]
  const { audit } = await desk.json('case', completed, '--audit')
  // A held one stays as it is, whoever runs cases meanwhile.
  const {
    items: [, , , { instance_id: stored }],
  } = await desk.json(...claimWorkflow, '--input', claims, '--timeout', '30', '--as', 'lea')
  return {
    desk,
    file,
    completed,
    failed,
    stored,
    gate: gate.task_id,
    hold: hold.task_id,
    payload: audit[0].payload_id,
    // Keys have a file of their own; a service that has one lets nobody in without.
    run: (...args) =>
      runHere(args, { ...desk.env, ...(args[0] === 'keys' && { CC_API_KEYS_FILE: file('keys.json') }) }),
    [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose](),
  }
}

for (const [command, { done }] of Object.entries(commands)) {
  test(`${command} --help says what the command takes, and gives an example`, async () => {
    const { code, stdout, stderr } = await runHere([...command.split(' '), '--help'], {})
    assert.equal(code, 0)
    assert.equal(stderr, '')
    assert.match(stdout, new RegExp(`^Usage: cognitive-core ${command}\\b`))
    for (const option of ['--json', '--db <path>', '--as <name>', '--url', '--api-key', '--help']) {
      assert.ok(stdout.includes(option), option)
    }
    assert.match(stdout, new RegExp(`Examples?:\n  npm run --silent cli -- ${command}`))
    const isNotYet = !done && command !== 'serve' && command !== 'worker'
    assert.equal(/\(not yet\)/.test(stdout.split('\n')[2]!), isNotYet, 'whether it is there is said')
    assert.ok(
      stdout.split('\n').every((line) => line.length <= 100),
      stdout,
    )
  })
}

test('the table has every command that --help names', async () => {
  const named = async (group: string): Promise<string[]> => {
    const { stdout } = await runHere([...group.split(' ').filter(Boolean), '--help'], {})
    const rows = [...stdout.matchAll(/^ {2}([a-z]+) ?(\S*).* {2}\S/gm)].filter(([, name]) => name !== 'help')
    const nested = rows.map(async ([, name, words]) => {
      const command = `${group} ${name}`.trim()
      return words === '[command]' ? await named(command) : [command]
    })
    return (await Promise.all(nested)).flat()
  }
  assert.deepEqual((await named('')).toSorted(), Object.keys(commands).toSorted())
})

/** The one document on standard output; what is on standard error besides are documents too, one on each line. */
function documentOf({ stdout, stderr }: Answer): Record<string, unknown> {
  for (const line of stderr.split('\n').filter(Boolean)) assert.equal(typeof JSON.parse(line), 'object', line)
  const document = JSON.parse(stdout)
  assert.ok(typeof document === 'object' && document !== null && !Array.isArray(document))
  return document
}

for (const beside of [false, true]) {
  const where = beside ? 'beside a service that has the store' : 'on a store that nobody has'
  test(`with --json every command answers with exactly one document ${where}, be it a refusal`, async (t) => {
    await using store = await prepare()
    await using stack = new AsyncDisposableStack()
    if (beside) stack.use(await serve(store.desk))
    for (const [command, { done, refused, code, alone }] of Object.entries(commands)) {
      await t.test(command, async () => {
        const isLocked = beside && alone
        if (done) {
          const answer = await store.run(...done(store), '--json')
          const document = documentOf(answer)
          assert.deepEqual([answer.code, document.code], isLocked ? [3, 'CC_ERR_LOCKED'] : [0, undefined])
        }
        const answer = await store.run(...refused(store), '--json')
        const refusal = documentOf(answer)
        assert.deepEqual(Object.keys(refusal), ['code', 'detail', 'remedy'])
        assert.deepEqual([answer.code, refusal.code], [catalogue[code].exit, code])
      })
    }
    assert.equal((await store.desk.json('audit', 'verify')).valid, true)
  })
}

const announced = [
  ...Object.values(commands).flatMap(({ refused, code, done }) =>
    code === 'CC_ERR_NOT_YET' && !done ? [refused({} as Prepared)] : [],
  ),
  ['serve', '--port', '0', '--override-limits', 'A test.'],
]

for (const typed of announced) {
  test(`${typed.join(' ')} is refused as not yet there, with something to do instead`, async () => {
    const { code, stdout, stderr } = await runHere(typed, { CC_DB_PATH: '/nowhere/cases.db' })
    assert.equal(code, 2)
    assert.equal(stdout, '')
    assert.match(stderr, /^error: .* is not part of this version\.\nhint: {2}.{10,} \(CC_ERR_NOT_YET\)\n$/)
  })
}

test('docs/cli.md names every command and every exit code that the catalogue uses', () => {
  const text = readFileSync(join(root, 'docs/cli.md'), 'utf8')
  for (const command of Object.keys(commands)) assert.ok(text.includes(`\`${command}`), command)
  for (const { exit } of Object.values(catalogue)) assert.match(text, new RegExp(`^\\| ${exit} +\\|`, 'm'))
})

/** A command for each exit code. */
const exits: Readonly<Record<string, () => Promise<Answer>>> = {
  0: () => onClaims((desk) => desk.run('cases')),
  1: () => onClaims((desk) => desk.run('case', unknownId)),
  2: () => onClaims((desk) => desk.run('tasks', '--status', 'odd')),
  3: () => onClaims((desk) => desk.run('serve', '--host', '0.0.0.0', '--port', '0')),
  4: () =>
    onClaims(async (desk) => {
      const database = new DatabaseSync(desk.env.CC_DB_PATH!)
      const triggers = database.prepare("select name from sqlite_master where type = 'trigger'").all()
      for (const { name } of triggers) database.exec(`drop trigger ${String(name)}`)
      database.exec("update payloads set text = '{}' where kind = 'outcome'")
      database.close()
      return await desk.run('audit', 'verify')
    }),
  5: () =>
    onClaims(async (desk) => {
      const { items } = await desk.json('cases', '--status', 'completed')
      return await desk.run('cancel', items[0].instance_id, '--reason', 'Too late.')
    }),
  6: () => onClaims((desk) => desk.run(...claimWorkflow, '--input', claims, '--wait')),
  124: async () => {
    await using desk = await openSleepyDesk()
    return await desk.run(...desk.submit, '--timeout', '0.05')
  },
  130: async () => {
    await using desk = await openSleepyDesk()
    const { child, answer } = desk.start(desk.submit)
    child.stderr!.once('data', () => child.kill('SIGINT'))
    return await answer
  },
}

/** What the body does on a store with the sample claims in it. */
async function onClaims(body: (desk: Desk) => Promise<Answer>): Promise<Answer> {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims, '--wait')
  return await body(desk)
}

test('every exit code of docs/cli.md is given by some command', async (t) => {
  const [, table = ''] =
    /^## Exit codes\n([^]*?)(?=^## |$(?![^]))/m.exec(readFileSync(join(root, 'docs/cli.md'), 'utf8')) ?? []
  const documented = [...table.matchAll(/^\| (\d+) /gm)].map(([, code]) => code)
  assert.deepEqual(documented, Object.keys(exits))
  for (const [code, give] of Object.entries(exits)) {
    await t.test(code, async () => {
      const answer = await give()
      assert.equal(String(answer.code), code, answer.stderr)
    })
  }
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
