import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { openReader } from '../../src/engine/open-reader.ts'
import { checkStore, claimedIn } from './checker.ts'
import { Life, playToRest } from './life.ts'
import type { Order } from './program.ts'
import { type CallLine, countOpen, LineTail, placesIn, readLogs } from './logs.ts'

const rounds = 64
const leastInFlight = 4
const starts = 10
const backlog = 40

type Kind = 'at random' | 'before COMMIT' | 'after COMMIT' | 'told to leave'

/** Half of the kills come from outside at any moment, half strike from within, around a COMMIT. */
function kindOf(round: number): Kind {
  if (round % 12 === 0) return 'told to leave'
  if (round % 4 === 1) return 'before COMMIT'
  return round % 4 === 3 ? 'after COMMIT' : 'at random'
}

const root = mkdtempSync(join(tmpdir(), 'crash-'))
const folder = join(root, 'main')
before(() => mkdirSync(folder))
after(() => rmSync(root, { recursive: true, force: true }))

test('a store that is killed again and again loses nothing, does nothing twice, and goes on at the next step', async (t) => {
  const { database, calls } = placesIn(folder)
  const tail = new LineTail<CallLine>(calls)
  const kinds = Array.from({ length: rounds }, (_, index) => kindOf(index + 1))
  for (const [index, kind] of kinds.entries()) await playRound(index + 1, kind, tail)
  await playToRest({ folder, round: rounds + 1, backlog: 0 })

  const { problems, figures } = checkStore(database, readLogs(folder))
  assert.deepEqual(problems, [])
  const { killed, lostCalls, cases, steps } = figures
  const count = (kind: Kind) => kinds.filter((other) => other === kind).length
  assert.ok(killed >= 50, `${killed} kills`)
  assert.ok(count('before COMMIT') >= 10 && count('after COMMIT') >= 10)
  assert.ok(lostCalls >= killed, `kills cost ${lostCalls} calls their results, so that recovery had something to do`)
  assert.ok(cases > 200 && steps > 1000, 'the store grew')

  const reader = await openReader({ path: database })
  const report = await reader.verify()
  await reader.close()
  assert.deepEqual(report.findings, [])
  assert.equal(report.instances, cases)
  const kills = Object.fromEntries(Object.entries(Object.groupBy(kinds, (kind) => kind)).map(([k, v]) => [k, v.length]))
  t.diagnostic(JSON.stringify({ ...kills, ...figures }))
})

test('a process that is killed while it makes its store leaves one that opens', async () => {
  for (let start = 1; start <= starts; start++) {
    const place = join(root, `start-${start}`)
    mkdirSync(place)
    const { database, calls } = placesIn(place)
    const life = new Life({ folder: place, round: 1, backlog: 4, untilRest: false }, new LineTail(calls))
    // From before the file is there to when the first steps run.
    await delay(60 + 15 * start)
    life.kill()
    assert.equal((await life.ended).signal, 'SIGKILL')
    await playToRest({ folder: place, round: 2, backlog: 4 })
    assert.deepEqual(checkStore(database, readLogs(place)).problems, [])
  }
})

/** One life of the program, ended while steps are under way. */
async function playRound(round: number, kind: Kind, tail: LineTail<CallLine>): Promise<void> {
  const point = kind === 'before COMMIT' ? 'before' : kind === 'after COMMIT' ? 'after' : undefined
  const fault: Order['fault'] = point && { point, commit: 1 + Math.floor(Math.random() * 40) }
  const life = new Life({ folder, round, backlog, untilRest: false, ...(fault && { fault }) }, tail)
  if (!fault) {
    await life.hasBegun()
    await delay(Math.random() * 120)
    if (kind === 'told to leave') life.leave()
    else await life.strike(leastInFlight)
  }

  const { signal, code, stderr } = await life.ended
  assert.equal(stderr, '', `round ${round}`)
  if (kind === 'told to leave') return assert.equal(code, 0, `round ${round}`)
  assert.equal(signal, 'SIGKILL', `round ${round} ended with exit ${code}`)
  assert.ok(countOpen(life.lines) > 0, `a step was under way when round ${round} was killed ${kind}`)
  const claimed = claimedIn(placesIn(folder).database)
  assert.ok(claimed >= leastInFlight, `${claimed} instances were in flight when round ${round} was killed ${kind}`)
  if (point) assert.deepEqual(life.lines.at(-1), { round, what: 'fault', point })
}
