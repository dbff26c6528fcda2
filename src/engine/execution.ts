import assert from 'node:assert/strict'
import { thenDecide } from '../cognition/agent-decide.ts'
import { placeOfStep } from '../cognition/definition.ts'
import type { RunContext, StepOutput } from '../cognition/run-context.ts'
import { resolveStepParams } from '../cognition/interpolation.ts'
import { StepFailure, type StepResult } from '../cognition/primitive.ts'
import { chooseRoute } from '../cognition/routing.ts'
import type { Clock } from '../clock.ts'
import type { Work } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import { type Definition, endOfWorkflow, type Route, type Step } from '../domain/workflow.ts'
import { isCoreError } from '../errors.ts'
import type { Log } from '../log.ts'
import type { Backend } from '../storage/backend.ts'
import type { Claimed } from '../storage/claimed.ts'
import type { StepCommit } from '../storage/hot-path.ts'
import { abandoned, type Attempt, attemptStep, pauseMs } from './attempt.ts'
import { baseOf, type BuildCommit, type CommitBase, type CommitLane, type CommitOutcome } from './commit-lane.ts'
import type { Progress } from './core.ts'
import { fallbackIn, type Mishap } from './governing.ts'
import { type Loaded, loadInstance } from './loading.ts'
import { type Recorder, recorderOf, type StepRecord } from './recording.ts'
import { type Abilities, refuseModel, refuseUnrunnable } from './runnable.ts'
import type { Wake } from './wake.ts'

/** What the engine hands to every execution; one per process. */
export interface Engine extends Abilities {
  readonly backend: Backend
  readonly lane: CommitLane
  readonly wake: Wake
  readonly clock: Clock
  readonly log: Log
  /** A pinned definition by its hash; cached, since a definition never changes. */
  readonly definition: (hash: string) => Promise<Definition>
  /** Instances that this process left as they are, since their stored state is not what was recorded. */
  readonly stuck: Set<string>
  /** Attempts under way, so that a drain that runs out of patience can end them. */
  readonly running: Set<AbortController>
  /** Aborted once the process is leaving: nothing is claimed and no step begins any more. */
  readonly leaving: AbortController
  readonly report: (progress: Progress) => void
  /** Steps one instance may record before it is taken for a loop without an end. */
  readonly maxSteps: number
  /** Spreads the pauses of retries: 0..1. */
  readonly draw: () => number
}

/** Where an instance stands between two commits. */
interface Position {
  readonly step: string
  readonly run: number
  /** Attempts of this run that have failed. */
  readonly attempt: number
  readonly stepNo: number
}

/**
 * Moves one claimed instance until it ends, is held, sleeps, or the claim is lost. Holds nothing open while a step
 * thinks; everything it knows can be read again by whoever claims the instance next.
 */
export async function execute(engine: Engine, work: Claimed): Promise<void> {
  const definition = await engine.definition(work.definitionHash)
  await refuseUnrunnable(engine, definition)
  const loaded = await loadInstance(engine.backend, work, definition)
  refuseOtherMode(engine, loaded.instance.simulated)
  await new Execution(engine, work, loaded).run()
}

/** Another process may have settled what the store is after this one was opened with its model. */
function refuseOtherMode({ backend, model }: Engine, isSimulated: boolean): void {
  if (model && model.simulated !== isSimulated) throw refuseModel(backend.location, isSimulated, model.name)
}

type Unrouted = Omit<StepRecord, 'route'>

class Execution {
  private readonly engine: Engine
  private readonly definition: Definition
  private readonly token: string
  private readonly instanceId: string
  private readonly recorder: Recorder
  private readonly loaded: Loaded
  private readonly outputs: Map<string, StepOutput>
  private readonly runs: Map<string, number>
  private readonly mishaps: Map<string, Mishap>
  private previous: string | undefined
  private base: CommitBase
  private position: Position

  constructor(engine: Engine, work: Work, loaded: Loaded) {
    assert(work.token !== undefined, 'an execution needs a claim')
    this.engine = engine
    this.definition = loaded.definition
    this.loaded = loaded
    this.instanceId = work.instanceId
    this.token = work.token
    this.base = baseOf(work)
    this.position = { step: work.step, run: work.run, attempt: work.attempt, stepNo: work.stepNo }
    this.outputs = loaded.outputs
    this.runs = loaded.runs
    this.mishaps = loaded.mishaps
    this.previous = loaded.previous
    this.recorder = recorderOf(loaded.instance, loaded.definition)
  }

  async run(): Promise<void> {
    if (this.base.cancelRequested) {
      await this.commit((base) => this.recorder.canceled(this.fenceAt(base), base, this.now()))
      return
    }
    let goesOn = true
    while (goesOn) goesOn = this.engine.leaving.signal.aborted ? await this.release() : await this.step()
  }

