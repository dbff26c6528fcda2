import { hash } from 'node:crypto'
import type { Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { isCoreError } from '../errors.ts'
import type { SqlValue } from './backend.ts'
import type { PostgresAddress } from './postgres-address.ts'
import { connectionRefusal, isFatal } from './postgres-errors.ts'
import { qualifier } from './postgres-names.ts'

export interface ConnectionSettings {
  readonly address: PostgresAddress
  /** Asked anew for each connection; unset: the password of the address. */
  readonly password?: (() => Promise<string>) | undefined
  readonly schema: string
  /** A pooler stands in between: nothing may be said at the start of a session, and none is ours for long. */
  readonly isPooled: boolean
  /** For changing tables, which takes as long as it takes. */
  readonly isUnhurried?: boolean
  readonly poolMin: number
  readonly poolMax: number
  /** For tests, which are not to wait as long as people would. */
  readonly limits?: Partial<Limits> | undefined
}

export interface Limits {
  /** How long a connection is waited for, whether it has to be made or to become free. */
  readonly acquireMs: number
  /** How long a server is waited for that says nothing at all. */
  readonly silenceMs: number
}

const acquireMs = 10_000
/** How long a server that is away may be so, and the pauses between two tries to reach it. */
export const patienceMs = 5000
const firstPauseMs = 20
export const longestPauseMs = 500
/** Connections above the minimum go when nobody has needed them for so long. */
const idleMs = 30_000

/** A session outlives the token it was let in with; it is replaced before that has expired, so that a right taken away ends. */
const tokenLifetimeS = 50 * 60

/** What the server ends by itself, so that nothing that was forgotten holds rows for ever. */
export const timeouts = {
  statement_timeout: 60_000,
  lock_timeout: 10_000,
  idle_in_transaction_session_timeout: 60_000,
} as const

/** How much longer a server is waited for that says nothing at all: it, or the way to it, is gone. */
const graceMs = 5000
/** When a silent connection is first asked whether it is there. */
const keepAliveMs = 10_000

/** A connection for one user at a time. */
export interface Connection {
  /** Runs one statement, or a text of several without parameters, of which the last one's result comes. */
  run(sql: string, params?: readonly SqlParam[]): Promise<pg.QueryResult>
  /** The same for a text of which there are few: the server keeps its plan where the session is ours. */
  runPlanned(sql: string, params: readonly SqlParam[]): Promise<pg.QueryResult>
  /** The session has ended, whoever ended it. */
  readonly isLost: boolean
  /** Ends what was begun without keeping anything of it; a session in which that fails is given up. */
  rollBack(): Promise<void>
  release(): void
}

/** Lends a connection for as long as the act takes. */
export type Lend = <T>(act: (connection: Connection) => Promise<T>) => Promise<T>

/** What a parameter may be; an array is one parameter with a cast of its own, bytes are in the form of their type. */
export type SqlParam = SqlValue | readonly SqlValue[] | Buffer

/** The connections of a store: as many as `poolMin` are there from the beginning, `poolMax` at the most. */
export class PostgresConnections {
  private readonly pool: pg.Pool
  private readonly location: string
  private readonly poolMin: number
  /** What becomes of a statement on its way; unset where the session is ours, and can keep plans. */
  private readonly rewrite: ((sql: string) => string) | undefined

  constructor(settings: ConnectionSettings) {
    this.location = settings.address.masked
    this.poolMin = settings.poolMin
    this.rewrite = settings.isPooled ? qualifier(settings.schema) : undefined
    this.pool = new pg.Pool({
      ...clientConfig(settings),
      Client: PooledClient,
      idleTimeoutMillis: idleMs,
      ...(settings.password && { maxLifetimeSeconds: tokenLifetimeS }),
      min: settings.poolMin,
      max: settings.poolMax,
    })
    // An idle connection that breaks is replaced when one is needed, and whoever needs it hears why there is none.
    this.pool.on('error', () => {})
    this.pool.on('connect', (client) => void client.on('error', () => lost.add(client)))
  }

  /** Opens the connections that are there at all times: the driver's own minimum only keeps those that came to be. */
  async warmUp(): Promise<void> {
    const opening = Array.from({ length: this.poolMin }, () => this.tryAcquire())
    const opened = await Promise.allSettled(opening)
    for (const one of opened) if (one.status === 'fulfilled') one.value.release()
    for (const one of opened) if (one.status === 'rejected') throw one.reason
  }

  /**
   * A server that restarts, or has no connection left just now, is waited for, a little while: what was done outside of it,
   * such as the result of a step, is worth more than a quick refusal.
   */
  async acquire(): Promise<Connection> {
    const startedAt = performance.now()
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(pauseMs * 2, longestPauseMs)) {
      try {
        return await this.tryAcquire()
      } catch (error) {
        const isOver = performance.now() - startedAt > patienceMs
        if (!isPassing(error) || isOver || this.pool.ending) throw error
      }
      await delay(pauseMs)
    }
  }

  private async tryAcquire(): Promise<Connection> {
    const client = await this.pool.connect().catch((error: unknown) => {
      throw connectionRefusal(error, this.location)
    })
    return new PooledConnection(client, this.rewrite)
  }

  close(): Promise<void> {
    return this.pool.end()
  }
}

