import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { decideByHand } from '../cli/by-hand.ts'
import { claims, claimWorkflow, type Desk, openDesk, root, runHere } from '../cli/cli.ts'
import { holdStep } from './held-steps.ts'
import {
  ask,
  caseFile,
  claim,
  claimRequest,
  eventually,
  nextTask,
  rested,
  serve,
  type Serving,
  submitting,
} from './serving.ts'

/** Who did what to a case, without the engine's own events. */
async function doers(desk: Desk, instanceId: string): Promise<string[]> {
  const { audit } = await desk.json('case', instanceId, '--audit')
  return audit.filter(({ actor }: any) => actor !== 'engine').map(({ type, actor }: any) => `${type} ${actor}`)
}

/** Requests that the service has answered, as its log says: who asked for what. */
function answered({ texts }: Serving): string[] {
  const lines = texts().stderr.trimEnd().split('\n')
  return lines.flatMap((line) => {
    const { msg, method, route, actor } = JSON.parse(line)
    return msg === 'request' ? [`${method} ${route} ${actor}`] : []
  })
}

test('what only reads, reads the file: in the middle of the writing, and while the service cannot answer', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk)
  const { body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-103') })
  await rested(service.url, body.instance_id)
  const { task_id: taskId } = await nextTask(desk, 'special_investigations')
  const load = submitting(service.url)
  const written = load.stored.length + 20
  await eventually(() => load.stored.length >= written, 'some writing')

  const reading = [
    ['cases', '--limit', '500'],
    ['case', body.instance_id, '--steps', '--audit'],
    ['tasks'],
    ['task', taskId],
    ['audit', 'verify'],
    ['audit', 'export', '--instance', body.instance_id],
  ]
  for (const args of reading) {
    const { code, stderr } = await desk.run(...args)
    assert.deepEqual([code, stderr], [0, ''], args.join(' '))
  }
  // Wherever the service is now, in the middle of a commit or not, it stays there.
  service.child.kill('SIGSTOP')
  const known = load.stored.slice(-100)
  for (const args of reading) {
    const { code, stdout } = await desk.run(...args, '--json')
    assert.equal(code, 0, args.join(' '))
    if (args[0] !== 'cases') continue
    const there = new Set(JSON.parse(stdout).items.map(({ instance_id }: any) => instance_id))
    assert.ok(known.length > 0 && known.every((id) => there.has(id)), 'what was answered is in the file')
  }
  service.child.kill('SIGCONT')
  await load.stop()
  assert.deepEqual(await service.stop(), { code: 0, signal: null })
  assert.ok(answered(service).every((request) => /^(POST \/v1\/cases|GET \/v1\/cases\/:id) /.test(request)))
})

test('what is read through the service is what the file says, and the commands that it shows work when pasted', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk)
  const { body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-103') })
  await rested(service.url, body.instance_id)
  const { task_id: taskId } = await nextTask(desk, 'special_investigations')
  const elsewhere = { CC_DB_PATH: '/nowhere/cases.db', CC_URL: service.url }
  const commands = [['cases'], ['case', body.instance_id, '--steps', '--audit'], ['tasks'], ['task', taskId]]
  for (const args of commands) {
    const { code, stdout } = await runHere([...args, '--json'], elsewhere)
    assert.equal(code, 0, stdout)
    assert.deepEqual(JSON.parse(stdout), await desk.json(...args), args.join(' '))
  }

  const shown = (await runHere(['case', body.instance_id], elsewhere)).stdout
  const look = shown.split('\n').find((line) => line.endsWith(` task ${taskId}`))!
  const pasted = await promisify(execFile)('sh', ['-c', look], { cwd: root, env: { PATH: process.env.PATH } })
  assert.match(
    pasted.stdout,
    new RegExp(`^Task ${taskId} .*hold · open$[^]*CC_URL=${service.url} [^]*decide ${taskId}`, 'm'),
  )
})

