import { fork } from 'node:child_process'
import { once } from 'node:events'
import { cpus } from 'node:os'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import pg from 'pg'
import { type Core, openCore } from '../src/index.ts'
import {
  atLeast,
  atMost,
  overRounds,
  printTable,
  printVerdicts,
  quantile,
  showRatio,
  showRounds,
  showWhole,
  type Verdict,
} from './measure.ts'
import { fillFinished } from './finished.ts'
import { hasPgbench, measureRows, pgbenchRate } from './pgbench.ts'
import { noop, pause, pauseMs, runUntil, straightPack, submitMany } from './store.ts'

const rounds = 3
const steps = 10

/** A server and a connection to it with none of our settings. */
interface Bench {
  readonly dsn: string
  readonly shell: pg.Pool
}

/**
 * The engine on PostgreSQL, against `pgbench` doing the same rows on the same server. True when every target is met.
 * `dsn`: a database in which schemas may be made.
 */
export async function benchEnginePostgres(dsn: string): Promise<boolean> {
  if (!hasPgbench()) {
    console.log('not run: needs pgbench (Debian: postgresql)')
    return false
  }
  const shell = new pg.Pool({ connectionString: dsn })
  const bench = { dsn, shell }
  const { rows } = await shell.query<{ version: string }>(`select current_setting('server_version') as version`)
  console.log(
    `engine on PostgreSQL ${rows[0]!.version}: ${rounds} interleaved rounds after a warm-up; medians (least–most)`,
  )
  console.log(
    `  Node ${process.version}, ${cpus().length} cores, ${cpus()[0]!.model}; chain and fence on, commits durable`,
  )
  try {
    const verdicts = [
      ...(await benchSteps(bench)),
      await benchIdle(bench),
      await benchTwoWorkers(bench),
      await benchWaiting(bench),
      await benchFinished(bench),
    ]
    return printVerdicts(verdicts)
  } finally {
    await shell.end()
  }
}

let schemas = 0

/** A schema of its own, which goes with the body. */
async function withSchema<T>({ shell }: Bench, body: (schema: string) => Promise<T>): Promise<T> {
  const schema = `bench_${process.pid}_${++schemas}`
  try {
    return await body(schema)
  } finally {
    await shell.query(`drop schema if exists ${schema} cascade`)
  }
}

async function withCore<T>(
  { dsn }: Bench,
  { schema, inFlight }: { readonly schema: string; readonly inFlight: number },
  body: (core: Core) => Promise<T>,
): Promise<T> {
  const core = await openCore({
    postgres: { dsn, schema },
    packs: [
      straightPack(steps),
      { ...straightPack(1), name: 'one' },
      { ...straightPack(steps, 'pause'), name: 'pauses' },
    ],
    primitives: [noop(), pause],
    workerConcurrency: inFlight,
  })
  try {
    return await body(core)
  } finally {
    await core.close()
  }
}

interface Load {
  readonly inFlight: number
  readonly cases: number
  readonly waiting?: number
}

/** Steps per second while that many cases of ten steps are worked off, that many instances at a time. */
function stepRate(bench: Bench, load: Load): Promise<number> {
  return withSchema(bench, (schema) => stepRateIn(bench, schema, load))
}

async function stepRateIn(bench: Bench, schema: string, { inFlight, cases, waiting = cases }: Load): Promise<number> {
  return await withCore(bench, { schema, inFlight }, async (core) => {
    await submitMany(core, `straight_${steps}`, waiting)
    return ((cases * steps) / (await runUntil(core, cases))) * 1000
  })
}

/** Interleaved rounds of two rates, after one that is not counted. */
async function compare(one: () => Promise<number>, other: () => Promise<number>) {
  const [ones, others]: [number[], number[]] = [[], []]
  for (let round = 0; round <= rounds; round++) {
    const rates = [await one(), await other()] as const
    if (round === 0) continue
    ones.push(rates[0])
    others.push(rates[1])
  }
  const ratio = overRounds(others.map((rate, index) => rate / ones[index]!))
  return { one: overRounds(ones), other: overRounds(others), ratio }
}

async function benchSteps(bench: Bench): Promise<Verdict[]> {
  const sizes = [1, 10, 50] as const
  const casesFor = { 1: 300, 10: 1000, 50: 3000 } as const
  const targets = { 1: 0.8, 10: 2, 50: 2 } as const
  const lengths = await withSchema(bench, async (schema) => {
    await stepRateIn(bench, schema, { inFlight: 1, cases: 1 })
    return await measureRows(bench.shell, schema)
  })
  const table = [['in flight', 'pgbench', 'engine', 'ratio']]
  const verdicts: Verdict[] = []
  for (const inFlight of sizes) {
    const cases = casesFor[inFlight]
    const { one, other, ratio } = await compare(
      () => pgbenchRate(bench.shell, bench.dsn, { clients: inFlight, cases, steps, lengths }),
      () => stepRate(bench, { inFlight, cases }),
    )
    const shown = [showRounds(one, showWhole), showRounds(other, showWhole), showRounds(ratio, showRatio)]
    table.push([String(inFlight), ...shown])
    verdicts.push(atLeast(`of pgbench, ${inFlight} in flight`, ratio.median, targets[inFlight]))
  }
  console.log('\nSteps per second: ten durable no-op steps a case')
  printTable(table)
  return verdicts
}

