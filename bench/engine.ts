import { cpus } from 'node:os'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Core } from '../src/index.ts'
import { floorRate, type RecordedRows, recordRows } from './floor.ts'
import {
  atLeast,
  atMost,
  overRounds,
  printTable,
  printVerdicts,
  quantile,
  type Rounds,
  showRatio,
  showRounds,
  showWhole,
  type Verdict,
} from './measure.ts'
import { noop, openBench, runUntil, straightPack, submitMany, temporaryFolder } from './store.ts'

const rounds = 5
const steps = 10

/** The engine on a file, against the same rows through the bare driver. True when every target is met. */
export async function benchEngine(): Promise<boolean> {
  console.log(`engine: ${rounds} interleaved rounds after a warm-up; medians (least–most)`)
  console.log(`  Node ${process.version}, ${cpus().length} cores, ${cpus()[0]!.model}; chain, fence and FULL on`)
  const verdicts = [
    ...(await benchSteps()),
    await benchWaiting(),
    await benchIdle(),
    ...(await benchLongInstances()),
    benchHeld(),
    ...(await benchVerify()),
  ]
  return printVerdicts(verdicts)
}

/** Steps per second while that many cases of ten steps are worked off, that many instances at a time. */
async function stepRate(inFlight: number, cases: number, waiting = cases): Promise<number> {
  using folder = temporaryFolder()
  const core = await openBench(join(folder.path, 'engine.db'), steps, { workerConcurrency: inFlight })
  await submitMany(core, `straight_${steps}`, waiting)
  const elapsedMs = await runUntil(core, cases)
  await core.drain()
  await core.close()
  return ((cases * steps) / elapsedMs) * 1000
}

