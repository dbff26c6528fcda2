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
  /** Those who wait for one instance stand under its id, so that thousands of them cost a commit nothing. */
  private readonly waiters = new Map<string, Set<() => void>>()

  /** Returns a function that ends the subscription. */
  on<K extends keyof WakeEvents>(event: K, listener: WakeEvents[K]): () => void {
    return subscribe(this.listeners, event, listener)
  }

  emit<K extends keyof WakeEvents>(event: K, ...args: Parameters<WakeEvents[K]>): void {
    for (const listener of this.listeners.get(event) ?? []) (listener as (...args: unknown[]) => void)(...args)
  }

  /** Calls the listener when this instance has ended, is held, or was changed by a person. */
  onRest(instanceId: string, listener: () => void): () => void {
    return subscribe(this.waiters, instanceId, listener)
  }

  emitRest(instanceId: string): void {
    for (const listener of this.waiters.get(instanceId) ?? []) listener()
  }
}

function subscribe<K, L>(subscriptions: Map<K, Set<L>>, key: K, listener: L): () => void {
  const listeners = subscriptions.get(key) ?? new Set()
  subscriptions.set(key, listeners)
  listeners.add(listener)
  return () => {
    listeners.delete(listener)
    if (listeners.size === 0 && subscriptions.get(key) === listeners) subscriptions.delete(key)
  }
}
