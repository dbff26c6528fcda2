import { isCoreError } from '../errors.ts'
import {
  type Connection,
  type ConnectionSettings,
  lending,
  PostgresConnections,
  searchPath,
  timeouts,
} from './postgres-connections.ts'

/** What a session has, whoever said so. */
interface Session {
  readonly role: string
  readonly searchPath: string
  readonly statement_timeout: string
  readonly lock_timeout: string
  readonly idle_in_transaction_session_timeout: string
}

/**
 * Opens the connections, and finds out whether they lead through a pooler that nobody has spoken of: it refuses what a
 * session says at its start, or passes it over. `settings` are those that hold.
 */
export async function openConnections(
  settings: ConnectionSettings,
  warn: (sentence: string) => void,
): Promise<{ readonly connections: PostgresConnections; readonly settings: ConnectionSettings }> {
  const connections = new PostgresConnections(settings)
  try {
    await connections.warmUp()
    const session = await readSession(connections)
    if (settings.isPooled) warnOfTimeouts(session, warn)
    if (settings.isPooled || session.searchPath === searchPath(settings.schema)) return { connections, settings }
  } catch (error) {
    if (settings.isPooled || !isCoreError(error, 'CC_ERR_POOLER')) {
      await connections.close()
      throw error
    }
  }
  await connections.close()
  warn(
    `CC_DB_DSN leads to a connection pooler: processes do not hear from each other and look for work every second. Set CC_DB_DIRECT_DSN to the server itself.`,
  )
  return await openConnections({ ...settings, isPooled: true }, warn)
}

/** Whether this connection begins with a session of its own, which is what changing tables and listening take. */
export async function isOwnSession(connection: Connection, { schema }: ConnectionSettings): Promise<boolean> {
  return (await sessionOf(connection)).searchPath === searchPath(schema)
}

function readSession(connections: PostgresConnections): Promise<Session> {
  return lending(connections, sessionOf)
}

async function sessionOf(connection: Connection): Promise<Session> {
  const names = Object.keys(timeouts).map((name) => `current_setting('${name}') as "${name}"`)
  const { rows } = await connection.run(
    `select current_user::text as "role", current_setting('search_path') as "searchPath", ${names.join(', ')}`,
  )
  return rows[0] as Session
}

/** Through a pooler a session says nothing at its start, so the role has to have it. */
function warnOfTimeouts(session: Session, warn: (sentence: string) => void): void {
  const missing = Object.entries(timeouts).filter(([name]) => session[name as keyof typeof timeouts] === '0')
  if (missing.length === 0) return
  const role = `"${session.role.replaceAll('"', '""')}"`
  const statements = missing.map(([name, ms]) => `alter role ${role} set ${name} = '${ms / 1000}s';`)
  warn(`The server ends nothing by itself that hangs or was forgotten. Run: ${statements.join(' ')}`)
}
