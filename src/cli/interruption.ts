/**
 * npm passes on what a terminal or a supervisor has sent to the whole group already, so that one request arrives twice.
 * Whoever asks again out of impatience takes longer.
 */
const sameRequestMs = 500

/**
 * SIGINT and SIGTERM. A process that holds a store is told and ends by itself once running steps are recorded; any other
 * can go at once. Whoever asks a second time does not want to wait.
 */
export class Interruption {
  private readonly controller = new AbortController()
  private readonly leave: () => void
  private readonly announce: () => void
  private holds = 0
  private askedAtMs = 0

  constructor(actions: { readonly leave: () => void; readonly announce: () => void }) {
    this.leave = actions.leave
    this.announce = actions.announce
  }

  get signal(): AbortSignal {
    return this.controller.signal
  }

  /** Listens until the returned function is called. */
  listen(): () => void {
    const arrived = () => this.arrived()
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, arrived)
    return () => {
      for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, arrived)
    }
  }

  /** While the body runs, an interruption waits for it to end in order. */
  async hold<T>(body: () => Promise<T>): Promise<T> {
    this.holds += 1
    try {
      return await body()
    } finally {
      this.holds -= 1
    }
  }

  private arrived(): void {
    const isSame = this.signal.aborted && performance.now() - this.askedAtMs < sameRequestMs
    if (isSame) return
    if (this.signal.aborted || this.holds === 0) return this.leave()
    this.askedAtMs = performance.now()
    this.controller.abort()
    this.announce()
  }
}
