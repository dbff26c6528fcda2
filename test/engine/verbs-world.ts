import assert from 'node:assert/strict'
import { isCoreError } from '../../src/errors.ts'
import type { Backend } from '../../src/storage/backend.ts'
import { type OpenStore, turns } from '../storage/fixture.ts'
import { type EngineFixture, openEngine } from './fixture.ts'

/** What people do to cases, one thing after the other; numbers choose among the cases there are. */
export type Verb =
  | { readonly is: 'submit'; readonly key: number; readonly body: number; readonly breaks: boolean }
  | { readonly is: 'decide'; readonly which: number; readonly yes: boolean; readonly who: string }
  /** Two people decide at the same time, each in their way. */
  | { readonly is: 'contest'; readonly which: number }
  | { readonly is: 'cancel'; readonly which: number }
  | { readonly is: 'retry'; readonly which: number }
  | { readonly is: 'erase'; readonly which: number }
  /** So long that every task that is open then moves to another queue. */
  | { readonly is: 'wait' }
  /** Another process takes the store. */
  | { readonly is: 'crash' }

/** What becomes of the next COMMIT: its answer is lost, or it is refused. */
export type Fault = 'none' | 'lose' | 'fail'

/** A case as it must be. */
interface Modelled {
  readonly instanceId: string
  readonly key: string
  readonly body: string
  /** It fails at its first run. */
  readonly breaks: boolean
  status: 'suspended' | 'failed' | 'completed' | 'terminated' | 'canceled'
  decision: { readonly who: string; readonly yes: boolean } | undefined
  retries: number
  isErased: boolean
  escalations: number
  /** That of the task that is open. */
  isEscalated: boolean
}

const noRoom = 'no room on the disk'

/** A mistake that is made on purpose, to see that the model notices it. */
export interface VerbPlant {
  readonly backend?: (backend: Backend) => void
  readonly core?: (engine: EngineFixture) => void
}

/** One store, and one engine after the other on it. */
export class VerbsGround implements AsyncDisposable {
  readonly engines: EngineFixture[] = []
  fault: Fault = 'none'
  worlds = 0
  private readonly plant: VerbPlant

  private constructor(plant: VerbPlant) {
    this.plant = plant
  }

  static async open(open: OpenStore, plant: VerbPlant = {}): Promise<VerbsGround> {
    const ground = new VerbsGround(plant)
    const strike = (fault: Fault, error: Error) => {
      if (ground.fault !== fault) return
      ground.fault = 'none'
      throw error
    }
    const engine = await openEngine(
      async (options) => {
        const store = await open(options)
        plant.backend?.(store.backend)
        return store
      },
      {
        probe: {
          before: () => strike('fail', new Error(noRoom)),
          after: () => strike('lose', new Error('the connection broke')),
        },
        governance: 'gate',
        steps: [{ name: 'first', primitive: 'play', retry: { max_attempts: 2, backoff_seconds: 1 } }],
        plays: {
          first: ({ run, context }) => {
            if ((context.input as { breaks: boolean }).breaks && run === 1) throw new Error('broken')
            return { done: true }
          },
        },
        config: { governance_tiers: { gate: { sla: 60 }, hold: { sla: 60 } } },
      },
    )
    plant.core?.(engine)
    ground.engines.push(engine)
    return ground
  }

  get engine(): EngineFixture {
    return this.engines.at(-1)!
  }

  async crash(): Promise<void> {
    const before = this.engine
    this.engines.push(await before.crash())
    this.plant.backend?.(this.engine.store.backend)
    this.plant.core?.(this.engine)
    before.core.close().catch(() => {})
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const engine of this.engines.toReversed()) await engine[Symbol.asyncDispose]()
  }
}

/** What people do, and what must come of it by a model that knows no database. */
export class VerbsWorld {
  private readonly ground: VerbsGround
  private readonly name: string
  private readonly cases: Modelled[] = []

  constructor(ground: VerbsGround) {
    this.ground = ground
    this.name = `world ${++ground.worlds}`
  }

  async play(happenings: readonly { readonly verb: Verb; readonly fault: Fault }[]): Promise<void> {
    for (const { verb, fault } of happenings) {
      // No two things happen at the very same time.
      await this.ground.engine.clock.advance(1)
      this.ground.fault = verb.is === 'wait' || verb.is === 'crash' ? 'none' : fault
      await this.act(verb)
      this.ground.fault = 'none'
      await this.rest()
    }
  }

