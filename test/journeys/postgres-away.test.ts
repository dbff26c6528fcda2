import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openDesk } from '../cli/cli.ts'
import { startServer } from '../storage/private-server.ts'
import { ask, claimRequest, eventually, serve } from './serving.ts'

const password = 'sesame-0ff-limits'

test('a service outlives its server: it says so meanwhile, loses nothing, and goes on by itself', async () => {
  await using server = await startServer({ password })
  const way = { CC_DB_BACKEND: 'postgres', CC_DB_DSN: server.dsn, CC_DB_PATH: '' }
  await using desk = await openDesk(way)
  await using serving = await serve(desk)
  const submit = (caseId: string) =>
    ask(`${serving.url}/v1/cases`, { body: claimRequest(caseId), headers: { 'idempotency-key': caseId } })
  const readiness = async () => (await ask(`${serving.url}/health/ready`)).status
  const ended = async (id: string) => {
    const isOver = async () => (await ask(`${serving.url}/v1/cases/${id}?wait=2`)).body.status !== 'running'
    await eventually(isOver, `the end of ${id}`)
  }
  const before = await submit('TC-101')
  assert.equal(before.status, 202)
  await ended(before.body.instance_id)
  assert.equal(await readiness(), 200)

  await server.stop('immediate')
  await eventually(async () => (await readiness()) === 503, 'that it is not ready')
  const refused = await submit('TC-102')
  assert.deepEqual([refused.status, refused.body.code], [503, 'CC_ERR_SERVER_AWAY'])
  assert.equal((await ask(`${serving.url}/health/live`)).status, 200)
  const command = await desk.spawn(['cases', '--json'])
  assert.equal(JSON.parse(command.stderr || command.stdout).code, 'CC_ERR_SERVER_AWAY')
  await server.start()

  await eventually(async () => (await readiness()) === 200, 'that it is ready')
  const again = await submit('TC-102')
  assert.equal(again.status, 202)
  await ended(again.body.instance_id)
  assert.equal((await desk.json('audit', 'verify')).valid, true)
  assert.equal((await serving.stop()).code, 0)
  const { stdout, stderr } = serving.texts()
  for (const text of [stdout, stderr, command.stdout, command.stderr, server.log()]) assert.ok(!text.includes(password))
})
