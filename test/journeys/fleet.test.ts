import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import { packFolder } from '../cognition/pack-folder.ts'
import { openDesk, openPostgresDesk, type PostgresDesk, root } from '../cli/cli.ts'
import { holdStep } from './held-steps.ts'
import { ask, claimRequest, eventually, rested, serve, work } from './serving.ts'

test('a replica without workers takes a case, a worker elsewhere runs it, and the table says which', async () => {
  await using desk = await openPostgresDesk()
  const held = holdStep(desk, 'check_terms')
  await using replica = await serve(desk, ['--workers', '0'])
  await using worker = await work(desk, ['--concurrency', '3', '--pack', desk.env.CC_PACKS!], held.env)
  const { about } = worker
  assert.equal(replica.about.limits.workers, 'no cases in flight, workers elsewhere run them')
  assert.equal(replica.about.worker_id, null)
  assert.deepEqual([about.backend, about.limits.workers], ['postgres', '3 cases in flight'])
  assert.equal(about.database_id, replica.about.database_id)

  const { body } = await ask(`${replica.url}/v1/cases`, { body: claimRequest('TC-101') })
  await held.reached()
  const [{ claimed_by: claimedBy }] = (await desk.place.sql('select claimed_by from work')) as [{ claimed_by: string }]
  assert.equal(claimedBy.split('.')[0], about.worker_id)
  const logged = worker.texts().stderr
  assert.ok(logged.includes(`"worker":"${about.worker_id}"`), logged)
  held.release()

  assert.equal((await rested(replica.url, body.instance_id)).status, 'completed')
  assert.deepEqual(await worker.stop(), { code: 0, signal: null })
  assert.deepEqual(JSON.parse(worker.texts().stdout), about, 'one document and nothing more')
})

test('a worker says in one block what it is; without packs, since each case has its definition with it', async () => {
  await using desk = await openPostgresDesk({ CC_PACKS: '' })
  const { child, answer } = desk.start(['worker', '--concurrency', '2'])
  let shown = ''
  child.stdout!.on('data', (text: string) => (shown += text))
  await eventually(() => child.exitCode !== null || /^ {2}next /m.test(shown), 'the block')
  child.kill('SIGTERM')
  const { code, stdout } = await answer

  assert.equal(code, 0)
  for (const line of [
    '^Cognitive Core runs cases as process \\d+ [0-9a-f]{8}$',
    '^ {2}store +postgres://\\S+ \\(postgres\\)$',
    '^ {2}packs +none: each case has its definition with it$',
    '^ {2}model +scripted:\\S+scripted\\.yaml$',
    '^ {2}limits +2 cases in flight$',
    '^ {2}next +npm run --silent cli -- serve --workers 0$',
  ]) {
    assert.match(stdout, new RegExp(line, 'm'))
  }
})

test('a worker that is told to leave records the step under way, and a second signal does not wait for it', async () => {
  await using desk = await openPostgresDesk()
  const held = holdStep(desk, 'check_terms')
  await using replica = await serve(desk, ['--workers', '0'])
  await using patient = await work(desk, ['--concurrency', '1'], held.env)
  const { body } = await ask(`${replica.url}/v1/cases`, { body: claimRequest('TC-101') })
  await held.reached()

  patient.child.kill('SIGTERM')
  await eventually(async () => (await pathOf(replica.url, body.instance_id)).at(-1) === 'sort_claim', 'the step before')
  held.release()
  assert.deepEqual(await patient.ended, { code: 0, signal: null }, patient.texts().stderr)
  const { body: view } = await ask(`${replica.url}/v1/cases/${body.instance_id}`)
  assert.deepEqual([view.status, view.work, view.path.at(-1)], ['running', 'ready', 'check_terms'])
  assert.deepEqual(await desk.place.sql(`select worker_id from workers where concurrency > 0`), [])

  const again = holdStep(desk, 'propose_settlement')
  await using hurried = await work(desk, ['--concurrency', '1'], again.env)
  await again.reached()
  hurried.child.kill('SIGTERM')
  // Two that come together are one: npm passes on what its terminal has sent to everybody.
  const heardAt = performance.now()
  await eventually(() => performance.now() - heardAt > 550, 'the time after which it is asked again')
  hurried.child.kill('SIGTERM')
  assert.deepEqual(await hurried.ended, { code: 130, signal: null })
})

test('serve --workers 0 on a file says plainly that nothing runs what it takes', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk, ['--workers', '0'])
  assert.match(
    service.about.limits.workers,
    /nothing runs what is submitted before a process with workers has the file/,
  )
  const { body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-101') })
  assert.equal((await ask(`${service.url}/v1/cases/${body.instance_id}?wait=1`)).body.work, 'ready')
})

