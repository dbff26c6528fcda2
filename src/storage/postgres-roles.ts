import pg from 'pg'
import { checkpointColumns } from '../domain/instance.ts'
import { CoreError } from '../errors.ts'
import { eventColumns } from './audit.ts'
import type { Reader, Transaction } from './backend.ts'

/** One kind of statement that the service sends to a table; with columns: to these alone. */
interface Right {
  readonly verb: 'select' | 'insert' | 'update' | 'delete'
  readonly columns?: readonly string[]
}

const select: Right = { verb: 'select' }
const insert: Right = { verb: 'insert' }
const update: Right = { verb: 'update' }
const remove: Right = { verb: 'delete' }

/**
 * What the service does with each table, and nothing beyond it. The numbers of what only grows are the database's to
 * choose, so that nobody takes those to come.
 */
const rights: Readonly<Record<string, readonly Right[]>> = {
  schema_migrations: [select],
  meta: [select, { verb: 'update', columns: ['simulated'] }],
  definitions: [select, insert],
  instances: [select, insert, update],
  work: [select, insert, update, remove],
  tasks: [select, insert, update],
  work_orders: [select, insert, update],
  submission_keys: [select, insert],
  workers: [select, insert, update, remove],
  audit_events: [select, { verb: 'insert', columns: eventColumns }],
  payloads: [select, insert, { verb: 'update', columns: ['text', 'salt', 'erased_at_ms'] }],
  checkpoints: [select, { verb: 'insert', columns: Object.values(checkpointColumns) }],
}

/** Columns of these tables are numbered by a sequence, from which the database alone takes. */
const numbered = ['audit_events', 'checkpoints']

/** The statements that give a role what the service needs, and take from it whatever else it had on the tables. */
export function grantStatements(schema: string, role: string): readonly string[] {
  const [where, who] = [quoted(schema), quoted(role)]
  return [
    `revoke all on schema ${where} from ${who}`,
    ...Object.keys(rights).map((table) => `revoke all on ${where}.${table} from ${who}`),
    ...numbered.map((table) => `revoke all on sequence ${where}.${table}_entry_seq from ${who}`),
    ...givingStatements(where, who),
  ]
}

function givingStatements(where: string, who: string): readonly string[] {
  const tables = Object.entries(rights).map(
    ([table, needed]) => `grant ${needed.map(inWords).join(', ')} on ${where}.${table} to ${who}`,
  )
  return [`grant usage on schema ${where} to ${who}`, ...tables]
}

function inWords({ verb, columns }: Right): string {
  return columns ? `${verb} (${columns.join(', ')})` : verb
}

function quoted(name: string): string {
  return /^[a-z_][a-z0-9_]*$/.test(name) ? name : pg.escapeIdentifier(name)
}

/** Words that stand for other roles wherever a role is named, in quotes as well. */
const noRoles = ['public', 'none']

/** Refuses a name that means everybody, or nobody. */
export function refuseRoleName(role: string): void {
  if (!noRoles.includes(role) && role !== '' && !role.includes('\0')) return
  throw new CoreError('CC_ERR_APP_ROLE', { role, why: 'it is not the name of one role' })
}

/** Why rights were not given, or that they were. */
export type Granting = 'applied' | 'only printed' | 'no such role' | 'not the owner'

/** Gives a role the rights of the service, where it is there and whoever asks owns the tables. */
export async function grantRole(tx: Transaction, schema: string, role: string): Promise<Granting> {
  refuseRoleName(role)
  const [about] = await tx.query<{ isOwner: boolean; isSuper: boolean; owns: boolean }>(
    `select r.rolsuper as "isSuper", pg_has_role(c.relowner, 'usage') and pg_has_role(n.nspowner, 'usage') as "isOwner",
            pg_has_role(r.oid, c.relowner, 'member') as "owns"
       from pg_roles r, pg_namespace n join pg_class c on c.relnamespace = n.oid
      where n.nspname = $1 and c.relname = 'work' and r.rolname = $2`,
    [schema, role],
  )
  if (!about) return 'no such role'
  // Their rights do not come from grants, and who owns the tables can take the triggers away.
  if (about.isSuper) throw new CoreError('CC_ERR_APP_ROLE', { role, why: 'a superuser is bound by no grant' })
  if (about.owns) throw new CoreError('CC_ERR_APP_ROLE', { role, why: 'it owns the tables, or may act as who does' })
  if (!about.isOwner) return 'not the owner'
  for (const statement of grantStatements(schema, role)) await tx.execute(statement)
  return 'applied'
}

/** After a migration: whoever had the rights of the service has them in the tables that have come, too. */
export async function renewGrants(tx: Transaction, schema: string): Promise<void> {
  const roles = await tx.query<{ role: string }>(
    `select distinct pg_get_userbyid(a.grantee)::text as "role" from pg_class c join pg_namespace n on n.oid = c.relnamespace, aclexplode(c.relacl) a
      where n.nspname = $1 and c.relname = 'work' and a.privilege_type = 'INSERT' and a.grantee not in (0, c.relowner)`,
    [schema],
  )
  for (const { role } of roles) {
    for (const statement of givingStatements(quoted(schema), quoted(role))) await tx.execute(statement)
  }
}

/** What somebody wants to do with a store: see which version it is of, read it, run cases. */
export type Purpose = 'look' | 'read' | 'serve'

/** The first right that the present role lacks for it, on the tables that are there. */
export async function missingRight(reader: Reader, schema: string, purpose: Purpose): Promise<string | undefined> {
  const looked = ['schema_migrations', 'meta']
  const asked = Object.entries(rights)
    .filter(([table]) => purpose !== 'look' || looked.includes(table))
    .flatMap(([table, needed]) =>
      needed
        .filter(({ verb }) => purpose === 'serve' || verb === 'select')
        .flatMap(({ verb, columns = [''] }) => columns.map((column) => ({ table, verb, column }))),
    )
  const [missing] = await reader.query<{ table: string; verb: string }>(
    `select n."table" as "table", n.verb as "verb"
       from jsonb_to_recordset($2::jsonb) as n("table" text, verb text, "column" text)
       cross join lateral (select format('%I.%I', $1::text, n."table")) as q(name)
      where not case when to_regclass(q.name) is null then true when n."column" = '' then has_table_privilege(q.name, n.verb)
                else has_column_privilege(q.name, n."column", n.verb) end
      limit 1`,
    [schema, JSON.stringify(asked)],
  )
  return missing && `${missing.verb} on ${missing.table}`
}
