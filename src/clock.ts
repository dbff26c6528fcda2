/** Time as an argument: whole milliseconds since the epoch, and a way to be called later. Tests pass their own. */
export interface Clock {
  nowMs(): number
  /** Calls `action` once after `ms` (at most 24 days), unless the returned function is called first. */
  after(ms: number, action: () => void): () => void
  /** Resolves after `ms`, or as soon as the signal is aborted; never rejects. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** A longer time would make the timer of Node go off at once. */
const maxTimerMs = 2 ** 31 - 1

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  after: (ms, action) => {
    const timer = setTimeout(action, Math.min(ms, maxTimerMs))
    return () => clearTimeout(timer)
  },
  sleep: (ms, signal) =>
    new Promise((resolve) => {
      if (signal?.aborted) return resolve()
      const done = () => {
        clearTimeout(timer)
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      signal?.addEventListener('abort', done, { once: true })
    }),
}
