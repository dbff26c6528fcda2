import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import type { Backend, CommitProbe, Row, SqlValue } from '../../src/storage/backend.ts'
import { lockPath } from '../../src/storage/lock.ts'
import { openStore } from '../../src/storage/open.ts'
import { postgresBackends } from './postgres-store.ts'

/** A store with nothing in it, for one test; closed and gone when the test ends. */
export interface StoreFixture extends AsyncDisposable {
  /** The store as its present holder has it. */
  readonly backend: Backend
  /** Runs plain SQL beside the store, as anybody with a shell could. */
  sql<R extends object = Row>(text: string, ...params: SqlValue[]): Promise<R[]>
  /** Operations of its holders that are on their way to the store or back; nothing for a store that answers at once. */
  readonly underWay: number
  /** Something that is another thing after every write, whoever made it. */
  version(): Promise<unknown>
  /** How many rows each table has. */
  rowCounts(): Promise<Readonly<Record<string, number>>>
  /** Closes the store and opens it again, as after a restart. */
  reopen(): Promise<Backend>
  /** Opens the store for another holder while the one before still believes that it is the one. */
  takeOver(): Promise<Backend>
}

export interface StoreOptions {
  readonly probe?: CommitProbe
  readonly nowMs?: number
}

export type OpenStore = (options?: StoreOptions) => Promise<StoreFixture>

/** Every database that the program runs on. What is promised of one is promised of all. */
export const backends: readonly { readonly name: string; readonly open: OpenStore }[] = [
  { name: 'sqlite', open: openSqlite },
  ...postgresBackends,
]

/** A test for each database. */
export function onEachBackend(promise: string, story: (open: OpenStore, context: TestContext) => Promise<void>): void {
  for (const { name, open } of backends) test(`${name}: ${promise}`, (context) => story(open, context))
}

/** A test of what only a SQLite file can do or suffer. */
export function onSqlite(promise: string, story: (open: OpenStore, context: TestContext) => Promise<void>): void {
  test(`sqlite: ${promise}`, (context) => story(openSqlite, context))
}

/** A folder for one test; gone when the test ends. */
export interface TemporaryFolder extends Disposable {
  readonly dir: string
  /** A path in it. */
  file(name: string): string
}

export function temporaryFolder(): TemporaryFolder {
  const dir = mkdtempSync(join(tmpdir(), 'store-'))
  return {
    dir,
    file: (name) => join(dir, name),
    [Symbol.dispose]: () => rmSync(dir, { recursive: true, force: true }),
  }
}

async function openSqlite({ probe, nowMs = 1_000 }: StoreOptions = {}): Promise<StoreFixture> {
  const folder = temporaryFolder()
  const path = folder.file('store.db')
  const open = async () => {
    const { backend } = await openStore({ path, nowMs, probe: { restMs: () => 0, ...probe } })
    held.push(backend)
    return backend
  }
  const held: Backend[] = []
  let backend = await open()
  let shell: DatabaseSync | undefined
  const ask = <R>(text: string, params: readonly SqlValue[] = []): R[] =>
    run((shell ??= plainConnection(path)), text, params)
  return {
    get backend() {
      return backend
    },
    async sql<R>(text: string, ...params: SqlValue[]) {
      return ask<R>(text, params)
    },
    underWay: 0,
    async version() {
      return ask<{ data_version: number }>('pragma data_version')[0]!.data_version
    },
    async rowCounts() {
      const tables = ask<{ name: string }>(`select name from sqlite_master where type = 'table'`)
      return Object.fromEntries(tables.map(({ name }) => [name, ask(`select 1 from ${name}`).length]))
    },
    async reopen() {
      await backend.close()
      return (backend = await open())
    },
    async takeOver() {
      rmSync(lockPath(path))
      return (backend = await open())
    },
    async [Symbol.asyncDispose]() {
      if (shell?.isOpen) shell.close()
      // One that was taken over cannot give back what is no longer its own.
      await Promise.allSettled(held.map((one) => one.close()))
      folder[Symbol.dispose]()
    },
  }
}

/** A connection without any of our settings. */
export function plainConnection(path: string, options: { readOnly?: boolean } = {}): DatabaseSync {
  return new DatabaseSync(path, { timeout: 1000, ...options })
}

function run<R>(connection: DatabaseSync, text: string, params: readonly SqlValue[]): R[] {
  return connection.prepare(text.replaceAll(/\$(\d+)/g, '?$1')).all(...params) as R[]
}

/** Resolves once the condition holds; turns of the event loop are all it waits for. */
export async function until(condition: () => boolean | Promise<boolean>, what = 'it'): Promise<void> {
  const startedAt = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedAt > patienceMs) throw new Error(`${what} did not happen within ${patienceMs} ms`)
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** How long anything may take that is certain to happen. */
export const patienceMs = 5000

/** Gives everything that waits for nothing but its turn the time to come to rest. */
export async function turns(count = 12): Promise<void> {
  for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve))
}
