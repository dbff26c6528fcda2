import { AssertionError } from 'node:assert'
import type { Work } from '../domain/instance.ts'
import { isCoreError } from '../errors.ts'
import { releaseClaim } from '../storage/work.ts'
import { abandonRunning, type Engine, execute } from './execution.ts'

export interface WorkerOptions {
  /** Instances in flight at a time. */
  readonly concurrency: number
  /** Who claims, as the work rows show it. */
  readonly name: string
}

/** How long an idle worker waits for a wake-up before it looks for itself. */
const pollMs = 5000

/** The pause after the store could not be reached, before anything is tried again. */
const troubleMs = 1000

/** Claims what is ready and moves it, as many instances at a time as it has slots. */
export class Worker {
  private readonly engine: Engine
  private readonly options: WorkerOptions
  private readonly inFlight = new Set<Promise<void>>()
  private loop: Promise<void> | undefined
  /** Called when something may have become ready, or a slot free. */
  private nudge: () => void = nothing
  private nudged = false

  constructor(engine: Engine, options: WorkerOptions) {
    this.engine = engine
    this.options = options
  }

  start(): void {
    this.loop ??= this.run()
  }

  /** Claims nothing more, and resolves when what is in flight is recorded or given back. */
  async stop(patienceMs: number): Promise<void> {
    this.wakeUp()
    await this.loop
    const patience = this.engine.clock.after(patienceMs, () => abandonRunning(this.engine.running))
    await Promise.all(this.inFlight)
    patience()
  }

  private async run(): Promise<void> {
    const unsubscribe = this.engine.wake.on('work', () => this.wakeUp())
    // The last claim filled every slot, so there is probably more: no need to look first.
    let isLikely = false
    while (!this.engine.leaving.signal.aborted) {
      this.nudged = false
      const free = this.options.concurrency - this.inFlight.size
      const claimed: readonly Work[] = free === 0 ? [] : await this.claim(free, isLikely)
      if (free > 0) isLikely = claimed.length === free
      for (const work of claimed) this.launch(work)
      if (free === 0 || claimed.length < free) await this.idle()
    }
    unsubscribe()
  }

  private async claim(limit: number, isLikely: boolean): Promise<Work[]> {
    const { backend, clock, log } = this.engine
    try {
      if (!isLikely && !(await backend.hotPath.anyReady())) return []
      return await backend.hotPath.claim({ limit, claimedBy: this.options.name, nowMs: clock.nowMs() })
    } catch (error) {
      log.error({ error: String(error) }, 'nothing could be claimed')
      await clock.sleep(troubleMs, this.engine.leaving.signal)
      return []
    }
  }

  private launch(work: Work): void {
    const execution = execute(this.engine, work)
      .catch((error: unknown) => this.recover(work, error))
      .finally(() => {
        this.inFlight.delete(execution)
        this.wakeUp()
      })
    this.inFlight.add(execution)
  }

  /** An execution ends by itself however its step ended; what comes here is the store's trouble, or a defect of ours. */
  private async recover(work: Work, error: unknown): Promise<void> {
    const { backend, clock, log } = this.engine
    log.error({ instance: work.instanceId, error: String(error) }, 'an instance could not be moved')
    // Stored state that is not what it must be is left as it is, claimed, for a person and for `audit verify`.
    if (error instanceof AssertionError || isCoreError(error, 'CC_ERR_DEFINITION_LOST')) return
    await clock.sleep(troubleMs, this.engine.leaving.signal)
    try {
      await backend.transaction((tx) => releaseClaim(tx, work.instanceId, work.token!))
    } catch (failure) {
      log.error({ instance: work.instanceId, error: String(failure) }, 'a claim could not be given back')
    }
  }

  /** Until something is ready, a slot is free, or it is time to look. */
  private async idle(): Promise<void> {
    if (this.nudged) return
    const looking = new AbortController()
    this.nudge = () => looking.abort()
    await this.engine.clock.sleep(pollMs * (0.5 + this.engine.draw() / 2), looking.signal)
    this.nudge = nothing
  }

  private wakeUp(): void {
    this.nudged = true
    this.nudge()
  }
}

function nothing(): void {}
