import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type Core, openCore } from '../../src/index.ts'
import { until } from '../storage/fixture.ts'
import { withoutDebian } from '../storage/postgres-binaries.ts'
import { startServer } from '../storage/private-server.ts'

const steps = 10

const packs = [
  {
    name: 'ten',
    workflows: [
      {
        name: 'ten',
        steps: Array.from({ length: steps }, (_, index) => ({ name: `s${index + 1}`, primitive: 'noop' })),
      },
    ],
    domains: [{ domain_name: 'plain', governance: 'auto' }],
  },
]

const noop = {
  name: 'noop',
  needsModel: false,
  requiredParams: [],
  defaultParams: {},
  run: () => Promise.resolve({ output: { k: 1 } }),
}

interface Ledger extends AsyncDisposable {
  readonly core: Core
  readonly schema: string
  readonly shell: pg.Pool
  /** Statements since the counting began, without hints and beats; most often called first. */
  statements(): Promise<{ readonly count: number; readonly list: string }>
  /** All of them. */
  everything(): Promise<{ readonly count: number; readonly list: string }>
  /** Begins to count. */
  reset(): Promise<void>
}

/** A server that counts its statements, with one process on it. */
async function openLedger(workerConcurrency: number): Promise<Ledger> {
  const server = await startServer({
    binaries: 'debian',
    settings: { shared_preload_libraries: 'pg_stat_statements' },
  })
  const shell = new pg.Pool({ connectionString: server.dsn, ssl: false, max: 1 })
  await shell.query('create extension pg_stat_statements')
  const schema = 'counted'
  const core = await openCore({
    postgres: { dsn: server.dsn, schema },
    packs,
    primitives: [noop],
    workerConcurrency,
  })
  core.start()
  const count = async (condition: string) => {
    const { rows } = await shell.query<{ calls: string; query: string }>(
      `select s.calls, s.query from pg_stat_statements s
        where s.query !~ 'pg_stat_statements' and ${condition} order by s.calls desc, s.query`,
    )
    const list = rows.map(({ calls, query }) => `${calls} x ${query.replaceAll(/\s+/g, ' ').slice(0, 200)}`)
    return { count: rows.reduce((sum, { calls }) => sum + Number(calls), 0), list: `\n${list.join('\n')}` }
  }
  return {
    core,
    schema,
    shell,
    statements: () => count(`s.query !~ 'pg_notify' and s.query !~ 'into workers'`),
    everything: () => count('true'),
    reset: async () => void (await shell.query('select pg_stat_statements_reset()')),
    async [Symbol.asyncDispose]() {
      await core.close()
      await shell.end()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** Submits that many at the same moment and resolves when all of them have ended; nothing is asked meanwhile. */
async function run(core: Core, cases: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = cases
  const unsubscribe = core.onProgress(({ event }) => {
    if (event === 'case.completed' && --left === 0) resolve()
  })
  const submit = (number: number) => core.submit({ workflow: 'ten', domain: 'plain', input: { number }, actor: 'kim' })
  await Promise.all(Array.from({ length: cases }, (_, number) => submit(number)))
  await promise
  unsubscribe()
}

test('an instance of ten steps costs twelve statements alone', { skip: withoutDebian }, async () => {
  await using ledger = await openLedger(4)
  await run(ledger.core, 1)
  await ledger.reset()

  for (let round = 0; round < 5; round++) await run(ledger.core, 1)

  const { count, list } = await ledger.statements()
  assert.ok(count / 5 <= 12, `${count / 5} statements for one instance: ${list}`)
})

test('ten instances at the same time cost one and a half statements each', { skip: withoutDebian }, async () => {
  await using ledger = await openLedger(10)
  await run(ledger.core, 10)
  await ledger.reset()

  for (let round = 0; round < 10; round++) await run(ledger.core, 10)

  const { count, list } = await ledger.statements()
  assert.ok(count / 100 <= 1.5, `${count / 100} statements for each of ten: ${list}`)
})

test(
  'hundreds in line, ten in flight, cost no more each, and steps touch no index',
  { skip: withoutDebian },
  async () => {
    await using ledger = await openLedger(10)
    const { core, shell, schema } = ledger
    await run(core, 10)
    await ledger.reset()

    await run(core, 300)

    const { count, list } = await ledger.statements()
    assert.ok(count / 300 <= 1.5, `${count / 300} statements for each of three hundred: ${list}`)
    const updates = async () => {
      const { rows } = await shell.query<{ all: string; hot: string }>(
        `select n_tup_upd as "all", n_tup_hot_upd as "hot" from pg_stat_user_tables where schemaname = $1 and relname = 'work'`,
        [schema],
      )
      return { all: Number(rows[0]!.all), hot: Number(rows[0]!.hot) }
    }
    // A session counts for the server what it did when it ends.
    await core.close()
    // A claim and nine steps each: the tenth removes the row.
    await until(async () => (await updates()).all >= 310 * steps)
    const { all, hot } = await updates()
    const ofSteps = all - 310
    assert.ok(hot >= 0.7 * ofSteps, `${hot} of ${ofSteps} updates by steps were HOT`)
  },
)

test('an idle process asks no more than fifteen times a minute', { skip: withoutDebian }, async () => {
  const watchedMs = 32_000
  await using ledger = await openLedger(4)
  await run(ledger.core, 3)
  await delay(500)
  await ledger.reset()

  await delay(watchedMs)

  const { count, list } = await ledger.everything()
  assert.ok(count > 0, 'a process that never says that it lives would be taken for dead')
  assert.ok(count <= (15 * watchedMs) / 60_000, `${count} statements in ${watchedMs} ms: ${list}`)
})
