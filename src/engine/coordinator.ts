import type { PinnedDefinition } from '../cognition/definition.ts'
import { findDefinition, type Pack } from '../cognition/pack.ts'
import type { AuditEventType, ChainHead } from '../domain/audit.ts'
import { randomHex } from '../domain/identity.ts'
import type { Task } from '../domain/task.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError, isCoreError } from '../errors.ts'
import { readAuditHash } from '../storage/audit.ts'
import type { Transaction } from '../storage/backend.ts'
import { type Meta, readMeta } from '../storage/meta.ts'
import { claimTask } from '../storage/tasks.ts'
import { checkActor } from './actor.ts'
import { StoreReader } from './case-reader.ts'
import { requireTask } from './case-views.ts'
import { recordOnInstance } from './chain-writes.ts'
import type { CaseView, Core, Decided, DecisionRequest, Progress, SubmitRequest, Submitted } from './core.ts'
import {
  checkDecider,
  checkDecision,
  endingsOf,
  findDecision,
  findOpened,
  recordDecision,
  refuseUnlessOpen,
  refuseSubmitter,
  takeDecision,
} from './deciding.ts'
import { type Engine, leaveIfLost } from './execution.ts'
import { cancelCase, eraseContent, requireInstance, retryCase } from './intervening.ts'
import { Heart } from './heart.ts'
import { refuseModel, refuseUnrunnable } from './runnable.ts'
import { HeadMoved, writeSurely } from './store-writes.ts'
import { SubmitLane, type SubmitOutcome } from './submit-lane.ts'
import { findSubmission, type NewCase, recordCase, takeCase, takeObject } from './submitting.ts'
import { Sweeper } from './sweeper.ts'
import { waitUntilRest } from './waiting.ts'
import type { Known } from './wake.ts'
import { Worker } from './worker.ts'

/** How long a claimed task is kept for its reviewer unless they say otherwise, and at most. */
const taskClaimMs = 900_000
const maxTaskClaimMs = 86_400_000

const defaultPatienceMs = 30_000

/** The verbs of a store that is open for writing. Each is one transaction, whole or not at all. */
export class Coordinator extends StoreReader implements Core {
  private readonly engine: Engine
  private readonly packs: readonly Pack[]
  private readonly listeners: Set<(progress: Progress) => void>
  readonly workerId: string
  private readonly submissions: SubmitLane
  private readonly heart: Heart | undefined
  private readonly worker: Worker
  private readonly sweeper: Sweeper
  private draining: Promise<void> | undefined
  private readonly losing = new AbortController()
  /** Ends the waiting of those whose cases will not come to rest here. */
  private readonly closing = new AbortController()

  constructor(parts: {
    readonly engine: Engine
    readonly packs: readonly Pack[]
    readonly concurrency: number
    readonly meta: Meta
    readonly listeners: Set<(progress: Progress) => void>
  }) {
    const { engine, concurrency } = parts
    super(engine.backend, engine.clock, parts.meta)
    this.engine = engine
    this.packs = parts.packs
    this.listeners = parts.listeners
    this.submissions = new SubmitLane(engine.backend, parts.meta.simulated !== undefined)
    this.workerId = `process ${process.pid} ${randomHex(4)}`
    const { workerId } = this
    const { fleet } = engine.backend
    const member = { workerId, concurrency }
    this.heart = fleet && new Heart(engine, fleet, { member, except: () => [...this.worker.unrunnable] })
    this.worker = new Worker(engine, { concurrency, name: workerId, heart: this.heart })
    this.sweeper = new Sweeper(engine)
    const { signal } = engine.leaving
    signal.addEventListener('abort', () => {
      if (!isCoreError(signal.reason)) return
      this.closing.abort(signal.reason)
      this.losing.abort(signal.reason)
    })
  }

  async submit(request: SubmitRequest): Promise<Submitted> {
    checkActor(request.actor)
    const newCase = takeCase(request, this.clock.nowMs())
    let pinned
    try {
      pinned = findDefinition(this.packs, request.workflow, request.domain)
      await refuseUnrunnable(this.engine, pinned.definition)
    } catch (error) {
      // A key that was seen answers even when its workflow is not loaded any more.
      const seen = request.key === undefined ? undefined : await this.findSubmission(newCase)
      if (seen) return seen
      throw error
    }
    const { instanceId } = newCase
    switch (await this.take(newCase, pinned)) {
      case 'key_taken':
        return (await this.findSubmission(newCase))!
      case 'otherwise_settled':
        this.isSimulated = (await readMeta(this.store)).simulated
        return await this.submit(request)
      case 'submitted':
        this.engine.wake.emit({ is: 'work' })
        this.announce(instanceId, 'case.submitted')
        return { instanceId, status: 'running', seen: false }
    }
  }

