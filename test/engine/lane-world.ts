import assert from 'node:assert/strict'
import type { Primitive } from '../../src/cognition/primitive.ts'
import type { Envelope } from '../../src/domain/chain.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Core } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'
import { CoreError } from '../../src/errors.ts'
import type { Log } from '../../src/log.ts'
import { type Backend, CommitUnknownError } from '../../src/storage/backend.ts'
import type { HotPath } from '../../src/storage/hot-path.ts'
import { takeLease } from '../../src/storage/lease.ts'
import { openStore } from '../../src/storage/open.ts'
import { SqliteBackend, SqliteTransaction } from '../../src/storage/sqlite.ts'
import { SqliteConnection } from '../../src/storage/sqlite-connection.ts'
import { temporaryFolder, turns } from '../storage/fixture.ts'
import { type OpenPostgresStore, postgresBackends, type PostgresFixture } from '../storage/postgres-store.ts'
import { pack } from './fixture.ts'
import { MovedClock } from './moved-clock.ts'

/** One thing that happens in a world; numbers choose among what there is at that moment. */
export type Happening =
  | { readonly is: 'submit' }
  /** A call under way ends like this. */
  | { readonly is: 'answer'; readonly which: number; readonly how: 'done' | 'again' | 'broken' | 'hopeless' }
  | { readonly is: 'cancel'; readonly which: number }
  /** A claim is given back behind the back of whoever has it. */
  | { readonly is: 'rob'; readonly which: number }
  /** The answer to the next COMMIT is lost. */
  | { readonly is: 'lose' }
  /** The next COMMIT fails. */
  | { readonly is: 'fail' }
  /** The next batch gets no answer and never arrived. */
  | { readonly is: 'vanish' }
  /** Another process takes the store; the one before does not know. */
  | { readonly is: 'crash' }
  /** The engine drains and another one takes its place. */
  | { readonly is: 'restart' }
  | { readonly is: 'turn'; readonly count: number }
  | { readonly is: 'wait'; readonly ms: number }

interface Call {
  readonly instanceId: string
  /** Step, run and attempt. */
  readonly name: string
  readonly mark: string
  readonly answer: (how: 'done' | 'again' | 'broken' | 'hopeless') => void
  isAnswered: boolean
  /** It was answered with a result. */
  isGood: boolean
  /** Its claim was taken away before it was answered: nothing of it may be recorded. */
  isRobbed: boolean
}

/** A mistake that is made on purpose, to see that the promises of a world notice it. */
export interface Plant {
  readonly backend?: (backend: Backend) => void
  readonly core?: (core: Core) => void
  /** What a new holder does in place of `takeLease`. */
  readonly takeLease?: typeof takeLease
}

/** A step that may be run again and again, and one behind it. */
const steps = [
  {
    name: 'ask',
    primitive: 'play',
    transitions: [{ when: 'output.again == true', goto: 'ask' }, { default: 'close' }],
    max_loops: 3,
    loop_fallback: 'close',
    retry: { max_attempts: 2, backoff_seconds: 0.002 },
  },
  { name: 'close', primitive: 'play', retry: { max_attempts: 1 } },
]

/** Breaks of COMMIT in one world; the lane sends a batch five times before it gives it up, which is another story. */
const maxFailures = 3

/** A store in which one world after another takes place. */
export abstract class LaneGround implements AsyncDisposable {
  protected readonly plant: Plant
  private holder: Backend | undefined
  /** What goes wrong next, once. */
  readonly faults = { lose: false, fail: false, vanish: false }
  protected readonly probe = {
    before: () => this.strike('fail', new Error('no room on the disk')),
    after: () => this.strike('lose', new Error('the connection broke')),
  }

  constructor(plant: Plant) {
    this.plant = plant
  }

  /** The store as its present holder has it. */
  async backend(): Promise<Backend> {
    return this.holder ?? (await this.takeOver())
  }

  /** The store for another holder; the one before does not know. */
  async takeOver(): Promise<Backend> {
    const backend = await this.openForAnother()
    this.letVanish(backend.hotPath)
    this.plant.backend?.(backend)
    return (this.holder = backend)
  }

  prepare(core: Core): void {
    this.plant.core?.(core)
  }

  /** Runs plain SQL beside whoever holds the store. */
  abstract rows<R extends object>(sql: string, ...params: (string | number)[]): Promise<R[]>

  /** Whether something is on its way to the store or back. */
  abstract readonly isBusy: boolean

  calmDown(): void {
    Object.assign(this.faults, { lose: false, fail: false, vanish: false })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.holder?.close().catch(() => {})
    await this.dispose()
  }

