import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PassThrough } from 'node:stream'
import { test, type TestContext, type TestOptions } from 'node:test'
import { Interruption } from '../../src/cli/interruption.ts'
import { runProgram } from '../../src/cli/program.ts'
import { connectService } from '../../src/api/client.ts'
import { KeysFile } from '../../src/api/keys.ts'
import { startService } from '../../src/api/service.ts'
import type { Services, Stores } from '../../src/cli/context.ts'
import * as engine from '../../src/engine/open.ts'
import * as reading from '../../src/engine/open-reader.ts'
import * as backup from '../../src/storage/backup.ts'
import * as storage from '../../src/storage/stores.ts'
import * as restore from '../../src/storage/restore.ts'
import { openPostgresPlace, type PostgresPlace } from '../storage/postgres-place.ts'

export const root = join(import.meta.dirname, '../..')

/** Run paths of the sample packs as they stand in the checkout. */
export const claims = 'packs/travel-claims/cases/claims.json'
export const claimWorkflow = ['submit', 'travel_claim_settlement', '--domain', 'travel_insurance'] as const

export interface Answer {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A folder with a store of its own for one test, and the command line upon it. */
export interface Desk extends AsyncDisposable {
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  /** Where its store is, when that is a database. */
  readonly place?: PostgresPlace
  /** Runs a command in this process, on real stores: what most tests need, and quick. */
  run(...args: readonly string[]): Promise<Answer>
  /** The one JSON document that a command answers. */
  json(...args: readonly string[]): Promise<any>
  /** Runs a command as a process of its own. */
  spawn(args: readonly string[], options?: { readonly input?: string; readonly env?: object }): Promise<Answer>
  /** Starts a process that somebody will interrupt. */
  start(args: readonly string[], env?: object): { readonly child: ChildProcess; readonly answer: Promise<Answer> }
}

export async function openDesk(settings: Readonly<Record<string, string>> = {}): Promise<Desk> {
  const folder = await mkdtemp(join(tmpdir(), 'cli-'))
  const env = {
    CC_DB_PATH: join(folder, 'cases.db'),
    CC_PACKS: join(root, 'packs/travel-claims'),
    CC_MODEL: `scripted:${join(root, 'packs/travel-claims/scripted.yaml')}`,
    ...settings,
  }
  const start = (args: readonly string[], more: object = {}) => {
    const path = { PATH: process.env.PATH ?? '', HOME: folder }
    const child = spawn(process.execPath, ['src/main.ts', ...args], { cwd: root, env: { ...path, ...env, ...more } })
    return { child, answer: answerOf(child) }
  }
  const run = (...args: readonly string[]) => runHere(args, env)
  return {
    folder,
    env,
    run,
    json: async (...args) => JSON.parse((await run(...args, '--json')).stdout),
    spawn: async (args, { input = '', env: more = {} } = {}) => {
      const { child, answer } = start(args, more)
      child.stdin!.end(input)
      return await answer
    },
    start,
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  }
}

/** The same on PostgreSQL, in a schema of its own. */
export async function openPostgresDesk(settings: Readonly<Record<string, string>> = {}): Promise<PostgresDesk> {
  const place = await openPostgresPlace()
  const desk = await openDesk({ ...place.env, ...settings })
  const close = async () => {
    await desk[Symbol.asyncDispose]()
    await place[Symbol.asyncDispose]()
  }
  return { ...desk, place, [Symbol.asyncDispose]: close }
}

export interface PostgresDesk extends Desk {
  readonly place: PostgresPlace
}

export type OpenDesk = (settings?: Readonly<Record<string, string>>) => Promise<Desk>

/** A story that the program tells on each database in the same words. */
export function onEachDesk(
  promise: string,
  story: (open: OpenDesk, context: TestContext) => Promise<void>,
  options: TestOptions = {},
): void {
  test(`sqlite: ${promise}`, options, (context) => story(openDesk, context))
  test(`postgres: ${promise}`, options, (context) => story(openPostgresDesk, context))
}

async function answerOf(child: ChildProcess): Promise<Answer> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => (texts[name] += text))
  }
  const { promise, resolve } = Promise.withResolvers<number>()
  child.once('close', (code, signal) => resolve(code ?? (signal === null ? -1 : -2)))
  return { code: await promise, ...texts }
}

export const stores: Stores = { ...engine, ...reading, ...storage, ...backup, ...restore }

export const services: Services = {
  start: startService,
  connect: connectService,
  openKeys: (path) => Promise.resolve(new KeysFile(path)),
}

/** Streams that a test can read and, as a person at a terminal, write to. */
export function fakeStreams({ isTerminal = false } = {}) {
  const stream = () => Object.assign(new PassThrough(), { isTTY: isTerminal, columns: 80 })
  const [stdin, stdout, stderr] = [stream(), stream(), stream()]
  const read = (from: PassThrough) => String(from.read() ?? '')
  const streams = { stdin, stdout, stderr } as unknown as Pick<NodeJS.Process, 'stdin' | 'stdout' | 'stderr'>
  return { streams, stdin, texts: () => ({ stdout: read(stdout), stderr: read(stderr) }), stderr }
}

/** Runs a command line in this process. */
export async function runHere(
  args: readonly string[],
  env: Readonly<Record<string, string>>,
  given = fakeStreams(),
): Promise<Answer> {
  const leave = () => {
    throw new Error('nobody interrupts here')
  }
  const outside = {
    env,
    stores,
    services,
    streams: given.streams,
    interruption: (announce: () => void) => new Interruption({ announce, leave }),
  }
  const code = await runProgram(args, outside)
  return { code, ...given.texts() }
}