  /** Every case is as the model has it, with an event for each thing that was done, and every chain is whole. */
  async check(): Promise<void> {
    const { core, events } = this.ground.engine
    for (const one of this.cases) {
      const { instanceId } = one
      assert.equal((await core.getCase(instanceId)).status, one.status)
      const types = await events(instanceId)
      const count = (type: string) => types.filter((each) => each === type).length
      const decided = one.decision === undefined ? 0 : 1
      assert.equal(count('case.submitted'), 1)
      assert.equal(count('task.decided'), decided, 'a task is decided once')
      assert.equal(count('case.retried'), one.retries, 'each retry is there once')
      assert.equal(count('case.canceled'), one.status === 'canceled' ? 1 : 0)
      assert.equal(count('payload.erased'), one.isErased ? 1 : 0, 'content is erased once')
      assert.equal(count('task.escalated'), one.escalations, 'a task moves once')
      assert.equal(count('step.completed'), one.breaks && one.retries === 0 ? 0 : 1, 'a step is recorded once')
      const report = await core.verify({ instanceId })
      assert.deepEqual(report.findings, [])
    }
    const named = await this.ground.engine.store.sql<{ id: string }>(
      `select instance_id as id from instances where submitted_by = $1 order by instance_id`,
      this.name,
    )
    assert.deepEqual(
      named.map(({ id }) => id),
      this.cases.map(({ instanceId }) => instanceId).sort(),
      'a key is one case',
    )
  }

  private async act(verb: Verb): Promise<void> {
    if (verb.is === 'submit') return await this.submit(verb)
    if (verb.is === 'wait') return await this.wait()
    if (verb.is === 'crash') return await this.ground.crash()
    const one = this.cases[verb.which % this.cases.length]
    if (!one) return
    switch (verb.is) {
      case 'decide':
        return await this.decide(one, verb)
      case 'contest':
        return await this.contest(one)
      case 'cancel':
        return await this.cancel(one)
      case 'retry':
        return await this.retry(one)
      case 'erase':
        return await this.erase(one)
    }
  }

  private async submit({ key, body, breaks }: Extract<Verb, { is: 'submit' }>): Promise<void> {
    const named = `key ${key}`
    const input = { body, breaks }
    const known = this.cases.find((one) => one.key === named)
    const isSame = known?.body === JSON.stringify(input)
    const submitted = await this.outcome(
      this.ground.engine.submit({ key: named, input, actor: this.name }),
      known && !isSame ? 'CC_ERR_KEY_REUSED' : undefined,
    )
    if (!submitted) return
    if (known) return assert.equal(submitted.instanceId, known.instanceId, 'the same request is the same case')
    this.cases.push({
      ...{ instanceId: submitted.instanceId, key: named, body: JSON.stringify(input), breaks },
      status: breaks ? 'failed' : 'suspended',
      ...{ decision: undefined, retries: 0, isErased: false, escalations: 0, isEscalated: false },
    })
  }

  private async decide(one: Modelled, { yes, who }: Extract<Verb, { is: 'decide' }>): Promise<void> {
    const task = await this.task(one)
    if (!task) return
    const { decision, status } = one
    const isRepeat = decision?.who === who && decision.yes === yes
    const refusal = decision ? (isRepeat ? undefined : 'CC_ERR_ALREADY_DECIDED') : withdrawn(status)
    const decided = await this.outcome(this.ground.engine.core.decide(wordOf(task, yes, who)), refusal)
    if (!decided) return
    assert.equal(decided.repeated, isRepeat, 'a repeat is one, and a first decision is none')
    this.note(one, who, yes)
  }

  private async contest(one: Modelled): Promise<void> {
    const task = await this.task(one)
    if (!task || one.decision || one.status !== 'suspended') return
    const { core } = this.ground.engine
    const sides = [
      { who: 'ann', yes: true },
      { who: 'bob', yes: false },
    ]
    const answers = await Promise.allSettled(sides.map(({ who, yes }) => core.decide(wordOf(task, yes, who))))
    const first = answers.findIndex(({ status }) => status === 'fulfilled')
    const won = answers.filter(({ status }) => status === 'fulfilled').length
    assert.ok(won <= 1, 'one of two decisions stands')
    for (const answer of answers) {
      if (answer.status === 'fulfilled') continue
      const isKnown = isCoreError(answer.reason, 'CC_ERR_ALREADY_DECIDED') || String(answer.reason).includes(noRoom)
      assert.ok(isKnown, String(answer.reason))
    }
    if (won === 1) this.note(one, sides[first]!.who, sides[first]!.yes)
  }