  protected abstract openForAnother(): Promise<Backend>
  protected abstract dispose(): Promise<void>

  private strike(fault: keyof LaneGround['faults'], error: Error): void {
    if (!this.faults[fault]) return
    this.faults[fault] = false
    throw error
  }

  private letVanish(hotPath: HotPath): void {
    const commitSteps = hotPath.commitSteps.bind(hotPath)
    hotPath.commitSteps = async (commits, refill) => {
      this.strike('vanish', new CommitUnknownError('the connection broke before anything was sent'))
      return await commitSteps(commits, refill)
    }
  }
}

/** In a file. Nothing here has to survive a power failure. */
class SqliteGround extends LaneGround {
  private readonly folder = temporaryFolder()
  private readonly path = this.folder.file('store.db')
  private shell: SqliteConnection | undefined
  readonly isBusy = false

  static async open(plant: Plant = {}): Promise<LaneGround> {
    const ground = new SqliteGround(plant)
    const { backend } = await openStore({ path: ground.path, nowMs: 1 })
    await backend.close()
    return ground
  }

  async rows<R extends object>(sql: string, ...params: (string | number)[]): Promise<R[]> {
    if (!this.shell) {
      this.shell = new SqliteConnection(this.path, { readOnly: false })
      this.shell.script('pragma synchronous = off')
    }
    return this.shell.query(sql, params)
  }

  protected async openForAnother(): Promise<Backend> {
    const { path } = this
    const connection = new SqliteConnection(path, { readOnly: false })
    connection.script('pragma synchronous = off')
    connection.execute('begin immediate')
    const holder = { url: undefined, nowMs: 1 }
    const epoch = await (this.plant.takeLease ?? takeLease)(new SqliteTransaction(connection), holder)
    connection.execute('commit')
    return new SqliteBackend({
      path,
      connection,
      epoch,
      probe: { ...this.probe, restMs: () => 0 },
      fence: (writing) => {
        if (writing.value('select epoch from meta') === epoch) return
        throw new CoreError('CC_ERR_STORE_LOST', { location: path })
      },
      beforeClose: () => Promise.resolve(),
      onClose: () => {},
    })
  }

  protected async dispose(): Promise<void> {
    this.shell?.close()
    this.folder[Symbol.dispose]()
  }
}

/** In a schema; a holder that is taken over from is cut off from the server. */
class PostgresGround extends LaneGround {
  private store!: PostgresFixture
  private isTaken = false

  static async open(open: OpenPostgresStore, plant: Plant = {}): Promise<LaneGround> {
    const ground = new PostgresGround(plant)
    ground.store = await open({ probe: ground.probe, nowMs: 1 })
    return ground
  }

  get isBusy(): boolean {
    return this.store.underWay > 0
  }

  rows<R extends object>(sql: string, ...params: (string | number)[]): Promise<R[]> {
    return this.store.sql<R>(sql, ...params)
  }

  protected async openForAnother(): Promise<Backend> {
    if (this.isTaken) return await this.store.takeOver()
    this.isTaken = true
    return this.store.backend
  }

  protected async dispose(): Promise<void> {
    await this.store[Symbol.asyncDispose]()
  }
}

/** Where worlds take place, and how many of them do: each way to the server and back takes its time. */
export const grounds: readonly [Place, ...Place[]] = [
  { name: 'sqlite', open: SqliteGround.open, numRuns: 1000 },
  ...postgresBackends.map(({ name, open }) => ({
    name,
    open: (plant?: Plant) => PostgresGround.open(open, plant),
    numRuns: 25,
  })),
]

interface Place {
  readonly name: string
  readonly open: (plant?: Plant) => Promise<LaneGround>
  readonly numRuns: number
}

/** One run: some cases, and whatever happens to them. */
export class LaneWorld {
  private readonly ground: LaneGround
  private readonly clock: MovedClock
  private readonly instances: string[] = []
  private readonly calls: Call[] = []
  private readonly recorded = new Set<string>()
  private readonly canceled = new Set<string>()
  private readonly hopeless = new Set<string>()
  private readonly holders: { readonly core: Core; readonly backend: Backend }[] = []
  private readonly pending: Promise<unknown>[] = []
  /** The instances of earlier worlds. */
  private before: ReadonlySet<string> = new Set()
  private failures = 0
  private robberies = 0
  private crashes = 0
  private readonly complaints: string[] = []

