import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { KeysFile } from '../../src/api/keys.ts'
import { readConfig } from '../../src/config.ts'
import { openReader } from '../../src/engine/open-reader.ts'
import { checkStore } from './checker.ts'
import { domain, errandOf, reviewer, submitter, workflow } from './errands.ts'
import type { Ended } from './life.ts'
import { type ClientLine, LineLog, placesIn, readLogs } from './logs.ts'
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

    let life = new Service({ folder, round: 1 }, place.env)
    t.after(() => life.kill())
    const url = await life.url
    world.begin(url)
    for (let round = 1; round <= kills; round++) {
      // Now and then in the middle of the start, else once there was something to lose.
      if (draw(6) === 0) await delay(draw(500))
      else await world.hasHeard(1 + draw(40), life)
      await delay(draw(8))
      assert.deepEqual(await life.kill(), { code: null, signal: 'SIGKILL', stderr: '' }, `CRASH_SEED=${seed}`)
      await store.letTimePass()
      life = new Service({ folder, round: round + 1 }, place.env, new URL(url).port)
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
    const { cutSubmissions, refused } = world
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
  readonly secrets: { readonly submitter: string; readonly reviewer: string }
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
class Service {
  readonly url: Promise<string>
  private readonly child: ChildProcess
  private readonly ended: Promise<Ended>

  constructor(order: ServedOrder, env: Place['env'], port = '0') {
    const main = join(import.meta.dirname, '../../src/main.ts')
    this.child = spawn(process.execPath, [main, 'serve', '--port', port, '--json'], {
      env: { ...env, ERRANDS: JSON.stringify(order) },
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    const { promise, resolve } = Promise.withResolvers<string>()
    this.url = promise
    let [stdout, stderr] = ['', '']
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
      stdout += text
      if (stdout.endsWith('}\n')) resolve(JSON.parse(stdout).url)
    })
    this.ended = new Promise((end) => this.child.once('close', (code, signal) => end({ code, signal, stderr })))
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  /** Kills the process from outside, whatever it does. */
  async kill(): Promise<Ended> {
    this.child.kill('SIGKILL')
    return await this.ended
  }

  async leave(): Promise<Ended> {
    this.child.kill('SIGTERM')
    return await this.ended
  }
}

/** Those who work with the service. Each asks until there is an answer, and writes down what it was. */
class World {
  /** Submissions whose connection broke before there was an answer. */
  cutSubmissions = 0
  /** Requests that met nobody, or somebody who was not ready. */
  refused = 0
  private readonly log: LineLog<ClientLine>
  private readonly secrets: Place['secrets']
  private url = ''
  private heard = 0
  private count = 0
  private isOver = false
  private everybody: Promise<unknown> = Promise.resolve()

  constructor({ folder, secrets }: Place) {
    this.log = new LineLog(placesIn(folder).client)
    this.secrets = secrets
  }

  begin(url: string): void {
    this.url = url
    const submitting = Array.from({ length: clients }, () => this.submitOn())
    this.everybody = Promise.all([...submitting, this.decideOn()])
    // Told when it is waited for; until then it must not count as unheard.
    this.everybody.catch(() => {})
  }

  /** Resolves once so many more answers have come, be it from this life of the service or from the next. */
  async hasHeard(more: number, life: Service): Promise<void> {
    const enough = this.heard + more
    await this.bounded(() => this.heard >= enough || !life.isAlive, `${more} answers`)
  }

  /** Nobody begins anything new; everything that was begun ends. */
  async comesToRest(): Promise<void> {
    this.isOver = true
    await this.everybody
    await this.bounded(async () => {
      const { items } = await this.ask('GET', '/v1/cases?status=running&limit=1', { as: 'reviewer' })
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
        const { status, instance_id: id } = await this.ask('POST', '/v1/cases', {
          body: { workflow, domain, input: errand },
          key,
        })
        this.log.add({ what: 'accepted', key, instance: id, seen: status === 200 })
        instance = id
      }
      await this.bounded(async () => {
        const view = await this.ask('GET', `/v1/cases/${instance}?wait=10`, {})
        return view.status !== 'running'
      }, `the end of ${instance}`)
    }
  }

  /** Approves cases that the loop's bound has held. */
  private async decideOn(): Promise<void> {
    while (!this.isOver) {
      const { items } = await this.ask('GET', '/v1/tasks?queue=specialist_review&limit=2', { as: 'reviewer' })
      for (const { task_id: task, instance_id: instance } of items) {
        this.log.add({ what: 'deciding', task, instance })
        const body = { decision: 'approve', reason: 'measured often enough' }
        await this.ask('POST', `/v1/tasks/${task}/decision`, { body, as: 'reviewer' })
        this.log.add({ what: 'decided', task, instance })
      }
      await delay(50)
    }
  }

  /** Sends the same request until somebody answers it. */
  private async ask(
    method: 'GET' | 'POST',
    path: string,
    { body, key, as = 'submitter' }: { body?: object; key?: string; as?: keyof Place['secrets'] },
  ): Promise<any> {
    const headers = {
      authorization: `Bearer ${this.secrets[as]}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
    }
    let answer: any
    await this.bounded(async () => {
      try {
        const sent = await fetch(`${this.url}${path}`, { method, headers, ...(body && { body: JSON.stringify(body) }) })
        const document = await sent.json()
        if (sent.status !== 503) answer = { status: sent.status, document }
      } catch (error) {
        const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
        if (key !== undefined && code !== 'ECONNREFUSED') this.cutSubmissions += 1
      }
      if (!answer) this.refused += 1
      return answer !== undefined
    }, `an answer to ${method} ${path}`)
    const { status, document } = answer
    assert.ok(status === 200 || status === 202, `${method} ${path}: ${JSON.stringify(document)}`)
    this.heard += 1
    // A case says for itself how it stands; of a submission it matters whether it was known.
    return method === 'POST' ? { ...document, status } : document
  }

  private async bounded(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const startedAt = performance.now()
    while (!(await condition())) {
      if (performance.now() - startedAt > patienceMs) throw new Error(`${what} did not come, CRASH_SEED=${seed}`)
      await delay(20)
    }
  }
}

/** Whole numbers below a bound, the same ones for the same seed (mulberry32). */
function randomFrom(start: number): (below: number) => number {
  let state = start
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below
  }
}