  async claimTask({
    taskId,
    actor,
    forMs = taskClaimMs,
  }: {
    taskId: string
    actor: string
    forMs?: number
  }): Promise<Task> {
    checkActor(actor)
    if (!Number.isInteger(forMs) || forMs < 1 || forMs > maxTaskClaimMs) {
      throw new CoreError('CC_ERR_INPUT', { what: 'time of a claim', why: 'it must be at most a day' })
    }
    const nowMs = this.clock.nowMs()
    const untilMs = nowMs + forMs
    const claimed = await this.write(async (tx) => {
      const task = await requireTask(tx, taskId)
      const { instanceId, tier } = task
      refuseUnlessOpen(task)
      checkDecider(task, actor, nowMs)
      await refuseSubmitter(tx, task, actor)
      if (task.claimedBy === actor && task.claimedUntilMs === untilMs) return task
      if (!(await claimTask(tx, { task, actor, untilMs }))) throw new HeadMoved()
      const instance = await requireInstance(tx, instanceId)
      const claimed = {
        type: 'task.claimed',
        atMs: nowMs,
        actor,
        tier,
        facts: { task: taskId, until_ms: untilMs },
      } as const
      await recordOnInstance(tx, instance, [claimed], { atMs: nowMs })
      return { ...task, claimedBy: actor, claimedUntilMs: untilMs }
    })
    this.announce(claimed.instanceId, 'task.claimed')
    return claimed
  }

  async decide(request: DecisionRequest): Promise<Decided> {
    checkActor(request.actor)
    const asked = takeDecision(request)
    const nowMs = this.clock.nowMs()
    const definition = await this.definitionOf(asked.taskId)
    const decided = await this.write(async (tx, isAgain): Promise<Decided> => {
      const task = await requireTask(tx, asked.taskId)
      const instance = await requireInstance(tx, task.instanceId)
      const { taskId, instanceId } = task
      const first = findDecision(task, asked)
      if (first) {
        const repeated = !isAgain || task.decidedAtMs !== nowMs
        const openedTaskId = await findOpened(tx, task)
        return { taskId, instanceId, ...first, status: instance.status, repeated, openedTaskId }
      }
      const decision = checkDecision(task, asked)
      checkDecider(task, asked.actor, nowMs)
      await refuseSubmitter(tx, task, asked.actor)
      return await recordDecision(tx, { task, instance, definition, asked, decision, nowMs })
    })
    if (decided.openedTaskId !== undefined) this.engine.wake.emit({ is: 'timer', dueMs: nowMs })
    if (!decided.repeated) this.announce(decided.instanceId, 'task.decided', ...endingsOf(decided.decision))
    return decided
  }

  async cancel({
    instanceId,
    actor,
    reason,
  }: {
    instanceId: string
    actor: string
    reason: string
  }): Promise<CaseView> {
    checkActor(actor)
    checkReason(reason, 'Canceling a case')
    const nowMs = this.clock.nowMs()
    const happened = await this.write((tx) => cancelCase(tx, { instanceId, actor, reason, nowMs }))
    this.announce(instanceId, ...happened)
    return await this.getCase(instanceId)
  }

  async retry({ instanceId, actor }: { instanceId: string; actor: string }): Promise<CaseView> {
    checkActor(actor)
    const nowMs = this.clock.nowMs()
    let written: ChainHead | undefined
    await this.write(async (tx, isAgain) => {
      // The case may have gone on since, as far as to its end.
      const isThere = isAgain && written && (await readAuditHash(tx, instanceId, written.seq)) === written.hash
      if (!isThere) written = await retryCase(tx, { instanceId, actor, nowMs })
    })
    this.engine.wake.emit({ is: 'work' })
    this.announce(instanceId, 'case.retried')
    return await this.getCase(instanceId)
  }

  async erase(request: { instanceId: string; payloadId: string; actor: string; reason: string }): Promise<void> {
    checkActor(request.actor)
    checkReason(request.reason, 'Erasing content')
    const nowMs = this.clock.nowMs()
    await this.write((tx) => eraseContent(tx, { ...request, nowMs }))
    this.announce(request.instanceId, 'payload.erased')
  }

