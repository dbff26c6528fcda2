import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { play } from '../../src/cli/demo-play.ts'
import { readDemoPacks, scriptedModelOf } from '../../src/cli/demo-packs.ts'
import { Context } from '../../src/cli/context.ts'
import { Interruption } from '../../src/cli/interruption.ts'
import { Terminal } from '../../src/cli/terminal.ts'
import { readConfig } from '../../src/config.ts'
import { openCore } from '../../src/engine/open.ts'
import { eventually } from '../journeys/serving.ts'
import { fakeStreams, openDesk, root, services, stores } from './cli.ts'

const expectedTiers = {
  'AP-201': 'auto',
  'AP-202': 'gate',
  'AP-203': 'gate',
  'AP-204': 'no tier',
  'TC-101': 'auto',
  'TC-102': 'spot_check',
  'TC-103': 'hold',
  'TC-104': 'gate',
  'TC-105': 'auto',
}

/** Without the settings that a desk makes: the demo needs none. */
const bare = { CC_PACKS: '', CC_MODEL: '' }

test('the demo ends by itself, shows each case, and its commands work when pasted', async () => {
  await using desk = await openDesk(bare)
  const { code, stdout, stderr } = await desk.spawn(['demo'])
  assert.equal(code, 0, stdout + stderr)
  assert.equal(stderr, '')
  assert.match(stdout, /SIMULATED/)
  assert.doesNotMatch(stdout, /\u001b/)
  for (const [caseId, tier] of Object.entries(expectedTiers)) {
    assert.match(stdout, new RegExp(`^  ${caseId} +${tier} +\\w+`, 'm'))
  }
  assert.match(stdout, /gather_claim → sort_claim → examine_claim/)
  assert.match(stdout, /deny by unverified:demo-reviewer: Receipt 77-1043/)
  assert.match(stdout, /The record is valid/)
  assert.match(stdout, /Every case ended as its pack expects/)

  const commands = commandsIn(stdout)
  assert.equal(commands.length, 4 * 2 + 1, 'two for each of four tasks, and one that verifies')
  const store = `CC_DB_PATH=${desk.env.CC_DB_PATH} npm run --silent cli -- `
  assert.ok(
    commands.every((command) => command.startsWith(store)),
    commands.join('\n'),
  )
  const run = async (command: string) => (await promisify(execFile)('sh', ['-c', command], { cwd: root })).stdout
  assert.match(await run(commands[0]!), /^Task .* gate · open$/m)
  assert.match(await run(commands[1]!), /Decided: approve by unverified:/)
})

/** Commands as a shell would read them from the page: a backslash at the end of a line goes on with the next. */
function commandsIn(page: string): string[] {
  const whole = page.replaceAll(/ \\\n\s*/g, ' ')
  return whole.split('\n').flatMap((line) => (/^\s+CC_DB_PATH=/.test(line) ? [line.trim()] : []))
}

test('a second run adds cases, and nothing but paths of the store makes a line longer than 100 columns', async () => {
  await using desk = await openDesk(bare)
  const [first, second] = [await desk.run('demo'), await desk.run('demo')]
  assert.deepEqual([first.code, second.code], [0, 0])
  assert.equal((await desk.json('cases', '--limit', '50')).items.length, 18)
  assert.match(second.stdout, /4 more from earlier runs/)
  for (const line of second.stdout.replaceAll(desk.env.CC_DB_PATH!, 'data/demo.db').split('\n')) {
    assert.ok(line.length <= 100, `${line.length}: ${line}`)
  }
})

