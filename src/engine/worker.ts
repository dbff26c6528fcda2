import { AssertionError } from 'node:assert'
import type { Work } from '../domain/instance.ts'
import { isCoreError } from '../errors.ts'
import { CommitUnknownError } from '../storage/backend.ts'
import type { Claimed } from '../storage/claimed.ts'
import type { ClaimRequest, Refill } from '../storage/hot-path.ts'
import { releaseClaim, releaseClaimsOf } from '../storage/work.ts'
import type { Refiller } from './commit-lane.ts'
import { abandonRunning, type Engine, execute, leaveIfLost } from './execution.ts'
import type { Heart } from './heart.ts'
import { ClaimLost } from './loading.ts'
import { isUnrunnable } from './runnable.ts'

export interface WorkerOptions {
  /** Instances in flight at a time. */
  readonly concurrency: number
  /** Who claims, as the work rows show it. */
  readonly name: string
  /** What looks for work in this one's place, and vouches for its claims, where processes share a store. */
  readonly heart: Pick<Heart, 'started' | 'isTrusted'> | undefined
}

/** How long an idle worker waits for a wake-up before it looks for itself. */
const pollMs = 5000

/** The pause after the store could not be reached, before anything is tried again. */
const troubleMs = 1000

/** Claims what is ready and moves it, as many instances at a time as it has slots. */
export class Worker implements Refiller {
  private readonly engine: Engine
  private readonly options: WorkerOptions
  private readonly inFlight = new Map<string, Promise<void>>()
  /** Definitions that need a primitive or a model this process does not have. */
  readonly unrunnable = new Set<string>()
  private loop: Promise<void> | undefined
  /** Called when something may have become ready, or a slot free. */
  private nudge: () => void = nothing
  private nudged = false
  /** Names of claims whose answer was lost: what they took is claimed under tokens that nobody knows. */
  private readonly lost = new Set<string>()
  /** Claims that could not be given back when they should have been, by their tokens. */
  private readonly owed = new Map<string, Work>()
  private claims = 0
  /** How often something was announced that may be in line: an answer that was asked for before says nothing of it. */
  private announced = 0
  /** Nothing more was in line when it was last looked, and nothing was announced since. */
  private isDry = false

  constructor(engine: Engine, options: WorkerOptions) {
    this.engine = engine
    this.options = options
  }

  start(): void {
    this.engine.lane.refiller = this
    this.loop ??= this.run()
  }

  /** Claims nothing more, and resolves when what is in flight is recorded or given back. */
  async stop(patienceMs: number): Promise<void> {
    this.wakeUp()
    await this.loop
    const isBusy = this.inFlight.size > 0
    const patience = this.engine.clock.after(patienceMs, () => abandonRunning(this.engine.running))
    await Promise.all(this.inFlight.values())
    patience()
    // What was given back is in line for others.
    if (isBusy) this.engine.wake.emit({ is: 'work' })
  }

  refill(): Refill | undefined {
    if (this.isLeaving || !this.isTrusted) return undefined
    const { announced } = this
    return {
      claim: this.nextClaim(),
      take: (claimed) => {
        if (claimed.length === 0) this.isDry = announced === this.announced
        this.launch(claimed)
      },
    }
  }

  loseClaim(claimedBy: string): void {
    this.lost.add(claimedBy)
    this.lookAgain()
  }

  private async run(): Promise<void> {
    const unsubscribe = this.engine.wake.on('work', () => this.lookAgain())
    await this.options.heart?.started
    while (!this.isLeaving) {
      this.nudged = false
      const free = this.options.concurrency - this.inFlight.size
      const isLooking = free > 0 && this.isTrusted && !this.isDry
      const claimed = isLooking ? await this.claim(free) : []
      this.launch(claimed)
      if (!isLooking || claimed.length < free) await this.idle()
    }
    unsubscribe()
  }

