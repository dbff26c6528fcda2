import pg from 'pg'
import { randomHex } from '../../src/domain/identity.ts'
import type { Row, SqlValue } from '../../src/storage/backend.ts'
import { postgresServer } from './postgres-server.ts'

/** A schema of its own for processes that a test starts; gone when the test ends. */
export interface PostgresPlace extends AsyncDisposable {
  readonly dsn: string
  readonly schema: string
  /** What makes a process use it. */
  readonly env: Readonly<Record<string, string>>
  /** Runs plain SQL in it, as anybody with a shell could. */
  sql<R extends object = Row>(text: string, ...params: SqlValue[]): Promise<R[]>
}

/** How long processes that were killed may be seen by the server after that. */
const lockMs = 20_000

/** In the database that all tests share, unless a test has a server of its own. */
export async function openPostgresPlace(server?: string): Promise<PostgresPlace> {
  const dsn = server ?? (await postgresServer())
  const schema = `t_${randomHex(8)}`
  const shell = openShell(dsn, schema)
  const sql = async <R extends object>(text: string, ...params: SqlValue[]) => (await shell.query<R>(text, params)).rows
  return {
    dsn,
    schema,
    // A path beside them would be a second store.
    env: { CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsn, CC_DB_SCHEMA: schema, CC_DB_PATH: '' },
    sql,
    async [Symbol.asyncDispose]() {
      await sql(`drop schema if exists ${schema} cascade`)
      await shell.end()
    },
  }
}

/** One session, as at a terminal, with none of our settings but the one that says where the tables are. */
export function openShell(dsn: string, schema: string): pg.Pool {
  const types = { getTypeParser: (oid: number) => (oid === 20 ? Number : pg.types.getTypeParser(oid)) }
  const pool = new pg.Pool({
    connectionString: dsn,
    options: `-c search_path=${schema} -c client_min_messages=warning -c lock_timeout=${lockMs}`,
    types: types as pg.CustomTypesConfig,
    // What one statement begins another one ends.
    max: 1,
    idleTimeoutMillis: 0,
  })
  // A server may be ended under it; the next statement says so.
  return pool.on('error', () => {})
}
