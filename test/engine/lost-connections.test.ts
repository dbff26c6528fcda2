import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { isCoreError } from '../../src/errors.ts'
import { openCutProxy } from '../storage/cut-proxy.ts'
import { until } from '../storage/fixture.ts'
import { onEachPostgres, openPostgresStore, type PostgresFixture } from '../storage/postgres-store.ts'
import { startServer } from '../storage/private-server.ts'
import { type EngineFixture, type EngineOptions, openEngine } from './fixture.ts'

const steps = ['first', 'second', 'third'].map((name) => ({ name, primitive: 'play' }))

/** An engine whose connections may break, beside a store that is reached another way. */
async function openBehind(store: PostgresFixture, dsn: string, options: EngineOptions): Promise<EngineFixture> {
  const backend = await store.join({ dsn, poolMin: 2, poolMax: 6 })
  const beside = {
    ...store,
    backend,
    get underWay() {
      return backend.underWay
    },
    [Symbol.asyncDispose]: async () => {},
  }
  return await openEngine(() => Promise.resolve(beside), options)
}

/** Lets time pass, here and on the clock of the engine, until all have ended. */
async function allEnd(engine: EngineFixture, ids: readonly string[]): Promise<void> {
  for (let tries = 0; ; tries++) {
    const views = await Promise.all(ids.map((id) => engine.core.getCase(id).catch(() => undefined)))
    if (views.every((view) => view?.status === 'completed')) return
    assert.ok(tries < 150, `they end: ${views.map((view) => `${view?.status}/${view?.work}`).join(' ')}`)
    await engine.clock.advance(1_000)
    await delay(50)
  }
}

/** Each case ended once with each step recorded once, and no session is left behind in a transaction or above the pool. */
async function allIsWell(
  engine: EngineFixture,
  store: PostgresFixture,
  ids: readonly string[],
  { role, most }: { readonly role: string; readonly most: number },
) {
  for (const id of ids) {
    const recorded = (await engine.core.getSteps(id)).map(({ step }) => step)
    assert.deepEqual(recorded, ['first', 'second', 'third'])
    assert.equal((await engine.events(id)).filter((type) => type === 'case.completed').length, 1)
  }
  await engine.verify()
  const sessions = () =>
    store.sql<{ state: string; query: string }>('select state, query from pg_stat_activity where usename = $1', role)
  await until(async () => (await sessions()).length <= most, 'that no session is left over')
  await until(
    async () => (await sessions()).every(({ state }) => !state.startsWith('idle in transaction')),
    'that no transaction is left open',
  )
}

/** Six of the engine's pool and the one that listens; two of the store that stands beside it as the same role. */
const mostBehind = 6 + 1 + 2
/** Ten unless told otherwise. */
const mostAlone = 10 + 1

/** What is said to the server when it is done; the connection breaks before or after. */
const acts = {
  'a submission': 'insert into instances',
  'the commit of a submission': 'commit',
  'a claim': 'ready as materialized',
  'the commit of a step': 'new_checkpoints as (insert',
  'the end of a case': 'ended as (update instances',
  'a beat': 'insert into workers',
} as const

for (const [what, text] of Object.entries(acts)) {
  for (const when of ['before', 'after'] as const) {
    onEachPostgres(`the connection breaks ${when} ${what} arrives, and each step is recorded once`, async (open) => {
      await using store = await open()
      await using proxy = await openCutProxy(store.dsn)
      const role = new URL(proxy.dsn).username
      await using engine = await openBehind(store, proxy.dsn, { steps })
      proxy.cut(when, inSchema(text, store))

      const submitting = engine.submit({ key: 'once' })
      if (what === 'a beat') await engine.clock.advance(6_000)
      const { instanceId } = await submitting
      await allEnd(engine, [instanceId])

      assert.equal(proxy.hasCut, true)
      assert.equal((await engine.submit({ key: 'once' })).instanceId, instanceId)
      assert.equal((await store.rowCounts()).instances, 1)
      await allIsWell(engine, store, [instanceId], { role, most: mostBehind })
    })
  }
}

