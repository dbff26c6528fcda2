import { spawn } from 'node:child_process'
import { hash } from 'node:crypto'
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as delay } from 'node:timers/promises'
import type { KeeperWord } from './postgres-keeper.ts'

/** One server for all the test files of this checkout that run at the moment; each has it as long as it is connected. */
const socketPath = join(tmpdir(), `cc-postgres-${hash('sha256', import.meta.dirname).slice(0, 12)}.sock`)

/** How long a server may take to be there, with somebody else making it. */
const patienceMs = 60_000

let dsn: Promise<string> | undefined

/**
 * The DSN of a PostgreSQL on which tests may do as they like, started from npm's binaries by whoever needs it first.
 */
export function postgresServer(): Promise<string> {
  return (dsn ??= askKeeper())
}

export interface TestServer {
  readonly name: string
  readonly dsn: () => Promise<string>
  /** The DSN of a pooler before it. */
  readonly pooler?: string
}

/**
 * Every server that the tests are put to: the one from npm, and those whose DSN stand in CC_TEST_DSN, by commas; the first
 * of these also through the pooler of CC_TEST_POOLER.
 */
export const postgresServers: readonly TestServer[] = [
  { name: 'postgres', dsn: postgresServer },
  ...further().map((dsn) => ({ name: `postgres at ${new URL(dsn).host}`, dsn: () => Promise.resolve(dsn) })),
  ...behindPooler(process.env.CC_TEST_POOLER),
]

function further(): readonly string[] {
  return (process.env.CC_TEST_DSN ?? '').split(',').filter((dsn) => dsn !== '')
}

function behindPooler(pooler: string | undefined): readonly TestServer[] {
  const [dsn] = further()
  if (!pooler || dsn === undefined) return []
  return [{ name: `postgres behind ${new URL(pooler).host}`, dsn: () => Promise.resolve(dsn), pooler }]
}

async function askKeeper(): Promise<string> {
  const startedAt = performance.now()
  while (performance.now() - startedAt < patienceMs) {
    const door = await knock()
    const word = door && (await hear(door))
    if (word && 'error' in word) throw new Error(word.error)
    if (word) return word.dsn
    if (!door) await startKeeper()
  }
  throw new Error(`no PostgreSQL came up within ${patienceMs} ms`)
}

async function knock(): Promise<Socket | undefined> {
  const door = connect(socketPath)
  try {
    await once(door, 'connect')
    return door
  } catch {
    return undefined
  }
}

/** Undefined when the keeper leaves in this very moment. */
async function hear(door: Socket): Promise<KeeperWord | undefined> {
  door.on('error', () => {})
  for await (const line of createInterface(door)) {
    // Held open for as long as this process runs, without keeping it running.
    door.unref()
    return JSON.parse(line) as KeeperWord
  }
  return undefined
}

async function startKeeper(): Promise<void> {
  // One that was killed leaves its socket behind.
  rmSync(socketPath, { force: true })
  const keeper = spawn(process.execPath, [join(import.meta.dirname, 'postgres-keeper.ts'), socketPath], {
    detached: true,
    stdio: 'ignore',
  })
  keeper.unref()
  await delay(100)
}
