import { leastPool } from '../config.ts'
import { CoreError } from '../errors.ts'
import type { Reader } from './backend.ts'
import { deadAfterMs, now } from './postgres-fleet.ts'

/** The versions this program is tried on. */
const oldestVersion = 15
const newestTried = 18

/** What a server is and how it is set, as far as it matters to a store. */
export interface Server {
  /** As `server_version_num` has it: 150018 is 15.18. */
  readonly version: number
  readonly encoding: string
  readonly isStandby: boolean
  readonly isReadOnly: boolean
  readonly synchronousCommit: string
  readonly role: string
}

export async function readServer(reader: Reader): Promise<Server> {
  const [server] = await reader.query<Server>(
    `select current_setting('server_version_num')::bigint as "version", current_setting('server_encoding') as "encoding",
            pg_is_in_recovery() as "isStandby", current_setting('default_transaction_read_only') = 'on' as "isReadOnly",
            current_setting('synchronous_commit') as "synchronousCommit",
            current_user::text as "role"`,
  )
  return server!
}

/** Refuses a server that would not keep a store as it must be kept; a reader minds less. Returns what is to be told. */
export function judgeServer(server: Server, location: string, { isReader }: { readonly isReader: boolean }): string[] {
  const { version, encoding, isStandby, isReadOnly, synchronousCommit, role } = server
  const major = Math.floor(version / 10_000)
  if (major < oldestVersion) throw new CoreError('CC_ERR_SERVER_OLD', { location, found: major, least: oldestVersion })
  if (encoding !== 'UTF8') throw new CoreError('CC_ERR_SERVER_ENCODING', { location, encoding })
  if (isStandby && !isReader) {
    throw new CoreError('CC_ERR_SERVER_READ_ONLY', {
      location,
      why: 'it is a standby of another server',
      remedy: 'Name the primary in CC_DB_DSN; with several hosts behind one name, the one that takes writes.',
    })
  }
  if (isReadOnly && !isReader) {
    throw new CoreError('CC_ERR_SERVER_READ_ONLY', {
      location,
      why: 'default_transaction_read_only is on',
      remedy: `Find where it is set (pg_db_role_setting, postgresql.conf), or run: alter role ${role} set default_transaction_read_only = off`,
    })
  }
  const sentences: string[] = []
  if (major > newestTried) {
    sentences.push(`PostgreSQL ${major} is newer than ${newestTried}, the newest that was tried.`)
  }
  if (synchronousCommit === 'off' && !isReader) {
    sentences.push(
      `synchronous_commit is off: a crash of the server loses what was confirmed in the last moments before it. Run: alter role ${role} set synchronous_commit = on`,
    )
  }
  return sentences
}

/** How many connections a server has for a role, and how many processes there are. */
export interface Room {
  readonly maxConnections: number
  /** Kept back for superusers, and from 16 on for whoever administers. */
  readonly reserved: number
  /** Of the role and of the database; -1: none. */
  readonly roleLimit: number
  readonly databaseLimit: number
  /** Other processes of this store that live. */
  readonly others: number
}

export async function readRoom(reader: Reader): Promise<Room> {
  const [room] = await reader.query<Room>(
    `select current_setting('max_connections')::bigint as "maxConnections",
            current_setting('superuser_reserved_connections')::bigint
              + coalesce(current_setting('reserved_connections', true), '0')::bigint as "reserved",
            (select rolconnlimit from pg_roles where rolname = session_user)::bigint as "roleLimit",
            (select datconnlimit from pg_database where datname = current_database())::bigint as "databaseLimit",
            (select count(*) from workers where beat_at_ms >= ${now} - ${deadAfterMs}) as "others"`,
  )
  return room!
}

/** Connections that are left for people, backups and measures. */
const spare = 5

/** Each process has one more connection than its pool, to listen. */
const listening = 1

/** What to tell when the processes that are declared, or live, may take more connections than there are. */
export function judgeRoom(
  room: Room,
  { replicas, poolMax }: { readonly replicas: number; readonly poolMax: number },
): string | undefined {
  const processes = Math.max(replicas, room.others + 1)
  const needed = processes * (poolMax + listening) + spare
  const limits = [
    { usable: room.maxConnections - room.reserved, name: 'max_connections', above: room.reserved },
    { usable: room.roleLimit, name: 'the connection limit of the role', above: 0 },
    { usable: room.databaseLimit, name: 'the connection limit of the database', above: 0 },
  ].filter(({ usable }) => usable >= 0)
  const [{ usable, name, above }] = limits.toSorted((a, b) => a.usable - b.usable) as [(typeof limits)[number]]
  if (needed <= usable) return undefined
  const most = Math.floor((usable - spare) / processes) - listening
  const smaller = most >= leastPool ? `set CC_DB_POOL_MAX to ${most} at the most, or ` : ''
  const sum = `${processes} × (${poolMax} + ${listening}) + ${spare} = ${needed}`
  return `This store may take ${sum} connections, and ${usable} are to be had: ${smaller}raise ${name} to ${needed + above}.`
}