  private async claim(limit: number): Promise<Claimed[]> {
    const { backend, clock, log } = this.engine
    const claim = this.nextClaim()
    const { announced } = this
    try {
      if (this.lost.size > 0 || this.owed.size > 0) await this.giveBack()
      const { hotPath } = backend
      if (!hotPath.isEmptyClaimFree && !(await hotPath.anyReady([...this.unrunnable]))) return []
      const claimed = await hotPath.claim({ ...claim, limit })
      this.isDry = claimed.length < limit && announced === this.announced
      return claimed
    } catch (error) {
      if (error instanceof CommitUnknownError) this.lost.add(claim.claimedBy)
      log.error({ error: String(error) }, 'nothing could be claimed')
      leaveIfLost(this.engine, error)
      await clock.sleep(troubleMs, this.engine.leaving.signal)
      this.lookAgain()
      return []
    }
  }

  /** Each claim has a name of its own, so that one can be given back without knowing what it took. */
  private nextClaim(): Omit<ClaimRequest, 'limit'> {
    const claimedBy = `${this.options.name}.${++this.claims}`
    return { claimedBy, nowMs: this.engine.clock.nowMs(), except: [...this.unrunnable] }
  }

  private async giveBack(): Promise<void> {
    const [lost, owed] = [[...this.lost], [...this.owed.values()]]
    await this.engine.backend.transaction(async (tx) => {
      for (const claimedBy of lost) await releaseClaimsOf(tx, claimedBy)
      for (const { instanceId, token } of owed) await releaseClaim(tx, instanceId, token!)
    })
    for (const claimedBy of lost) this.lost.delete(claimedBy)
    for (const { token } of owed) this.owed.delete(token!)
  }

  private launch(claimed: readonly Claimed[]): void {
    for (const work of claimed) {
      const execution = execute(this.engine, work)
        .catch((error: unknown) => this.recover(work, error))
        .finally(() => {
          // The same instance may have been claimed again by now: woken, retried, or given back.
          if (this.inFlight.get(work.instanceId) === execution) this.inFlight.delete(work.instanceId)
          this.wakeUp()
        })
      this.inFlight.set(work.instanceId, execution)
    }
  }

  /** An execution ends by itself however its step ended; what comes here is the store's trouble, or a defect of ours. */
  private async recover(work: Work, error: unknown): Promise<void> {
    const { backend, clock, log } = this.engine
    const instance = work.instanceId
    this.isDry = false
    if (error instanceof ClaimLost) {
      log.warn({ instance }, "the instance was somebody else's before its first step here")
      return
    }
    if (isUnrunnable(error)) {
      const { definitionHash: definition } = work
      // One claim may bring several of them.
      if (!this.unrunnable.has(definition)) {
        log.warn({ instance, definition, code: error.code }, 'cases of this definition wait')
      }
      this.unrunnable.add(definition)
    } else {
      log.error({ instance, error: String(error) }, 'an instance could not be moved')
      leaveIfLost(this.engine, error)
      // Stored state that is not what it must be is left as it is, claimed, for a person and for `audit verify`.
      if (error instanceof AssertionError || isCoreError(error, 'CC_ERR_DEFINITION_LOST')) {
        this.engine.stuck.add(instance)
        this.engine.wake.emit({ is: 'rest', instanceId: instance })
        return
      }
      await clock.sleep(troubleMs, this.engine.leaving.signal)
    }
    try {
      await backend.transaction((tx) => releaseClaim(tx, instance, work.token!))
      // It was out of the line for a moment, and another process may have looked just then.
      if (isUnrunnable(error)) this.engine.wake.emit({ is: 'work' })
    } catch (failure) {
      this.owed.set(work.token!, work)
      log.error({ instance, error: String(failure) }, 'a claim could not be given back')
    }
  }

  /** Until something is ready, a slot is free, or it is time to look. */
  private async idle(): Promise<void> {
    if (this.nudged) return
    const { promise, resolve } = Promise.withResolvers<void>()
    this.nudge = resolve
    const { clock, draw } = this.engine
    const cancel = this.options.heart ? nothing : clock.after(pollMs * (0.5 + draw() / 2), () => this.lookAgain())
    await promise
    cancel()
    this.nudge = nothing
  }

  private get isTrusted(): boolean {
    return this.options.heart?.isTrusted ?? true
  }

  private get isLeaving(): boolean {
    return this.engine.leaving.signal.aborted
  }

  /** Something may be in line. */
  private lookAgain(): void {
    this.announced += 1
    this.isDry = false
    this.wakeUp()
  }

  private wakeUp(): void {
    this.nudged = true
    this.nudge()
  }
}

function nothing(): void {}