test('for programs the demo is one document, with the commands in it', async () => {
  await using desk = await openDesk(bare)
  const { code, stdout, stderr } = await desk.run('demo', '--json')
  assert.equal(code, 0)
  const { simulated, items, held, record } = JSON.parse(stdout)
  assert.equal(simulated, true)
  assert.deepEqual(items.map(({ case_id }: any) => case_id).sort(), Object.keys(expectedTiers))
  assert.ok(items.every(({ as_expected, submitted_by }: any) => as_expected && submitted_by === 'unverified:demo'))
  assert.deepEqual(held.map(({ case_id }: any) => case_id).sort(), ['AP-202', 'AP-203', 'TC-102', 'TC-104'])
  assert.match(held[0].look, /CC_DB_PATH=.* task [0-9a-f-]{36}$/)
  assert.equal(record.valid, true)
  assert.ok(
    stderr
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
      .some(({ event }) => event === 'case.held'),
  )
})

for (const json of [false, true]) {
  const how = json ? 'a program' : 'a person'
  test(`demo --keep shows ${how} the demo and where it serves it, and goes on until it is told to end`, async () => {
    await using desk = await openDesk({ ...bare, CC_PORT: '0' })
    const { child, answer } = desk.start(['demo', '--keep', ...(json ? ['--json'] : [])])
    await using ending = new AsyncDisposableStack()
    ending.defer(() => void child.kill('SIGKILL'))
    let shown = ''
    child.stdout!.on('data', (text: string) => (shown += text))
    const url = () => /(?:serves at |"url": ")(http:[^"\s]+)/.exec(shown)?.[1]
    await eventually(() => child.exitCode !== null || (shown.endsWith('\n') && url() !== undefined), 'an address')
    assert.equal(child.exitCode, null, shown)

    const page = await fetch(url()!)
    assert.deepEqual([page.status, /^text\/html/.test(page.headers.get('content-type')!)], [200, true])
    const cases = (await (await fetch(`${url()}/v1/cases`)).json()) as any
    assert.equal(cases.items.length, Object.keys(expectedTiers).length)
    assert.ok(cases.items.every(({ submitted_by, simulated }: any) => submitted_by === 'unverified:demo' && simulated))

    // Another one beside it would mix its cases in: it is told who has the store.
    const beside = await desk.run('demo')
    assert.equal(beside.code, 3)
    assert.ok(beside.stderr.includes(`process ${child.pid}`) && beside.stderr.includes(url()!), beside.stderr)
    assert.equal((await desk.run('demo', '--keep')).code, 3)

    child.kill('SIGTERM')
    const { code, stdout } = await answer
    assert.equal(code, 0)
    if (json) {
      const { items, record, service } = JSON.parse(stdout)
      assert.deepEqual([items.length, record.valid, service.url], [9, true, url()])
    } else assert.match(stdout, /The record is valid[^]*Every case ended as its pack expects[^]*serves at http/)
    assert.equal((await desk.json('audit', 'verify')).instances, 9)
  })
}

test('a case that ends otherwise than its pack expects is named', async () => {
  await using desk = await openDesk(bare)
  const [, claims] = await readDemoPacks()
  const [expected] = [claims!.expected.get('TC-101')!]
  const packs = [{ ...claims!, expected: new Map([['TC-101', { ...expected, tier: 'gate', path: ['gather_claim'] }]]) }]
  const core = await openCore({
    path: join(desk.folder, 'odd.db'),
    packs: [claims!.pack.dir!],
    model: scriptedModelOf(packs),
  })
  const context = new Context({
    terminal: new Terminal(fakeStreams().streams, {}, { json: false }),
    config: readConfig(desk.env),
    actor: 'unverified:demo',
    stores,
    services,
    interruption: new Interruption({ leave: () => {}, announce: () => {} }),
  })
  const { cases } = await play(context, core, packs)
  await core.close()
  const surprising = cases.filter(({ surprises }) => surprises.length > 0)
  assert.deepEqual(
    surprising.map(({ caseId }) => caseId),
    ['TC-101'],
  )
  assert.match(
    surprising[0]!.surprises.join('; '),
    /its tier is auto, not gate; its path is gather_claim → .*, not gather_claim$/,
  )
})