async function benchSteps(): Promise<Verdict[]> {
  const sizes = [1, 4, 10, 64] as const
  const casesFor = { 1: 200, 4: 400, 10: 800, 64: 1600 } as const
  const rows = new Map<number, RecordedRows>()
  for (const size of sizes) rows.set(size, await recordRows(casesFor[size], steps))
  const floors = new Map<number, number[]>(sizes.map((size) => [size, []]))
  const rates = new Map<number, number[]>(sizes.map((size) => [size, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const size of sizes) {
      const floor = floorRate(rows.get(size)!, size)
      const rate = await stepRate(size, casesFor[size])
      if (round === 0) continue
      floors.get(size)!.push(floor)
      rates.get(size)!.push(rate)
    }
  }
  const ratios = new Map<number, Rounds>(
    sizes.map((size) => [size, overRounds(rates.get(size)!.map((rate, index) => rate / floors.get(size)![index]!))]),
  )
  console.log('\nSteps per second: ten durable no-op steps a case')
  printTable([
    ['in flight', 'engine', 'floor', 'ratio'],
    ...sizes.map((size) => [
      String(size),
      showRounds(overRounds(rates.get(size)!), showWhole),
      showRounds(overRounds(floors.get(size)!), showWhole),
      showRounds(ratios.get(size)!, showRatio),
    ]),
  ])
  return [1, 4].map((size) => atLeast(`of the floor, ${size} in flight`, ratios.get(size)!.median, 0.6))
}

async function benchWaiting(): Promise<Verdict> {
  const few: number[] = []
  const many: number[] = []
  for (let round = 0; round <= rounds; round++) {
    few.push(await stepRate(4, 200))
    many.push(await stepRate(4, 200, 20_000))
  }
  const ratios = overRounds(many.slice(1).map((rate, index) => rate / few[index + 1]!))
  console.log('\nSteps per second with cases waiting, 4 in flight')
  printTable([
    ['waiting', 'steps/s'],
    ['200', showRounds(overRounds(few.slice(1)), showWhole)],
    ['20,000', showRounds(overRounds(many.slice(1)), showWhole)],
  ])
  return atLeast('20,000 waiting against 200', ratios.median, 0.9)
}

async function benchIdle(): Promise<Verdict> {
  using folder = temporaryFolder()
  const core = await openBench(join(folder.path, 'idle.db'), 1)
  core.start()
  const waits: number[] = []
  for (let index = 0; index < 320; index++) {
    const startedAt = performance.now()
    const { instanceId } = await core.submit({
      workflow: 'straight_1',
      domain: 'bench',
      input: { index },
      actor: 'bench',
    })
    await core.waitFor(instanceId)
    if (index >= 20) waits.push(performance.now() - startedAt)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
  await core.close()
  const sorted = waits.toSorted((a, b) => a - b)
  const showMs = (value: number) => `${value.toFixed(1)} ms`
  console.log('\nSubmit to done, one step, nothing else to do')
  printTable([
    ['cases', 'p50', 'p99'],
    [String(sorted.length), showMs(quantile(sorted, 0.5)), showMs(quantile(sorted, 0.99))],
  ])
  return atMost('submit to done, p50', quantile(sorted, 0.5), 10, showMs)
}

/** Milliseconds between the commits of one instance's steps. */
async function stepTimes(core: Core, workflow: string): Promise<number[]> {
  const at: number[] = []
  const unsubscribe = core.onProgress(({ event }) => {
    if (event === 'step.completed') at.push(performance.now())
  })
  const { instanceId } = await core.submit({ workflow, domain: 'bench', input: {}, actor: 'bench' })
  await core.waitFor(instanceId)
  unsubscribe()
  return at.slice(1).map((time, index) => time - at[index]!)
}

const loopPack = {
  name: 'loop',
  workflows: [
    {
      name: 'loop',
      steps: [
        { name: 'first', primitive: 'noop' },
        {
          name: 'second',
          primitive: 'noop',
          transitions: [{ when: '_loop_count >= 500', goto: '__end__' }, { default: 'first' }],
        },
      ],
    },
  ],
  domains: [{ domain_name: 'bench', governance: 'auto' }],
}

async function benchLongInstances(): Promise<Verdict[]> {
  using folder = temporaryFolder()
  const packs = [{ ...straightPack(1000), name: 'long' }, loopPack]
  const core = await openBench(join(folder.path, 'long.db'), 1, { packs, primitives: [noop()] })
  core.start()
  const verdicts: Verdict[] = []
  const table = [['steps', 'first 100', 'last 100', 'ratio']]
  for (const [name, workflow] of [
    ['1,000 in a row', 'straight_1000'],
    ['2 in a loop, 500 times', 'loop'],
  ] as const) {
    const ratios: number[] = []
    const firsts: number[] = []
    const lasts: number[] = []
    for (let round = 0; round <= rounds; round++) {
      const times = await stepTimes(core, workflow)
      const total = (part: readonly number[]) => part.reduce((sum, time) => sum + time, 0)
      const [first, last] = [total(times.slice(0, 100)), total(times.slice(-100))]
      if (round === 0) continue
      firsts.push(first)
      lasts.push(last)
      ratios.push(last / first)
    }
    const showMs = (value: number) => `${value.toFixed(0)} ms`
    const ratio = overRounds(ratios)
    const spread = showRounds(ratio, showRatio)
    table.push([name, showRounds(overRounds(firsts), showMs), showRounds(overRounds(lasts), showMs), spread])
    verdicts.push(atMost(`last 100 against first 100 steps: ${name}`, ratio.median, 1.2))
  }
  await core.close()
  console.log('\nOne instance of 1,000 steps')
  printTable(table)
  return verdicts
}

/** In a process of its own, so that only what held cases cost is measured. */
function benchHeld(): Verdict {
  const held = fileURLToPath(new URL('held.ts', import.meta.url))
  const answer = JSON.parse(execFileSync(process.execPath, [held], { encoding: 'utf8' })) as {
    held: number
    residentBytes: number
    startBytes: number
  }
  const megabytes = answer.residentBytes / 1e6
  const showMb = (value: number) => `${value.toFixed(0)} MB`
  console.log('\nHeld cases')
  printTable([
    ['held', 'resident', 'at the start'],
    [showWhole(answer.held), showMb(megabytes), showMb(answer.startBytes / 1e6)],
  ])
  return atMost('resident memory with 10,000 held', megabytes, 200, showMb)
}

async function benchVerify(): Promise<Verdict[]> {
  const table = [['output', 'events', 'events/s', 'rows/s']]
  const verdicts: Verdict[] = []
  for (const [name, text] of [
    ['small', ''],
    ['500 bytes', 'x'.repeat(480)],
  ] as const) {
    using folder = temporaryFolder()
    const primitives = [noop(text)]
    const core = await openBench(join(folder.path, 'verify.db'), steps, { workerConcurrency: 64, primitives })
    const cases = 10_000
    await submitMany(core, `straight_${steps}`, cases)
    await runUntil(core, cases)
    const perSecond: number[] = []
    const rowsPerSecond: number[] = []
    let events = 0
    for (let round = 0; round <= rounds; round++) {
      const report = await core.verify()
      if (!report.valid) throw new Error('the record of the benchmark does not verify')
      events = report.events
      if (round === 0) continue
      const rows = report.events + report.checkpoints + report.payloads + report.instances
      perSecond.push((events / report.elapsedMs) * 1000)
      rowsPerSecond.push((rows / report.elapsedMs) * 1000)
    }
    await core.close()
    const rate = overRounds(perSecond)
    const rowRate = showRounds(overRounds(rowsPerSecond), showWhole)
    table.push([name, showWhole(events), showRounds(rate, showWhole), rowRate])
    if (text === '') verdicts.push(atLeast('audit verify, events/s', rate.median, 100_000, showWhole))
  }
  console.log('\nAudit verify: every chain with its checkpoints, payloads and instances')
  printTable(table)
  return verdicts
}
