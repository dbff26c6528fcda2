import { existsSync } from 'node:fs'
import { flushCompileCache } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import type { Core } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'
import { openLog } from '../../src/log.ts'
import type { CommitProbe } from '../../src/storage/backend.ts'
import { readConfig } from '../../src/config.ts'
import { openStore } from '../../src/storage/open.ts'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { domain, type Errand, errandOf, errandPack, reviewer, submitter, workflow } from './errands.ts'
import { loggedPrimitive } from './logged.ts'
import { claimedSql, rowsOf } from './stores.ts'
import { type CallLine, type ClientLine, LineLog, placesIn, readLines } from './logs.ts'

/**
 * A program that embeds the engine, to be killed: it submits errands, runs them, and writes down what it asked, what it
 * was answered, and each call of a step. It keeps nothing else; what it knows of earlier rounds stands in those logs.
 */
export interface Order {
  readonly folder: string
  readonly round: number
  /** Cases that are to be under way when the round begins; 0: nothing new is submitted. */
  readonly backlog: number
  /** Where the process kills itself: around this COMMIT of those at which enough is in flight. */
  readonly fault?: { readonly point: 'before' | 'after'; readonly commit: number }
  /** The process leaves by itself when every case is at rest, and otherwise when it is told to. */
  readonly untilRest: boolean
}

/** Saves each restart the compiling of the whole engine; written out at once, since this process may not live to do so. */
flushCompileCache()

const order = JSON.parse(process.argv[2]!) as Order
const { round, fault } = order
const places = placesIn(order.folder)
const calls = new LineLog<CallLine>(places.calls)
const client = new LineLog<ClientLine>(places.client)
const running = new Set<string>()

const { dbPath: path, postgres } = readConfig(process.env)
/** More than the four that must be in flight at every kill, since some of them may just have ended. */
const [concurrency, enoughInFlight] = postgres ? [10, 8] : [6, 4]
const opening = { nowMs: Date.now(), probe: probeOf(fault) }
const { backend } = await (postgres ? openPostgres({ ...postgres, ...opening }) : openStore({ path, ...opening }))
const core = await openCore({
  backend,
  packs: [errandPack],
  primitives: [loggedPrimitive({ round, calls, running })],
  workerConcurrency: concurrency,
  log: openLog('error'),
})
process.once('SIGTERM', () => void leave())
calls.add({ round, what: 'begun' })

const asking = submitAll()
core.start()
await Promise.all([asking, decideSome()])
if (order.untilRest) {
  await untilRest()
  await leave()
}

async function leave(): Promise<void> {
  await core.close()
  calls.add({ round, what: 'left' })
  process.exit(0)
}

/** Asks again for what was not answered, now and then for what was, and for new cases until enough are under way. */
async function submitAll(): Promise<void> {
  const lines = existsSync(places.client) ? readLines<ClientLine>(places.client) : []
  const asked = new Map(lines.flatMap((line) => (line.what === 'asked' ? [[line.key, line.errand]] : [])))
  const answered = new Set(lines.flatMap((line) => (line.what === 'accepted' ? [line.key] : [])))
  const unanswered = [...asked].filter(([key]) => !answered.has(key))
  await Promise.all(unanswered.map(([key, errand]) => submit(key, errand)))
  const [again] = [...answered].slice(Math.floor(Math.random() * answered.size))
  if (again !== undefined) await submit(again, asked.get(again)!)

  const { items } = await core.listCases({ status: 'running', limit: 500 })
  for (let number = asked.size, missing = order.backlog - items.length; missing > 0; missing--, number++) {
    const errand = errandOf(number)
    client.add({ what: 'asked', key: `errand-${number}`, errand })
    const submitting = submit(`errand-${number}`, errand)
    // In pairs: some kills meet several submissions at once.
    if (number % 2 === 0) await submitting
  }
}

async function submit(key: string, errand: Errand): Promise<void> {
  const { instanceId, seen } = await core.submit({ workflow, domain, input: errand, key, actor: submitter })
  client.add({ what: 'accepted', key, instance: instanceId, seen })
}

/** Approves a few cases that the loop's bound has held; a decision whose answer was lost is asked for again. */
async function decideSome(): Promise<void> {
  const lines = existsSync(places.client) ? readLines<ClientLine>(places.client) : []
  const decided = new Set(lines.flatMap((line) => (line.what === 'decided' ? [line.task] : [])))
  for (const line of lines) {
    if (line.what === 'deciding' && !decided.has(line.task)) await decide(core, line.task, line.instance)
  }
  const { items } = await core.listTasks({ queue: 'specialist_review', limit: 3 })
  for (const { taskId, instanceId } of items) {
    client.add({ what: 'deciding', task: taskId, instance: instanceId })
    await decide(core, taskId, instanceId)
  }
}

async function decide(core: Core, taskId: string, instance: string): Promise<void> {
  const { status } = await core.decide({
    taskId,
    decision: 'approve',
    reason: 'measured often enough',
    actor: reviewer,
  })
  if (status === 'completed') client.add({ what: 'decided', task: taskId, instance })
}

async function untilRest(): Promise<void> {
  while ((await core.listCases({ status: 'running', limit: 1 })).items.length > 0) await delay(10)
}

/**
 * As the file says; a database cannot be asked in the middle of a commit, so there the engine is, for which what just ends
 * is in flight too.
 */
function claimed(): number {
  if (!postgres) return Number(rowsOf(path, claimedSql)[0]!.count)
  const { worker } = core as unknown as { readonly worker: { readonly inFlight: ReadonlyMap<string, unknown> } }
  return worker.inFlight.size
}

function probeOf(fault: Order['fault']): CommitProbe {
  if (!fault) return {}
  let left = fault.commit
  const here = () => {
    // A commit counts while a step is under way and enough instances are claimed at this moment.
    if (running.size === 0 || claimed() < enoughInFlight || --left > 0) return
    calls.add({ round, what: 'fault', point: fault.point })
    process.kill(process.pid, 'SIGKILL')
  }
  return { [fault.point]: here }
}