  /** Runs the step at the pointer and records it. True when the same claim goes on with another one. */
  private async step(): Promise<boolean> {
    const { steps } = this.definition
    const step = steps[placeOfStep(steps, this.position.step) ?? -1]
    assert(step, `definition ${this.definition.workflow} has no step ${this.position.step}`)
    if (step.externalEffect && !(await this.recordIntent(step))) return false

    const startedAtMs = this.now()
    const attempt = await this.attempt(step)
    if (attempt.kind === 'abandoned') return false
    return await this.record(step, attempt, startedAtMs)
  }

  private async attempt(step: Step): Promise<Attempt> {
    const primitive = this.engine.primitives.get(step.primitive)!
    const context = this.context()
    const { run, attempt } = this.position
    let params: Record<string, string>
    try {
      params = resolveStepParams(step, primitive, context, run, this.now())
    } catch (error) {
      const message = `the parameters of ${step.name} cannot be filled in: ${String(error)}`
      return {
        kind: 'failed',
        failure: new StepFailure('primitive_error', message, { retryable: false, cause: error }),
      }
    }
    const call = {
      instanceId: this.instanceId,
      caseId: this.loaded.caseId,
      step,
      run,
      attempt: attempt + 1,
      params,
      context,
      fixtures: this.definition.fixtures,
      documents: this.definition.documents,
      idempotencyKey: this.idempotencyKey(),
      model: this.engine.model,
    }
    return await attemptStep(thenDecide(primitive), call, this.engine.running, this.engine.clock)
  }

  private async record(
    step: Step,
    attempt: Exclude<Attempt, { kind: 'abandoned' }>,
    startedAtMs: number,
  ): Promise<boolean> {
    const position = this.position
    if (attempt.kind === 'failed' && attempt.failure.retryable && position.attempt + 1 < step.retry.maxAttempts) {
      return await this.recordRetry(step, attempt.failure)
    }
    const { stepNo, run } = position
    const attempts = position.attempt + 1
    const record = { step, stepNo, run, attempt: attempts, startedAtMs, endedAtMs: this.now() }
    // Each way is taken only when the one before cannot be written: NUL, half a character, too much for an event.
    const asItWas = () =>
      attempt.kind === 'completed'
        ? this.buildCompleted({ ...record, route: this.route(step, attempt.result) }, attempt.result)
        : this.buildFailed(record, attempt.failure)
    const asFailed = (trouble: unknown) => this.buildFailed(record, unstorable(step, trouble))
    const asFailedCase = (trouble: unknown) => this.buildFailedCase(record, unstorable(step, trouble))
    let trouble: unknown
    for (const way of [asItWas, asFailed, asFailedCase]) {
      const outcome = await this.write(() => way(trouble))
      if (outcome.kind !== 'poisoned') return this.proceed(outcome)
      trouble = outcome.error
    }
    throw trouble
  }

  private async write(make: () => BuildCommit): Promise<CommitOutcome> {
    let build: BuildCommit
    try {
      build = make()
    } catch (error) {
      return { kind: 'poisoned', error: error as Error }
    }
    return await this.engine.lane.commit(this.base, build)
  }

  private route(step: Step, { output }: StepResult): Route {
    const route = chooseRoute(step, output, this.position.run, this.context(), this.definition.steps)
    const before = this.mishaps.get(step.name)?.what
    // Only the latest run of a step is read back; it carries what governance must know of those before.
    return before === undefined || before === 'failed' || fallbackIn(route) ? route : { ...route, earlier: before }
  }

  private buildCompleted(record: StepRecord, result: { output: JsonObject; model?: string }): BuildCommit {
    const { step, route } = record
    this.remember(step, record.run, route, result.output)
    const written = this.recorder.writeCompleted(record, result)
    if (route.to === endOfWorkflow) {
      const ended = this.recorder.writeEnding(this.context(), [...this.mishaps.values()], record.endedAtMs)
      return (base) => this.recorder.ended(this.fenceAt(base), base, written, ended)
    }
    if (record.stepNo + 1 >= this.engine.maxSteps) {
      return (base) => this.recorder.overBudget(this.fenceAt(base), base, written, route.to)
    }
    const run = (this.runs.get(route.to) ?? 0) + 1
    return (base) =>
      this.recorder.advanced(
        this.fenceAt(base),
        base,
        written,
        { step: route.to, run },
        this.engine.leaving.signal.aborted,
      )
  }

  /** A govern step that failed ends the workflow for a person to look at; any other failure ends the case. */
  private buildFailed(record: Unrouted, failure: StepFailure): BuildCommit {
    if (record.step.primitive !== 'govern') return this.buildFailedCase(record, failure)
    const written = this.writeFailed(record, failure)
    const ended = this.recorder.writeEnding(this.context(), [...this.mishaps.values()], record.endedAtMs)
    return (base) => this.recorder.ended(this.fenceAt(base), base, written, ended)
  }

