import type { Clock } from '../../src/clock.ts'
import { turns } from '../storage/fixture.ts'

interface Alarm {
  readonly atMs: number
  readonly action: () => void
}

/** Time that stands still until the test moves it. */
export class MovedClock implements Clock {
  private time: number
  private readonly patience: number
  private readonly alarms = new Set<Alarm>()

  /** `patience`: turns of the event loop that are given to whatever falls due before the next thing does. */
  constructor({ nowMs = Date.UTC(2026, 0, 5, 9), patience = 12 } = {}) {
    this.time = nowMs
    this.patience = patience
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
    await turns(this.patience)
    for (let alarm = this.next(end); alarm; alarm = this.next(end)) {
      this.time = Math.max(this.time, alarm.atMs)
      this.alarms.delete(alarm)
      alarm.action()
      await turns(this.patience)
    }
    this.time = end
    await turns(this.patience)
  }

  /** When somebody next wants to be called, in order. */
  get dueMs(): readonly number[] {
    return [...this.alarms].map(({ atMs }) => atMs).sort((a, b) => a - b)
  }

  private next(endMs: number): Alarm | undefined {
    let first: Alarm | undefined
    for (const alarm of this.alarms) if (alarm.atMs <= endMs && (!first || alarm.atMs < first.atMs)) first = alarm
    return first
  }
}
