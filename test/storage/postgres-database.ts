import pg from 'pg'
import { randomHex } from '../../src/domain/identity.ts'
import { postgresServer } from './postgres-server.ts'

/** A database of its own on the server of the tests, as an administrator has it; gone when the test ends. */
export interface TestDatabase extends AsyncDisposable {
  /** As the administrator reaches it. */
  readonly dsn: string
  readonly name: string
  /** Runs plain SQL as the administrator. */
  sql<R extends object = Record<string, unknown>>(text: string, ...params: unknown[]): Promise<R[]>
  /** Makes a role that may log in; the name is made different from those of other tests. */
  role(name: string, options?: string): Promise<TestRole>
}

export interface TestRole {
  readonly name: string
  readonly dsn: string
  /** Runs plain SQL as this role, in a session of its own. */
  sql<R extends object = Record<string, unknown>>(text: string, ...params: unknown[]): Promise<R[]>
}

export async function openDatabase(options = ''): Promise<TestDatabase> {
  const server = new URL(await postgresServer())
  const mark = randomHex(6)
  const name = `d_${mark}`
  const front = new pg.Client(server.href)
  await front.connect()
  await front.query(`create database ${name} ${options}`)
  const address = Object.assign(new URL(server), { pathname: `/${name}` })
  const pools: pg.Pool[] = []
  const shell = (dsn: string) => {
    const pool = new pg.Pool({ connectionString: dsn, max: 1, idleTimeoutMillis: 0, types: numbers })
    pool.on('error', () => {})
    pools.push(pool)
    return async <R>(text: string, ...params: unknown[]) => (await pool.query(text, params)).rows as R[]
  }
  const roles: string[] = []
  return {
    dsn: address.href,
    name,
    sql: shell(address.href),
    async role(word, how = '') {
      const role = `${word}_${mark}`
      await front.query(`create role ${role} login password 'secret' ${how}`)
      roles.push(role)
      const dsn = Object.assign(new URL(address), { username: role, password: 'secret' }).href
      return { name: role, dsn, sql: shell(dsn) }
    },
    async [Symbol.asyncDispose]() {
      for (const pool of pools) await pool.end()
      await front.query(`drop database ${name} with (force)`)
      for (const role of roles.toReversed()) await front.query(`drop role ${role}`)
      await front.end()
    },
  }
}

const numbers = {
  getTypeParser: (oid: number) => (oid === 20 ? Number : pg.types.getTypeParser(oid)),
} as unknown as pg.CustomTypesConfig

/** An owner of the tables and a role for the service, as docs/postgres.md makes them. */
export async function openOwned(): Promise<TestDatabase & { readonly owner: TestRole; readonly app: TestRole }> {
  const database = await openDatabase()
  const [owner, app] = [await database.role('owner'), await database.role('app')]
  await database.sql(`alter database ${database.name} owner to ${owner.name}`)
  return { ...database, owner, app }
}