/** Submitted here, run in a process of its own. */
async function benchIdle(bench: Bench): Promise<Verdict> {
  const waits: number[] = []
  await withSchema(bench, (schema) =>
    withCore(bench, { schema, inFlight: 0 }, async (core) => {
      core.start()
      await withWorkers(bench, { schema, processes: 1, inFlight: 4 }, async () => {
        for (let index = 0; index < 320; index++) {
          const startedAt = performance.now()
          const input = { index }
          const { instanceId } = await core.submit({ workflow: 'straight_1', domain: 'bench', input, actor: 'bench' })
          await core.waitFor(instanceId)
          if (index >= 20) waits.push(performance.now() - startedAt)
          await delay(5)
        }
      })
    }),
  )
  const sorted = waits.toSorted((a, b) => a - b)
  const showMs = (value: number) => `${value.toFixed(1)} ms`
  console.log('\nSubmit to done, one step, nothing else to do, the worker in another process')
  printTable([
    ['cases', 'p50', 'p99'],
    [String(sorted.length), showMs(quantile(sorted, 0.5)), showMs(quantile(sorted, 0.99))],
  ])
  return atMost('submit to done, p50', quantile(sorted, 0.5), 15, showMs)
}

/** Steps that wait as for a model, ten instances at a time in each process. */
async function benchTwoWorkers(bench: Bench): Promise<Verdict> {
  const cases = 300
  const rateOf = (processes: number) =>
    withSchema(bench, (schema) =>
      withCore(bench, { schema, inFlight: 0 }, async (core) => {
        await submitMany(core, `pause_${steps}`, cases)
        return await withWorkers(bench, { schema, processes, inFlight: 10 }, async () => {
          const startedAt = performance.now()
          const isLeft = async () => (await bench.shell.query(`select 1 from ${schema}.work limit 1`)).rows.length > 0
          while (await isLeft()) await delay(20)
          return ((cases * steps) / (performance.now() - startedAt)) * 1000
        })
      }),
    )
  const { one, other, ratio } = await compare(
    () => rateOf(1),
    () => rateOf(2),
  )
  console.log(`\nSteps per second with steps that wait ${pauseMs} ms, ten in flight in each process`)
  printTable([
    ['processes', 'steps/s'],
    ['1', showRounds(one, showWhole)],
    ['2', showRounds(other, showWhole)],
  ])
  return atLeast('two workers against one', ratio.median, 1.5)
}

async function benchWaiting(bench: Bench): Promise<Verdict> {
  const load = { inFlight: 10, cases: 200 }
  const { one, other, ratio } = await compare(
    () => stepRate(bench, load),
    () => stepRate(bench, { ...load, waiting: 20_000 }),
  )
  console.log('\nSteps per second with cases waiting, 10 in flight')
  printTable([
    ['waiting', 'steps/s'],
    ['200', showRounds(one, showWhole)],
    ['20,000', showRounds(other, showWhole)],
  ])
  return atLeast('20,000 waiting against 200', ratio.median, 0.9)
}

async function benchFinished(bench: Bench): Promise<Verdict> {
  const finished = 1_000_000
  const load = { inFlight: 10, cases: 1000 }
  const { one, other, ratio } = await withSchema(bench, async (schema) => {
    await stepRateIn(bench, schema, { inFlight: 1, cases: 1 })
    await fillFinished(bench.shell, schema, finished)
    return await compare(
      () => stepRate(bench, load),
      () => stepRateIn(bench, schema, load),
    )
  })
  console.log('\nSteps per second beside cases that have ended, 10 in flight')
  printTable([
    ['ended', 'steps/s'],
    ['0', showRounds(one, showWhole)],
    [showWhole(finished), showRounds(other, showWhole)],
  ])
  return atLeast('1,000,000 ended against none', ratio.median, 0.9)
}

/** Has that many processes run cases, for the body alone. */
async function withWorkers<T>(
  { dsn }: Bench,
  { schema, processes, inFlight }: { readonly schema: string; readonly processes: number; readonly inFlight: number },
  body: () => Promise<T>,
): Promise<T> {
  const program = fileURLToPath(new URL('worker.ts', import.meta.url))
  const workers = Array.from({ length: processes }, () => fork(program, [dsn, schema, String(inFlight)]))
  try {
    await Promise.all(workers.map((worker) => once(worker, 'message')))
    return await body()
  } finally {
    const ended = workers.map((worker) => once(worker, 'exit'))
    for (const worker of workers) worker.disconnect()
    await Promise.all(ended)
  }
}