test('what writes goes through the service, and is recorded as done by whoever typed it', async () => {
  const both = ['travel-claims', 'account-appeals'].map((pack) => join(root, 'packs', pack))
  const scripts = both.map((dir) => join(dir, 'scripted.yaml'))
  await using desk = await openDesk({
    CC_PACKS: both.join(delimiter),
    CC_MODEL: `scripted:${scripts.join(delimiter)}`,
  })
  await using service = await serve(desk)

  // One by itself, stored and no more; one that is waited for; a list under keys, with one that is refused.
  const stored = await desk.run(...claimWorkflow, '--input', caseFile(desk, claim('TC-104')), '--as', 'kim', '--json')
  assert.deepEqual([stored.code, stored.stderr], [0, ''], 'nothing is said of a service that is missing')
  const { instance_id: first } = JSON.parse(stored.stdout)
  const held = await desk.run(...claimWorkflow, '--input', caseFile(desk, claim('TC-103')), '--wait', '--as', 'Zoë Ø')
  assert.equal(held.code, 6)
  assert.match(held.stderr, /step\.completed {2}examine_claim/)
  const list = [...claimWorkflow, '--input', claims, '--key', 'K', '--as', 'lea']
  assert.equal((await desk.run(...list, '--wait')).code, 6)
  const changed = caseFile(desk, [claim('TC-105'), claim('TC-102')], 'changed.json')
  const again = await desk.run(...claimWorkflow, '--input', changed, '--key', 'K', '--as', 'lea', '--json')
  const { items } = JSON.parse(again.stdout)
  assert.deepEqual([again.code, items[0].error.code, items[1].seen], [5, 'CC_ERR_KEY_REUSED', true])

  // People.
  const task = (await desk.json('tasks', '--queue', 'special_investigations')).items[0]
  assert.equal(task.submitted_by, 'unverified:Zoë Ø')
  assert.equal((await desk.json('claim', task.task_id, '--as', 'ann')).claimed_by, 'unverified:ann')
  const tooEarly = await desk.run('decide', task.task_id, 'deny', '--reason', 'No.', '--as', 'bob')
  assert.equal(tooEarly.code, 5)
  assert.match(tooEarly.stderr, /claimed by unverified:ann until .*\n.*ask unverified:ann.*CC_ERR_CLAIMED/)
  const decide = ['decide', task.task_id, 'deny', '--reason', 'Settled before.', '--as', 'ann']
  assert.equal((await desk.json(...decide)).status, 'terminated')
  assert.equal((await desk.json(...decide)).repeated, true)
  const own = (await desk.json('tasks', '--queue', 'special_investigations')).items[0]
  const byOwner = await desk.run('decide', own.task_id, 'deny', '--reason', 'No.', '--as', 'lea')
  assert.match(byOwner.stderr, /CC_ERR_FOUR_EYES/)

  // Operators.
  await rested(service.url, first)
  assert.equal((await desk.json('cancel', first, '--reason', 'Withdrawn.', '--as', 'otto')).status, 'canceled')
  const appeal = ['submit', 'restriction_appeal', '--domain', 'retail_banking', '--as', 'pat']
  await desk.run(...appeal, '--input', 'packs/account-appeals/cases/appeals.json', '--wait')
  const [failed] = (await desk.json('cases', '--status', 'failed')).items
  const retried = await desk.run('retry', failed.instance_id, '--wait', '--as', 'rob')
  assert.equal(retried.code, 1, 'it fails again, and that was waited for')
  const { audit } = await desk.json('case', task.instance_id, '--audit')
  const erase = ['audit', 'erase', '--instance', task.instance_id, '--payload', audit[0].payload_id]
  assert.equal((await desk.json(...erase, '--reason', 'Request 12.', '--as', 'eve')).erased, true)

  assert.deepEqual(await doers(desk, first), ['case.submitted unverified:kim', ...canceledBy('otto')])
  assert.deepEqual(await doers(desk, task.instance_id), [
    'case.submitted unverified:Zoë Ø',
    'task.claimed unverified:ann',
    'task.decided unverified:ann',
    'case.terminated unverified:ann',
    'payload.erased unverified:eve',
  ])
  assert.deepEqual(await doers(desk, failed.instance_id), [
    'case.submitted unverified:pat',
    'case.retried unverified:rob',
  ])
  const report = await desk.json('audit', 'verify')
  assert.deepEqual([report.valid, report.erased_payloads], [true, 1])
  assert.deepEqual(await service.stop(), { code: 0, signal: null })
  const requests = answered(service)
  for (const request of [
    'POST /v1/cases unverified:kim',
    'POST /v1/tasks/:id/claim unverified:ann',
    'POST /v1/tasks/:id/decision unverified:ann',
    'POST /v1/cases/:id/cancel unverified:otto',
    'POST /v1/cases/:id/retry unverified:rob',
    'POST /v1/cases/:id/erase unverified:eve',
  ]) {
    assert.ok(requests.includes(request), request)
  }
})

