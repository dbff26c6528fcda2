import type { Clock } from '../../src/clock.ts'
import { patienceMs, turns } from '../storage/fixture.ts'

interface Alarm {
  readonly atMs: number
  readonly action: () => void
}

/** Time that stands still until the test moves it. */
export class MovedClock implements Clock {
  private time: number
  private readonly patience: number
  private readonly isBusy: () => boolean
  private readonly alarms = new Set<Alarm>()

  /**
   * `patience`: turns of the event loop that are given to whatever falls due before the next thing does; they are counted
   * from when nothing is on its way to another process any more.
   */
  constructor({
    nowMs = Date.UTC(2026, 0, 5, 9),
    patience = 12,
    isBusy = () => false,
  }: { nowMs?: number; patience?: number; isBusy?: () => boolean } = {}) {
    this.time = nowMs
    this.patience = patience
    this.isBusy = isBusy
  }

  nowMs(): number {
    return this.time
  }

  after(ms: number, action: () => void): () => void {
    const alarm = { atMs: this.time + Math.ceil(ms), action }
    this.alarms.add(alarm)
    return () => void this.alarms.delete(alarm)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = () => {
        cancel()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const cancel = this.after(ms, done)
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  /** Lets that much time pass. What falls due on the way happens in its order, each at its own time. */
  async advance(ms: number): Promise<void> {
    const end = this.time + ms
    await this.rest()
    for (let alarm = this.next(end); alarm; alarm = this.next(end)) {
      this.time = Math.max(this.time, alarm.atMs)
      this.alarms.delete(alarm)
      alarm.action()
      await this.rest()
    }
    this.time = end
    await this.rest()
  }

  /** When somebody next wants to be called, in order. */
  get dueMs(): readonly number[] {
    return [...this.alarms].map(({ atMs }) => atMs).sort((a, b) => a - b)
  }

  /** Until everything that waits for nothing but its turn has come to rest. */
  private async rest(): Promise<void> {
    const startedAt = performance.now()
    for (let quiet = 0; quiet < this.patience; quiet++) {
      await turns(1)
      if (this.isBusy() && performance.now() - startedAt < patienceMs) quiet = -1
    }
  }

  private next(endMs: number): Alarm | undefined {
    let first: Alarm | undefined
    for (const alarm of this.alarms) if (alarm.atMs <= endMs && (!first || alarm.atMs < first.atMs)) first = alarm
    return first
  }
}
