import { test } from 'node:test'
import { randomHex } from '../../src/domain/identity.ts'
import type { Row, SqlValue } from '../../src/storage/backend.ts'
import type { PostgresBackend } from '../../src/storage/postgres.ts'
import { openPostgres, type PostgresOptions } from '../../src/storage/postgres-open.ts'
import { openCutProxy } from './cut-proxy.ts'
import type { StoreFixture, StoreOptions } from './fixture.ts'
import { openShell } from './postgres-place.ts'
import { postgresServer, postgresServers } from './postgres-server.ts'

/** How long the server may take to end the sessions of a holder that is to be dead. */
const endingMs = 5000

/** What a store in PostgreSQL has beside what every store has. */
export interface PostgresFixture extends StoreFixture {
  readonly backend: PostgresBackend
  readonly schema: string
  /** The DSN of the present holder. */
  readonly dsn: string
  /** How this role, or the present holder, gets there: through the pooler, where there is one, and past it. */
  way(role?: string): { readonly dsn: string; readonly directDsn: string | undefined }
  /** Opens the store for one more process beside those that have it. */
  join(options?: Partial<PostgresOptions>): Promise<PostgresBackend>
}

export interface PostgresStoreOptions extends StoreOptions {
  /** The DSN of a server; unset: the one that all tests share. */
  readonly server?: string
  /** A pooler before it, through which everything goes that can. */
  readonly pooler?: string | undefined
}

export type OpenPostgresStore = (options?: StoreOptions) => Promise<PostgresFixture>

/** Every PostgreSQL that the tests are put to. */
export const postgresBackends: readonly { readonly name: string; readonly open: OpenPostgresStore }[] =
  postgresServers.map(({ name, dsn, pooler }) => ({
    name,
    open: async (options) => await openPostgresStore({ ...options, server: await dsn(), pooler }),
  }))

/** A test of what only PostgreSQL can do or suffer. */
export function onEachPostgres(promise: string, story: (open: OpenPostgresStore) => Promise<void>): void {
  for (const { name, open } of postgresBackends) test(`${name}: ${promise}`, () => story(open))
}

/** A schema of its own for one test, in a database that tests share. */
export async function openPostgresStore(options: PostgresStoreOptions = {}): Promise<PostgresFixture> {
  const { probe, nowMs = 1_000, pooler } = options
  const server = new URL(options.server ?? (await postgresServer()))
  const schema = `t_${randomHex(8)}`
  const shell = openShell(server.href, schema)
  const [{ owner }] = (await shell.query<{ owner: string }>('select current_user as owner')).rows as [{ owner: string }]
  const holders: { readonly role: string; readonly dsn: string; readonly backend: PostgresBackend }[] = []
  // What lies before a pooler can be cut off as well: it would let its clients wait for a server that lets nobody in.
  const cable = pooler ? await openCutProxy(pooler) : undefined
  const sql = async <R>(text: string, ...params: SqlValue[]) => (await shell.query(text, params)).rows as R[]

  const wayOf = (role: string) => {
    const direct = Object.assign(new URL(server), { username: role, password: 'secret' })
    if (!cable) return { dsn: direct.href, directDsn: undefined }
    return { dsn: throughPooler(direct, cable.dsn), directDsn: direct.href }
  }

  /** Each holder has a role of its own, by which it can be cut off from the server as if its machine had lost power. */
  const open = async (options: Partial<PostgresOptions> = {}) => {
    const role = `${schema}_${holders.length}`
    await sql(`create role ${role} login superuser password 'secret'`)
    await sql(`alter role ${role} set role = '${owner}'`)
    // What another client of the pooler has left behind may be anything.
    if (pooler) await sql(`alter role ${role} set search_path = pg_temp`)
    const { backend } = await openPostgres({ ...wayOf(role), schema, nowMs, probe, ...options })
    holders.push({ role, dsn: wayOf(role).dsn, backend })
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
    way: (role = holders.at(-1)!.role) => wayOf(role),
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
      cable?.restart(0)
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
      await cable?.[Symbol.asyncDispose]()
    },
  }
}

function throughPooler(dsn: URL, pooler: string): string {
  const { hostname, port } = new URL(pooler)
  return Object.assign(new URL(dsn), { hostname, port }).href
}
