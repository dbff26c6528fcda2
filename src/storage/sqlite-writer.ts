import { setTimeout as delay } from 'node:timers/promises'
import { CoreError } from '../errors.ts'
import { type CommitProbe, CommitUnknownError } from './backend.ts'
import { type SqliteConnection, sqliteBusy, sqliteCode } from './sqlite-connection.ts'

/** What a test may also say of this writer. */
export interface SqliteProbe extends CommitProbe {
  /** How long the writer rests after a commit that took so long, for tests in which no time passes. */
  readonly restMs?: (tookMs: number) => number
}

interface Member {
  readonly body: (connection: SqliteConnection) => unknown
  readonly resolve: (value: unknown) => void
  readonly reject: (error: unknown) => void
}

type Outcome = { readonly value: unknown } | { readonly error: unknown }

/** At most this many bodies share one commit. */
const maxGroup = 256

/**
 * A commit keeps the event loop for as long as the disk takes. On a slow one, commit after commit, everything else would
 * wait; the more gathers meanwhile, the more travel with the next.
 */
const slowCommitMs = 1
const maxRestMs = 5

/** How long a foreign lock on the file is waited for, in all and between two tries. */
const maxWaitMs = 10_000
const waitMs = 20

/**
 * The one writer of a SQLite file. Everything that wants to write queues here, and whatever has gathered goes through one
 * BEGIN IMMEDIATE … COMMIT, so that one fsync serves them all. A body that fails takes nothing of the others with it.
 * Callers hear of the outcome only after COMMIT.
 */
export class SqliteWriter {
  private queue: Member[] = []
  private flushing: Promise<void> | undefined
  /** A group was begun in this turn of the event loop, or one is to begin in the next. */
  private hasTurn = false
  private closed = false
  /** How long the others have the event loop to themselves after a commit that kept it. */
  private restMs = 0
  private readonly connection: SqliteConnection
  private readonly location: string
  private readonly probe: SqliteProbe
  /** Checked first in every transaction: throws when this process may not write any more. */
  private readonly fence: (connection: SqliteConnection) => void

  constructor(
    connection: SqliteConnection,
    options: {
      readonly location: string
      readonly fence: (connection: SqliteConnection) => void
      readonly probe: SqliteProbe | undefined
    },
  ) {
    this.connection = connection
    this.location = options.location
    this.fence = options.fence
    this.probe = options.probe ?? {}
  }

  /**
   * Runs the body in the next group. A body may be asynchronous, and must wait for nothing but its own statements; when
   * another one of its group fails it is run once more.
   * `now`: the caller has gathered its group already, so the commit starts in this very turn if the writer is free.
   */
  run<T>(body: (connection: SqliteConnection) => T | Promise<T>, { now = false } = {}): Promise<T> {
    if (this.closed) return Promise.reject(new CoreError('CC_ERR_CLOSED'))
    return new Promise<T>((resolve, reject) => {
      this.queue.push({ body, resolve: resolve as Member['resolve'], reject })
      if (now && !this.flushing && !this.hasTurn) this.flush()
      else this.takeTurn()
    })
  }

  /** Refuses what comes from now on, and resolves when what came before is done. */
  async close(): Promise<void> {
    this.closed = true
    while (this.queue.length > 0 || this.flushing) {
      if (!this.flushing) this.flush()
      await this.flushing
    }
  }

  /** A turn of the event loop between two groups, and not a microtask: who writes in a tight loop must not starve the rest. */
  private takeTurn(): void {
    if (this.hasTurn) return
    this.hasTurn = true
    setImmediate(() => {
      const restMs = this.restMs
      this.restMs = 0
      if (restMs === 0) this.endTurn()
      else setTimeout(() => this.endTurn(), restMs)
    })
  }

  private endTurn(): void {
    this.hasTurn = false
    if (!this.flushing && this.queue.length > 0) this.flush()
  }

