import assert from 'node:assert/strict'
import type { Progress } from '../../src/engine/core.ts'
import { onEachBackend, onSqlite, turns } from '../storage/fixture.ts'
import { openEngine } from './fixture.ts'

const never = () => new Promise<never>(() => {})

onEachBackend('waiting ends when the case does, for everybody who waits', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const waiting = Array.from({ length: 50 }, () => engine.core.waitFor(instanceId))

  engine.core.start()

  for (const { status } of await Promise.all(waiting)) assert.equal(status, 'completed')
  assert.equal((await engine.core.waitFor(instanceId)).status, 'completed')
})

onEachBackend('waiting ends when the case is held', async (open) => {
  await using engine = await openEngine(open, { governance: 'hold' })

  assert.equal((await engine.run()).status, 'suspended')
})

onEachBackend('waiting ends when a person cancels the case', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const waiting = engine.core.waitFor(instanceId)
  await turns()

  await engine.core.cancel({ instanceId, actor: 'olga', reason: 'twice' })

  assert.equal((await waiting).status, 'canceled')
})

onEachBackend('waiting ends after its time, and the case goes on', async (open) => {
  await using engine = await openEngine(open, { plays: { first: never } })
  const { instanceId } = await engine.submit()
  const waiting = engine.core.waitFor(instanceId, { timeoutMs: 1_000 })
  const refused = assert.rejects(waiting, {
    code: 'CC_ERR_TIMED_OUT',
    facts: { instanceId, timeoutMs: 1_000, status: 'running' },
  })

  await engine.clock.advance(1_000)

  await refused
  assert.equal((await engine.core.getCase(instanceId)).status, 'running')
})

onEachBackend('waiting ends when whoever waits has had enough', async (open) => {
  await using engine = await openEngine(open, { plays: { first: never } })
  const { instanceId } = await engine.submit()
  const enough = new AbortController()
  const waiting = engine.core.waitFor(instanceId, { signal: enough.signal })
  const refused = assert.rejects(waiting, /had enough/)

  enough.abort(new Error('had enough'))

  await refused
  await assert.rejects(engine.core.waitFor(instanceId, { signal: AbortSignal.abort(new Error('before')) }), /before/)
})

onEachBackend('waiting for a case that is not there is refused', async (open) => {
  await using engine = await openEngine(open)

  await assert.rejects(engine.core.waitFor('nothing'), { code: 'CC_ERR_UNKNOWN_CASE' })
})

onEachBackend('whoever listens hears of every event once it is stored, in order', async (open) => {
  await using engine = await openEngine(open, {
    governance: 'gate',
    steps: ['first', 'second'].map((name) => ({ name, primitive: 'play' })),
    isStarted: false,
  })
  const heard: Progress[] = []
  const unsubscribe = engine.core.onProgress((progress) => heard.push(progress))
  engine.core.onProgress(() => {
    throw new Error('a listener of bad manners')
  })
  const { instanceId } = await engine.submit()

  engine.core.start()
  await engine.core.waitFor(instanceId)

  const expected = await engine.events(instanceId)
  assert.deepEqual(
    heard.map(({ event }) => event),
    expected,
  )
  assert.deepEqual(
    heard.slice(1, 3).map(({ step }) => step),
    ['first', 'second'],
  )
  unsubscribe()
  await engine.core.cancel({ instanceId, actor: 'olga', reason: 'twice' })
  assert.equal(heard.length, expected.length)
})

onEachBackend('cases are listed with the latest first, a page at a time, and by status and workflow', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const ids: string[] = []
  for (let index = 0; index < 5; index++) {
    await engine.clock.advance(1)
    ids.push((await engine.submit()).instanceId)
  }
  await engine.core.cancel({ instanceId: ids[0]!, actor: 'olga', reason: 'twice' })

  const first = await engine.core.listCases({ limit: 3 })
  const second = await engine.core.listCases({ limit: 3, cursor: first.nextCursor! })

  const listed = [...first.items, ...second.items].map(({ instanceId }) => instanceId)
  assert.deepEqual(listed, ids.toReversed())
  assert.equal(second.nextCursor, undefined)
  assert.equal((await engine.core.listCases({ status: 'canceled' })).items.length, 1)
  assert.equal((await engine.core.listCases({ workflow: 'review' })).items.length, 5)
  assert.equal((await engine.core.listCases({ workflow: 'other' })).items.length, 0)
  for (const limit of [0, 501, 1.5, Number.NaN]) {
    await assert.rejects(engine.core.listCases({ limit }), { code: 'CC_ERR_INPUT' })
  }
})

onSqlite('a refused write tells the whole process that the store was taken over', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const other = await engine.store.takeOver()
  assert.equal(engine.core.lost.aborted, false)

  await assert.rejects(engine.core.cancel({ instanceId, actor: 'olga', reason: 'twice' }), {
    code: 'CC_ERR_STORE_LOST',
  })

  assert.equal((engine.core.lost.reason as { code: string }).code, 'CC_ERR_STORE_LOST')
  await other.close()
})

onSqlite('whoever waits hears that the store was taken over, and the workers leave', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit()
  const waiting = engine.core.waitFor(instanceId)
  const refused = assert.rejects(waiting, { code: 'CC_ERR_STORE_LOST' })
  await turns()
  const other = await engine.store.takeOver()

  engine.core.start()

  await refused
  await engine.core.drain()
  assert.equal((await engine.core.getCase(instanceId)).work, 'ready')
  await other.close()
})
