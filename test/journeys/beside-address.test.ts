import assert from 'node:assert/strict'
import { existsSync, readdirSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { test } from 'node:test'
import { claimWorkflow, openDesk } from '../cli/cli.ts'
import { ask, caseFile, claim, claimRequest, rested, serve, takeLock } from './serving.ts'

test('an address that another service has taken over meanwhile is not taken for the holder of the store', async () => {
  await using desk = await openDesk()
  await using other = await openDesk()
  const gone = await serve(desk)
  const { body } = await ask(`${gone.url}/v1/cases`, { body: claimRequest('TC-104') })
  await rested(gone.url, body.instance_id)
  await gone.stop('SIGKILL')
  await using stranger = await serve(other, ['--port', gone.port])
  assert.equal(stranger.url, gone.url)

  // Somebody has the lock and has not yet said where they are reached, so the file still has the old word.
  using held = new DisposableStack()
  held.use(takeLock(desk.env.CC_DB_PATH!))
  const { code, stdout } = await desk.spawn(['cancel', body.instance_id, '--reason', 'Withdrawn.', '--json'])
  assert.equal(code, 3)
  const refusal = JSON.parse(stdout)
  assert.equal(refusal.code, 'CC_ERR_OTHER_STORE')
  assert.ok(refusal.detail.includes(stranger.url) && refusal.detail.includes(desk.env.CC_DB_PATH), refusal.detail)
  assert.match(refusal.remedy, /--url.*--db/)
  assert.equal((await desk.json('case', body.instance_id)).status, 'suspended')
  assert.equal((await other.json('cases')).items.length, 0)
})

test('a service with keys wants one also from the machine that it runs on, and says how it is given', async () => {
  await using desk = await openDesk()
  const keys = { CC_API_KEYS_FILE: join(desk.folder, 'api-keys.json') }
  const { stdout: secret } = await desk.spawn(['keys', 'add', 'kim', '--role', 'submitter'], { env: keys })
  await using service = await serve(desk, [], keys)
  const submit = [...claimWorkflow, '--input', caseFile(desk, claim('TC-101')), '--wait']
  const bare = await desk.spawn(submit)
  assert.equal(bare.code, 1)
  assert.match(bare.stderr, /wants an API key\.\nhint: .*CC_API_KEY.*--api-key.*\(CC_ERR_KEY_MISSING\)/)
  const wrong = await desk.spawn([...submit, '--api-key', 'cc_wrong'])
  assert.deepEqual([wrong.code, /CC_ERR_KEY_UNKNOWN/.test(wrong.stderr)], [1, true])
  assert.equal((await desk.json('cases')).items.length, 0)

  const right = await desk.spawn([...submit, '--json'], { env: { CC_API_KEY: secret.trim() } })
  assert.deepEqual([right.code, JSON.parse(right.stdout).submitted_by], [0, 'kim'], right.stderr)
  assert.ok(!(right.stdout + right.stderr + service.texts().stderr).includes(secret.trim()))
})

test('an address where nobody listens, or something else, is told apart from a refusal', async () => {
  await using desk = await openDesk()
  const server = createServer((_request, response) => response.end('<h1>Welcome</h1>'))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const foreign = await desk.spawn(['cases', '--url', url])
  assert.equal(foreign.code, 1)
  assert.match(foreign.stderr, /CC_ERR_SERVICE\)/)
  await new Promise((resolve) => server.close(resolve))

  for (const args of [['cases'], [...claimWorkflow, '--input', caseFile(desk, claim('TC-101')), '--wait']]) {
    const { code, stdout } = await desk.spawn([...args, '--url', url, '--json'])
    const { code: name, detail, remedy } = JSON.parse(stdout)
    assert.deepEqual([code, name], [1, 'CC_ERR_SERVICE_AWAY'])
    assert.match(detail, new RegExp(`${url} cannot be reached: nobody listens there`))
    assert.match(remedy, /--url, CC_URL/)
  }
  assert.ok(!existsSync(desk.env.CC_DB_PATH!), 'no store was made in place of the service')
})

test('a service whose port is taken ends with 1, and has not touched the store', async () => {
  await using desk = await openDesk()
  await using other = await openDesk()
  await using service = await serve(desk)
  const { code, stdout } = await other.spawn(['serve', '--port', service.port, '--json'])
  const { code: name, detail } = JSON.parse(stdout)
  assert.deepEqual([code, name], [1, 'CC_ERR_PORT'])
  assert.match(detail, new RegExp(`port ${service.port}: another program listens there`))
  assert.deepEqual(readdirSync(other.folder), [])
})
