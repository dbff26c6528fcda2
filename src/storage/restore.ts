import assert from 'node:assert/strict'
import { existsSync, linkSync, mkdirSync, renameSync, rmSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { systemClock } from '../clock.ts'
import { CoreError } from '../errors.ts'
import { companionsOf, removeCopy, reserveCopy, syncCopy, syncFolder } from './copied-file.ts'
import {
  type CopyOptions,
  copyStore,
  refuseIfAborted,
  refuseUncopyable,
  type RestoreReport,
  type StoreFacts,
} from './copies.ts'
import { lockPath, type StoreLock } from './lock.ts'
import { type Meta, readMeta } from './meta.ts'
import { openStore } from './open.ts'
import { SqliteTransaction } from './sqlite.ts'
import { cannotOpen, SqliteConnection, sqliteBusy, sqliteCode } from './sqlite-connection.ts'
import { beginImmediate, whenFree } from './sqlite-writer.ts'
import { isAbsent, lockStore, openReadOnly, refuseForeignFile, settlePath } from './store-file.ts'

/** What a restore does, in this order. */
export type RestoreStep = 'lock' | 'copy' | 'take' | 'retire' | 'set aside' | 'put in place' | 'leave'

interface RestoreOptions extends CopyOptions {
  /** Whether a store that stands there gives way. It stays beside the new one, under another name. */
  readonly replace: boolean
  /** Called before each step, for tests of what a crash leaves. */
  readonly onStep?: ((step: RestoreStep) => void) | undefined
}

/**
 * Puts a copy of a backup in the place of a store, under the store's lock. The copy grows as `FILE.restoring` and is made
 * ready there: it is migrated, its claims are free, and its epoch is above that of the backup and that of the store which
 * gives way, so that no process which still believes to hold either can write to it. Only then the store that stands
 * there becomes one file without a log and gets a second name, `FILE.replaced-TIME`, and the copy takes its first one.
 *
 * A crash leaves the old store or the new one in place, never nothing: whoever starts there would take an empty place for
 * a new store. Where a file cannot have two names it is renamed, and for that moment nothing stands there. The same command
 * then starts over, and removes the `.restoring` that it finds. Nothing else is ever removed or written over.
 */
export async function restoreStore(from: string, path: string, options: RestoreOptions): Promise<RestoreReport> {
  const { replace, onStep } = options
  const location = settlePath(path)
  const prepared = `${location}.restoring`
  const source = await settleSource(from, { location, prepared })
  onStep?.('lock')
  const lock = lockPlace(location)
  try {
    const epoch = await epochStanding(location)
    refuseToReplace({ epoch, location, from, replace })
    const facts = await makeReady({ source, prepared, location, epoch }, options)
    const aside = exchange(prepared, location, onStep)
    onStep?.('leave')
    return { ...facts, location, replaced: epoch === undefined ? undefined : aside }
  } finally {
    lock.release()
  }
}

async function settleSource(from: string, place: { location: string; prepared: string }): Promise<string> {
  const source = settlePath(from)
  const refuse = (verb: string, why: string): never => {
    throw new CoreError('CC_ERR_FILE', { file: from, verb, why })
  }
  if (!existsSync(source)) refuse('read', 'there is no such file')
  if (isSameFile(source, place.location)) refuse('restored', 'it is the store itself')
  if (source === place.prepared) refuse('restored', 'it is what an interrupted restore has left; name the backup')
  await refuseUncopyable(source)
  return source
}

/** Also by another name, as a hard link is one. */
function isSameFile(one: string, other: string): boolean {
  if (!existsSync(other)) return one === other
  const [a, b] = [statSync(one, { bigint: true }), statSync(other, { bigint: true })]
  return a.dev === b.dev && a.ino === b.ino
}

function lockPlace(location: string): StoreLock {
  mkdirSync(dirname(location), { recursive: true })
  try {
    return lockStore(location)
  } catch (error) {
    if (!cannotOpen(error)) throw error
    throw new CoreError('CC_ERR_NOT_PERMITTED', { location, what: 'write' }, { cause: error })
  }
}

/** The epoch of the store that has to give way; 0 where it is too damaged to be asked, which is what backups are for. */
async function epochStanding(location: string): Promise<number | undefined> {
  if (isAbsent(location)) return undefined
  await whenFree(location, () => refuseForeignFile(location))
  const connection = openReadOnly(location)
  try {
    return (await readMeta(new SqliteTransaction(connection))).epoch
  } catch (error) {
    if (!isOfFile(error)) throw error
    return 0
  } finally {
    connection.close()
  }
}

/** What stands at the place may not have to give way. A store that is fenced off for good will be refused here as well. */
function refuseToReplace(asked: {
  readonly epoch: number | undefined
  readonly location: string
  readonly from: string
  readonly replace: boolean
}): void {
  const { epoch, location, from, replace } = asked
  if (epoch !== undefined && !replace) throw new CoreError('CC_ERR_STORE_EXISTS', { location, from })
}

/** True for an error that the content of the file is the cause of. */
function isOfFile(error: unknown): boolean {
  const code = sqliteCode(error)
  return code !== undefined && code !== sqliteBusy && !cannotOpen(error)
}

interface Work {
  readonly source: string
  readonly prepared: string
  readonly location: string
  /** Of the store that gives way. */
  readonly epoch: number | undefined
}

/** Everything that may fail, so that nothing but names is left to change. */
async function makeReady(work: Work, { onStep, ...options }: RestoreOptions): Promise<StoreFacts> {
  const { source, prepared, location, epoch } = work
  removeCopy(prepared)
  try {
    reserveCopy(prepared, { file: location, original: epoch === undefined ? source : location })
    onStep?.('copy')
    const { cases } = await copyStore({ from: source, to: prepared, isSourceChecked: true }, options)
    onStep?.('take')
    const meta = await take(prepared, (epoch ?? 0) + 1)
    refuseIfAborted(options.signal)
    onStep?.('retire')
    if (epoch !== undefined) await retire(location)
    return { ...meta, cases }
  } catch (error) {
    removeCopy(prepared)
    throw error
  }
}

/** Opens the copy for writing once: it is migrated, has a new epoch and no claims, and is closed as one whole file. */
async function take(prepared: string, epochAbove: number): Promise<Meta> {
  const { backend } = await openStore({ path: prepared, nowMs: systemClock.nowMs(), epochAbove })
  try {
    return await backend.read(readMeta)
  } finally {
    await backend.close()
    rmSync(lockPath(prepared))
    assert(!existsSync(`${prepared}-wal`), 'a store that nobody else knows is closed without a log')
    syncCopy(prepared)
  }
}

/**
 * Ends the store that gives way: its epoch rises, in case somebody writes to it in spite of the lock, and it becomes one
 * file without a log. That needs it to itself, which it should have anyway: who has it open while its name changes may
 * take the log of the new store for its own. A damaged one stays as it is.
 */
async function retire(location: string): Promise<void> {
  const connection = new SqliteConnection(location, { readOnly: false })
  try {
    await beginImmediate(connection, location)
    connection.execute('update meta set epoch = epoch + 1 where id = 1')
    connection.execute('commit')
    await whenFree(location, () => connection.value('pragma journal_mode = delete'))
  } catch (error) {
    if (!isOfFile(error)) throw error
  } finally {
    connection.close()
  }
}

/** What stands beside the old store goes with it: SQLite would take it for a part of the new one. */
function exchange(prepared: string, location: string, onStep: RestoreOptions['onStep']): string {
  const folder = dirname(location)
  const aside = nameAside(location)
  onStep?.('set aside')
  for (const [index, file] of companionsOf(location).entries()) {
    if (existsSync(file)) renameSync(file, companionsOf(aside)[index]!)
  }
  if (!isAbsent(location)) nameTwice(location, aside)
  // The old store must have its other name for good before the new one takes the first.
  syncFolder(folder)
  onStep?.('put in place')
  renameSync(prepared, location)
  syncFolder(folder)
  return aside
}

function nameTwice(location: string, aside: string): void {
  try {
    linkSync(location, aside)
  } catch {
    // Some file systems know only one name for a file.
    renameSync(location, aside)
  }
}

function nameAside(location: string): string {
  const time = new Date(systemClock.nowMs()).toISOString().replaceAll(/[-:]|\.\d+/g, '')
  const name = `${location}.replaced-${time}`
  for (let number = 1; ; number++) {
    const candidate = number === 1 ? name : `${name}-${number}`
    if (![candidate, ...companionsOf(candidate)].some((file) => existsSync(file))) return candidate
  }
}
