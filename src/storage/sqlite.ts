import { isCoreError } from '../errors.ts'
import type { Backend, Reader, SqlValue, Transaction } from './backend.ts'
import { sqliteDialect } from './dialect.ts'
import type { HotPath } from './hot-path.ts'
import { SqliteConnection } from './sqlite-connection.ts'
import { SqliteHotPath } from './sqlite-hot-path.ts'
import { SqliteReaders } from './sqlite-readers.ts'
import { type SqliteProbe, SqliteWriter } from './sqlite-writer.ts'

/** Statements of one connection in the seam's words. They have run when they return; only the seam is asynchronous. */
export class SqliteTransaction implements Transaction {
  readonly dialect = sqliteDialect
  private readonly connection: SqliteConnection

  constructor(connection: SqliteConnection) {
    this.connection = connection
  }

  query<R extends object>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return promised(() => this.connection.query<R>(sql, params))
  }

  execute(sql: string, params?: readonly SqlValue[]): Promise<number> {
    return promised(() => this.connection.execute(sql, params))
  }
}

/** What was thrown becomes a rejection, as it is with a database that answers later. */
function promised<T>(act: () => T): Promise<T> {
  try {
    return Promise.resolve(act())
  } catch (error) {
    return Promise.reject(error as Error)
  }
}

export interface SqliteStore {
  readonly path: string
  /** The connection that writes, opened, checked and migrated. */
  readonly connection: SqliteConnection
  /** Of this holder: see `takeLease`. */
  readonly epoch: number
  readonly probe: SqliteProbe | undefined
  /** Called last, when every connection is closed. */
  readonly onClose: () => void
  readonly fence: (connection: SqliteConnection) => void
  readonly beforeClose: (tx: Transaction) => Promise<void>
}

/** A SQLite file as a store: one writer with group commit, and read connections beside it. */
export class SqliteBackend implements Backend {
  readonly dialect = sqliteDialect
  readonly location: string
  readonly fileForReaders: string
  readonly fleet = undefined
  readonly hotPath: HotPath
  private readonly store: SqliteStore
  private readonly writer: SqliteWriter
  private readonly readers: SqliteReaders
  private readonly writing: SqliteTransaction
  private closing: Promise<void> | undefined

  constructor(store: SqliteStore) {
    const { path, connection, probe, fence } = store
    this.store = store
    this.location = path
    this.fileForReaders = path
    this.writer = new SqliteWriter(connection, { location: path, probe, fence })
    this.writing = new SqliteTransaction(connection)
    this.readers = new SqliteReaders(() => new SqliteConnection(path, { readOnly: true }))
    this.hotPath = new SqliteHotPath(this.writer, this)
  }

  transaction<T>(body: (tx: Transaction) => Promise<T>): Promise<T> {
    return this.writer.run(() => body(this.writing))
  }

  query<R extends object>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return this.read((reader) => reader.query<R>(sql, params))
  }

  read<T>(body: (reader: Reader) => Promise<T>): Promise<T> {
    return this.readers.read((connection) => body(new SqliteTransaction(connection)))
  }

  close(): Promise<void> {
    return (this.closing ??= this.shut())
  }

  private async shut(): Promise<void> {
    const released = this.transaction(this.store.beforeClose)
    try {
      await this.writer.close()
      // Who lost the store has no lease to give back.
      await released.catch((error: unknown) => {
        if (!isCoreError(error, 'CC_ERR_STORE_LOST')) throw error
      })
    } finally {
      this.readers.close()
      this.store.connection.close()
      this.store.onClose()
    }
  }
}

/** A SQLite file that is only read, beside whoever writes it. */
export class SqliteReadBackend implements Backend {
  readonly dialect = sqliteDialect
  readonly location: string
  readonly fileForReaders: string
  readonly fleet = undefined
  private readonly readers: SqliteReaders

  constructor(path: string, open: () => SqliteConnection) {
    this.location = path
    this.fileForReaders = path
    this.readers = new SqliteReaders(open)
  }

  get hotPath(): HotPath {
    throw new TypeError('this store was opened for reading')
  }

  transaction<T>(): Promise<T> {
    return Promise.reject(new TypeError('this store was opened for reading'))
  }

  query<R extends object>(sql: string, params?: readonly SqlValue[]): Promise<R[]> {
    return this.read((reader) => reader.query<R>(sql, params))
  }

  read<T>(body: (reader: Reader) => Promise<T>): Promise<T> {
    return this.readers.read((connection) => body(new SqliteTransaction(connection)))
  }

  close(): Promise<void> {
    this.readers.close()
    return Promise.resolve()
  }
}
