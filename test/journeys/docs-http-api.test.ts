import assert from 'node:assert/strict'
import { test } from 'node:test'
import { access } from '../../src/api/access.ts'
import { Metrics } from '../../src/api/metrics.ts'
import { problemOf } from '../../src/api/problem.ts'
import { roles } from '../../src/domain/role.ts'
import { instanceStatuses } from '../../src/domain/instance.ts'
import { allowedDecisions, decisions } from '../../src/domain/task.ts'
import { CoreError } from '../../src/errors.ts'
import { blocksOf, freePort, openCheckout, paste, pasted, tableOf } from './docs-pages.ts'
import { withoutCurl } from './serving.ts'

const page = 'docs/http-api.md'

/** Answers of the transcript, line by line: documents, and what else the commands print. */
const told = [
  [/"workflow":"travel_claim_settlement","domain":"travel_insurance"/, 'what can be submitted'],
  [/^\{"instance_id":.*\} 200$/m, 'the second submission is known by its key'],
  [/"status":"suspended".*"tier":"hold"/, 'the case that was waited for is held'],
  [/^id: 1\nevent: case\.submitted\n/m, 'the stream begins with the first event'],
  [/^event: end\ndata: .*"status":"terminated"/m, 'and ends when the case is decided'],
  [/"allowed":\["release","approve_with_changes","deny","escalate"\]/, 'the task names its words'],
  [/"claimed_by":"(unverified:)?ann"/, 'the claim'],
  [/"decision":"deny","decided_by":"(unverified:)?ann","status":"terminated"/, 'the decision'],
  [/"type":"task\.decided"/, 'the record'],
  [/"valid":true/, 'the verdict'],
  [/^WHOLE /m, 'the export, checked without the program'],
  [/"status":"canceled"/, 'the second case is canceled'],
  [/"code":"CC_ERR_NOT_RETRYABLE"/, 'and cannot be retried'],
  [/"erased":true/, 'and its input is erased'],
] as const

test('the transcript of docs/http-api.md works as it stands, with keys', { skip: withoutCurl }, async () => {
  await using place = await openCheckout()
  const port = await freePort()
  const commands = (await pasted(page)).replaceAll(':8080', `:${port}`)

  const { code, stdout, stderr, isQuiet } = await paste(commands, { cwd: place.folder, env: { CC_PORT: `${port}` } })

  assert.equal(code, 0, stdout + stderr)
  assert.ok(isQuiet, 'the service has ended')
  for (const [pattern, what] of told) assert.match(stdout, pattern, what)
  assert.match(stdout, /"decided_by":"ann"/, 'names of keys are verified')
})

test('the transcript of docs/http-api.md works against demo --keep, without keys', { skip: withoutCurl }, async () => {
  await using place = await openCheckout()
  const port = await freePort()
  const [start, ...rest] = await blocksOf(page, 'sh')
  const [keyless] = await blocksOf(page, 'sh keyless')
  assert.match(start!, /keys add/)
  const demo = `npm run --silent cli -- demo --keep > demo.txt 2>&1 &\nservice=$!\n`
  const commands = [demo, keyless, ...rest].join('\n').replaceAll(':8080', `:${port}`)

  const { code, stdout, stderr, isQuiet } = await paste(commands, { cwd: place.folder, env: { CC_PORT: `${port}` } })

  assert.equal(code, 0, stdout + stderr)
  assert.ok(isQuiet, 'the demo has ended')
  for (const [pattern, what] of told) assert.match(stdout, pattern, what)
  assert.match(stdout, /"decided_by":"unverified:ann"/)
})

test('the table of roles is the table of access', async () => {
  const rows = await tableOf(page, 'route', ...roles)
  const written = rows.map(([route, ...words]) => {
    const isOpen = words.every((word) => word === 'open')
    return [route!.replaceAll('{id}', ':id'), isOpen ? 'open' : roles.filter((_, index) => words[index] !== '')]
  })
  assert.deepEqual(Object.fromEntries(written), access)
  for (const [route, ...words] of rows) {
    const isOfCases = route!.startsWith('GET /v1/cases')
    assert.equal(words[0] === 'own', isOfCases, `${route}: submitters see their own`)
  }
})

test('the table of decisions has the words of every tier, and no other', async () => {
  const rows = await tableOf(page, 'tier', 'word')
  for (const [tier, words] of Object.entries(allowedDecisions)) {
    const written = rows.filter(([at]) => at!.split(', ').includes(tier)).map(([, word]) => word)
    assert.deepEqual(written.sort(), [...words].sort(), tier)
  }
  assert.deepEqual(rows.map(([, word]) => word).sort(), [...decisions].sort())
})

test('the table of statuses has all of them', async () => {
  assert.deepEqual((await tableOf(page, 'status')).map(([status]) => status).sort(), [...instanceStatuses].sort())
})

test('the table of measures has the names that are served', async () => {
  const { registry } = new Metrics({ viewers: 0 } as never)
  const served = registry.getMetricsAsArray().map(({ name }) => name)
  const written = (await tableOf(page, 'name', 'what it counts')).map(([name]) => name!)
  assert.deepEqual(written.sort(), served.filter((name) => name.startsWith('cc_')).sort())
})

test('the refusal that is shown is one that the service sends, and its members are those that are named', async () => {
  const [shown] = (await blocksOf(page, 'json')).map((block) => JSON.parse(block) as any)
  const { code, facts, request_id: id } = shown
  assert.deepEqual(problemOf(new CoreError(code, facts), id), shown)

  const decidedAtMs = 1_795_575_883_652
  const samples = { CC_ERR_ALREADY_DECIDED: { decidedAtMs }, CC_ERR_CLAIMED: { holder: 'ann', until: 'then' } } as const
  const plain = Object.keys(shown)
  const rows = await tableOf(page, 'code', 'member')
  const written = rows.map(([name, members]) => [name, members!.split(', ').sort()])
  const sent = Object.entries(samples).map(([name, given]) => {
    const members = Object.keys(problemOf(new CoreError(name as keyof typeof samples, given), 'r-1'))
    return [name, members.filter((member) => !plain.includes(member)).sort()]
  })
  assert.deepEqual(written, sent)
})
