import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { writeFileSync } from 'node:fs'
import { loadPack } from '../../src/cognition/pack.ts'
import { type Answer, claimWorkflow, onEachDesk, type OpenDesk, root, runHere } from '../cli/cli.ts'
import { holdStep } from './held-steps.ts'
import {
  claim,
  claimRequest,
  curl,
  curlJson,
  curlStream,
  eventually,
  nextTask,
  serve,
  type Told,
  withoutCurl,
} from './serving.ts'

const json = ['-H', 'content-type: application/json'] as const

/** What curl sends as it was typed. */
function post(body: unknown, ...headers: readonly string[]): string[] {
  return [...json, ...headers.flatMap((header) => ['-H', header]), '-d', JSON.stringify(body)]
}

/** Checks a file with nothing but Node, away from the program and its store. */
async function verifyOffline(file: string): Promise<string> {
  return (await promisify(execFile)(process.execPath, [join(root, 'tools/verify-export.mjs'), file], { cwd: '/' }))
    .stdout
}

onEachDesk(
  'a case goes its whole way with curl: submitted, followed over a restart, held, claimed, decided, exported, verified',
  async (open) => {
    await using desk = await open()
    const held = holdStep(desk, 'propose_settlement')
    await using first = await serve(desk, [], held.env)
    const { url } = first

    // Kim submits, and asks again because the answer might have been lost.
    const request = post(claimRequest('TC-103'), 'idempotency-key: claim-103', 'x-actor: kim')
    const submitted = await curlJson(...request, `${url}/v1/cases`)
    const { instance_id: id } = submitted.body
    assert.equal(submitted.status, 202)
    const again = await curlJson(...request, `${url}/v1/cases`)
    assert.deepEqual([again.status, again.body.instance_id], [200, id])

    // Kim follows the case; the service is restarted on the same port while a step is under way.
    using before = curlStream(`${url}/v1/cases/${id}/stream`)
    await held.reached()
    await eventually(() => before.told().some(isStep('check_terms')), 'news of the step before')
    const left = first.stop()
    assert.deepEqual(await before.ended, { code: 0, signal: null }, 'the stream is ended, not broken off')
    held.release()
    assert.deepEqual(await left, { code: 0, signal: null })
    assert.deepEqual(JSON.parse(first.texts().stdout), first.about, 'one document and nothing more')
    await using second = await serve(desk, ['--port', first.port])
    assert.equal(second.url, url)

    // Kim's program comes back with the last event that it has seen. The case is held, and is told so.
    const seen = before.told()
    const lastId = seen.at(-1)!.id
    using after = curlStream(`${url}/v1/cases/${id}/stream`, '-H', `last-event-id: ${lastId}`)
    await eventually(() => after.told().some(({ event }) => event === 'task.opened'), 'the hold')
    assert.equal((await curlJson(`${url}/v1/cases/${id}`)).body.status, 'suspended')
    assert.equal((await curlJson(...request, `${url}/v1/cases`)).body.instance_id, id, 'the key is still known')
    const other = post(claimRequest('TC-101'), 'idempotency-key: claim-103', 'x-actor: kim')
    assert.equal((await curlJson(...other, `${url}/v1/cases`)).status, 409)

    // Ann keeps the task for a second. Bob is told so, comes back when it is over, and decides.
    const [task] = (await curlJson(`${url}/v1/tasks?queue=special_investigations`)).body.items
    const at = `${url}/v1/tasks/${task.task_id}`
    const denial = post({ decision: 'deny', reason: 'Receipt 77-1043 was settled before.' }, 'x-actor: bob')
    const together = await curl(
      ...['-w', '\n', ...post({ seconds: 1 }, 'x-actor: ann'), `${at}/claim`],
      ...['--next', '-sS', ...denial, `${at}/decision`],
    )
    const [claimed, refused] = together.stdout.split('\n').map((text) => JSON.parse(text))
    assert.equal(claimed.claimed_by, 'unverified:ann')
    assert.equal(refused.code, 'CC_ERR_CLAIMED')
    assert.match(refused.detail, new RegExp(`unverified:ann.*${new Date(claimed.claimed_until_ms).toISOString()}`))
    let decided = { status: 0, body: undefined as any }
    await eventually(async () => {
      decided = await curlJson(...denial, `${at}/decision`)
      return decided.status === 200
    }, 'the end of the claim')
    assert.equal(decided.body.decided_by, 'unverified:bob')
    assert.ok(Date.now() >= claimed.claimed_until_ms, 'not before')

    // The stream ends by itself. Both together have told every event once, in order.
    assert.deepEqual(await after.ended, { code: 0, signal: null })
    const told = [...seen, ...after.told()]
    assert.deepEqual([told.at(-1)!.event, told.at(-1)!.data.status], ['end', 'terminated'])
    const { items: events } = (await curlJson(`${url}/v1/cases/${id}/audit`)).body
    const inRecord = events.map(({ seq, type, hash }: any) => [seq, type, hash])
    assert.deepEqual(
      told.slice(0, -1).map(({ id, event, data }) => [id, event, data.hash]),
      inRecord,
    )
    assert.ok(lastId! > 1 && lastId! < events.length, 'the restart was in the middle')
    const over = await curl(
      '-w',
      '%{http_code}',
      '-H',
      `last-event-id: ${events.length}`,
      `${url}/v1/cases/${id}/stream`,
    )
    assert.equal(over.stdout, '204')

    // The case is taken away as a file and checked elsewhere; the record of the store is checked beside the service.
    const exported = await curl('-f', '-o', join(desk.folder, 'case.json'), `${url}/v1/cases/${id}/export`)
    assert.equal(exported.code, 0, exported.stderr)
    assert.match(await verifyOffline(join(desk.folder, 'case.json')), /^WHOLE/)
    assert.equal((await curlJson(`${url}/v1/cases/${id}/verify`)).body.valid, true)
    assert.equal((await desk.spawn(['audit', 'verify'])).code, 0)
    assert.deepEqual(await second.stop(), { code: 0, signal: null })
    assert.match((await desk.spawn(['audit', 'verify', '--instance', id])).stdout, /The record is valid/)
  },
  { skip: withoutCurl },
)

