/** At most this many members travel together, and about this much content. */
const maxMembers = 128
const maxCharacters = 1_048_576

/** What one member costs its batch. */
export interface Freight {
  /** Content it carries, in characters. */
  readonly characters: number
}

/**
 * Group commit: a lane sends when it is free, and whatever arrived meanwhile travels together. No timer: the first member
 * of a quiet moment leaves at the end of this turn of the event loop.
 */
export class Lane<M extends Freight> {
  private readonly waiting: M[] = []
  private isSending = false
  private readonly send: (batch: readonly M[]) => Promise<void>

  /** `send` tells its members what became of them, and does not reject. */
  constructor(send: (batch: readonly M[]) => Promise<void>) {
    this.send = send
  }

  add(member: M): void {
    this.waiting.push(member)
    this.schedule()
  }

  /** One batch a turn, so that members without any waiting in them do not keep the event loop from everything else. */
  private schedule(): void {
    if (this.isSending || this.waiting.length === 0) return
    this.isSending = true
    setImmediate(() => {
      void this.send(this.takeBatch()).then(() => {
        this.isSending = false
        this.schedule()
      })
    })
  }

  private takeBatch(): M[] {
    let count = 0
    let characters = 0
    while (count < Math.min(this.waiting.length, maxMembers)) {
      characters += this.waiting[count]!.characters
      if (count > 0 && characters > maxCharacters) break
      count += 1
    }
    return this.waiting.splice(0, count)
  }
}