  private note(one: Modelled, who: string, yes: boolean): void {
    one.decision ??= { who, yes }
    one.status = one.decision.yes ? 'completed' : 'terminated'
  }

  private async cancel(one: Modelled): Promise<void> {
    const { instanceId, status } = one
    const isCancelable = status === 'suspended' || status === 'canceled'
    const asked = this.ground.engine.core.cancel({ instanceId, actor: 'olga', reason: 'no need' })
    if (await this.outcome(asked, isCancelable ? undefined : 'CC_ERR_NOT_CANCELABLE')) one.status = 'canceled'
  }

  private async retry(one: Modelled): Promise<void> {
    const { instanceId, status, isErased } = one
    const refusal = status !== 'failed' ? 'CC_ERR_NOT_RETRYABLE' : isErased ? 'CC_ERR_ERASED' : undefined
    if (!(await this.outcome(this.ground.engine.core.retry({ instanceId, actor: 'olga' }), refusal))) return
    one.retries += 1
    one.status = 'suspended'
  }

  private async erase(one: Modelled): Promise<void> {
    const { core, store } = this.ground.engine
    const { instanceId, status } = one
    const [row] = await store.sql<{ id: string }>(
      `select payload_id as id from payloads where kind = 'input' and instance_id = $1`,
      instanceId,
    )
    const erasing = core.erase({ instanceId, payloadId: row!.id, actor: 'olga', reason: 'asked for' })
    const done = await this.outcome(
      erasing.then(() => true),
      status === 'suspended' ? 'CC_ERR_CASE_LIVE' : undefined,
    )
    if (done) one.isErased = true
  }

  private async wait(): Promise<void> {
    await this.ground.engine.clock.advance(70_000)
    for (const one of this.cases) {
      if (one.status !== 'suspended' || one.isEscalated) continue
      one.isEscalated = true
      one.escalations += 1
    }
    await this.eventually(async () => {
      const moved = this.cases.map(async ({ instanceId, escalations }) => {
        const types = await this.ground.engine.events(instanceId)
        return types.filter((type) => type === 'task.escalated').length >= escalations
      })
      return (await Promise.all(moved)).every(Boolean)
    }, 'that tasks move')
  }

  /** What a verb answers; undefined when it was refused as it must be, or its COMMIT was. */
  private async outcome<T>(acting: Promise<T>, refusal: string | undefined): Promise<T | undefined> {
    const isDoomed = this.ground.fault === 'fail'
    try {
      const answer = await acting
      assert.equal(refusal, undefined, 'it must be refused')
      return answer
    } catch (error) {
      if (isDoomed && String(error).includes(noRoom)) return undefined
      if (refusal !== undefined && isCoreError(error) && error.code === refusal) return undefined
      throw error
    }
  }

  private async task({ instanceId }: Modelled) {
    const [row] = await this.ground.engine.store.sql<{ id: string }>(
      `select task_id as id from tasks where instance_id = $1`,
      instanceId,
    )
    return row && (await this.ground.engine.core.getTask(row.id))
  }

  /** Until every case is where the model has it. */
  private async rest(): Promise<void> {
    await turns(3)
    const { core } = this.ground.engine
    await this.eventually(async () => {
      const views = await Promise.all(this.cases.map(({ instanceId }) => core.getCase(instanceId)))
      return views.every(({ status }) => status !== 'running')
    }, 'that cases come to rest')
  }

  private async eventually(condition: () => Promise<boolean>, what: string): Promise<void> {
    for (let tries = 0; !(await condition()); tries++) {
      assert.ok(tries < 300, `${what} does not happen`)
      await turns(5)
      if (tries % 10 === 9) await this.ground.engine.clock.advance(500)
    }
  }
}

function wordOf(task: { readonly taskId: string; readonly tier: string }, yes: boolean, actor: string) {
  const decision = yes ? (task.tier === 'hold' ? 'release' : 'approve') : 'deny'
  return { taskId: task.taskId, decision, reason: 'so it is', actor }
}

/** Whose task is nobody's any more. */
function withdrawn(status: Modelled['status']): string | undefined {
  return status === 'canceled' ? 'CC_ERR_WITHDRAWN' : undefined
}