  private flush(): void {
    this.takeTurn()
    this.flushing = this.commitNext(this.queue.splice(0, maxGroup)).finally(() => {
      this.flushing = undefined
      if (this.queue.length > 0) this.takeTurn()
    })
  }

  private async commitNext(group: readonly Member[]): Promise<void> {
    try {
      const outcomes =
        (await this.commitGroup(group, this.runPlainly)) ?? (await this.commitGroup(group, this.runApart))
      for (const [index, member] of group.entries()) answer(member, outcomes![index]!)
    } catch (error) {
      for (const member of group) member.reject(error)
    }
  }

  /**
   * Rejects when nothing was written, or with `CommitUnknownError`; otherwise everything in the outcomes has happened.
   * Undefined: a body failed after it had written, so all was taken back, and each needs a savepoint of its own.
   */
  private async commitGroup(
    group: readonly Member[],
    run: (member: Member) => Promise<Outcome | undefined>,
  ): Promise<Outcome[] | undefined> {
    const { connection } = this
    await beginImmediate(connection, this.location)
    let isSent = false
    try {
      this.fence(connection)
      const outcomes: Outcome[] = []
      for (const member of group) {
        const outcome = await run(member)
        if (outcome === undefined) {
          connection.execute('rollback')
          return undefined
        }
        outcomes.push(outcome)
      }
      this.probe.before?.()
      isSent = true
      const startedAt = performance.now()
      connection.execute('commit')
      const tookMs = performance.now() - startedAt
      this.restMs = (this.probe.restMs ?? restAfter)(tookMs)
      this.probe.after?.()
      return outcomes
    } catch (error) {
      // Some errors end the transaction by themselves, others leave it open: only the database knows which.
      if (connection.isTransaction) connection.execute('rollback')
      else if (isSent) throw new CommitUnknownError('the answer to COMMIT was lost', { cause: error })
      throw error
    }
  }

  /**
   * Without a savepoint, which would make SQLite copy every page before it changes: a third of the cost of a step. A
   * refusal before the first write leaves nothing behind.
   */
  private readonly runPlainly = async ({ body }: Member): Promise<Outcome | undefined> => {
    const { connection } = this
    const before = connection.writes
    try {
      const value = body(connection)
      return { value: value instanceof Promise ? await value : value }
    } catch (error) {
      // Without a transaction the others' work is gone too: the group fails as a whole and may be sent again.
      if (!connection.isTransaction) throw error
      return connection.writes === before ? { error } : undefined
    }
  }

  private readonly runApart = async ({ body }: Member): Promise<Outcome> => {
    const { connection } = this
    connection.execute('savepoint member')
    try {
      const value: unknown = await body(connection)
      connection.execute('release member')
      return { value }
    } catch (error) {
      if (!connection.isTransaction) throw error
      connection.execute('rollback to member')
      connection.execute('release member')
      return { error }
    }
  }
}

/** Begins a write. A lock that somebody else has on the file is waited for without keeping the event loop. */
export async function beginImmediate(connection: SqliteConnection, location: string): Promise<void> {
  await whenFree(location, () => connection.execute('begin immediate'))
}

/** Does what needs a lock on the file as soon as nobody else has it, and refuses when that takes too long. */
export async function whenFree(location: string, act: () => unknown): Promise<void> {
  const startedAt = performance.now()
  for (;;) {
    try {
      act()
      return
    } catch (error) {
      if (sqliteCode(error) !== sqliteBusy) throw error
      const waitedMs = Math.round(performance.now() - startedAt)
      if (waitedMs >= maxWaitMs) throw new CoreError('CC_ERR_STORE_BUSY', { location, waitedMs }, { cause: error })
    }
    await delay(waitMs)
  }
}

function answer(member: Member, outcome: Outcome): void {
  if ('error' in outcome) member.reject(outcome.error)
  else member.resolve(outcome.value)
}

function restAfter(tookMs: number): number {
  return tookMs > slowCommitMs ? Math.min(tookMs / 2, maxRestMs) : 0
}