const isStep = (step: string) => (told: Told) => told.event === 'step.completed' && told.data.step === step

onEachDesk('the service says in one block what runs here, where, and what to type next', async (open) => {
  await using desk = await open()
  const { child, answer } = desk.start(['serve', '--port', '0', '--workers', '2'])
  let shown = ''
  child.stdout!.on('data', (text: string) => (shown += text))
  await eventually(() => child.exitCode !== null || /^ {2}next /m.test(shown), 'the block')
  child.kill('SIGTERM')
  const { code, stdout } = await answer

  assert.equal(code, 0)
  const [url] = /http:\/\/127\.0\.0\.1:\d+/.exec(stdout)!
  const { definitions } = await loadPack(desk.env.CC_PACKS!)
  const { CC_DB_PATH: file, CC_DB_DSN: dsn } = desk.env
  // Of a database the environment alone says where it is.
  const about = dsn
    ? {
        store: `${dsn} \\(postgres\\)`,
        worker: [`^ {2}worker +process \\d+ [0-9a-f]{8}$`],
        limits: '2 cases in flight, any number of processes on this database',
        next: '',
      }
    : {
        store: `${file} \\(sqlite\\)`,
        worker: [],
        limits: '2 of at most 4 cases in flight, one process on this file',
        next: `CC_DB_PATH=${file} `,
      }
  for (const line of [
    `^Cognitive Core serves at ${url}$`,
    `^ {2}store +${about.store}$`,
    `^ {2}packs +travel-claims: travel_claim_settlement · travel_insurance, ${definitions[0]!.hash.slice(0, 12)}$`,
    `^ {2}model +scripted:\\S+scripted\\.yaml$`,
    ...about.worker,
    `^ {2}limits +${about.limits}, bodies up to 1 MiB$`,
    `^ {2}keys +none: everybody on this machine may do everything$`,
    `^ {2}next +${about.next}npm run --silent cli -- submit travel_claim_settlement`,
  ]) {
    assert.match(stdout, new RegExp(line, 'm'))
  }
})