/** The driver leaves a connection open on which nobody could log in. */
class PooledClient extends pg.Client {
  override connect(): Promise<pg.Client>
  override connect(callback: Connected): void
  override connect(callback?: Connected): Promise<pg.Client> | void {
    const connecting = super.connect().catch((error: unknown) => {
      this.end().catch(() => {})
      throw error
    })
    if (!callback) return connecting
    const pass = callback as (error: unknown, client?: pg.Client) => void
    connecting.then((client): void => pass(null, client), pass)
  }
}

type Connected = ((error: Error) => void) | ((error: null, client: pg.Client) => void)

const passing = ['CC_ERR_SERVER_AWAY', 'CC_ERR_SERVER_FULL', 'CC_ERR_ENTRA_TOKEN'] as const

/** What may be otherwise in a moment; one of our own connections may be free by then. */
function isPassing(error: unknown): boolean {
  return passing.some((code) => isCoreError(error, code))
}

const lost = new WeakSet<pg.ClientBase>()

class PooledConnection implements Connection {
  private readonly client: pg.PoolClient
  private readonly rewrite: ((sql: string) => string) | undefined
  private hasEnded = false

  constructor(client: pg.PoolClient, rewrite: ((sql: string) => string) | undefined) {
    this.client = client
    this.rewrite = rewrite
  }

  get isLost(): boolean {
    return this.hasEnded || lost.has(this.client)
  }

  run(sql: string, params: readonly SqlParam[] = []): Promise<pg.QueryResult> {
    return this.send({ text: this.rewrite?.(sql) ?? sql, values: params as unknown[] })
  }

  runPlanned(sql: string, params: readonly SqlParam[]): Promise<pg.QueryResult> {
    if (this.rewrite) return this.run(sql, params)
    return this.send({ name: nameOf(sql), text: sql, values: params as unknown[] })
  }

  private async send(query: pg.QueryConfig<unknown[]>): Promise<pg.QueryResult> {
    for (const param of query.values!) refuseUnbindable(param)
    try {
      return last(await this.client.query(query))
    } catch (error) {
      // Whatever is no answer of the server leaves open what the session is doing.
      const isAnswer = error instanceof pg.DatabaseError || error instanceof RangeError
      if (isFatal(error) || !isAnswer) this.hasEnded = true
      throw error
    }
  }

  async rollBack(): Promise<void> {
    if (this.isLost) return
    try {
      await this.client.query('rollback')
    } catch {
      this.hasEnded = true
    }
  }

  release(): void {
    this.client.release(this.isLost)
    // A server that says nothing would never close its end of it.
    if (this.isLost) (this.client as unknown as { connection: { stream: Socket } }).connection.stream.destroy()
  }
}

const names = new Map<string, string>()

/** A name by which the server knows a prepared text. */
function nameOf(sql: string): string {
  const known = names.get(sql)
  if (known !== undefined) return known
  const name = `cc_${hash('sha256', sql).slice(0, 16)}`
  names.set(sql, name)
  return name
}

/** The driver answers several statements with several results. */
function last(result: pg.QueryResult | pg.QueryResult[]): pg.QueryResult {
  return Array.isArray(result) ? result.at(-1)! : result
}

/** The driver would write an object as JSON and a flag as `true`; no column of ours takes either. */
function refuseUnbindable(param: unknown): void {
  if (Array.isArray(param)) return param.forEach(refuseUnbindable)
  if (param === null || typeof param === 'string' || typeof param === 'number' || Buffer.isBuffer(param)) return
  throw Object.assign(new TypeError(`no column takes a value of type ${typeof param}`), {
    code: 'ERR_INVALID_ARG_TYPE',
  })
}

/** What one session is opened with. */
export function clientConfig({
  address,
  password,
  schema,
  isPooled,
  isUnhurried,
  limits,
}: ConnectionSettings): pg.ClientConfig {
  const { host, port, user, database, ssl } = address
  return {
    ...{ host, port, user, database, ssl },
    ...(password ? { password } : address.password === undefined ? {} : { password: address.password }),
    application_name: 'cognitive-core',
    keepAlive: true,
    keepAliveInitialDelayMillis: keepAliveMs,
    connectionTimeoutMillis: limits?.acquireMs ?? acquireMs,
    ...(isUnhurried ? {} : { query_timeout: limits?.silenceMs ?? timeouts.statement_timeout + graceMs }),
    types: { getTypeParser },
    ...(isPooled ? {} : { ...timeouts, options: `-c search_path=${searchPath(schema)}` }),
  }
}

/** Statements name tables without their schema; temporary ones must not stand before them. */
export function searchPath(schema: string): string {
  return `${schema},pg_temp`
}

const int8 = 20

function getTypeParser(oid: number, format?: 'text' | 'binary') {
  if (oid === int8 && format !== 'binary') return toSafeNumber
  return pg.types.getTypeParser(oid, format as 'text') as (text: string) => unknown
}

/** As SQLite's driver does: a number that cannot be read exactly is an error, and never another number. */
function toSafeNumber(text: string): number {
  const value = Number(text)
  if (!Number.isSafeInteger(value)) throw new RangeError(`the number ${text} cannot be read exactly`)
  return value
}