  constructor(ground: LaneGround) {
    this.ground = ground
    this.clock = new MovedClock({ patience: 3, isBusy: () => ground.isBusy })
  }

  async play(happenings: readonly Happening[]): Promise<void> {
    this.before = new Set(await this.stored())
    await this.begin(await this.ground.backend())
    this.submit()
    for (const happening of happenings) await this.happen(happening)
    await this.settle()
  }

  /** Ends every engine; nothing of a world reaches into the next one. */
  async close(): Promise<void> {
    this.ground.calmDown()
    const draining = this.holders.map(({ core }) => core.drain({ patienceMs: 1 }))
    await this.clock.advance(10)
    await Promise.allSettled(draining)
    const present = await this.ground.backend()
    for (const { backend } of this.holders) if (backend !== present) await backend.close().catch(() => {})
    await this.ground.rows('delete from work')
  }

  private async happen(happening: Happening): Promise<void> {
    switch (happening.is) {
      case 'submit':
        return this.submit()
      case 'answer':
        return this.answer(happening.which, happening.how)
      case 'cancel':
        return this.cancel(happening.which)
      case 'rob':
        return await this.rob(happening.which)
      case 'lose':
      case 'vanish':
        this.ground.faults[happening.is] = true
        return
      case 'fail':
        this.ground.faults.fail = ++this.failures <= maxFailures
        return
      case 'crash':
        this.crashes += 1
        return await this.begin(await this.ground.takeOver())
      case 'restart':
        return await this.restart()
      case 'turn':
        return await turns(happening.count)
      case 'wait':
        return await this.clock.advance(happening.ms)
    }
  }

  private get core(): Core {
    return this.holders.at(-1)!.core
  }

  private submit(): void {
    if (this.instances.length >= 4) return
    const submitting = this.core.submit({ workflow: 'review', domain: 'plain', input: {}, actor: 'kim' })
    this.pending.push(submitting.then(({ instanceId }) => this.instances.push(instanceId)).catch(() => {}))
  }

  private answer(which: number, how: Parameters<Call['answer']>[0]): void {
    const waiting = this.calls.filter(({ isAnswered }) => !isAnswered)
    const call = waiting[which % waiting.length]
    if (!call) return
    call.isAnswered = true
    if (how === 'hopeless' || how === 'broken') this.hopeless.add(call.instanceId)
    call.answer(how)
  }

  private cancel(which: number): void {
    const instanceId = this.instances[which % this.instances.length]
    if (instanceId === undefined) return
    const canceling = this.core.cancel({ instanceId, actor: 'olga', reason: 'no need' })
    // A case that has ended refuses.
    this.pending.push(canceling.then(() => this.canceled.add(instanceId)).catch(() => {}))
  }

  /** As a clean-up by mistake would, in the one way that the hot row allows. */
  private async rob(which: number): Promise<void> {
    const claimed = await this.ground.rows<{ id: string }>(
      `select instance_id as id from work where state = 'claimed' order by instance_id`,
    )
    const id = claimed[which % claimed.length]?.id
    if (id === undefined) return
    const calls = this.calls.filter(({ instanceId, isAnswered }) => instanceId === id && !isAnswered)
    const robbed = await this.ground.rows(
      `update work set state = 'ready', token = null, claimed_by = null, claimed_at_ms = null
        where instance_id = $1 and state = 'claimed' returning instance_id`,
      id,
    )
    // By then its step may have been recorded, and the claim given back.
    if (robbed.length === 0) return
    this.robberies += 1
    for (const call of calls) call.isRobbed = true
  }

  private async restart(): Promise<void> {
    const draining = this.core.drain({ patienceMs: 1 })
    await this.clock.advance(2)
    await draining
    this.crashes += 1
    await this.begin(await this.ground.takeOver())
  }

  private async begin(backend: Backend): Promise<void> {
    const core = await this.openEngine(backend)
    this.holders.push({ core, backend })
    core.start()
  }

  private async openEngine(backend: Backend): Promise<Core> {
    const note = (fields: object, message: string) => void this.complaints.push(`${message} ${JSON.stringify(fields)}`)
    const log: Log = { debug: () => {}, info: () => {}, warn: () => {}, error: note }
    const core = await openCore({
      backend,
      clock: this.clock,
      log,
      packs: [pack({ steps, governance: 'auto' })],
      primitives: [this.primitive],
      workerConcurrency: 2,
    })
    this.ground.prepare(core)
    return core
  }

