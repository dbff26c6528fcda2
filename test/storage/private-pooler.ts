import { spawn } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { endServer, privateFolder } from './private-folder.ts'
import { freePort } from './private-server.ts'

const program = '/usr/sbin/pgbouncer'

/** Why the tests behind a pooler are not run, or false. */
export const withoutPooler = existsSync(program) ? false : 'not run: needs pgbouncer (apt-get install pgbouncer)'

export interface PoolerOptions {
  /** The DSN of the server, as a superuser. */
  readonly server: string
  /** As in pgbouncer.ini. */
  readonly settings?: Readonly<Record<string, string | number>>
}

/** PgBouncer in transaction mode before a server; whoever is known there is known here. */
export interface PrivatePooler extends AsyncDisposable {
  readonly dsn: string
  log(): string
  /** The DSN of somebody who uses it, made of the one that leads to the server. */
  through(dsn: string): string
}

/** How long it may take to answer. */
const patienceMs = 10_000

export async function startPooler({ server, settings = {} }: PoolerOptions): Promise<PrivatePooler> {
  const folder = privateFolder('cc-pooler', { pidFile: 'pid', signal: 'TERM' })
  const { hostname, port: serverPort, username, password, pathname } = new URL(server)
  const port = await freePort()
  const all = {
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    pool_mode: 'transaction',
    // Roles come and go with the tests: each is looked up on the server, which asks for the password where there is one.
    auth_type: password === '' ? 'trust' : 'scram-sha-256',
    auth_user: username,
    auth_file: folder.path('users'),
    auth_query: 'select usename::text, passwd from pg_shadow where usename = $1',
    logfile: folder.path('log'),
    pidfile: folder.path('pid'),
    // Fewer sessions than clients have connections, so that these really share them.
    default_pool_size: 4,
    max_client_conn: 500,
    // A session that nobody needs is gone in a moment, and says what it did only then.
    server_idle_timeout: 1,
    ...settings,
  }
  const lines = Object.entries(all).map(([name, value]) => `${name} = ${value}`)
  folder.write(
    'ini',
    `[databases]\n${pathname.slice(1)} = host=${hostname} port=${serverPort}\n[pgbouncer]\n${lines.join('\n')}\n`,
  )
  folder.write('users', `"${username}" "${decodeURIComponent(password)}"\n`)
  folder.write('log', '')
  const child = spawn(program, ['-q', folder.path('ini')], { ...folder.account, cwd: folder.dir, stdio: 'ignore' })
  const through = (dsn: string) => Object.assign(new URL(dsn), { hostname: '127.0.0.1', port }).href
  const log = () => readFileSync(folder.path('log'), 'utf8')
  const leave = async () => {
    await endServer(child, 'SIGTERM')
    await folder[Symbol.asyncDispose]()
  }
  try {
    await answering(through(server), log)
  } catch (error) {
    await leave()
    throw error
  }
  return { dsn: through(server), through, log, [Symbol.asyncDispose]: leave }
}

async function answering(dsn: string, log: () => string): Promise<void> {
  const startedAt = performance.now()
  for (;;) {
    const client = new pg.Client({ connectionString: dsn, ssl: false })
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (performance.now() - startedAt > patienceMs) throw new Error(`PgBouncer:\n${log()}`, { cause: error })
    }
    await delay(20)
  }
}
