import { randomHex } from '../../src/domain/identity.ts'
import type { Row, SqlValue } from '../../src/storage/backend.ts'
import type { PostgresBackend } from '../../src/storage/postgres.ts'
import { openPostgres, type PostgresOptions } from '../../src/storage/postgres-open.ts'
import type { StoreFixture, StoreOptions } from './fixture.ts'
import { openShell } from './postgres-place.ts'
import { postgresServer } from './postgres-server.ts'

/** How long the server may take to end the sessions of a holder that is to be dead. */
const endingMs = 5000

/** What a store in PostgreSQL has beside what every store has. */
export interface PostgresFixture extends StoreFixture {
  readonly backend: PostgresBackend
  readonly schema: string
  /** The DSN of the present holder. */
  readonly dsn: string
  /** Opens the store for one more process beside those that have it. */
  join(options?: Partial<PostgresOptions>): Promise<PostgresBackend>
}

/** A schema of its own for one test, in the database that all tests share. */
export async function openPostgresStore({ probe, nowMs = 1_000 }: StoreOptions = {}): Promise<PostgresFixture> {
  const server = new URL(await postgresServer())
  const schema = `t_${randomHex(8)}`
  const shell = openShell(server.href, schema)
  const [{ owner }] = (await shell.query<{ owner: string }>('select current_user as owner')).rows as [{ owner: string }]
  const holders: { readonly role: string; readonly dsn: string; readonly backend: PostgresBackend }[] = []
  const sql = async <R>(text: string, ...params: SqlValue[]) => (await shell.query(text, params)).rows as R[]

  /** Each holder has a role of its own, by which it can be cut off from the server as if its machine had lost power. */
  const open = async (options: Partial<PostgresOptions> = {}) => {
    const role = `${schema}_${holders.length}`
    await sql(`create role ${role} login superuser password 'secret'`)
    await sql(`alter role ${role} set role = '${owner}'`)
    const dsn = Object.assign(new URL(server), { username: role, password: 'secret' }).href
    const { backend } = await openPostgres({ dsn, schema, nowMs, probe, ...options })
    holders.push({ role, dsn, backend })
    return backend
  }
  let backend = await open()
  return {
    get backend() {
      return backend
    },
    schema,
    get dsn() {
      return holders.at(-1)!.dsn
    },
    join: open,
    get underWay() {
      return holders.reduce((sum, holder) => sum + holder.backend.underWay, 0)
    },
    sql,
    async rowCounts() {
      const tables = await sql<{ name: string }>(
        'select tablename as name from pg_tables where schemaname = current_schema()',
      )
      const counts = tables.map(async ({ name }) => [name, (await sql(`select 1 from ${name}`)).length])
      return Object.fromEntries(await Promise.all(counts)) as Record<string, number>
    },
    async version() {
      const tables = ['meta', 'instances', 'work', 'tasks', 'audit_events', 'payloads', 'checkpoints']
      const rows = tables.map((name) =>
        sql<Row>(`select xmin::text, xmax::text, ctid::text from ${name} order by ctid`),
      )
      return JSON.stringify(await Promise.all(rows))
    },
    async reopen() {
      await backend.close()
      return (backend = await open())
    },
    async takeOver() {
      const { role } = holders.at(-1)!
      await sql(`alter role ${role} nologin`)
      await sql(`select pg_terminate_backend(pid, ${endingMs}) from pg_stat_activity where usename = $1`, role)
      // Twenty seconds later.
      await sql('update workers set beat_at_ms = 0')
      return (backend = await open())
    },
    async [Symbol.asyncDispose]() {
      if (shell.ended) return
      await Promise.allSettled(holders.map((holder) => holder.backend.close()))
      await sql(`drop schema ${schema} cascade`)
      for (const { role } of holders) await sql(`drop role ${role}`)
      await shell.end()
    },
  }
}
