/** A process that shares a store with others. */
export interface Member {
  /** What its claims are called by, up to their first full stop. */
  readonly workerId: string
  readonly host: string
  readonly pid: number
  /** Instances it has in flight at the most. */
  readonly concurrency: number
}

/** One beat of a process, and what it wants to know by the way. */
export interface Beat extends Member {
  readonly nowMs: number
  /** Hashes of definitions that this process cannot run. */
  readonly except: readonly string[]
}

/** What a beat did and found. */
export interface Pulse {
  /** Claims of processes that beat no more, given back. */
  readonly freed: number
  /** Sleepers that were due, put back in line. */
  readonly woken: number
  /** Something is in line that this process can run. */
  readonly isReady: boolean
  /** When the next sleeper or the next task is due; undefined when nothing can be. */
  readonly dueMs: number | undefined
}

/** What one process tells the others after a commit. Always a hint, never the truth: whoever is told reads the store. */
export type Hint =
  | { readonly is: 'work' }
  | { readonly is: 'timer'; readonly dueMs: number }
  | { readonly is: 'instance'; readonly instanceId: string }
  | { readonly is: 'rest'; readonly instanceId: string }

/** What the processes that share a store have with each other, where more than one may write it. */
export interface Fleet {
  /** Says that this process lives, and does in the same statement what any of them has to do. */
  beat(beat: Beat): Promise<Pulse>
  /** Says that it leaves: what it has left claimed is free for the others. */
  leave(workerId: string): Promise<void>
  /** How many processes beat that run cases, beside this one. */
  countAtWork(options: { readonly except: string }): Promise<number>
  /** Tells the others, soon and together with what else there is to tell; a hint may be lost. */
  tell(hint: Hint): void
  /** Tells what has not been told yet. */
  tellNow(): Promise<void>
  /** Calls the listener with what others tell. Resolves once that is known to work, or not to. Returns what ends it. */
  listen(listener: (hint: Hint) => void): Promise<() => Promise<void>>
  /** Whether hints arrive at present; where they do not, beats have to be more frequent. */
  readonly isListening: boolean
}
