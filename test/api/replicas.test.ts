import assert from 'node:assert/strict'
import { turns, until } from '../storage/fixture.ts'
import { onEachPostgres, type OpenPostgresStore } from '../storage/postgres-store.ts'
import { type MemberOptions, openFleet, without } from '../engine/open-fleet.ts'
import type { EngineFixture } from '../engine/fixture.ts'
import { type ApiFixture, type ApiOptions, desk, serviceOn } from './fixture.ts'

const crowd = Array.from({ length: 100 }, (_, number) => `person-${number}`)
const people = { kim: 'submitter', ...Object.fromEntries(crowd.map((name) => [name, 'reviewer'])) } as const

const request = { workflow: 'review', domain: 'gated', input: { amount: 7 } }

/** Two replicas that only take requests, and a worker elsewhere, on one store. */
async function openReplicas(
  open: OpenPostgresStore,
  options: ApiOptions = {},
  replica: MemberOptions = {},
): Promise<Replicas> {
  const shared = { ...desk(), ...options }
  const alone = { ...shared, ...without, ...replica }
  const fleet = await openFleet(open, alone, alone, shared)
  const [one, two, worker] = fleet.engines as [EngineFixture, EngineFixture, EngineFixture]
  const replicas = [await serviceOn(one, { people, ...options }), await serviceOn(two, { people, ...options })] as const
  return {
    replicas,
    worker,
    store: fleet.store,
    of: (number) => replicas[number % 2]!,
    async [Symbol.asyncDispose]() {
      for (const each of replicas) await each[Symbol.asyncDispose]()
      await fleet[Symbol.asyncDispose]()
    },
  }
}

interface Replicas extends AsyncDisposable {
  readonly replicas: readonly [ApiFixture, ApiFixture]
  readonly worker: EngineFixture
  readonly store: { sql<R extends object>(text: string): Promise<R[]> }
  /** One for the even, the other for the odd. */
  of(number: number): ApiFixture
}

/** A case that waits for a person at the gate, and its task. */
async function heldTask({ of, worker }: Replicas): Promise<{ readonly taskId: string; readonly instanceId: string }> {
  const { body } = await of(0).ask('POST', '/v1/cases', { as: 'kim', body: request })
  const { openTasks } = await worker.reach(body.instance_id as string, { status: 'suspended' })
  return { taskId: openTasks[0]!, instanceId: body.instance_id as string }
}

onEachPostgres('a hundred people decide at once over two replicas: one does, and the others hear who', async (open) => {
  await using fleet = await openReplicas(open)
  const { taskId, instanceId } = await heldTask(fleet)

  const answers = await Promise.all(
    crowd.map((name, number) =>
      fleet.of(number).ask('POST', `/v1/tasks/${taskId}/decision`, {
        as: name,
        body: { decision: number % 3 === 0 ? 'deny' : 'approve', reason: `as ${name} sees it` },
      }),
    ),
  )

  const [decided, ...others] = answers.filter(({ status }) => status === 200)
  assert.deepEqual(others, [])
  const refused = answers.filter(({ status }) => status === 409)
  assert.equal(refused.length, 99)
  for (const { body } of refused) {
    assert.equal(body.code, 'CC_ERR_ALREADY_DECIDED')
    assert.ok(body.detail.includes(decided!.body.decided_by), body.detail)
  }
  const events = await fleet.worker.envelopes(instanceId, 'task.decided')
  assert.deepEqual(
    events.map(({ actor }) => actor),
    [decided!.body.decided_by],
  )
  await fleet.worker.verify()
})

onEachPostgres('programs that send the same key at once over two replicas make one case', async (open) => {
  await using fleet = await openReplicas(open)
  const send = (number: number) =>
    fleet.of(number).ask('POST', '/v1/cases', { as: 'kim', body: request, headers: { 'idempotency-key': 'once' } })

  const answers = await Promise.all(Array.from({ length: 100 }, (_, number) => send(number)))

  assert.equal(new Set(answers.map(({ body }) => body.instance_id)).size, 1)
  const statuses = answers.map(({ status }) => status).toSorted()
  assert.deepEqual(statuses, [...Array.from({ length: 99 }, () => 200), 202])
  assert.equal((await fleet.store.sql('select 1 from instances')).length, 1)
  const other = { as: 'kim', body: { ...request, input: { amount: 8 } }, headers: { 'idempotency-key': 'once' } }
  for (const replica of fleet.replicas) assert.equal((await replica.ask('POST', '/v1/cases', other)).status, 409)
})

