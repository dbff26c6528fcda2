import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { KeysFile } from '../../src/api/keys.ts'
import { type CutProxy, openCutProxy } from '../storage/cut-proxy.ts'
import { freePort, type PrivateServer, startServer } from '../storage/private-server.ts'
import { reviewer, submitter } from './errands.ts'
import { Member } from './member.ts'
import type { Secrets } from './requests.ts'
import type { ServedOrder } from './served-engine.ts'
import { openSession } from './tables.ts'

const schema = 'cases'
export const poolMax = 4
const concurrency = '6'

/** Replicas and workers on a PostgreSQL of their own, the workers each by a way that can be cut. */
export class Fleet implements AsyncDisposable {
  readonly folder: string
  readonly secrets: Secrets
  readonly server: PrivateServer
  readonly replicas: readonly Replica[]
  readonly workers: readonly FleetWorker[]
  /** What nobody has asked for: processes that have ended by themselves, and what they said. */
  readonly surprises: string[] = []
  /** Processes that came while the server was away for longer than they wait; whoever looks after them starts others. */
  turnedAway = 0
  /** What the processes have written to their logs, those that were killed included. */
  readonly logs: string[] = []
  private readonly root: string
  private isOver = false

  private constructor(parts: Pick<Fleet, 'folder' | 'secrets' | 'server'> & { root: string }, places: Places) {
    this.folder = parts.folder
    this.secrets = parts.secrets
    this.server = parts.server
    this.root = parts.root
    this.replicas = places.ports.map((port) => new Replica(this, places.env, port))
    this.workers = places.proxies.map((proxy) => new FleetWorker(this, places.env, proxy))
  }

  static async open({ replicas, workers }: { replicas: number; workers: number }): Promise<Fleet> {
    const root = mkdtempSync(join(tmpdir(), 'crash-fleet-'))
    const folder = join(root, 'main')
    mkdirSync(folder)
    const keysFile = join(root, 'api-keys.json')
    const keys = new KeysFile(keysFile)
    const secrets = {
      submitter: await keys.add({ name: submitter, role: 'submitter' }, Date.now()),
      reviewer: await keys.add({ name: reviewer, role: 'reviewer' }, Date.now()),
    }
    // As a server is run that is to survive what is done to it here.
    const server = await startServer({ settings: { fsync: 'on', full_page_writes: 'on', deadlock_timeout: '200ms' } })
    const env = {
      PATH: process.env.PATH ?? '',
      CC_DB_BACKEND: 'postgres',
      CC_DB_DSN: server.dsn,
      CC_DB_SCHEMA: schema,
      CC_DB_POOL_MAX: String(poolMax),
      CC_API_KEYS_FILE: keysFile,
      CC_LOG_LEVEL: 'warn',
      NODE_COMPILE_CACHE: join(root, 'compiled'),
      NODE_OPTIONS: `--import=${import.meta.resolve('./served-engine.ts')}`,
    }
    const proxies = await Promise.all(Array.from({ length: workers }, () => openCutProxy(server.dsn)))
    const ports = await Promise.all(Array.from({ length: replicas }, freePort))
    const fleet = new Fleet({ folder, secrets, server, root }, { env, proxies, ports })
    for (const slot of fleet.slots) slot.start()
    await Promise.all(fleet.slots.map((slot) => slot.member.about))
    return fleet
  }

  get slots(): readonly Slot[] {
    return [...this.replicas, ...this.workers]
  }

  /** Sessions of the program that the server has at this moment. */
  async countSessions(): Promise<number> {
    const sql = `select count(*) as count from pg_stat_activity where application_name = 'cognitive-core'`
    return (await this.ask<{ count: number }>(sql))[0]!.count
  }

  async countClaims(workerId: string): Promise<number> {
    const sql = `select count(*) as count from work where state = 'claimed' and split_part(claimed_by, '.', 1) = $1`
    return (await this.ask<{ count: number }>(sql, workerId))[0]!.count
  }

  /** Tells every process to leave, and waits until they are gone. */
  async leave(): Promise<void> {
    await Promise.all(this.slots.map((slot) => slot.leave()))
  }

  openSession() {
    return openSession(this.server.dsn, schema)
  }

  /** Everything that processes have written to their logs so far, those that were killed included. */
  get allLogs(): readonly string[] {
    return [...this.logs, ...this.slots.map(({ member }) => member.log)]
  }

