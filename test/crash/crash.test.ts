import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { readConfig } from '../../src/config.ts'
import { openReader } from '../../src/engine/open-reader.ts'
import { checkStore } from './checker.ts'
import { Life, playToRest } from './life.ts'
import type { Order } from './program.ts'
import { type CallLine, countOpen, LineTail, placesIn, readLogs } from './logs.ts'
import { countClaimed, type CrashStore, onEachCrashStore } from './stores.ts'

const mostRounds = 64
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

/** A folder in a folder: what the first holds, and what its processes share, goes with the test. */
function openFolder() {
  const root = mkdtempSync(join(tmpdir(), 'crash-'))
  const make = (name: string) => {
    mkdirSync(join(root, name))
    return join(root, name)
  }
  return { make, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) }
}

onEachCrashStore(
  'a store that is killed again and again loses nothing, does nothing twice, and goes on at the next step',
  async (open, t, share) => {
    using folders = openFolder()
    const folder = folders.make('main')
    await using store = await open(folder)
    const rounds = mostRounds * share
    const tail = new LineTail<CallLine>(placesIn(folder).calls)
    const kinds = Array.from({ length: rounds }, (_, index) => kindOf(index + 1))
    for (const [index, kind] of kinds.entries()) await playRound(store, folder, { round: index + 1, kind, tail })
    await playToRest(store, { folder, round: rounds + 1, backlog: 0 })

    const { problems, figures } = await checkStore(store, readLogs(folder))
    assert.deepEqual(problems, [])
    const { killed, lostCalls, cases, steps } = figures
    const count = (kind: Kind) => kinds.filter((other) => other === kind).length
    assert.ok(killed >= 50 * share, `${killed} kills`)
    assert.ok(count('before COMMIT') >= 10 * share && count('after COMMIT') >= 10 * share)
    assert.ok(lostCalls >= killed, `kills cost ${lostCalls} calls their results, so that recovery had something to do`)
    assert.ok(cases > 200 * share && steps > 1000 * share, 'the store grew')

    const { dbPath: path, postgres } = readConfig(store.env)
    const reader = await openReader({ path, postgres })
    const report = await reader.verify()
    await reader.close()
    assert.deepEqual(report.findings, [])
    assert.equal(report.instances, cases)
    const kills = Object.fromEntries(
      Object.entries(Object.groupBy(kinds, (kind) => kind)).map(([k, v]) => [k, v.length]),
    )
    t.diagnostic(JSON.stringify({ ...kills, ...figures }))
  },
)

onEachCrashStore('a process that is killed while it makes its store leaves one that opens', async (open, _, share) => {
  using folders = openFolder()
  for (let start = 1; start <= starts; start += 1 / share) {
    const place = folders.make(`start-${start}`)
    await using store = await open(place)
    const { calls } = placesIn(place)
    const life = new Life(store, { folder: place, round: 1, backlog: 4, untilRest: false }, new LineTail(calls))
    // From before the file is there to when the first steps run.
    await delay(60 + 15 * start)
    life.kill()
    assert.equal((await life.ended).signal, 'SIGKILL')
    await store.letTimePass()
    await playToRest(store, { folder: place, round: 2, backlog: 4 })
    assert.deepEqual((await checkStore(store, readLogs(place))).problems, [])
  }
})

/** One life of the program, ended while steps are under way. */
async function playRound(
  store: CrashStore,
  folder: string,
  { round, kind, tail }: { readonly round: number; readonly kind: Kind; readonly tail: LineTail<CallLine> },
): Promise<void> {
  const point = kind === 'before COMMIT' ? 'before' : kind === 'after COMMIT' ? 'after' : undefined
  const fault: Order['fault'] = point && { point, commit: 1 + Math.floor(Math.random() * store.commits) }
  const life = new Life(store, { folder, round, backlog, untilRest: false, ...(fault && { fault }) }, tail)
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
  const claimed = await countClaimed(store)
  await store.letTimePass()
  assert.ok(claimed >= leastInFlight, `${claimed} instances were in flight when round ${round} was killed ${kind}`)
  if (point) assert.deepEqual(life.lines.at(-1), { round, what: 'fault', point })
}
