import { setTimeout as delay } from 'node:timers/promises'
import { CoreError, isCoreError } from '../errors.ts'
import {
  type Backend,
  type CommitProbe,
  CommitUnknownError,
  type Reader,
  type SqlValue,
  type Transaction,
} from './backend.ts'
import { postgresDialect } from './dialect.ts'
import type { Fleet } from './fleet.ts'
import type { HotPath } from './hot-path.ts'
import {
  type Connection,
  type ConnectionSettings,
  type Lend,
  longestPauseMs,
  patienceMs,
  type PostgresConnections,
} from './postgres-connections.ts'
import { isAnswered, isCollision, statementRefusal } from './postgres-errors.ts'
import { PostgresFleet } from './postgres-fleet.ts'
import { PostgresHotPath } from './postgres-hot-path.ts'
import { PostgresSignals } from './postgres-signals.ts'

/** For so long a write that failed says something of the next one. */
const troubleMs = 5000

/** A transaction is begun anew this often after it met another one, or lost its connection before COMMIT. */
const maxTries = 8

/** Statements of one connection in the seam's words. */
export class PostgresTransaction implements Transaction {
  readonly dialect = postgresDialect
  /** Whether anything was learned on it. */
  hasRead = false
  private readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
  }

  async query<R extends object>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    const { rows } = await this.connection.run(sql, params)
    this.hasRead = true
    return rows as R[]
  }

  async execute(sql: string, params?: readonly SqlValue[]): Promise<number> {
    return (await this.connection.run(sql, params)).rowCount ?? 0
  }
}

export interface PostgresStore {
  readonly location: string
  readonly connections: PostgresConnections
  /** How a session of its own is opened, past any pooler. */
  readonly direct: ConnectionSettings
  /** Only reads are let through. */
  readonly isReadOnly: boolean
  readonly probe: CommitProbe | undefined
  /** Hears what an operator should know about the server. */
  readonly warn: (sentence: string) => void
}

/**
 * A PostgreSQL schema as a store. Each transaction has a connection to itself and sees one snapshot, so what it read is
 * still true when it writes, or it is begun anew.
 */
export class PostgresBackend implements Backend {
  readonly dialect = postgresDialect
  readonly location: string
  readonly fileForReaders = undefined
  private readonly store: PostgresStore
  readonly fleet: Fleet
  private readonly hot: HotPath
  private readonly writes = new Set<Promise<unknown>>()
  private readonly reads = new Set<Promise<unknown>>()
  private closing: Promise<void> | undefined
  private full: { readonly error: CoreError; readonly atMs: number } | undefined

  constructor(store: PostgresStore) {
    this.store = store
    this.location = store.location
    const lend: Lend = (act) => this.track(this.writes, () => this.lending(act))
    this.hot = new PostgresHotPath(store.probe ?? {}, lend)
    this.fleet = new PostgresFleet(lend, new PostgresSignals(store.direct, lend, store.warn))
  }

  get hotPath(): HotPath {
    if (this.store.isReadOnly) throw new TypeError('this store was opened for reading')
    return this.hot
  }

  /** Operations that wait for the server or for a connection to it. */
  get underWay(): number {
    return this.writes.size + this.reads.size
  }

  transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    if (this.store.isReadOnly) return Promise.reject(new TypeError('this store was opened for reading'))
    const run = (connection: Connection) => this.runTransaction(connection, body)
    return this.track(this.writes, () => this.tryAgain(() => this.lending(run)))
  }

  query<R extends object>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    if (!/^\s*select\b/i.test(sql))
      return Promise.reject(new TypeError('outside of a transaction there is only SELECT'))
    return this.track(this.reads, () =>
      this.tryAgain(() => this.lending((connection) => ask<R>(connection, sql, params))),
    )
  }

  read<T>(body: (reader: Reader) => Promise<T>): Promise<T> {
    return this.track(this.reads, () => this.tryAgain(() => this.lending((connection) => readWith(connection, body))))
  }

  close(): Promise<void> {
    return (this.closing ??= this.shut())
  }

  /** Waits for what was asked to be written. A read under way goes on, and the last one takes its connection with it. */
  private async shut(): Promise<void> {
    await Promise.allSettled(this.writes)
    const ending = Promise.allSettled(this.reads).then(() => this.store.connections.close())
    if (this.reads.size === 0) await ending
  }

  private track<T>(under: Set<Promise<unknown>>, act: () => Promise<T>): Promise<T> {
    if (this.closing) return Promise.reject(new CoreError('CC_ERR_CLOSED'))
    const acting = act().finally(() => under.delete(acting))
    under.add(acting)
    return acting
  }

  private async lending<T>(act: (connection: Connection) => Promise<T>): Promise<T> {
    const connection = await this.store.connections.acquire()
    try {
      return await act(connection)
    } catch (error) {
      if (error instanceof NothingDone) throw error
      throw this.note(statementRefusal(error, connection.isLost, this.location))
    } finally {
      connection.release()
    }
  }

  private note(error: unknown): unknown {
    if (isCoreError(error, 'CC_ERR_SERVER_DISK')) this.full = { error, atMs: performance.now() }
    return error
  }

  /** Whether there is room again only a write can tell, and where nothing is to be written nobody would try. */
  get trouble(): CoreError | undefined {
    return this.full && performance.now() - this.full.atMs < troubleMs ? this.full.error : undefined
  }

  private async tryAgain<T>(act: () => Promise<T>): Promise<T> {
    const startedAt = performance.now()
    for (let tries = 1; ; tries += 1) {
      try {
        return await act()
      } catch (error) {
        const isLost = error instanceof NothingDone
        // A pooler lets its clients in while the server is away.
        const isOver = tries >= maxTries && (!isLost || performance.now() - startedAt > patienceMs)
        if (isLost && isOver) throw statementRefusal(error.cause, true, this.location)
        if (isOver || !(isLost || isCollision(error))) throw error
      }
      // Whoever was in the way is through with it in a moment; two that met must not meet again at once.
      await delay(Math.min(Math.random() * 2 ** tries, longestPauseMs))
    }
  }

  private async runTransaction<T>(connection: Connection, body: (tx: Transaction) => Promise<T>): Promise<T> {
    const { probe } = this.store
    let value: T
    try {
      await connection.run('begin isolation level repeatable read')
      value = await body(new PostgresTransaction(connection))
      probe?.before?.()
    } catch (error) {
      if (connection.isLost) throw new NothingDone('the connection was lost', { cause: error })
      await connection.rollBack()
      throw error
    }
    await commit(connection, probe)
    return value
  }
}

/** The connection was lost and nothing is there of what was done on it, so all of it may be done again. */
class NothingDone extends Error {}

/** A question without an answer may be asked again: it has changed nothing. */
async function ask<R extends object>(connection: Connection, sql: string, params?: readonly SqlValue[]): Promise<R[]> {
  try {
    return (await connection.run(sql, params)).rows as R[]
  } catch (error) {
    throw connection.isLost ? new NothingDone('the connection was lost', { cause: error }) : error
  }
}

/** What a body has read it may have counted, so it is run once; a session that ended before is another thing. */
async function readWith<T>(connection: Connection, body: (reader: Reader) => Promise<T>): Promise<T> {
  try {
    await connection.run('begin isolation level repeatable read read only')
  } catch (error) {
    throw connection.isLost ? new NothingDone('the connection was lost', { cause: error }) : error
  }
  const reader = new PostgresTransaction(connection)
  try {
    return await body(reader)
  } catch (error) {
    if (connection.isLost && !reader.hasRead) throw new NothingDone('the connection was lost', { cause: error })
    throw error
  } finally {
    await connection.rollBack()
  }
}

async function commit(connection: Connection, probe: CommitProbe | undefined): Promise<void> {
  let command: string
  try {
    command = (await connection.run('commit')).command
    probe?.after?.()
  } catch (error) {
    // An error that the server has answered with means that it has rolled back; silence may mean either.
    if (isAnswered(error)) throw error
    throw new CommitUnknownError('the answer to COMMIT was lost', { cause: error })
  }
  // The error of a statement was passed over: the server rolls back, and says so in no more than this word.
  if (command !== 'COMMIT') throw new Error('a transaction with a failed statement cannot be committed')
}
