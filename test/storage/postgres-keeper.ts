/**
 * A program that keeps one PostgreSQL for everybody who is connected to the socket it is told, and ends with the last of
 * them: the system closes the connection of a test that was killed, so nothing has to be counted.
 */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { findBinaries, serverAccount } from './postgres-binaries.ts'

/** What everybody hears who has connected. */
export type KeeperWord = { readonly dsn: string } | { readonly error: string }

/** How long the server outlives its last user: the next test file begins meanwhile. */
const lingerMs = 10_000

/** How long the server may take to answer, in tries of 50 ms. */
const maxTries = 200

const socketPath = process.argv[2]!
const dir = mkdtempSync(join(tmpdir(), 'cc-postgres-'))
const users = new Set<Socket>()
let word: string | undefined
let server: ChildProcess | undefined
let leaving: NodeJS.Timeout | undefined

const door = createServer((user) => {
  clearTimeout(leaving)
  users.add(user)
  user.on('error', () => {})
  user.on('close', () => {
    users.delete(user)
    leaveWhenAlone()
  })
  if (word !== undefined) user.write(word)
})
// Whoever comes second finds the address taken: its caller goes through the door that is open.
door.on('error', () => void leave())
door.listen(socketPath)
await once(door, 'listening')
try {
  tell({ dsn: await start() })
} catch (error) {
  tell({ error: String(error) })
}
leaveWhenAlone()

async function start(): Promise<string> {
  const account = serverAccount()
  const data = join(dir, 'data')
  chmodSync(dir, 0o755)
  mkdirSync(data, { mode: 0o700 })
  if (account) chownSync(data, account.uid, account.gid)
  const bin = findBinaries(account, join(dir, 'native'))
  const cluster = ['-D', data, '-U', 'core', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync']
  execFileSync(join(bin, 'initdb'), cluster, { ...account, cwd: data, stdio: 'pipe' })
  const port = await freePort()
  const settings = {
    listen_addresses: '127.0.0.1',
    port,
    unix_socket_directories: data,
    max_connections: 200,
    // Nothing here has to survive a power failure.
    fsync: 'off',
    full_page_writes: 'off',
  }
  const flags = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`])
  server = spawn(join(bin, 'postgres'), ['-D', data, ...flags], { ...account, cwd: data, stdio: 'ignore' })
  const dsn = `postgres://core@127.0.0.1:${port}/postgres`
  await answering(dsn)
  return dsn
}

function tell(what: KeeperWord): void {
  word = `${JSON.stringify(what)}\n`
  for (const user of users) user.write(word)
}

function leaveWhenAlone(): void {
  if (users.size === 0 && word !== undefined) leaving = setTimeout(() => void leave(), lingerMs)
}

async function leave(): Promise<void> {
  if (door.listening) door.close()
  if (server && server.exitCode === null) {
    server.kill('SIGINT')
    await once(server, 'exit')
  }
  rmSync(dir, { recursive: true, force: true })
  process.exit(0)
}

async function freePort(): Promise<number> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  return port
}

async function answering(dsn: string): Promise<void> {
  for (let tries = 1; ; tries += 1) {
    const client = new pg.Client({ connectionString: dsn, ssl: false })
    try {
      await client.connect()
      return await client.end()
    } catch (error) {
      if (tries >= maxTries) throw error
    }
    await delay(50)
  }
}
