import { postgresDialect } from './dialect.ts'
import { migrationTable } from './migrations.ts'
import { firstSchema, schemaChanges, schemaParts } from './schema.ts'

/** Texts that were seen; a program has a few dozen of them, and none is made of what a case brings. */
const maxKept = 1000

/**
 * Puts the schema before every table that a statement names. A session behind a pooler is anybody's: what the one before
 * has set as its search path may still be there, and with it the tables of another store.
 */
export function qualifier(schema: string): (sql: string) => string {
  const kept = new Map<string, string>()
  return (sql) => {
    const known = kept.get(sql)
    if (known !== undefined) return known
    const qualified = sql
      .replaceAll(mention, (_, before: string, table: string) => `${before}"${schema}".${table}`)
      .replaceAll('current_schema()', `'${schema}'`)
    if (kept.size >= maxKept) kept.clear()
    kept.set(sql, qualified)
    return qualified
  }
}

const statements = [
  migrationTable(postgresDialect),
  ...schemaParts.map((part) => firstSchema(part, postgresDialect)),
  ...schemaChanges.map(({ sql }) => sql(postgresDialect)),
]
const tables = statements.flatMap((text) =>
  [...text.matchAll(/\bcreate table (?:if not exists )?(\w+)/g)].map(([, name]) => name!),
)

/** A table where a statement can name one. Columns and names of its own never stand there. */
const mention = new RegExp(`(\\b(?:from|join|into|update|using)\\s+)(${tables.join('|')})\\b(?!\\.)`, 'g')