onEachPostgres('people who claim a task at once over two replicas: one has it, on both of them', async (open) => {
  await using fleet = await openReplicas(open)
  const { taskId } = await heldTask(fleet)

  const answers = await Promise.all(
    crowd
      .slice(0, 30)
      .map((name, number) => fleet.of(number).ask('POST', `/v1/tasks/${taskId}/claim`, { as: name, body: {} })),
  )

  const claimed = answers.filter(({ status }) => status === 200)
  assert.equal(claimed.length, 1)
  const holder = claimed[0]!.body.claimed_by as string
  for (const { status, body } of answers) {
    if (status !== 200) assert.deepEqual([status, body.code], [409, 'CC_ERR_CLAIMED'])
  }
  const decision = { decision: 'approve', reason: 'fine' }
  const other = crowd.find((name) => name !== holder)!
  for (const replica of fleet.replicas) {
    const { body } = await replica.ask('POST', `/v1/tasks/${taskId}/decision`, { as: other, body: decision })
    assert.equal(body.code, 'CC_ERR_CLAIMED')
  }
  const { status } = await fleet.of(1).ask('POST', `/v1/tasks/${taskId}/decision`, { as: holder, body: decision })
  assert.equal(status, 200)
  assert.equal((await fleet.of(0).ask('GET', `/v1/tasks/${taskId}`, { as: other })).body.decided_by, holder)
})

onEachPostgres(
  'whoever follows a case at one replica hears at once what a worker and the other replica do',
  async (open) => {
    await using fleet = await openReplicas(open)
    const { body } = await fleet.of(1).ask('POST', '/v1/cases', { as: 'kim', body: request })
    const watching = await fleet.of(0).watch(`/v1/cases/${body.instance_id}/stream`, { as: 'kim' })
    const { openTasks } = await fleet.worker.reach(body.instance_id as string, { status: 'suspended' })
    // Time stands still: no beat comes.
    await until(() => watching.events.some(({ event }) => event === 'task.opened'), 'the hold')

    const decision = { decision: 'approve', reason: 'fine' }
    await fleet.of(1).ask('POST', `/v1/tasks/${openTasks[0]}/decision`, { as: 'person-1', body: decision })

    await until(watching.isOver, 'the end')
    const ids = watching.events.flatMap(({ id }) => (id === undefined ? [] : Number(id)))
    const { length } = await fleet.worker.core.getAudit(body.instance_id as string)
    assert.deepEqual(
      ids,
      Array.from({ length }, (_, index) => index + 1),
    )
  },
)

onEachPostgres(
  'where no hint arrives a stream is told with a beat, and a page that shows lists reads them again',
  async (open) => {
    await using fleet = await openReplicas(open, {}, { isDeaf: true })
    const [replica] = fleet.replicas
    const { body } = await fleet.of(1).ask('POST', '/v1/cases', { as: 'kim', body: request })
    const watching = await replica.watch(`/v1/cases/${body.instance_id}/stream`, { as: 'kim' })
    const feed = await replica.watch('/v1/stream', { as: 'person-1' })
    // Of a case that the deaf have taken nobody tells the worker either.
    await fleet.worker.clock.advance(6_000)
    await fleet.worker.reach(body.instance_id as string, { status: 'suspended' })
    await turns(50)
    const told = () => watching.events.some(({ event }) => event === 'task.opened')
    assert.equal(told(), false)

    await replica.engine.clock.advance(2_000)

    await until(told, 'the hold')
    await until(async () => {
      await replica.engine.clock.advance(500)
      return feed.events.some(({ data }) => (JSON.parse(data) as { whole: boolean }).whole === false)
    }, 'a hint that anything may have changed')
    watching.leave()
    feed.leave()
  },
)
