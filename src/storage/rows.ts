import type { SqlValue } from './backend.ts'

/** A row whose nulls are undefined, as values are absent above the storage. Columns come named as their fields. */
export type Nullable<T> = { readonly [K in keyof T]: undefined extends T[K] ? Exclude<T[K], undefined> | null : T[K] }

export function withoutNulls<T extends object>(row: Nullable<T>): T {
  const fields = row as Record<string, unknown>
  for (const key in fields) if (fields[key] === null) fields[key] = undefined
  return row as unknown as T
}

/** `a as "a"` for each column, so that rows come with the names that fields have. */
export function aliased(columns: Readonly<Record<string, string>>): string {
  return Object.entries(columns)
    .map(([field, column]) => `${column} as "${field}"`)
    .join(', ')
}

/** `$1, $2, … $count`, behind the parameters that are bound already. */
export function placeholders(count: number, bound = 0): string {
  return Array.from({ length: count }, (_, index) => `$${bound + index + 1}`).join(', ')
}

/** `insert into t (…) values (…), (…)` for that many rows at a time; each text is made once. */
export function rowsInserter(table: string, columns: readonly string[]): (rows: number) => string {
  const texts: string[] = []
  return (rows) =>
    (texts[rows] ??= `insert into ${table} (${columns.join(', ')}) values ${Array.from(
      { length: rows },
      (_, row) => `(${placeholders(columns.length, row * columns.length)})`,
    ).join(', ')}`)
}

/** `insert into t (…) values ($1, …)` for these columns. */
export function insertInto(table: string, columns: readonly string[]): string {
  return `insert into ${table} (${columns.join(', ')}) values (${placeholders(columns.length)})`
}

export function orNull<T extends SqlValue>(value: T | undefined): T | null {
  return value ?? null
}
