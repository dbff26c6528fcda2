/** What a listener may be told. Always a hint, never the truth: whoever is woken reads the store. */
export interface WakeEvents {
  /** Something became ready to be claimed. */
  work: () => void
  /** Something was put to sleep, or a task was opened: the earliest due time may have moved. */
  timer: (dueMs: number) => void
  /** This instance was changed by a commit. */
  instance: (instanceId: string) => void
}

/** Wake-ups inside one process. Between processes polling is the safety net. */
export class Wake {
  private readonly listeners = new Map<keyof WakeEvents, Set<WakeEvents[keyof WakeEvents]>>()

  /** Returns a function that ends the subscription. */
  on<K extends keyof WakeEvents>(event: K, listener: WakeEvents[K]): () => void {
    const listeners = this.listeners.get(event) ?? new Set()
    this.listeners.set(event, listeners)
    listeners.add(listener)
    return () => void listeners.delete(listener)
  }

  emit<K extends keyof WakeEvents>(event: K, ...args: Parameters<WakeEvents[K]>): void {
    for (const listener of this.listeners.get(event) ?? []) (listener as (...args: unknown[]) => void)(...args)
  }
}
