import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openPostgresStore } from '../storage/postgres-store.ts'
import { type PrivateServer, startServer } from '../storage/private-server.ts'
import { openSmallDisk, type SmallDisk } from '../storage/small-disk.ts'
import { type EngineFixture, openEngine } from './fixture.ts'

const needed = 'not run: needs root, to mount a small disk'

/** Lets time pass, here and on the clock of the engine, until it is so. */
async function afterAWhile(engine: EngineFixture, condition: () => Promise<boolean>, what: string): Promise<void> {
  for (let tries = 0; tries < 60; tries++) {
    if (await condition()) return
    await engine.clock.advance(1_000)
    await delay(100)
  }
  assert.fail(`${what} did not happen`)
}

const isReady = (engine: EngineFixture) =>
  engine.core.ping().then(
    () => true,
    () => false,
  )

/** Puts the store into a tablespace on this disk. */
async function onDisk(server: PrivateServer, disk: SmallDisk): Promise<string> {
  const store = await openPostgresStore({ server: server.dsn })
  await store.sql(`create tablespace small location '${disk.folder('tables')}'`)
  await store.sql('create database small tablespace small')
  await store[Symbol.asyncDispose]()
  return Object.assign(new URL(server.dsn), { pathname: '/small' }).href
}

/** Cases that were confirmed, and a refusal each for those that were not. */
async function submitMany(engine: EngineFixture, count: number, inputBytes: number) {
  const taken: string[] = []
  const refused: (Error & { code?: string })[] = []
  for (let index = 0; index < count && refused.length === 0; index++) {
    // What cannot be made smaller.
    const noise = Array.from({ length: inputBytes / 8 }, () => Math.random().toString(36).slice(2, 10)).join('')
    await engine.submit({ input: { index, noise } }).then(
      ({ instanceId }) => taken.push(instanceId),
      (error: Error) => refused.push(error),
    )
  }
  return { taken, refused }
}

test('a full disk under the tables is told, health says so, and all goes on once there is room', async (context) => {
  using disk = openSmallDisk(40)
  if (!disk) return context.diagnostic(needed)
  await using server = await startServer()
  const dsn = await onDisk(server, disk)
  const gate = Promise.withResolvers<void>()
  const first = async () => {
    await gate.promise
    return { text: 'x'.repeat(100) }
  }
  await using engine = await openEngine(() => openPostgresStore({ server: dsn }), { plays: { first } })
  const { instanceId } = await engine.submit()
  await engine.reachCall('first#1.1')
  disk.fill(0)

  const { taken, refused } = await submitMany(engine, 500, 40_000)
  const [refusal] = refused
  assert.equal(refusal!.code, 'CC_ERR_SERVER_DISK', String(refusal))
  assert.match(refusal!.message, /no room on its disk/)
  await assert.rejects(engine.core.ping(), { code: 'CC_ERR_SERVER_DISK' })
  assert.equal((await engine.core.getCase(instanceId)).status, 'running', 'reading goes on')
  gate.resolve()
  disk.free()

  for (const id of [instanceId, ...taken]) {
    await afterAWhile(engine, async () => (await engine.core.getCase(id)).status === 'completed', `the end of ${id}`)
  }
  await afterAWhile(engine, () => isReady(engine), 'readiness')
  assert.equal((await engine.run()).status, 'completed')
  await engine.verify()
})

test('a server that crashes of a full disk has lost nothing that was confirmed, and is used again when it is back', async (context) => {
  using disk = openSmallDisk(50)
  if (!disk) return context.diagnostic(needed)
  const settings = { min_wal_size: '32MB', max_wal_size: '32MB', wal_recycle: 'off' }
  await using server = await startServer({ walDir: `${disk.dir}/wal`, settings })
  await using engine = await openEngine(() => openPostgresStore({ server: server.dsn }))
  disk.fill(1_000_000)

  const { taken, refused } = await submitMany(engine, 1_000, 100_000)
  assert.match(server.log(), /PANIC:.*No space left on device/)
  assert.match(String(refused[0]!.code), /^CC_ERR_SERVER_(AWAY|DISK)$/, String(refused[0]))
  assert.equal(await isReady(engine), false)
  disk.free()
  await server.stop('immediate')
  await server.start()

  await afterAWhile(engine, () => isReady(engine), 'readiness')
  for (const id of taken) {
    await afterAWhile(engine, async () => (await engine.core.getCase(id)).status === 'completed', `the end of ${id}`)
  }
  assert.ok(taken.length > 10, `${taken.length} were taken before`)
  assert.equal((await engine.run()).status, 'completed')
  await engine.verify()
})
