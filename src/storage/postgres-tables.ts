import { setTimeout as delay } from 'node:timers/promises'
import { CoreError } from '../errors.ts'
import { hasMeta, insertMeta } from './meta.ts'
import { hasPending, migrate } from './migrations.ts'
import { PostgresTransaction } from './postgres.ts'
import type { Connection } from './postgres-connections.ts'
import { isCollision, lockTimeout, sqlState } from './postgres-errors.ts'
import { missingRight, type Purpose, renewGrants } from './postgres-roles.ts'

/** A schema as somebody finds it who wants a store in it. */
interface Schema {
  readonly role: string
  readonly isThere: boolean
  /** Whether the role may look into it, and make tables in it. */
  readonly isOpen: boolean
  readonly isWritable: boolean
  /** The role may make a schema in this database. */
  readonly mayMake: boolean
  /** Tables but those that belong to an extension. */
  readonly tables: readonly string[]
  /** Among them those by which a store is known. */
  readonly isStore: boolean
  /** Who owns them; null where there is no store. */
  readonly owner: string | null
  readonly isOwner: boolean
}

const schemaSql = `select current_user::text as "role", n.oid is not null as "isThere",
    coalesce(has_schema_privilege(n.oid, 'usage'), false) as "isOpen",
    coalesce(has_schema_privilege(n.oid, 'create'), false) as "isWritable",
    has_database_privilege(current_database(), 'create') as "mayMake",
    array(select c.relname::text from pg_class c
           where c.relnamespace = n.oid and c.relkind in ('r', 'p', 'f') and not exists
             (select 1 from pg_depend d where d.classid = 'pg_class'::regclass and d.objid = c.oid and d.deptype = 'e')
           order by 1) as "tables",
    (select count(*) from pg_class c join pg_attribute a on a.attrelid = c.oid
      where c.relnamespace = n.oid and (c.relname, a.attname) in (('meta', 'database_id'), ('schema_migrations', 'sha256')))
      = 2 as "isStore",
    pg_get_userbyid(w.relowner)::text as "owner", coalesce(pg_has_role(w.relowner, 'usage'), false) as "isOwner"
  from (select 1) as always left join pg_namespace n on n.nspname = $1
  left join pg_class w on w.relnamespace = n.oid and w.relname = 'meta'`

/** Refuses a schema that is another program's, or closed to this role. */
async function lookInto(connection: Connection, schema: string, location: string): Promise<Schema> {
  const found = (await connection.run(schemaSql, [schema])).rows[0] as Schema
  const { isThere, isOpen, tables, isStore } = found
  if (isThere && !isOpen) {
    throw lacking(found, `usage on the schema ${schema}`, location)
  }
  if (tables.length > 0 && !isStore) {
    const names = tables.slice(0, shownTables).join(', ')
    throw new CoreError('CC_ERR_SCHEMA_TAKEN', { location, schema, tables: names })
  }
  return found
}

const shownTables = 5

/** Whether all is there that this version works with, and this role may. */
export async function isReady(connection: Connection, schema: string, location: string): Promise<boolean> {
  const found = await lookInto(connection, schema, location)
  if (!found.isStore) return refuseUnableToMake(found, schema, location)
  const reader = new PostgresTransaction(connection)
  const refuseWithout = async (purpose: Purpose) => {
    const missing = await missingRight(reader, schema, purpose)
    if (missing !== undefined) throw lacking(found, missing, location)
  }
  await refuseWithout('look')
  const isPending = await hasPending(reader, location)
  if (isPending || !(await hasMeta(reader))) {
    if (found.isOwner && found.isWritable) return false
    const needs = isPending ? 'its tables changed for this version' : 'its first row'
    const { role, owner } = found
    throw new CoreError('CC_ERR_MIGRATION_RIGHTS', { location, needs, role, owner: owner! })
  }
  await refuseWithout('serve')
  return true
}

/** Refuses what a reader cannot read. */
export async function refuseUnreadable(connection: Connection, schema: string, location: string): Promise<void> {
  const found = await lookInto(connection, schema, location)
  if (!found.isStore) return
  const missing = await missingRight(new PostgresTransaction(connection), schema, 'read')
  if (missing !== undefined) throw lacking(found, missing, location)
}

