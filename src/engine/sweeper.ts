import { earliestTaskDueMs, readOverdueTasks } from '../storage/tasks.ts'
import { earliestSleeperMs, wakeDue } from '../storage/work.ts'
import type { Engine } from './execution.ts'
import { escalateOverdue } from './intervening.ts'
import { writeSurely } from './store-writes.ts'

/** At most this many rows move in one transaction. */
const batch = 500

/** A bound on how long the sweeper trusts its own clock and wake-ups; what beats in a shared store tells it in time. */
const maxSleepMs = 60_000
const maxSharedSleepMs = 3_600_000

/** The pause after a sweep that failed. */
const troubleMs = 1000

/** Does what is due: wakes sleeping instances, moves tasks whose SLA has passed. Sleeps until the earliest due time. */
export class Sweeper {
  private readonly engine: Engine
  private loop: Promise<void> | undefined
  private earlier: (dueMs: number) => void = nothing

  constructor(engine: Engine) {
    this.engine = engine
  }

  start(): void {
    this.loop ??= this.run()
  }

  async stop(): Promise<void> {
    await this.loop
  }

  private async run(): Promise<void> {
    const { clock, wake, log } = this.engine
    // What was announced while a sweep was under way may have been missed by its reads.
    let announcedMs = Infinity
    const unsubscribe = wake.on('timer', (dueMs) => {
      announcedMs = Math.min(announcedMs, dueMs)
      this.earlier(dueMs)
    })
    while (!this.engine.leaving.signal.aborted) {
      announcedMs = Infinity
      const nextMs = await this.sweep().catch((error: unknown) => {
        log.error({ error: String(error) }, 'what is due could not be done')
        return clock.nowMs() + troubleMs
      })
      await this.sleepUntil(Math.min(nextMs, announcedMs))
    }
    unsubscribe()
  }

  /** Does everything that is due, and returns when the next is. An idle sweep only reads. */
  private async sweep(): Promise<number> {
    const { backend, wake, clock } = this.engine
    for (;;) {
      const nextMs = await this.earliestMs()
      const nowMs = clock.nowMs()
      if (nextMs > nowMs || this.engine.leaving.signal.aborted) return nextMs
      const woken = await backend.transaction((tx) => wakeDue(tx, nowMs, batch))
      if (woken > 0) wake.emit({ is: 'work' })
      const overdue = await readOverdueTasks(backend, nowMs, batch)
      for (const { taskId, instanceId } of overdue) {
        await writeSurely(backend, (tx) => escalateOverdue(tx, taskId, nowMs))
        wake.emit({ is: 'instance', instanceId })
      }
    }
  }

  private async earliestMs(): Promise<number> {
    const [sleeper, task] = await this.engine.backend.read(async (reader) => [
      await earliestSleeperMs(reader),
      await earliestTaskDueMs(reader),
    ])
    return Math.min(sleeper ?? Infinity, task ?? Infinity)
  }

  private async sleepUntil(dueMs: number): Promise<void> {
    const { backend, clock } = this.engine
    const restMs = Math.min(dueMs - clock.nowMs(), backend.fleet ? maxSharedSleepMs : maxSleepMs)
    if (restMs <= 0) return
    const waking = new AbortController()
    const wake = () => waking.abort()
    this.earlier = (otherMs) => {
      if (otherMs < dueMs) wake()
    }
    this.engine.leaving.signal.addEventListener('abort', wake, { once: true })
    if (!this.engine.leaving.signal.aborted) await clock.sleep(restMs, waking.signal)
    this.engine.leaving.signal.removeEventListener('abort', wake)
    this.earlier = nothing
  }
}

function nothing(): void {}
