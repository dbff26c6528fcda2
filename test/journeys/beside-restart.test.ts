import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { claimWorkflow, openDesk } from '../cli/cli.ts'
import { holdStep } from './held-steps.ts'
import { ask, caseFile, claim, claimRequest, eventually, rested, serve, submitting } from './serving.ts'

test('after SIGKILL of the service the very next command works on the file, and runs the case to its end', async () => {
  await using desk = await openDesk()
  const held = holdStep(desk, 'check_terms')
  await using service = await serve(desk, [], held.env)
  const headers = { 'idempotency-key': 'claim-103', 'x-actor': 'kim' }
  const { body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-103'), headers })
  await held.reached()
  assert.deepEqual(await service.stop('SIGKILL'), { code: null, signal: 'SIGKILL' })

  const args = [...claimWorkflow, '--as', 'kim', '--input', caseFile(desk, claim('TC-103')), '--key', 'claim-103']
  const next = await desk.spawn(args)
  assert.equal(next.code, 0, next.stderr)
  assert.match(next.stdout, new RegExp(`Known by its key: case ${body.instance_id}, running`))
  assert.match(next.stderr, /No service is running/)
  const view = await desk.json('case', body.instance_id)
  assert.deepEqual(view.path, ['gather_claim', 'sort_claim', 'examine_claim'])
  assert.equal((await desk.spawn([...args, '--wait'])).code, 6)
  const { path } = await desk.json('case', body.instance_id)
  assert.deepEqual([new Set(path).size, path.length], [8, 8], 'no step is there twice')
  assert.equal((await desk.json('audit', 'verify')).valid, true)
})

for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
  test(`a submit that waits outlives a restart of the service after ${signal}`, async () => {
    await using desk = await openDesk()
    const held = holdStep(desk, 'examine_claim')
    await using first = await serve(desk, [], held.env)
    const args = [...claimWorkflow, '--input', caseFile(desk, claim('TC-103')), '--wait', '--json', '--as', 'kim']
    const { child, answer } = desk.start(args)
    let progress = ''
    child.stderr!.on('data', (text: string) => (progress += text))
    await held.reached()
    await eventually(() => progress.includes('sort_claim'), 'news of the case')
    const left = first.stop(signal)
    if (signal === 'SIGTERM') held.release()
    await left
    await using second = await serve(desk, ['--port', first.port])

    const { code, stdout, stderr } = await answer
    assert.equal(code, 6, stdout + stderr)
    const { status, path, open_tasks: openTasks } = JSON.parse(stdout)
    assert.deepEqual([status, path.length, openTasks.length], ['suspended', 8, 1])
    const told = progress
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line))
    const steps = told.flatMap(({ event, step }) => (event === 'step.completed' ? [step] : []))
    assert.deepEqual(steps, path.slice(0, steps.length), 'each is told once, and in order')
    assert.equal((await desk.json('cases')).items.length, 1)
    assert.deepEqual(await second.stop(), { code: 0, signal: null })
  })
}

test('a backup of a service under load is a store of its own: it verifies, and its cases go on to their end', async () => {
  await using desk = await openDesk()
  const held = holdStep(desk, 'write_letter')
  await using service = await serve(desk, [], held.env)
  const load = submitting(service.url)
  await held.reached()
  await eventually(() => load.stored.length > 50, 'a backlog')

  const before = [...load.stored]
  const copy = join(desk.folder, 'copy.db')
  const written = await desk.spawn(['backup', copy, '--json'])
  assert.equal(written.code, 0, written.stderr)
  assert.ok(load.stored.length > before.length, 'cases were stored meanwhile')
  await load.stop()
  await using other = await openDesk({ CC_DB_PATH: join(desk.folder, 'elsewhere', 'cases.db') })
  const restored = await other.json('restore', copy)
  assert.equal(restored.cases, JSON.parse(written.stdout).cases)
  assert.ok(restored.cases >= before.length, 'what was answered before it is in it')
  const verdict = await other.json('audit', 'verify')
  assert.deepEqual([verdict.valid, verdict.instances], [true, restored.cases])

  // The one goes on beside the other.
  await using twin = await serve(other)
  assert.equal(twin.about.database_id, service.about.database_id)
  for (const id of before) assert.equal((await rested(twin.url, id)).status, 'completed')
  held.release()
  for (const id of load.stored) assert.equal((await rested(service.url, id)).status, 'completed')
  for (const one of [desk, other]) {
    assert.equal((await one.json('cases', '--status', 'running')).items.length, 0)
    assert.equal((await one.json('audit', 'verify')).valid, true)
  }
})