  private buildFailedCase(record: Unrouted, failure: StepFailure): BuildCommit {
    const written = this.writeFailed(record, failure)
    return (base) => this.recorder.failed(this.fenceAt(base), base, written, failure.code)
  }

  private writeFailed(record: Unrouted, failure: StepFailure) {
    this.forget(record.step, record.run)
    return this.recorder.writeFailed({ ...record, route: { to: endOfWorkflow, by: 'failure' } }, failure)
  }

  private async recordIntent(step: Step): Promise<boolean> {
    const facts = { run: this.position.run, attempt: this.position.attempt + 1, key: this.idempotencyKey() }
    return await this.commit((base) => this.recorder.intended(this.fenceAt(base), base, step, facts, this.now()))
  }

  private async recordRetry(step: Step, failure: StepFailure): Promise<boolean> {
    const next = this.position.attempt + 2
    const now = this.now()
    const dueMs = now + pauseMs(failure, step.retry, next, this.engine.draw())
    const written = this.recorder.writeRetry(step, this.position, failure, dueMs, now)
    await this.commit((base) => this.recorder.retried(this.fenceAt(base), base, written))
    return false
  }

  private async release(): Promise<boolean> {
    await this.commit((base) => this.recorder.released(this.fenceAt(base), base, this.position, this.now()))
    return false
  }

  private async commit(build: BuildCommit): Promise<boolean> {
    const outcome = await this.engine.lane.commit(this.base, build)
    if (outcome.kind === 'poisoned') throw outcome.error
    return this.proceed(outcome)
  }

  /** Takes in what was written. True when this claim goes on. */
  private proceed(outcome: { kind: 'committed'; commit: StepCommit } | { kind: 'dropped'; why: string }): boolean {
    const { engine, instanceId } = this
    if (outcome.kind === 'dropped') {
      engine.log.warn({ instance: instanceId, why: outcome.why }, 'step result dropped: the instance is no longer ours')
      return false
    }
    const { commit } = outcome
    const last = commit.events.at(-1)
    if (last) this.base = { seq: last.seq, hash: last.hash, cancelRequested: this.base.cancelRequested }
    for (const event of commit.events) {
      engine.report({
        instanceId,
        step: commit.checkpoint?.step ?? this.position.step,
        event: event.type,
        detail: commit.checkpoint?.errorCode,
      })
    }
    engine.wake.emit({ is: 'instance', instanceId })
    const { next } = commit
    if (next.to === 'stay') return true
    if (next.to === 'sleep') engine.wake.emit({ is: 'timer', dueMs: next.dueMs })
    if (next.to === 'end') {
      engine.wake.emit({ is: 'rest', instanceId })
      for (const task of next.tasks) engine.wake.emit({ is: 'timer', dueMs: task.dueMs })
    }
    if (next.to !== 'step') return false
    this.position = { step: next.step, run: next.run, attempt: 0, stepNo: this.position.stepNo + 1 }
    return true
  }

  private fenceAt(base: CommitBase): StepCommit['fence'] {
    return { token: this.token, stepNo: this.position.stepNo, run: this.position.run, auditSeq: base.seq }
  }

  private context(): RunContext {
    return { input: this.loaded.input, outputs: this.outputs, previous: this.previous }
  }

  private remember(step: Step, run: number, route: Route, output: JsonObject): void {
    // Deleted first, so that the order of the map is the order of the latest runs.
    this.outputs.delete(step.name)
    this.outputs.set(step.name, { step: step.name, primitive: step.primitive, run, output, wentTo: route.to })
    this.runs.set(step.name, run)
    this.previous = step.name
    const fallback = fallbackIn(route)
    if (fallback) this.mishaps.set(step.name, { step: step.name, what: fallback })
  }

  private forget(step: Step, run: number): void {
    this.outputs.delete(step.name)
    this.runs.set(step.name, run)
    this.mishaps.set(step.name, { step: step.name, what: 'failed' })
  }

  private idempotencyKey(): string {
    return `${this.instanceId}/${this.position.step}/${this.position.run}`
  }

  private now(): number {
    return this.engine.clock.nowMs()
  }
}

function unstorable(step: Step, error: unknown): StepFailure {
  const message = `the result of ${step.name} cannot be stored: ${error instanceof Error ? error.message : String(error)}`
  return new StepFailure('primitive_error', message, { retryable: false, cause: error })
}

/** Another process has the store: this one has nothing left to do, and whoever waits for it hears so. */
export function leaveIfLost({ leaving }: Pick<Engine, 'leaving'>, error: unknown): void {
  if (isCoreError(error, 'CC_ERR_STORE_LOST')) leaving.abort(error)
}

/** Ends every attempt under way without a record, when a drain has waited long enough. */
export function abandonRunning(running: Iterable<AbortController>): void {
  for (const controller of running) controller.abort(abandoned)
}