  private readonly primitive: Primitive = {
    name: 'play',
    needsModel: false,
    requiredParams: [],
    defaultParams: {},
    run: ({ instanceId, step, run, attempt }) =>
      new Promise((resolve, reject) => {
        const mark = `call ${this.calls.length}`
        const answer: Call['answer'] = (how) => {
          if (how === 'broken') reject(new Error(mark))
          else if (how === 'hopeless') reject(new CoreError('CC_ERR_CLOSED'))
          else {
            call.isGood = true
            resolve({ output: { mark, again: how === 'again' } })
          }
        }
        const name = `${instanceId} ${step.name}#${run}.${attempt}`
        const call: Call = { instanceId, name, mark, answer, isAnswered: false, isGood: false, isRobbed: false }
        this.calls.push(call)
      }),
  }

  /** Lets everything go well from now on, until no case is left that could move. */
  private async settle(): Promise<void> {
    await turns(2)
    this.ground.calmDown()
    // A case on its way into the store is one that could move.
    await Promise.all(this.pending)
    for (let round = 0; round < 200; round++) {
      for (const call of this.calls.filter(({ isAnswered }) => !isAnswered)) {
        call.isAnswered = true
        call.answer('done')
      }
      await turns(2)
      if ((await this.ground.rows('select 1 from work limit 1')).length === 0) return
      if (round % 3 === 2) await this.clock.advance(1_000)
    }
    assert.fail(`cases did not end: ${JSON.stringify(await this.ground.rows('select * from work'))}`)
  }

  /** What must be true of every world, whatever happened in it. */
  async check(): Promise<void> {
    const stored = (await this.stored()).filter((id) => !this.before.has(id))
    for (const instanceId of this.instances) assert.ok(stored.includes(instanceId))
    for (const id of stored) await this.checkInstance(id)
    this.checkCalls()
    const defects = this.complaints.filter((complaint) => complaint.includes('AssertionError'))
    assert.deepEqual(defects, [], 'the engine met what it holds for impossible')
  }

  private async stored(): Promise<string[]> {
    return (await this.ground.rows<{ id: string }>('select instance_id as id from instances')).map(({ id }) => id)
  }

  private async checkInstance(instanceId: string): Promise<void> {
    const report = await this.core.verify({ instanceId })
    assert.deepEqual(report.findings, [])
    const { status } = await this.core.getCase(instanceId)
    const events = (await this.core.getAudit(instanceId)).map(({ envelope }) => JSON.parse(envelope) as Envelope)
    const ends = events.map(({ type }) => type).filter((type) => /^case\.(completed|failed|canceled)$/.test(type))
    assert.equal(ends.length, status === 'suspended' ? 0 : 1, 'a case ends once')
    if (this.canceled.has(instanceId))
      assert.equal(status, 'canceled', 'who was told that a case is canceled finds it so')
    if (status === 'failed') assert.ok(this.hopeless.has(instanceId), 'a case fails because a step of it did')
    await this.checkSteps(instanceId, events)
  }

  private async checkSteps(instanceId: string, events: readonly Envelope[]): Promise<void> {
    const recorded = await this.core.getSteps(instanceId)
    assert.deepEqual(
      recorded.map(({ stepNo }) => stepNo),
      recorded.map((_, index) => index + 1),
    )
    const runs = recorded.map(({ step, run }) => `${step}#${run}`)
    assert.equal(new Set(runs).size, runs.length, 'each run of a step is recorded once')
    assert.equal(events.filter(({ type }) => /^step\.(completed|failed)$/.test(type)).length, recorded.length)
    for (const { step, run, attempts, status, output } of recorded) {
      if (status !== 'completed') continue
      const { mark } = output as JsonObject
      const call = this.calls.find((candidate) => candidate.mark === mark)
      assert.ok(call, 'what is recorded was said by a call')
      this.recorded.add(call.mark)
      assert.equal(
        call.name,
        `${instanceId} ${step}#${run}.${attempts}`,
        'it was said by the call of this very attempt',
      )
      assert.ok(!call.isRobbed, 'what a lost claim brings is not recorded')
    }
  }

  /** A step runs again only where a crash or a robbery took its claim away. */
  private checkCalls(): void {
    const counts = new Map<string, number>()
    for (const { name } of this.calls) counts.set(name, (counts.get(name) ?? 0) + 1)
    for (const [name, count] of counts) {
      assert.ok(count <= 1 + this.crashes + this.robberies, `${name} ran ${count} times`)
    }
    if (this.crashes + this.robberies > 0) return
    for (const { name, mark, isGood } of this.calls) {
      if (isGood) assert.ok(this.recorded.has(mark), `what ${name} said is recorded`)
    }
  }
}
