import type { Hint } from '../storage/fleet.ts'

/** What a listener may be told. Always a hint, never the truth: whoever is woken reads the store. */
export interface WakeEvents {
  /** Something became ready to be claimed. */
  work: () => void
  /** Something was put to sleep, or a task was opened: the earliest due time may have moved. */
  timer: (dueMs: number) => void
  /** This instance was changed by a commit. */
  instance: (instanceId: string) => void
  /** Hints of other processes did not arrive for a while: any instance may have changed. */
  missed: () => void
}

/** How far somebody knows the record of an instance: up to the event of each sequence number. */
export type Known = Iterable<readonly [instanceId: string, seq: number]>

/** Wake-ups inside one process. What it committed itself is told to the others too, by whoever taps it. */
export class Wake {
  private readonly listeners = new Map<keyof WakeEvents, Set<WakeEvents[keyof WakeEvents]>>()
  /** Those who wait for one instance stand under its id, so that thousands of them cost a commit nothing. */
  private readonly waiters = new Map<string, Set<() => void>>()
  private readonly taps = new Set<(hint: Hint) => void>()
  private readonly followers = new Set<() => Known>()

  /** Returns a function that ends the subscription. */
  on<K extends keyof WakeEvents>(event: K, listener: WakeEvents[K]): () => void {
    return subscribe(this.listeners, event, listener)
  }

  /** Calls the listener when this instance has ended, is held, or was changed by a person. */
  onRest(instanceId: string, listener: () => void): () => void {
    return subscribe(this.waiters, instanceId, listener)
  }

  /** What somebody follows is looked up now and then, where hints of other processes can be lost. */
  follow(known: () => Known): () => void {
    this.followers.add(known)
    return () => void this.followers.delete(known)
  }

  /** Calls the listener with everything that happens in this process, and nothing that was passed on to it. */
  tap(listener: (hint: Hint) => void): () => void {
    this.taps.add(listener)
    return () => void this.taps.delete(listener)
  }

  /** Tells everybody in this process, and whoever taps it. */
  emit(hint: Hint): void {
    this.pass(hint)
    for (const tell of this.taps) tell(hint)
  }

  /** Tells everybody in this process what another one said. */
  pass(hint: Hint): void {
    switch (hint.is) {
      case 'work':
        return this.call('work')
      case 'timer':
        return this.call('timer', hint.dueMs)
      case 'instance':
        return this.call('instance', hint.instanceId)
      case 'rest':
        for (const listener of this.waiters.get(hint.instanceId) ?? []) listener()
    }
  }

  /** Tells everybody in this process that hints were missed. */
  miss(): void {
    this.call('missed')
  }

  /** Every instance that somebody waits for or follows, with what the least of them knows; infinite for waiting alone. */
  lookedFor(): Map<string, number> {
    const known = new Map<string, number>()
    for (const instanceId of this.waiters.keys()) known.set(instanceId, Infinity)
    for (const follower of this.followers) {
      for (const [instanceId, seq] of follower())
        known.set(instanceId, Math.min(seq, known.get(instanceId) ?? Infinity))
    }
    return known
  }

  private call<K extends keyof WakeEvents>(event: K, ...args: Parameters<WakeEvents[K]>): void {
    for (const listener of this.listeners.get(event) ?? []) (listener as (...args: unknown[]) => void)(...args)
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
