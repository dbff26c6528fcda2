import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { CommitUnknownError, type Transaction } from '../../src/storage/backend.ts'
import { openCutProxy } from './cut-proxy.ts'
import { until } from './fixture.ts'
import { onEachPostgres } from './postgres-store.ts'
import { claimOne, readyCase, stepCommit } from './ready-case.ts'

const touch = (tx: Transaction) => tx.execute('update meta set created_at_ms = created_at_ms + 1')

onEachPostgres(
  'who finds all connections busy for too long is told so, and nothing is the worse for it',
  async (open) => {
    await using store = await open()
    const backend = await store.join({ poolMin: 0, poolMax: 2, limits: { acquireMs: 300 } })
    const gate = Promise.withResolvers<void>()
    const holding = [1, 2].map(() => backend.read(() => gate.promise))
    await delay(50)

    await assert.rejects(backend.transaction(touch), (error: Error & { code: string; remedy: string }) => {
      assert.equal(error.code, 'CC_ERR_POOL_BUSY')
      assert.match(error.remedy, /CC_DB_POOL_MAX/)
      return true
    })

    gate.resolve()
    await Promise.all(holding)
    assert.equal(await backend.transaction(touch), 1)
  },
)

onEachPostgres(
  'a server that says nothing is waited for so long and no longer, and its connection is given up',
  async (open) => {
    await using store = await open()
    await using proxy = await openCutProxy(store.dsn)
    const backend = await store.join({
      dsn: proxy.dsn,
      poolMin: 1,
      poolMax: 2,
      limits: { silenceMs: 300, acquireMs: 300 },
    })
    await readyCase(backend)
    const commit = stepCommit(await claimOne(backend))
    proxy.hush(true)
    const startedAt = performance.now()

    await assert.rejects(backend.hotPath.commitSteps([commit]), CommitUnknownError)
    await assert.rejects(
      backend.read((reader) => reader.query('select 1')),
      { code: 'CC_ERR_SERVER_AWAY' },
    )
    assert.ok(performance.now() - startedAt < 12_000, 'bounded')
    proxy.hush(false)

    // It had arrived.
    assert.deepEqual(await backend.hotPath.commitSteps([commit]), [{ kind: 'fenced' }])
    assert.equal((await store.sql('select 1 from checkpoints')).length, 1)
  },
)

onEachPostgres('a statement that takes longer than its time limit is told to have been too slow', async (open) => {
  await using store = await open()
  await store.sql('begin')
  await store.sql('lock table meta in access exclusive mode')
  const { backend } = store

  const waiting = backend.transaction(async (tx) => {
    await tx.query(`select set_config('lock_timeout', '100', true)`)
    return await touch(tx)
  })

  await assert.rejects(waiting, { code: 'CC_ERR_SERVER_SLOW' })
  await store.sql('rollback')
  assert.equal(await backend.transaction(touch), 1)
})

onEachPostgres('a transaction that was forgotten is ended by the server, and holds nothing any more', async (open) => {
  await using store = await open()
  const backend = await store.join()
  const gate = Promise.withResolvers<void>()
  let runs = 0

  // It waits for something that no database does, as no body should.
  const forgetful = backend.transaction(async (tx) => {
    await tx.query(`select set_config('idle_in_transaction_session_timeout', '200', true)`)
    await touch(tx)
    if (++runs === 1) await gate.promise
    return await touch(tx)
  })
  await until(() => runs === 1)
  // Until then it waits for the rows.
  assert.equal(await store.backend.transaction(touch), 1)
  await until(async () => {
    const idle = `select 1 from pg_stat_activity where state like 'idle in transaction%' and usename like $1`
    return (await store.sql(idle, `${store.schema}%`)).length === 0
  })
  gate.resolve()

  assert.equal(await forgetful, 1)
  assert.equal(runs, 2, 'it was begun anew')
})