  async waitFor(instanceId: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<CaseView> {
    const signals = [this.closing.signal, ...(options.signal ? [options.signal] : [])]
    const isRunElsewhere = async () => (await this.heart?.hasOthersAtWork()) ?? false
    const signal = AbortSignal.any(signals)
    return await waitUntilRest(this, this.engine, instanceId, { ...options, signal, isRunElsewhere })
  }

  onProgress(listener: (progress: Progress) => void): () => void {
    this.listeners.add(listener)
    return () => void this.listeners.delete(listener)
  }

  get backend(): string {
    return this.store.dialect.name
  }

  get lost(): AbortSignal {
    return this.losing.signal
  }

  async ping(): Promise<void> {
    await readMeta(this.store)
    if (this.store.trouble) throw this.store.trouble
  }

  follow(instanceId: string, _after: number, listener: (progress: Progress) => void): () => Promise<void> {
    // Cases run in this process alone, so that nothing has happened yet that was not told.
    const end = this.onProgress((progress) => {
      if (progress.instanceId === instanceId) listener(progress)
    })
    return () => Promise.resolve(end())
  }

  onChange(listener: (instanceId: string | undefined) => void, known: () => Known = () => []): () => void {
    const { wake } = this.engine
    const ends = [wake.on('instance', listener), wake.on('missed', () => listener(undefined)), wake.follow(known)]
    return () => ends.forEach((end) => end())
  }

  listWorkflows() {
    return this.packs.flatMap((pack) =>
      pack.definitions.map(({ hash, definition: { workflow, domain } }) => ({
        workflow,
        domain,
        definitionHash: hash,
        pack: pack.name,
      })),
    )
  }

  start(): void {
    this.heart?.start()
    this.worker.start()
    this.sweeper.start()
  }

  drain({ patienceMs = defaultPatienceMs } = {}): Promise<void> {
    this.engine.leaving.abort()
    return (this.draining ??= this.leave(patienceMs))
  }

  override async close(): Promise<void> {
    await this.drain()
    // What was asked for while it drained.
    await this.submissions.finish()
    await this.heart?.stop()
    this.closing.abort(new CoreError('CC_ERR_CLOSED'))
    await super.close()
  }

  private async leave(patienceMs: number): Promise<void> {
    await Promise.all([this.worker.stop(patienceMs), this.sweeper.stop()])
    await this.heart?.stop()
  }

  /** Read before the write, since a write waits for nothing but its own statements. */
  private async definitionOf(taskId: string): Promise<Definition> {
    const hash = await this.store.read(async (reader) => {
      const { instanceId } = await requireTask(reader, taskId)
      return (await requireInstance(reader, instanceId)).definitionHash
    })
    return await this.engine.definition(hash)
  }

  private async write<T>(body: (tx: Transaction, isAgain: boolean) => Promise<T>): Promise<T> {
    try {
      return await writeSurely(this.store, body)
    } catch (error) {
      leaveIfLost(this.engine, error)
      throw error
    }
  }

  private findSubmission(newCase: NewCase): Promise<Submitted | undefined> {
    return this.store.read((reader) => findSubmission(reader, newCase))
  }

  /** The first case settles for good whether the store is a simulation. */
  private async take(newCase: NewCase, pinned: PinnedDefinition): Promise<SubmitOutcome> {
    const { model } = this.engine
    const simulated = this.isSimulated ?? model?.simulated ?? false
    if (model && model.simulated !== simulated) throw refuseModel(this.location, simulated, model.name)
    try {
      const outcome = await this.submissions.submit(recordCase(newCase, pinned, simulated), pinned)
      if (outcome === 'submitted') this.isSimulated = simulated
      return outcome
    } catch (error) {
      leaveIfLost(this.engine, error)
      throw error
    }
  }

  private announce(instanceId: string, ...events: readonly AuditEventType[]): void {
    for (const event of events) this.engine.report({ instanceId, step: undefined, event, detail: undefined })
    this.engine.wake.emit({ is: 'instance', instanceId })
    this.engine.wake.emit({ is: 'rest', instanceId })
  }
}

function checkReason(reason: string, what: string): void {
  if (typeof reason !== 'string' || reason.trim() === '') throw new CoreError('CC_ERR_REASON', { what })
  takeObject({ reason }, 'reason')
}