  /** Throws once the fleet is gone, so that whoever still works on it ends. */
  refuseOver(): void {
    if (this.isOver) throw new Error('the fleet is gone')
  }

  async ask<R extends object>(sql: string, ...params: readonly string[]): Promise<R[]> {
    this.refuseOver()
    const session = await this.openSession()
    try {
      return (await session.query<R>(sql, [...params])).rows
    } finally {
      await session.end()
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.isOver) return
    this.isOver = true
    await Promise.all(this.slots.map((slot) => slot.abandon()))
    await Promise.all(this.workers.map(({ proxy }) => proxy[Symbol.asyncDispose]()))
    await this.server[Symbol.asyncDispose]()
    rmSync(this.root, { recursive: true, force: true })
  }
}

interface Places {
  readonly env: Readonly<Record<string, string>>
  readonly proxies: readonly CutProxy[]
  readonly ports: readonly number[]
}

let round = 0

/** The place of one process of a fleet, which is filled again when that was killed. */
export abstract class Slot {
  member!: Member
  protected readonly fleet: Fleet
  private readonly env: Places['env']
  private isWanted = false

  constructor(fleet: Fleet, env: Places['env']) {
    this.fleet = fleet
    this.env = env
  }

  protected abstract get words(): readonly string[]

  start(): void {
    this.fleet.refuseOver()
    const order: ServedOrder = { folder: this.fleet.folder, round: ++round }
    const member = new Member(this.words, { ...this.env, ERRANDS: JSON.stringify(order) })
    this.member = member
    this.isWanted = true
    void member.ended.then(({ code, signal, stderr }) => {
      this.fleet.logs.push(stderr)
      if (!this.isWanted || this.member !== member) return
      const { words, isReady } = member
      if (!isReady && /"code": "CC_ERR_SERVER_AWAY"/.test(words)) this.fleet.turnedAway += 1
      else {
        const how = `${this.words.join(' ')} ended by itself with ${code ?? signal}`
        this.fleet.surprises.push(`${how}: ${words.slice(-2000)}`)
      }
      this.start()
    })
  }

  /** Kills the process and starts another one at once. */
  async strike(): Promise<void> {
    this.isWanted = false
    await this.member.kill()
    this.start()
  }

  async leave(): Promise<void> {
    await this.member.about
    this.isWanted = false
    const { code, signal } = await this.member.leave()
    if (code !== 0)
      this.fleet.surprises.push(
        `${this.words.join(' ')} left with ${code ?? signal}: ${this.member.words.slice(-2000)}`,
      )
  }

  async abandon(): Promise<void> {
    this.isWanted = false
    await this.member.kill()
  }
}

export class Replica extends Slot {
  readonly url: string
  private readonly port: number

  constructor(fleet: Fleet, env: Places['env'], port: number) {
    super(fleet, env)
    this.port = port
    this.url = `http://127.0.0.1:${port}`
  }

  protected get words() {
    return ['serve', '--workers', '0', '--port', String(this.port)]
  }
}

export class FleetWorker extends Slot {
  readonly proxy: CutProxy
  /** It sleeps, or is just waking up: nobody strikes it meanwhile. */
  isAsleep = false

  constructor(fleet: Fleet, env: Places['env'], proxy: CutProxy) {
    super(fleet, { ...env, CC_DB_DSN: proxy.dsn })
    this.proxy = proxy
  }

  protected get words() {
    return ['worker', '--concurrency', concurrency]
  }

  /** Stops the process at a moment at which it has claims. */
  async fallAsleep(leastClaims: number): Promise<string> {
    this.isAsleep = true
    const { worker_id: workerId } = await this.member.about
    for (;;) {
      this.member.signal('SIGSTOP')
      // What it had sent is done by now.
      await delay(50)
      if ((await this.fleet.countClaims(workerId)) >= leastClaims) return workerId
      this.member.signal('SIGCONT')
      await delay(5)
    }
  }

  /** Stops the process while the answer to a commit is on its way, which the server has done. */
  async fallAsleepInCommit(text: string): Promise<{ readonly workerId: string; readonly letGo: () => void }> {
    this.isAsleep = true
    const { worker_id: workerId } = await this.member.about
    const letGo = await this.proxy.hold(text)
    this.member.signal('SIGSTOP')
    return { workerId, letGo }
  }
}