function lacking({ role }: Schema, missing: string, location: string): CoreError {
  return new CoreError('CC_ERR_SERVER_RIGHTS', { location, role, why: `it lacks ${missing}` })
}

function refuseUnableToMake({ role, isThere, isWritable, mayMake }: Schema, schema: string, location: string): false {
  if (isThere ? isWritable : mayMake) return false
  if (!isThere) throw new CoreError('CC_ERR_NO_SCHEMA', { location, schema, role })
  const needs = `its tables in the schema ${schema}`
  throw new CoreError('CC_ERR_MIGRATION_RIGHTS', { location, needs, role, owner: 'a role that may create there' })
}

export interface Making {
  readonly schema: string
  readonly location: string
  readonly nowMs: number
  /** How long another process, or a transaction that uses the tables, is waited for. */
  readonly patienceMs: number
}

/** Together with a number for the schema: the lock of whoever changes its tables, in this database. */
const lockClass = 0x43436f72

/** How long a change waits for a table that is in use: everybody else who needs it stands in line behind it meanwhile. */
const tableLockMs = 2000
/** How long it then leaves the table to the others. */
const pauseMs = 500

/**
 * Makes the tables or applies what is pending, in one transaction, and one process after the other. Needs a session that
 * no pooler shares.
 */
export async function makeTables(
  connection: Connection,
  making: Making,
): Promise<{ readonly created: boolean; readonly applied: readonly number[] }> {
  const startedAt = performance.now()
  for (;;) {
    const leftMs = Math.max(1, Math.ceil(startedAt + making.patienceMs - performance.now()))
    try {
      return await tryMaking(connection, making, leftMs)
    } catch (error) {
      await connection.rollBack()
      // Somebody has the tables, or waits for what this one has already: both pass.
      if (sqlState(error) !== lockTimeout && !isCollision(error)) throw error
      if (performance.now() - startedAt >= making.patienceMs) throw await refuseHeld(connection, making, error)
    }
    await delay(pauseMs)
  }
}

async function tryMaking(connection: Connection, { schema, location, nowMs }: Making, leftMs: number) {
  const tx = new PostgresTransaction(connection)
  await connection.run(`begin; set local statement_timeout = 0; set local lock_timeout = ${leftMs}`)
  await tx.query(`select pg_advisory_xact_lock($1::int, hashtext($2))`, [lockClass, schema])
  await connection.run(`set local lock_timeout = ${Math.min(leftMs, tableLockMs)}`)
  const isThere = (await tx.query('select 1 from pg_namespace where nspname = $1', [schema])).length > 0
  if (!isThere) await connection.run(`create schema "${schema}"`)
  const applied = await migrate(tx, async (sql) => void (await connection.run(sql)), { location, nowMs })
  if (applied.length > 0) await renewGrants(tx, schema)
  await insertMeta(tx, nowMs)
  await connection.run('commit')
  return { created: applied[0] === 1, applied }
}

/** Names whoever changes the tables, or else the oldest transaction that uses them. */
async function refuseHeld(
  connection: Connection,
  { schema, location, patienceMs }: Making,
  cause: unknown,
): Promise<CoreError> {
  const { rows } = await connection.run(
    `select a.pid as "pid", a.usename::text as "role", a.application_name as "program"
       from pg_locks l join pg_stat_activity a on a.pid = l.pid
      where l.granted and l.pid <> pg_backend_pid() and l.database = (select oid from pg_database where datname = current_database())
        and (l.locktype = 'advisory' and l.classid = $1::int::oid and l.objid = hashtext($2)::oid
          or l.locktype = 'relation' and l.relation in
            (select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace where n.nspname = $2))
      order by l.locktype = 'advisory' desc, a.xact_start limit 1`,
    [lockClass, schema],
  )
  const [held] = rows as { readonly pid: number; readonly role: string; readonly program: string }[]
  const holder = held ? `process ${held.pid} (${held.program || 'no name'}, role ${held.role})` : 'another process'
  return new CoreError('CC_ERR_MIGRATING', { location, waitedMs: patienceMs, holder }, { cause })
}
