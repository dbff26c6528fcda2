import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { KeysFile } from '../../src/api/keys.ts'
import { readConfig } from '../../src/config.ts'
import { openReader } from '../../src/engine/open-reader.ts'
import { randomFrom } from './chance.ts'
import { checkStore } from './checker.ts'
import { domain, errandOf, reviewer, submitter, workflow } from './errands.ts'
import { type ClientLine, LineLog, placesIn, readLogs } from './logs.ts'
import { Member } from './member.ts'
import { Requests, type Secrets } from './requests.ts'
import type { ServedOrder } from './served-engine.ts'
import { type CrashStore, onEachCrashStore, type OpenCrashStore } from './stores.ts'

const mostKills = 24
const clients = 12
/** Nothing that is waited for takes so long unless it hangs. */
const patienceMs = 30_000

/** The moments of the kills follow from it, as far as two processes let anything follow. */
const seed = Number(process.env.CRASH_SEED ?? Math.floor(Math.random() * 1_000_000))

onEachCrashStore(
  'what a service answers stays true when it is killed at any moment and started again on the same port',
  async (open, t, share) => {
    t.diagnostic(`CRASH_SEED=${seed}`)
    await using place = await openPlace(open)
    const kills = mostKills * share
    const { folder, store } = place
    const world = new World(place)
    const draw = randomFrom(seed)

    let life = serving({ folder, round: 1 }, place.env)
    t.after(() => life.kill())
    const { url } = await life.about
    world.begin(url)
    for (let round = 1; round <= kills; round++) {
      // Now and then in the middle of the start, else once there was something to lose.
      if (draw(6) === 0) await delay(draw(500))
      else await world.hasHeard(1 + draw(40), life)
      await delay(draw(8))
      assert.deepEqual(await life.kill(), { code: null, signal: 'SIGKILL', stderr: '' }, `CRASH_SEED=${seed}`)
      await store.letTimePass()
      life = serving({ folder, round: round + 1 }, place.env, new URL(url).port)
    }
    await world.comesToRest()
    assert.deepEqual(await life.leave(), { code: 0, signal: null, stderr: '' })

    const { problems, figures } = await checkStore(store, readLogs(folder))
    assert.deepEqual(problems, [], `CRASH_SEED=${seed}`)
    const { dbPath: path, postgres } = readConfig(store.env)
    const reader = await openReader({ path, postgres })
    const report = await reader.verify()
    await reader.close()
    assert.deepEqual([report.findings, report.instances], [[], figures.cases])
    const { cutSubmissions, refused } = world.requests
    assert.ok(figures.killed >= kills / 2 && figures.lostCalls > 0, 'kills met steps that were under way')
    assert.ok(cutSubmissions > 0, 'kills met submissions that were under way')
    assert.ok(figures.cases > kills, 'the store grew')
    t.diagnostic(JSON.stringify({ ...figures, kills, cutSubmissions, refused }))
  },
)

interface Place extends AsyncDisposable {
  readonly folder: string
  readonly store: CrashStore
  readonly env: Readonly<Record<string, string>>
  readonly secrets: Secrets
}

/** A folder with the keys of those who work with the service, so that they are recorded under the names that the checker knows. */
async function openPlace(open: OpenCrashStore): Promise<Place> {
  const root = mkdtempSync(join(tmpdir(), 'crash-http-'))
  const folder = join(root, 'main')
  mkdirSync(folder)
  const store = await open(folder)
  const keysFile = join(root, 'api-keys.json')
  const keys = new KeysFile(keysFile)
  const secrets = {
    submitter: await keys.add({ name: submitter, role: 'submitter' }, Date.now()),
    reviewer: await keys.add({ name: reviewer, role: 'reviewer' }, Date.now()),
  }
  const env = {
    PATH: process.env.PATH ?? '',
    ...store.env,
    CC_API_KEYS_FILE: keysFile,
    CC_LOG_LEVEL: 'error',
    NODE_COMPILE_CACHE: join(root, 'compiled'),
    NODE_OPTIONS: `--import=${import.meta.resolve('./served-engine.ts')}`,
  }
  const close = async () => {
    await store[Symbol.asyncDispose]()
    rmSync(root, { recursive: true, force: true })
  }
  return { folder, store, env, secrets, [Symbol.asyncDispose]: close }
}

/** One process that serves, from its start to its end. */
function serving(order: ServedOrder, env: Place['env'], port = '0'): Member {
  return new Member(['serve', '--port', port], { ...env, ERRANDS: JSON.stringify(order) })
}

/** Those who work with the service. Each asks until there is an answer, and writes down what it was. */
class World {
  readonly requests: Requests
  private readonly log: LineLog<ClientLine>
  private url = ''
  private count = 0
  private isOver = false
  private everybody: Promise<unknown> = Promise.resolve()

  constructor({ folder, secrets }: Place) {
    this.log = new LineLog(placesIn(folder).client)
    this.requests = new Requests({ secrets, url: () => this.url, about: `CRASH_SEED=${seed}`, patienceMs })
  }

  begin(url: string): void {
    this.url = url
    const submitting = Array.from({ length: clients }, () => this.submitOn())
    this.everybody = Promise.all([...submitting, this.decideOn()])
    // Told when it is waited for; until then it must not count as unheard.
    this.everybody.catch(() => {})
  }

  /** Resolves once so many more answers have come, be it from this life of the service or from the next. */
  async hasHeard(more: number, life: Member): Promise<void> {
    const enough = this.requests.heard + more
    await this.requests.bounded(() => this.requests.heard >= enough || !life.isAlive, `${more} answers`)
  }

  /** Nobody begins anything new; everything that was begun ends. */
  async comesToRest(): Promise<void> {
    this.isOver = true
    await this.everybody
    await this.requests.bounded(async () => {
      const { items } = await this.requests.ask('GET', '/v1/cases?status=running&limit=1', { as: 'reviewer' })
      return items.length === 0
    }, 'the end of all cases')
  }

  /** Submits a case, now and then a second time, waits for its end, and goes on with the next. */
  private async submitOn(): Promise<void> {
    while (!this.isOver) {
      const number = this.count++
      const key = `errand-${number}`
      const errand = errandOf(number)
      this.log.add({ what: 'asked', key, errand })
      const times = number % 3 === 0 ? 2 : 1
      let instance = ''
      for (let time = 1; time <= times; time++) {
        const { status, instance_id: id } = await this.requests.ask('POST', '/v1/cases', {
          body: { workflow, domain, input: errand },
          key,
        })
        this.log.add({ what: 'accepted', key, instance: id, seen: status === 200 })
        instance = id
      }
      await this.requests.bounded(async () => {
        const view = await this.requests.ask('GET', `/v1/cases/${instance}?wait=10`)
        return view.status !== 'running'
      }, `the end of ${instance}`)
    }
  }

  /** Approves cases that the loop's bound has held. */
  private async decideOn(): Promise<void> {
    while (!this.isOver) {
      const { items } = await this.requests.ask('GET', '/v1/tasks?queue=specialist_review&limit=2', { as: 'reviewer' })
      for (const { task_id: task, instance_id: instance } of items) {
        this.log.add({ what: 'deciding', task, instance })
        const body = { decision: 'approve', reason: 'measured often enough' }
        await this.requests.ask('POST', `/v1/tasks/${task}/decision`, { body, as: 'reviewer' })
        this.log.add({ what: 'decided', task, instance })
      }
      await delay(50)
    }
  }
}