function canceledBy(name: string): string[] {
  return [`cancel.requested unverified:${name}`, `case.canceled unverified:${name}`]
}

test('a reviewer at a terminal is asked beside a service as without one, and it is recorded under their name', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk)
  await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-104'), headers: { 'x-actor': 'kim' } })
  const task = await nextTask(desk, 'claims_handlers')
  const own = await decideByHand(desk.env, [task.task_id, '--as', 'kim'], [])
  assert.match(own.stderr, /CC_ERR_FOUR_EYES/)
  assert.doesNotMatch(own.stderr, /Decision:/)
  const answers = ['approve', 'All receipts are there.']
  const { code, stdout, stderr } = await decideByHand(desk.env, [task.task_id, '--as', 'ann'], answers)
  assert.equal(code, 0, stderr)
  assert.match(stdout, /Decided: approve by unverified:ann\./)
  const inLog = () => answered(service).includes('POST /v1/tasks/:id/decision unverified:ann')
  await eventually(inLog, 'the decision in the log of the service')

  // The same from elsewhere, where there is no file to read.
  await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-103'), headers: { 'x-actor': 'kim' } })
  const other = await nextTask(desk, 'special_investigations')
  const elsewhere = { CC_DB_PATH: '/nowhere/cases.db', CC_URL: service.url }
  const far = await decideByHand(elsewhere, [other.task_id, 'deny', '--as', 'ann'], ['Settled before.'])
  assert.equal(far.code, 0, far.stderr)
  assert.match(far.stderr, /stands at hold[^]*Reason:/)
  assert.match(far.stdout, /Decided: deny by unverified:ann\./)
})

test('a submit that waits through a service ends like one that runs the case: 6, 124, 130', async () => {
  await using desk = await openDesk()
  const held = holdStep(desk, 'examine_claim')
  await using service = await serve(desk, [], held.env)
  const submit = (caseId: string) => [
    ...claimWorkflow,
    '--input',
    caseFile(desk, claim(caseId), `${caseId}.json`),
    '--json',
  ]
  const gated = await desk.spawn([...submit('TC-104'), '--wait'])
  const { status, tier, open_tasks: openTasks } = JSON.parse(gated.stdout)
  assert.deepEqual([gated.code, status, tier, openTasks.length], [6, 'suspended', 'gate', 1])

  const late = await desk.spawn([...submit('TC-103'), '--timeout', '0.5'])
  assert.deepEqual([late.code, JSON.parse(late.stdout).code], [124, 'CC_ERR_TIMED_OUT'])

  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const { child, answer } = desk.start([...submit('TC-103'), '--wait'])
    // Once it tells of the case's way, it waits for its end.
    child.stderr!.once('data', () => child.kill(signal))
    const { code, stdout } = await answer
    assert.deepEqual([code, JSON.parse(stdout).code], [130, 'CC_ERR_INTERRUPTED'], signal)
  }
  // Whoever left has changed nothing: the cases go on.
  const running = (await desk.json('cases', '--status', 'running')).items
  assert.equal(running.length, 3)
  held.release()
  for (const { instance_id: id } of running) assert.equal((await rested(service.url, id)).status, 'suspended')
})

test('a second service on the same file is refused with who has it and where; the first one goes on', async () => {
  await using desk = await openDesk()
  await using service = await serve(desk)
  for (const args of [
    ['serve', '--port', '0'],
    ['serve', '--port', '0', '--workers', '0'],
    ['demo'],
    ['db', 'migrate'],
  ]) {
    const { code, stdout } = await desk.spawn([...args, '--json'])
    const { code: name, detail } = JSON.parse(stdout)
    assert.deepEqual([code, name], [3, 'CC_ERR_LOCKED'], args.join(' '))
    assert.match(detail, new RegExp(`in use by process ${service.child.pid}, since .*, at ${service.url}\\.$`))
  }
  const { body } = await ask(`${service.url}/v1/cases`, { body: claimRequest('TC-101') })
  assert.equal((await rested(service.url, body.instance_id)).status, 'completed')
})
