import { StepFailure } from '../primitive.ts'

interface Waiting {
  readonly enter: () => void
}

/**
 * Lets so many calls through at a time; the others wait in the order in which they came, and so many of them at most. Who
 * waits too long is led away by the signal of its own step.
 */
export class Turnstile {
  private readonly name: string
  private readonly limit: number
  private readonly maxWaiting: number
  private readonly waiting = new Set<Waiting>()
  private inside = 0

  constructor(name: string, { limit, maxWaiting }: { readonly limit: number; readonly maxWaiting: number }) {
    this.name = name
    this.limit = limit
    this.maxWaiting = maxWaiting
  }

  /** Runs the body once there is room. Rejects with the signal's reason when it is aborted before. */
  async pass<T>(signal: AbortSignal, body: () => Promise<T>): Promise<T> {
    await this.enter(signal)
    try {
      return await body()
    } finally {
      this.leave()
    }
  }

  private async enter(signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    if (this.inside < this.limit) {
      this.inside++
      return
    }
    if (this.waiting.size >= this.maxWaiting) {
      throw new StepFailure('rate_limit', `${this.waiting.size} calls wait for ${this.name} already`, {
        retryable: true,
      })
    }
    await new Promise<void>((resolve, reject) => {
      const place: Waiting = {
        enter: () => {
          signal.removeEventListener('abort', giveUp)
          resolve()
        },
      }
      const giveUp = () => {
        this.waiting.delete(place)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.waiting.add(place)
    })
  }

  /** A place is handed on and not given up in between, so that nobody who comes just now goes before those who wait. */
  private leave(): void {
    const [next] = this.waiting
    if (!next) {
      this.inside--
      return
    }
    this.waiting.delete(next)
    next.enter()
  }
}
