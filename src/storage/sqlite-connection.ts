import { DatabaseSync, type StatementSync } from 'node:sqlite'
import type { SqlValue } from './backend.ts'

/** How long SQLite itself waits for a lock. It blocks the event loop meanwhile, so longer waits are ours and asynchronous. */
const busyTimeoutMs = 50

/** A bound on the statements one connection keeps prepared; the texts of this program are far fewer. */
const maxStatements = 500

/** Result codes of SQLite that callers tell apart (https://sqlite.org/rescode.html); extended codes carry them below. */
export const sqliteBusy = 5
const sqliteReadOnly = 8
export const sqliteCorrupt = 11
export const sqliteFull = 13
const sqliteCannotOpen = 14
const sqliteNotADatabase = 26

interface Prepared {
  readonly statement: StatementSync
  /** False for a plain SELECT; `update … returning` is a question that writes. */
  readonly mayWrite: boolean
  /** Names of the columns it answers with. */
  readonly columns: readonly string[]
}

/** One connection to a SQLite file. Every call is synchronous: it has happened when it returns. */
export class SqliteConnection {
  private readonly database: DatabaseSync
  private readonly statements = new Map<string, Prepared>()
  /** Statements run that may have changed something, so that a caller can see whether there were any. */
  writes = 0

  constructor(path: string, options: { readonly readOnly: boolean }) {
    this.database = new DatabaseSync(path, { readOnly: options.readOnly, timeout: busyTimeoutMs })
  }

  query<R extends object>(sql: string, params: readonly SqlValue[] = []): R[] {
    const { statement, mayWrite, columns } = this.prepare(sql)
    if (mayWrite) this.writes += 1
    return (statement.all(...params) as unknown as SqlValue[][]).map((values) => toRow<R>(columns, values))
  }

  execute(sql: string, params: readonly SqlValue[] = []): number {
    this.writes += 1
    return Number(this.prepare(sql).statement.run(...params).changes)
  }

  /** Runs a text of several statements. */
  script(sql: string): void {
    this.database.exec(sql)
  }

  /** The value of a pragma, or of whatever a statement of one row and column answers. */
  value(sql: string): SqlValue {
    const values = this.prepare(sql).statement.get() as SqlValue[] | undefined
    return values?.[0] ?? null
  }

  get isTransaction(): boolean {
    return this.database.isTransaction
  }

  close(): void {
    this.statements.clear()
    if (this.database.isOpen) this.database.close()
  }

  private prepare(sql: string): Prepared {
    const known = this.statements.get(sql)
    if (known) return known
    // `$1` is a name to SQLite, `?1` a position; statements are written with `$1` for both databases.
    const statement = this.database.prepare(sql.replaceAll(/\$(\d+)/g, '?$1'))
    statement.setReturnArrays(true)
    const columns = statement.columns().map(({ name }) => name)
    const prepared = { statement, mayWrite: !/^\s*select\b/i.test(sql), columns }
    if (this.statements.size >= maxStatements) this.statements.clear()
    this.statements.set(sql, prepared)
    return prepared
  }
}

/** By hand: the driver's own objects take twice the time to make, and longer to read. */
function toRow<R extends object>(columns: readonly string[], values: readonly SqlValue[]): R {
  const row: Record<string, SqlValue> = {}
  for (let index = 0; index < columns.length; index++) row[columns[index]!] = values[index]!
  return row as R
}

/** The primary result code of a SQLite error; undefined for any other error. */
export function sqliteCode(error: unknown): number | undefined {
  const code = (error as { errcode?: unknown } | undefined)?.errcode
  return typeof code === 'number' ? code & 0xff : undefined
}

/** True when the file could not be read as a database at all. */
export function isNotADatabase(error: unknown): boolean {
  return sqliteCode(error) === sqliteNotADatabase
}

/** True when the file, or what has to stand beside it, could not be opened or made. */
export function cannotOpen(error: unknown): boolean {
  const code = sqliteCode(error)
  return code === sqliteCannotOpen || code === sqliteReadOnly
}
