import { setTimeout as delay } from 'node:timers/promises'
import type { Fleet, FleetWorker } from './fleet.ts'

/** Between two strikes. */
const leastPauseMs = 300
const drawnPauseMs = 1000

/** Longer than a process may be silent before its claims are given to others. */
const sleepMs = 20_000
/** How long the others may take to notice, and a sleeper to find out that it was given up. */
const noticeMs = 15_000

/** Part of what every commit of a step sends. */
const commitText = 'step.completed'
/** A connection is cut when one of these was sent on it: a step, an intent, the end of a case. */
const cutTexts = [commitText, 'step.intended', 'case.completed', 'step.retried']

export interface StormOptions {
  readonly kills: number
  readonly draw: (below: number) => number
}

/** What was done, and what came of it. */
export interface StormFigures {
  kills: { workers: number; replicas: number }
  cuts: number
  restarts: ('fast' | 'immediate')[]
  /** How long each sleeper slept. */
  sleptMs: number[]
  /** Claims that were lost in their sleep, and late results that were dropped after it. */
  lostInSleep: number
  dropped: number
}

/**
 * Everything that can be killed is killed, in an order that the draws give: processes all the time, the server once before
 * two workers sleep for longer than their claims, one of them in the middle of a commit, and once after they woke up.
 */
export async function storm(fleet: Fleet, { kills, draw }: StormOptions): Promise<StormFigures> {
  const figures: StormFigures = {
    ...{ kills: { workers: 0, replicas: 0 }, cuts: 0, restarts: [], sleptMs: [], lostInSleep: 0, dropped: 0 },
  }
  const struck = () => figures.kills.workers + figures.kills.replicas
  const armed = new Set<FleetWorker>()
  const strikeOnce = async () => {
    await delay(leastPauseMs + draw(drawnPauseMs))
    const slots = [...fleet.replicas, ...fleet.workers.filter(({ isAsleep }) => !isAsleep)]
    const slot = slots[draw(slots.length)]!
    await slot.strike()
    figures.kills[(fleet.replicas as readonly object[]).includes(slot) ? 'replicas' : 'workers'] += 1
    for (const worker of armed) if (worker.proxy.hasCut && armed.delete(worker)) figures.cuts += 1
    const worker = fleet.workers[draw(fleet.workers.length)]!
    if (worker.isAsleep || armed.has(worker)) return
    worker.proxy.cut('after', cutTexts[draw(cutTexts.length)]!)
    armed.add(worker)
  }
  const strike = async (until: () => boolean) => {
    while (!until()) await strikeOnce()
  }
  const restart = async (mode: 'fast' | 'immediate') => {
    await fleet.server.stop(mode)
    await delay(draw(500))
    await fleet.server.start()
    figures.restarts.push(mode)
  }

  const first = draw(2) === 0 ? 'fast' : 'immediate'
  const early = 2 + draw(4)
  await strike(() => struck() >= early)
  await restart(first)
  const soon = struck() + 1 + draw(3)
  await strike(() => struck() >= soon)

  const [one, other] = shuffled(fleet.workers, draw) as [FleetWorker, FleetWorker]
  let areAwake = false
  const sleeping = Promise.all([sleep(fleet, one, figures), sleepInCommit(fleet, other, figures)])
  const waking = sleeping.finally(() => (areAwake = true))
  await Promise.all([waking, strike(() => areAwake)])

  await restart(first === 'fast' ? 'immediate' : 'fast')
  const late = struck() + 3
  await strike(() => struck() >= Math.max(kills, late))
  return figures
}

/** A worker is stopped while it has claims, and goes on when others have them. */
async function sleep(fleet: Fleet, worker: FleetWorker, figures: StormFigures): Promise<void> {
  const startedAt = performance.now()
  const workerId = await worker.fallAsleep(2)
  figures.lostInSleep += await fleet.countClaims(workerId)
  await isGivenUp(fleet, workerId)
  await wakeUp(worker, startedAt, figures)
}

/** The answer to its commit reaches a worker only after all it had claimed was given to others. */
async function sleepInCommit(fleet: Fleet, worker: FleetWorker, figures: StormFigures): Promise<void> {
  const { workerId, letGo } = await worker.fallAsleepInCommit(commitText)
  const startedAt = performance.now()
  await delay(100)
  figures.lostInSleep += await fleet.countClaims(workerId)
  await isGivenUp(fleet, workerId)
  letGo()
  await wakeUp(worker, startedAt, figures)
}

async function isGivenUp(fleet: Fleet, workerId: string): Promise<void> {
  await delay(sleepMs)
  await within(noticeMs, async () => (await fleet.countClaims(workerId)) === 0, 'a sleeper to be given up')
}

async function wakeUp(worker: FleetWorker, startedAt: number, figures: StormFigures): Promise<void> {
  figures.sleptMs.push(Math.round(performance.now() - startedAt))
  worker.member.signal('SIGCONT')
  const dropped = () => worker.member.log.split('step result dropped').length - 1
  await within(noticeMs, () => dropped() > 0, 'a sleeper to drop what it had under way')
  await delay(200)
  figures.dropped += dropped()
  worker.isAsleep = false
}

async function within(ms: number, condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const startedAt = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedAt > ms) throw new Error(`${ms} ms were not enough for ${what}`)
    await delay(100)
  }
}

function shuffled<T>(all: readonly T[], draw: (below: number) => number): T[] {
  const left = [...all]
  return all.map(() => left.splice(draw(left.length), 1)[0]!)
}
