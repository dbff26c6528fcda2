import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { randomFrom } from './chance.ts'
import { checkFleet } from './checker.ts'
import { Fleet, poolMax } from './fleet.ts'
import { FleetClients } from './fleet-clients.ts'
import { readLogs } from './logs.ts'
import { storm } from './storm.ts'
import { readServerTables } from './tables.ts'

const cases = 2000
const kills = 32
/** Nothing that is waited for takes so long unless it hangs; the claims of the last that was killed take twenty seconds. */
const patienceMs = 60_000
/** How long the server may take to end the sessions of processes that have left. */
const endingMs = 5000

/** The order of the strikes follows from it, as far as seven processes let anything follow. */
const seed = Number(process.env.CRASH_SEED ?? Math.floor(Math.random() * 1_000_000))

test('what a fleet has answered stays true when its processes, its server and the way between them are killed', async (t) => {
  const about = `CRASH_SEED=${seed}`
  t.diagnostic(about)
  const startedAt = performance.now()
  const phase = (name: string) => t.diagnostic(`${name} at ${Math.round(performance.now() - startedAt)} ms`)
  await using fleet = await Fleet.open({ replicas: 2, workers: 3 })
  phase('open')
  const draw = randomFrom(seed)
  const clients = new FleetClients(fleet, { cases, draw: randomFrom(seed + 1), about, patienceMs })
  const sessions = countingSessions(fleet)
  t.after(() => sessions.stop())

  const storming = storm(fleet, { kills, draw }).finally(() => phase('storm over'))
  const working = clients.work().finally(() => phase('all submitted'))
  const [strikes] = await Promise.all([storming, working]).catch(async (error: unknown) => {
    const defects = defectsIn(fleet.allLogs).join('\n')
    await fleet[Symbol.asyncDispose]()
    await Promise.allSettled([storming, working])
    throw new Error(`${String(error)}\n${defects}`, { cause: error })
  })
  await clients.comesToRest()
  phase('rest')
  const most = await sessions.stop()
  await fleet.leave()
  phase('left')
  await eventually(async () => (await fleet.countSessions()) === 0, 'no session is left when all processes are gone')

  const session = await fleet.openSession()
  const tables = await readServerTables(session)
  await session.end()
  const { problems, figures } = checkFleet(tables, readLogs(fleet.folder))
  const { cutSubmissions, refused } = clients.requests
  t.diagnostic(JSON.stringify({ ...figures, ...strikes, cutSubmissions, refused, most, turnedAway: fleet.turnedAway }))
  assert.deepEqual(problems, [], about)
  assert.equal(figures.cases, cases)
  assert.deepEqual(fleet.surprises, [], about)
  assert.deepEqual(defectsIn(fleet.logs), [], about)
  assert.doesNotMatch(fleet.server.log(), /deadlock detected/)
  assert.ok(most <= fleet.slots.length * (poolMax + 1), `${most} sessions at a time`)

  // The storm was one.
  assert.ok(strikes.kills.workers > 5 && strikes.kills.replicas > 5, 'processes of both kinds were killed')
  assert.deepEqual(strikes.restarts.toSorted(), ['fast', 'immediate'])
  assert.ok(strikes.cuts >= 3, `${strikes.cuts} connections were cut after a statement was sent`)
  assert.ok(strikes.sleptMs.length === 2 && strikes.sleptMs.every((ms) => ms > 20_000))
  assert.ok(
    strikes.lostInSleep >= 1 && strikes.dropped >= 1,
    'sleepers lost claims, and dropped what they had under way',
  )
  assert.ok(figures.lostCalls > 0, 'steps were under way when they were killed')
  assert.ok(cutSubmissions > 0, 'submissions were under way when they were killed')
  assert.ok(figures.decisions > 3, 'people decided meanwhile')
})

/** What no log may say, whatever is killed: that something happened which the program does not foresee. */
function defectsIn(logs: readonly string[]): string[] {
  const lines = logs.flatMap((log) => log.split('\n')).filter((line) => line !== '')
  const isForeseen = (line: string) =>
    line.startsWith('{') && !/AssertionError|TypeError|RangeError|unhandled|uncaught|CC_ERR_DEFECT|"stack"/i.test(line)
  return lines.filter((line) => !isForeseen(line))
}

/** Looks again and again how many sessions there are; a server that is away has none. */
function countingSessions(fleet: Fleet) {
  let most = 0
  let isOver = false
  const counting = (async () => {
    while (!isOver) {
      most = Math.max(most, await fleet.countSessions().catch(() => 0))
      await delay(500)
    }
  })()
  return {
    stop: async () => {
      isOver = true
      await counting
      return most
    },
  }
}

async function eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
  const startedAt = performance.now()
  while (!(await condition())) {
    assert.ok(performance.now() - startedAt < endingMs, what)
    await delay(50)
  }
}
