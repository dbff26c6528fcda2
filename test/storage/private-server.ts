import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { type Account, findBinaries, findDebianBinaries } from './postgres-binaries.ts'
import { endServer, type PrivateFolder, privateFolder } from './private-folder.ts'

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
  /** A folder that is yet to be made, for what it keeps against a crash; unset: with the data. */
  readonly walDir?: string
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
  const folder = privateFolder('cc-postgres', {
    pidFile: 'data/postmaster.pid',
    signal: 'QUIT',
    within: options.within,
  })
  const { dir, account } = folder
  const dataDir = folder.path('data')
  const logPath = folder.path('log')
  const port = await freePort()
  const dsn = `postgres://${superuser}${options.password ? `:${options.password}` : ''}@127.0.0.1:${port}/postgres`
  let child: ChildProcess | undefined
  const log = () => readFileSync(logPath, 'utf8')
  try {
    const bin = binariesOf(options, account, dir)
    makeCluster(bin, folder, options)
    const start = async () => {
      child = launch(bin, { dataDir, logPath, account, settings: { ...options.settings, port } })
      await answering(dsn, child, log)
    }
    const stop = async (mode: 'fast' | 'immediate') => {
      await endServer(child, mode === 'fast' ? 'SIGINT' : 'SIGQUIT')
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
        await folder[Symbol.asyncDispose]()
      },
    }
  } catch (error) {
    await endServer(child, 'SIGQUIT')
    await folder[Symbol.asyncDispose]()
    throw error
  }
}

function binariesOf({ binaries = 'embedded' }: ServerOptions, account: Account | undefined, dir: string): string {
  if (binaries === 'embedded') return findBinaries(account, join(dir, 'native'))
  if (binaries !== 'debian') return binaries
  const bin = findDebianBinaries()
  if (bin === undefined) throw new Error('Debian has installed no PostgreSQL here')
  return bin
}

function makeCluster(bin: string, folder: PrivateFolder, { password, files = {}, walDir }: ServerOptions): void {
  const data = folder.path('data')
  mkdirSync(data, { mode: 0o700 })
  folder.own(data)
  folder.write('secret', password ?? '')
  const access =
    password === undefined ? ['--auth=trust'] : ['--auth=scram-sha-256', `--pwfile=${folder.path('secret')}`]
  const cluster = [
    '-D',
    data,
    '-U',
    superuser,
    ...access,
    '--encoding=UTF8',
    '--locale=C',
    '--no-sync',
    ...(walDir === undefined ? [] : [`--waldir=${walDir}`]),
  ]
  execFileSync(join(bin, 'initdb'), cluster, { ...folder.account, cwd: data, stdio: 'pipe' })
  rmSync(folder.path('secret'))
  for (const [name, text] of Object.entries(files)) folder.write(join('data', name), text)
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