/** A statement as it is sent: behind a pooler with the schema before its tables. */
function inSchema(text: string, store: PostgresFixture): string {
  if (store.way().directDsn === undefined) return text
  return text
    .replace(/(insert into|update) (?=\w)(?!.*\()/, `$1 "${store.schema}".`)
    .replace('(update instances', `(update "${store.schema}".instances`)
}

for (const when of ['before', 'after'] as const) {
  onEachPostgres(`the connection breaks ${when} a decision is committed, which is there once`, async (open) => {
    await using store = await open()
    await using proxy = await openCutProxy(store.dsn)
    await using engine = await openBehind(store, proxy.dsn, { governance: 'gate' })
    const { instanceId, openTasks } = await engine.run()
    proxy.cut(when, 'commit')

    const decided = await engine.core.decide({
      taskId: openTasks[0]!,
      decision: 'approve',
      reason: 'fine',
      actor: 'ann',
    })

    assert.equal(proxy.hasCut, true)
    assert.equal(decided.status, 'completed')
    assert.equal((await engine.events(instanceId)).filter((type) => type === 'task.decided').length, 1)
    await engine.verify()
  })
}

onEachPostgres(
  'sessions that are ended one after the other under load cost no case and leave none behind',
  async (open) => {
    await using store = await open()
    await using proxy = await openCutProxy(store.dsn)
    const role = new URL(proxy.dsn).username
    await using engine = await openBehind(store, proxy.dsn, { steps, plays: { second: () => delay(5, {}) } })
    const submit = async (key: string): Promise<string> => {
      try {
        return (await engine.submit({ key })).instanceId
      } catch (error) {
        // As a client does that was told to come again.
        if (!isCoreError(error, 'CC_ERR_SERVER_AWAY')) throw error
        return await submit(key)
      }
    }
    const submitting = Promise.all(Array.from({ length: 60 }, (_, index) => submit(`case ${index}`)))

    let ended = 0
    // At times there is none to end: each has just been ended, and the next is on its way.
    for (let times = 0; ended < 20 && times < 300; times++) {
      const sql = `select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 order by random() limit 1`
      ended += (await store.sql(sql, role)).length
      await delay(15)
    }

    const ids = await submitting
    await allEnd(engine, ids)
    assert.ok(ended >= 20, `${ended} were ended`)
    assert.equal(new Set(ids).size, 60)
    await allIsWell(engine, store, ids, { role, most: mostBehind })
  },
)

for (const mode of ['fast', 'immediate'] as const) {
  test(`a server that is stopped ${mode} under load and started again costs no case that was taken`, async () => {
    await using server = await startServer()
    await using store = await openPostgresStore({ server: server.dsn })
    const role = new URL(store.dsn).username
    await using engine = await openEngine(() => Promise.resolve(store), {
      steps,
      plays: { second: () => delay(5, {}) },
    })
    const taken: string[] = []
    const refused: string[] = []
    let isOver = false
    const submitting = Array.from({ length: 4 }, async (_, client) => {
      for (let index = 0; !isOver; index++) {
        await engine.submit({ key: `${client}.${index}` }).then(
          ({ instanceId }) => taken.push(instanceId),
          (error: Error & { code?: string }) => refused.push(error.code ?? String(error)),
        )
        await delay(10)
      }
    })

    for (let times = 0; times < 2; times++) {
      await delay(300)
      await server.stop(mode)
      await delay(300)
      await server.start()
    }
    await delay(300)
    isOver = true
    await Promise.all(submitting)

    assert.ok(taken.length > 20, `${taken.length} were taken`)
    assert.deepEqual(new Set(refused), new Set(refused.length > 0 ? ['CC_ERR_SERVER_AWAY'] : []))
    await allEnd(engine, taken)
    await allIsWell(engine, store, taken, { role, most: mostAlone })
  })
}