test('a worker leaves alone what it cannot run: each of two processes runs what the other has no part for', async () => {
  await using desk = await openPostgresDesk()
  await using replica = await serve(desk, ['--workers', '0'])
  await using worker = await work(desk, ['--concurrency', '2'])
  const claims: string[] = []
  for (let number = 1; number <= 5; number++) {
    claims.push((await ask(`${replica.url}/v1/cases`, { body: claimRequest('TC-101') })).body.instance_id)
  }
  // Only now: the first case has settled that the store is a simulation.
  await using own = await startOwnProgram(desk)
  const stamped: string[] = []
  for (let number = 1; number <= 5; number++) stamped.push(await own.submit(String(number)))

  for (const id of [...stamped, ...claims]) assert.equal((await rested(replica.url, id)).status, 'completed')

  // More of them, so that whoever met the first by chance meets the others too.
  for (let number = 6; number <= 10; number++) {
    const id = await own.submit(String(number))
    assert.equal((await rested(replica.url, id)).status, 'completed')
  }
  assert.deepEqual(await own.stop(), { code: 0, signal: null })
  const refused = worker
    .texts()
    .stderr.split('\n')
    .filter((line) => line.includes('cases of this definition wait'))
  assert.ok(refused.length <= 1, 'it is met once and then left alone')
  for (const line of refused) assert.equal(JSON.parse(line).code, 'CC_ERR_NO_PRIMITIVE')
  assert.equal((await desk.json('audit', 'verify')).valid, true)
})

test('two versions of a pack side by side: cases end by the version that they began with', async () => {
  await using before = await packFolder(noteVersion('old'))
  await using after = await packFolder(noteVersion('new'))
  const model = `scripted:${join(before.dir, 'scripted.yaml')}`
  await using desk = await openPostgresDesk({ CC_MODEL: model, CC_PACKS: '' })
  await using worker = await work(desk, ['--concurrency', '2'])
  await using first = await serve(desk, ['--workers', '0', '--pack', before.dir])
  await using second = await serve(desk, ['--workers', '0', '--pack', after.dir])
  assert.notEqual(first.about.packs[0].definition_hash, second.about.packs[0].definition_hash)

  const submitted: { readonly id: string; readonly version: string }[] = []
  for (let number = 0; number < 6; number++) {
    const [replica, version] = number % 2 === 0 ? ([first, 'old'] as const) : ([second, 'new'] as const)
    const body = { workflow: 'noting', domain: 'plain', input: { case_id: `N-${number}` } }
    submitted.push({ id: (await ask(`${replica.url}/v1/cases`, { body })).body.instance_id, version })
  }
  // The old version leaves while its cases sleep; no process knows its pack any more.
  assert.deepEqual(await first.stop(), { code: 0, signal: null })

  for (const { id, version } of submitted) {
    const view = await rested(second.url, id)
    assert.deepEqual([view.status, view.path], ['completed', ['note', `end_${version}`]])
  }
  assert.deepEqual(await worker.stop(), { code: 0, signal: null })
})

async function pathOf(url: string, id: string): Promise<string[]> {
  return (await ask(`${url}/v1/cases/${id}`)).body.path
}

/** A pack whose cases sleep for a moment before they come to a step that has the version in its name. */
function noteVersion(version: string): Record<string, string | undefined> {
  const step = (name: string) => `  - name: ${name}
    primitive: classify
    params: { categories: "a, b", criteria: any }
    retry: { max_attempts: 2, backoff_seconds: 1.5 }
`
  const answer = (step: string) => `- when: { step: ${step} }
  output: { category: a, confidence: 0.9, reasoning: plain }
`
  return {
    'workflows/review.yaml': undefined,
    'workflows/noting.yaml': `name: noting\nsteps:\n${step('note')}${step(`end_${version}`)}`,
    'domains/plain.yaml': 'domain_name: plain\ngovernance: auto\n',
    'scripted.yaml': `- when: { step: note, attempt: 1 }\n  error: rate_limit\n${['note', 'end_old', 'end_new'].map(answer).join('')}`,
  }
}

/** A process that embeds the engine; see own-program.ts. */
async function startOwnProgram(desk: PostgresDesk) {
  const program = join(import.meta.dirname, 'own-program.ts')
  const env = { PATH: process.env.PATH ?? '', ...desk.place.env }
  const child = spawn(process.execPath, [program], { cwd: root, env, stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface(child.stdout)[Symbol.asyncIterator]()
  const ended = once(child, 'close') as Promise<[number | null, string | null]>
  const stop = async (signal: NodeJS.Signals) => {
    child.kill(signal)
    const [code, killedBy] = await ended
    return { code, signal: killedBy }
  }
  const { value: workerId } = await lines.next()
  return {
    workerId: workerId as string,
    submit: async (number: string): Promise<string> => {
      child.stdin.write(`${number}\n`)
      return (await lines.next()).value as string
    },
    stop: () => stop('SIGTERM'),
    [Symbol.asyncDispose]: async () => void (await stop('SIGKILL')),
  }
}