/** A desk whose service knows four people by their keys. */
async function openKeyDesk(open: OpenDesk) {
  const desk = await open()
  const env = { CC_API_KEYS_FILE: join(desk.folder, 'keys', 'api-keys.json') }
  const add = async (name: string, role: string) => {
    const { code, stdout } = await desk.spawn(['keys', 'add', name, '--role', role], { env })
    assert.equal(code, 0)
    return stdout.trim()
  }
  const [kim, ann] = [await add('kim', 'submitter'), await add('ann', 'reviewer')]
  const [vera, otto] = [await add('vera', 'auditor'), await add('otto', 'operator')]
  return { desk, env, kim, ann, vera, otto, add, [Symbol.asyncDispose]: () => desk[Symbol.asyncDispose]() }
}

/** What is set where somebody types elsewhere: their terminal knows of the service and of no store. */
const elsewhere = { CC_DB_PATH: '/nowhere/cases.db' }

/** Commands typed there, in this process: what they say as JSON. */
function typing(url: string, key: string) {
  return async (...args: readonly string[]): Promise<Answer & { readonly body: any }> => {
    const answer = await runHere([...args, '--url', url, '--api-key', key, '--json'], elsewhere)
    return { ...answer, body: JSON.parse(answer.stdout) }
  }
}

