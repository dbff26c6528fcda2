import assert from 'node:assert/strict'
import { test } from 'node:test'
import { grantPostgres } from '../../src/storage/postgres-open.ts'
import { type OpenStore, until } from '../storage/fixture.ts'
import { openPostgresStore } from '../storage/postgres-store.ts'
import { openEngine } from './fixture.ts'

/** A store whose holder has the rights that `db init --app-role` gives, and no others. */
const openAsService: OpenStore = async (options) => {
  const store = await openPostgresStore(options)
  const role = `${store.schema}_service`
  await store.sql(`create role ${role} login password 'secret'`)
  const { granting } = await grantPostgres({ dsn: store.dsn, schema: store.schema, nowMs: 1 }, role)
  assert.equal(granting, 'applied')
  const backend = await store.join({ dsn: Object.assign(new URL(store.dsn), { username: role }).href })
  const [{ who }] = (await backend.read((reader) => reader.query('select current_user as who'))) as [{ who: string }]
  assert.equal(who, role)
  return {
    backend,
    get underWay() {
      return backend.underWay
    },
    sql: store.sql,
    version: () => store.version(),
    rowCounts: () => store.rowCounts(),
    reopen: () => assert.fail('no story here opens it again'),
    takeOver: () => assert.fail('no story here takes it over'),
    async [Symbol.asyncDispose]() {
      await backend.close()
      await store.sql(`drop owned by ${role}`)
      await store.sql(`drop role ${role}`)
      await store[Symbol.asyncDispose]()
    },
  }
}

const config = {
  governance_tiers: {
    spot_check: { sample_rate: 1, queue: 'quality', sla: 3_600 },
    gate: { queue: 'handlers', sla: 30, escalation_queue: 'leads' },
    hold: { queue: 'compliance', sla: 30 },
  },
}

test('postgres: with the rights of the service a case is submitted, run, held, escalated, claimed, decided and erased', async () => {
  await using engine = await openEngine(openAsService, { governance: 'gate', config })
  const { core } = engine
  const request = { key: 'K-1' }
  const { instanceId, seen } = await engine.submit(request)
  assert.deepEqual([seen, (await engine.submit(request)).instanceId], [false, instanceId])
  const held = await core.waitFor(instanceId)
  assert.equal(held.status, 'suspended')
  const taskId = held.openTasks[0]!
  await core.claimTask({ taskId, actor: 'bob' })
  await engine.clock.advance(30_000)
  assert.equal((await core.getTask(taskId)).queue, 'leads')

  const decided = await core.decide({ taskId, decision: 'approve', reason: 'fine', actor: 'ann' })

  assert.equal(decided.status, 'completed')
  const [{ id }] = (await engine.store.sql<{ id: string }>(
    `select payload_id as id from payloads where instance_id = $1 and kind = 'input'`,
    instanceId,
  )) as [{ id: string }]
  await core.erase({ instanceId, payloadId: id, actor: 'olga', reason: 'asked for' })
  await engine.verify()
  assert.equal((await core.verify()).erasedPayloads, 1)
  // It is known to the others, and says that it is alive.
  const beats = async () => (await engine.store.sql<{ at: number }>('select beat_at_ms as at from workers'))[0]!.at
  const before = await beats()
  await until(async () => {
    await engine.clock.advance(5_000)
    return (await beats()) > before
  }, 'another beat')
})

test('postgres: with the rights of the service cases are referred, objected to, canceled, retried and put to sleep', async () => {
  let isBroken = true
  const first = () => {
    if (isBroken) throw new Error('out of order')
    return {}
  }
  await using engine = await openEngine(openAsService, { governance: 'spot_check', config, plays: { first } })
  const { core } = engine
  const { instanceId } = await engine.submit()
  await engine.reach(instanceId, { work: 'sleeping' })
  const canceled = await engine.submit()
  await engine.reach(canceled.instanceId, { work: 'sleeping' })
  await core.cancel({ instanceId: canceled.instanceId, actor: 'olga', reason: 'a mistake' })
  await until(async () => {
    await engine.clock.advance(60_000)
    return (await core.getCase(instanceId)).status === 'failed'
  }, 'its last attempt')
  isBroken = false

  await core.retry({ instanceId, actor: 'olga' })

  const done = await core.waitFor(instanceId)
  assert.equal(done.status, 'completed')
  await core.decide({ taskId: done.openTasks[0]!, decision: 'object', reason: 'wrong', actor: 'ann' })
  const disputed = await core.getCase(instanceId)
  assert.equal(disputed.disputed, true)
  const upheld = { taskId: disputed.openTasks[0]!, decision: 'deny', reason: 'it is', actor: 'bob' }
  assert.equal((await core.decide(upheld)).status, 'terminated')
  assert.equal((await core.getCase(canceled.instanceId)).status, 'canceled')
  await engine.verify()
})

test('postgres: with the rights of the service the first case settles whether the store is a simulation', async () => {
  await using engine = await openEngine(openAsService)
  await engine.run()
  const [meta] = await engine.store.sql('select simulated from meta')
  assert.deepEqual({ ...meta }, { simulated: 0 })
})
