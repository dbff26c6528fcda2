import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type Account, findBinaries, findDebianBinaries, serverAccount } from './postgres-binaries.ts'

export interface ServerOptions {
  /** Those of npm unless said; Debian's are the newest that are installed. Anything else is their folder. */
  readonly binaries?: 'embedded' | 'debian' | (string & {})
  /** As in postgresql.conf. */
  readonly settings?: Readonly<Record<string, string | number>>
  /** Asked of everybody who comes over TCP; unset: nobody is asked for one. */
  readonly password?: string
  /** Files that stand in the data folder before it starts, readable for the server alone, such as a key. */
  readonly files?: Readonly<Record<string, string>>
  /** The folder in which its own is made; unset: that of temporary files. */
  readonly within?: string
}

/** A PostgreSQL of its own for one test; it is gone when the test is, and also when the test is killed. */
export interface PrivateServer extends AsyncDisposable {
  /** As its superuser, `core`. */
  readonly dsn: string
  readonly port: number
  /** A folder of the server's own account, with the data in it and room for more. */
  readonly dir: string
  readonly dataDir: string
  /** The server's process; undefined while it is stopped. */
  readonly pid: number | undefined
  /** What it has written to its log so far. */
  log(): string
  /** `fast` ends every session and writes everything down, `immediate` is a crash. */
  stop(mode: 'fast' | 'immediate'): Promise<void>
  /** On the same port with the same data. */
  start(): Promise<void>
}

const superuser = 'core'

/** How long a server may take to answer. */
const patienceMs = 30_000

/** Starts a PostgreSQL that nobody else knows of; it runs as another account where the tests run as root. */
export async function startServer(options: ServerOptions = {}): Promise<PrivateServer> {
  const account = serverAccount()
  const dir = mkdtempSync(join(options.within ?? tmpdir(), 'cc-postgres-'))
  const guard = startGuard(dir)
  const dataDir = join(dir, 'data')
  const logPath = join(dir, 'log')
  const port = await freePort()
  const dsn = `postgres://${superuser}${options.password ? `:${options.password}` : ''}@127.0.0.1:${port}/postgres`
  let child: ChildProcess | undefined
  const log = () => readFileSync(logPath, 'utf8')
  try {
    chmodSync(dir, 0o755)
    own(dir, account)
    const bin = binariesOf(options, account, dir)
    makeCluster(bin, dataDir, account, options)
    const start = async () => {
      child = launch(bin, { dataDir, logPath, account, settings: { ...options.settings, port } })
      await answering(dsn, child, log)
    }
    const stop = async (mode: 'fast' | 'immediate') => {
      await end(child, mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
      child = undefined
    }
    await start()
    return {
      ...{ dsn, port, dir, dataDir, log, start, stop },
      get pid() {
        return child?.pid
      },
      async [Symbol.asyncDispose]() {
        await stop('immediate')
        await leave(guard, dir)
      },
    }
  } catch (error) {
    await end(child, 'SIGQUIT')
    await leave(guard, dir)
    throw error
  }
}

/** Takes the server down with whoever started it, which may be killed: the end of its input is all it waits for. */
function startGuard(dir: string): ChildProcess {
  const script = `cat > /dev/null
    read -r pid < "$0/data/postmaster.pid" && kill -QUIT "$pid"
    tries=0; while kill -0 "$pid" && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done
    rm -rf "$0"`
  const guard = spawn('sh', ['-c', script, dir], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  guard.on('error', () => {})
  guard.unref()
  return guard
}

/** The guard finds nothing left to do. */
async function leave(guard: ChildProcess, dir: string): Promise<void> {
  rmSync(dir, { recursive: true, force: true })
  if (guard.exitCode !== null || guard.pid === undefined) return
  guard.ref()
  guard.stdin!.end()
  await once(guard, 'exit')
}

function own(path: string, account: Account | undefined): void {
  if (account) chownSync(path, account.uid, account.gid)
}

function binariesOf({ binaries = 'embedded' }: ServerOptions, account: Account | undefined, dir: string): string {
  if (binaries === 'embedded') return findBinaries(account, join(dir, 'native'))
  if (binaries !== 'debian') return binaries
  const bin = findDebianBinaries()
  if (bin === undefined) throw new Error('Debian has installed no PostgreSQL here')
  return bin
}

function makeCluster(
  bin: string,
  dataDir: string,
  account: Account | undefined,
  { password, files = {} }: ServerOptions,
): void {
  mkdirSync(dataDir, { mode: 0o700 })
  own(dataDir, account)
  const write = (path: string, text: string) => {
    writeFileSync(path, text, { mode: 0o600 })
    own(path, account)
  }
  const secret = join(dataDir, '..', 'secret')
  write(secret, password ?? '')
  const access = password === undefined ? ['--auth=trust'] : ['--auth=scram-sha-256', `--pwfile=${secret}`]
  const cluster = ['-D', dataDir, '-U', superuser, ...access, '--encoding=UTF8', '--locale=C', '--no-sync']
  execFileSync(join(bin, 'initdb'), cluster, { ...account, cwd: dataDir, stdio: 'pipe' })
  rmSync(secret)
  for (const [name, text] of Object.entries(files)) write(join(dataDir, name), text)
}

interface Launch {
  readonly dataDir: string
  readonly logPath: string
  readonly account: Account | undefined
  readonly settings: Readonly<Record<string, string | number>>
}

function launch(bin: string, { dataDir, logPath, account, settings }: Launch): ChildProcess {
  const all = {
    listen_addresses: '127.0.0.1',
    unix_socket_directories: dataDir,
    max_connections: 100,
    // Nothing here has to survive a power failure.
    fsync: 'off',
    full_page_writes: 'off',
    ...settings,
  }
  const flags = Object.entries(all).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  const log = openSync(logPath, 'a')
  try {
    // Apart from the terminal: an interrupt that is meant for the tests does not reach it.
    const stdio = ['ignore', log, log] as const
    return spawn(join(bin, 'postgres'), ['-D', dataDir, ...flags], {
      ...account,
      cwd: dataDir,
      detached: true,
      stdio: [...stdio],
    })
  } finally {
    closeSync(log)
  }
}

async function end(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}

/** Below the ports that the system hands out by itself, so that it is still free after a stop. */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = 15_000 + Math.floor(Math.random() * 17_000)
    const probe = createServer().listen(port, '127.0.0.1')
    const isFree = await once(probe, 'listening').then(
      () => true,
      () => false,
    )
    if (!isFree) continue
    probe.close()
    await once(probe, 'close')
    return port
  }
}

async function answering(dsn: string, child: ChildProcess, log: () => string): Promise<void> {
  const startedAt = performance.now()
  for (;;) {
    const client = new pg.Client({ connectionString: dsn, ssl: false })
    client.on('error', () => {})
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (child.exitCode !== null) throw new Error(`PostgreSQL did not start:\n${log()}`, { cause: error })
      if (performance.now() - startedAt > patienceMs) throw error
    }
    await delay(50)
  }
}