onEachDesk(
  'with keys each does their part and no other: submitter, reviewer, auditor, operator',
  async (open) => {
    await using place = await openKeyDesk(open)
    const { desk } = place
    await using service = await serve(desk, [], place.env)
    const { url } = service
    assert.equal(service.about.keys, 4)
    const bearer = (key: string) => ['-H', `authorization: Bearer ${key}`]
    const [kim, ann, vera, otto] = [place.kim, place.ann, place.vera, place.otto].map((key) => typing(url, key))
    const file = (caseId: string) => {
      const path = join(desk.folder, `${caseId}.json`)
      writeFileSync(path, JSON.stringify(claim(caseId)))
      return path
    }
    const refusedFor = (body: any, name: string) => {
      assert.equal(body.code, 'CC_ERR_ROLE')
      assert.match(body.detail, new RegExp(name))
      return true
    }

    // Kim submits, one case at the terminal and one with curl, and sees both; a name of her choice changes nothing.
    const submitting = [...claimWorkflow, '--input', file('TC-103'), '--wait', '--as', 'somebody', '--json']
    const { code, stdout } = await desk.spawn(submitting, { env: { ...elsewhere, CC_URL: url, CC_API_KEY: place.kim } })
    const held = JSON.parse(stdout)
    assert.deepEqual([code, held.status, held.submitted_by], [6, 'suspended', 'kim'])
    const { body: gated } = await curlJson(...bearer(place.kim), ...post(claimRequest('TC-104')), `${url}/v1/cases`)
    await curlJson(...bearer(place.kim), `${url}/v1/cases/${gated.instance_id}?wait=20`)
    assert.equal((await kim!('cases')).body.items.length, 2)
    // The cases of others do not exist for her, and neither do tasks.
    const lee = await place.add('lee', 'submitter')
    const theirs = await typing(url, lee)('case', held.instance_id)
    assert.deepEqual([theirs.code, theirs.body.code], [1, 'CC_ERR_UNKNOWN_CASE'])
    const [taskId] = held.open_tasks
    for (const words of [
      ['tasks'],
      ['task', taskId],
      ['claim', taskId],
      ['cancel', gated.instance_id, '--reason', 'No.'],
    ]) {
      const { code, body } = await kim!(...words)
      assert.ok(refusedFor(body, 'kim') && code === 1, words.join(' '))
    }

    // Ann decides; she does not submit and does not cancel.
    assert.equal((await ann!('tasks', '--queue', 'special_investigations')).body.items[0].task_id, taskId)
    assert.equal((await ann!('task', taskId)).body.submitted_by, 'kim')
    assert.equal((await ann!('claim', taskId)).body.claimed_by, 'ann')
    const decided = await ann!('decide', taskId, 'deny', '--reason', 'Settled before.')
    assert.deepEqual([decided.code, decided.body.decided_by, decided.body.status], [0, 'ann', 'terminated'])
    refusedFor((await ann!(...claimWorkflow, '--input', file('TC-101'))).body, 'ann')
    refusedFor((await ann!('cancel', gated.instance_id, '--reason', 'No.')).body, 'ann')
    const metrics = await curlJson(...bearer(place.ann), `${url}/metrics`)
    assert.ok(metrics.status === 403 && refusedFor(metrics.body, 'ann'))

    // Vera reads all of it, takes it with her, and changes nothing.
    const { audit } = (await vera!('case', held.instance_id, '--steps', '--audit')).body
    assert.deepEqual([audit[0].actor, audit.at(-1).actor], ['kim', 'ann'])
    assert.equal((await vera!('audit', 'verify', '--instance', held.instance_id)).body.valid, true)
    const taken = join(desk.folder, 'taken.json')
    assert.equal((await vera!('audit', 'export', '--instance', held.instance_id, '--out', taken)).code, 0)
    assert.match(await verifyOffline(taken), /^WHOLE/)
    const gate = await nextTask(desk, 'claims_handlers')
    refusedFor((await vera!('decide', gate.task_id, 'approve', '--reason', 'Fine.')).body, 'vera')
    refusedFor((await vera!('retry', gated.instance_id)).body, 'vera')
    const erasing = ['audit', 'erase', '--instance', held.instance_id, '--payload', audit[0].payload_id]
    refusedFor((await vera!(...erasing, '--reason', 'Request 12.')).body, 'vera')

    // Otto ends, erases and measures; he neither reads cases nor decides.
    assert.equal((await otto!('cancel', gated.instance_id, '--reason', 'Withdrawn.')).body.status, 'canceled')
    assert.equal((await otto!('retry', gated.instance_id)).body.code, 'CC_ERR_NOT_RETRYABLE')
    assert.equal((await otto!(...erasing, '--reason', 'Request 12.')).body.erased, true)
    assert.match((await curl(...bearer(place.otto), `${url}/metrics`)).stdout, /^cc_cases_held_total\S* 2$/m)
    refusedFor((await otto!('cases')).body, 'otto')
    refusedFor((await otto!('decide', gate.task_id, 'approve', '--reason', 'Fine.')).body, 'otto')

    // Without a key nobody is anybody, and a key that is revoked is none from the next request on.
    const nobody = await curlJson(`${url}/v1/cases`)
    assert.deepEqual([nobody.status, nobody.body.code], [401, 'CC_ERR_KEY_MISSING'])
    await desk.spawn(['keys', 'revoke', 'ann'], { env: place.env })
    const revoked = await ann!('tasks')
    assert.deepEqual([revoked.code, revoked.body.code], [1, 'CC_ERR_KEY_UNKNOWN'])
    assert.equal((await curlJson(`${url}/health/ready`)).status, 200)

    // What the store says is who had the keys, and nothing else: no secret is anywhere in it or in the log.
    assert.deepEqual(await service.stop(), { code: 0, signal: null })
    const actors = (await desk.json('case', gated.instance_id, '--audit')).audit.map(({ actor }: any) => actor)
    assert.deepEqual([actors[0], actors.at(-1)], ['kim', 'otto'])
    assert.equal((await desk.json('audit', 'verify')).valid, true)
    for (const key of [place.kim, place.ann, place.vera, place.otto]) assert.ok(!service.texts().stderr.includes(key))
  },
  { skip: withoutCurl },
)
