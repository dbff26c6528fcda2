import { hash } from 'node:crypto'
import { CoreError } from '../errors.ts'
import type { Reader, Transaction } from './backend.ts'
import { type Dialect, postgresDialect, sqliteDialect } from './dialect.ts'
import { firstSchema, schemaChanges, schemaParts } from './schema.ts'

/**
 * One step forward of the schema. Numbered from 1 without gaps, only ever added to, never changed once released. It takes
 * nothing away that the version before needs, whose processes go on beside it.
 */
interface Migration {
  readonly number: number
  readonly name: string
  readonly sql: (dialect: Dialect) => string
}

const migrations: readonly Migration[] = [
  {
    number: 1,
    name: 'first',
    sql: (dialect) => schemaParts.map((part) => firstSchema(part, dialect)).join('\n'),
  },
  ...schemaChanges.map(({ name, sql }, index) => ({ number: index + 2, name, sql })),
]

/** The number of the newest migration this version knows. */
const newestMigration = migrations.length

const table = 'schema_migrations'

const dialects = { sqlite: sqliteDialect, postgres: postgresDialect } as const

/** The table that says which migrations a database has; made before the first of them. */
export function migrationTable({ integer, text, strict }: Dialect): string {
  return `create table if not exists ${table} (
  number ${integer} not null primary key,
  name ${text} not null,
  sha256 ${text} not null,
  applied_at_ms ${integer} not null
)${strict}`
}

interface Applied {
  readonly number: number
  readonly sha256: string
}

/**
 * The migrations that a database lacks, in order. Refuses one that is newer than this version, or whose history is not
 * ours. The migration table must be there.
 */
async function pendingMigrations(reader: Reader, location: string): Promise<readonly Migration[]> {
  const applied = await reader.query<Applied>(`select number, sha256 from ${table} order by number`)
  const found = applied.at(-1)?.number ?? 0
  if (found > newestMigration) {
    throw new CoreError('CC_ERR_DATABASE_NEWER', { location, found, known: newestMigration })
  }
  for (const [index, { number, sha256 }] of applied.entries()) {
    const migration = migrations[index]
    if (migration?.number !== number || digest(migration, reader.dialect) !== sha256) {
      throw new CoreError('CC_ERR_MIGRATION_CHANGED', { location, number })
    }
  }
  return migrations.slice(applied.length)
}

/** Whether a database lacks tables or migrations; one that is none of ours, or newer, is refused. */
export async function hasPending(reader: Reader, location: string): Promise<boolean> {
  const isBegun = (await reader.query(reader.dialect.findTable, [table])).length > 0
  return !isBegun || (await pendingMigrations(reader, location)).length > 0
}

/** Refuses a database that a reader of this version would misread; one without any table of ours is one of them. */
export async function refuseOtherSchema(reader: Reader, location: string): Promise<void> {
  const isBegun = (await reader.query(reader.dialect.findTable, [table])).length > 0
  const pending = isBegun ? await pendingMigrations(reader, location) : migrations
  if (pending.length === 0) return
  const found = pending[0]!.number - 1
  throw new CoreError('CC_ERR_DATABASE_OLDER', { location, found, known: newestMigration })
}

/** Applies what is pending, inside one transaction: a database is never between two migrations. */
export async function migrate(
  tx: Transaction,
  runScript: (sql: string) => void | Promise<void>,
  about: { readonly location: string; readonly nowMs: number },
): Promise<readonly number[]> {
  await runScript(migrationTable(tx.dialect))
  const pending = await pendingMigrations(tx, about.location)
  for (const migration of pending) {
    await runScript(migration.sql(tx.dialect))
    await tx.execute(`insert into ${table} (number, name, sha256, applied_at_ms) values ($1, $2, $3, $4)`, [
      migration.number,
      migration.name,
      digest(migration, tx.dialect),
      about.nowMs,
    ])
  }
  return pending.map(({ number }) => number)
}

/**
 * Everything that makes an empty database a store, as one text that is a transaction: the tables, and the history that
 * says which migrations they come of. What the store is called it learns when it is first opened.
 */
export function storeScript(name: Dialect['name']): string {
  const dialect = dialects[name]
  const rows = migrations.map(
    (migration) => `  (${migration.number}, '${migration.name}', '${digest(migration, dialect)}', ${dialect.nowMs})`,
  )
  const history = `insert into ${table} (number, name, sha256, applied_at_ms) values\n${rows.join(',\n')};`
  const changes = schemaChanges.map(({ sql }) => sql(dialect)).filter((sql) => sql !== '')
  const first = schemaParts.map((part) => firstSchema(part, dialect))
  const texts = [dialect.markStore, 'begin;', `${migrationTable(dialect)};`, ...first, ...changes, history, 'commit;']
  return `${texts
    .filter((text) => text !== '')
    .map((text) => text.trimEnd())
    .join('\n\n')}\n`
}

function digest(migration: Migration, dialect: Dialect): string {
  return hash('sha256', `cc/migration/v1\n${migration.number}\n${migration.name}\n${migration.sql(dialect)}`)
}
