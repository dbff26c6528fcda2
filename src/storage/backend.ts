import type { CoreError } from '../errors.ts'
import type { Dialect } from './dialect.ts'
import type { Fleet } from './fleet.ts'
import type { HotPath } from './hot-path.ts'

/** What a statement may bind: no booleans (flags are 0 and 1), no dates (times are milliseconds), no bytes (hex text). */
export type SqlValue = string | number | null

/** A row as the database gives it: column names as in the schema, integers as safe numbers. */
export type Row = Record<string, SqlValue>

export interface Reader {
  readonly dialect: Dialect
  /** Runs one statement with `$1` placeholders and returns its rows. */
  query<R extends object = Row>(sql: string, params?: readonly SqlValue[]): Promise<R[]>
}

/**
 * One write transaction. `query` is the only thing its body may wait for: the body shares its commit with others
 * (SQLite) or holds a pooled connection (PostgreSQL).
 */
export interface Transaction extends Reader {
  /** Runs one statement and returns how many rows it changed. */
  execute(sql: string, params?: readonly SqlValue[]): Promise<number>
}

/**
 * A store. Everything above this file is written against it; SQLite is one implementation, PostgreSQL another.
 * As a reader it gives each statement a snapshot of its own, at the cost of that one statement; it takes SELECT alone.
 * Errors: a refusal by the data (constraint, type) rejects only the transaction that met it; `CommitUnknownError` means
 * that the answer to COMMIT was lost and only a read can tell what happened.
 */
export interface Backend extends Reader {
  /** Where the store is, for people: a path, or a DSN with its password masked. */
  readonly location: string
  /** The file that another thread may open for reading; unset where the store is not a file. */
  readonly fileForReaders: string | undefined
  /** The other processes that may write this store at the same time; unset where one process has it to itself. */
  readonly fleet: Fleet | undefined
  /** Claiming and committing, whose best statements differ in kind between the databases. */
  readonly hotPath: HotPath
  /**
   * Runs the body in one transaction and resolves after COMMIT; whatever it throws rolls back and rejects. The body may be
   * run more than once (when what it shares a commit with fails, or after a deadlock), so it changes nothing but rows.
   */
  transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T>
  /** Runs the body on one consistent snapshot for all of its statements, on a connection of its own that cannot write. */
  read<T>(body: (reader: Reader) => Promise<T>): Promise<T>
  /** What kept a write from being done a moment ago, though the store can be read; unset where nothing did. */
  readonly trouble?: CoreError | undefined
  close(): Promise<void>
}

/** COMMIT was sent and its answer was lost: it happened or it did not. Read before sending anything again. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError'
}

/** For tests, called around COMMIT: before it (throwing means that nothing is written) and after it (throwing loses the answer). */
export interface CommitProbe {
  readonly before?: () => void
  readonly after?: () => void
}
