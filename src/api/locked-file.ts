import { randomBytes } from 'node:crypto'
import type { BigIntStats } from 'node:fs'
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Clock } from '../clock.ts'
import { codeOf } from '../file-errors.ts'

/** Whoever holds the lock longer than this has died. */
const staleLockMs = 10_000
const maxLockWaitMs = 5_000
const lockRetryMs = 25

/** Nobody but its owner reads or writes the file. */
const ownerOnly = 0o600

interface Replacing {
  /** What is replaced: it has an owner who goes on reading it, and perhaps even narrower rights. */
  readonly before: BigIntStats | undefined
  readonly lock: FileLock
}

/** The file holds the old text or the new one, whole and on the disk, whatever happens. */
export async function replaceFile(path: string, text: string, { before, lock }: Replacing): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString('hex')}.tmp`
  try {
    await using file = await open(temporary, 'wx', ownerOnly)
    await file.writeFile(text)
    const { uid } = await file.stat()
    if (before && Number(before.uid) !== uid) await file.chown(Number(before.uid), Number(before.gid))
    await file.chmod(modeAfter(before))
    await file.sync()
    await lock.check()
    await rename(temporary, path)
    await using folder = await open(dirname(path), 'r')
    await folder.sync()
  } finally {
    await rm(temporary, { force: true })
  }
}

function modeAfter(before: BigIntStats | undefined): number {
  const mode = before ? Number(before.mode) & 0o777 : ownerOnly
  return (mode & ~ownerOnly) === 0 ? mode : ownerOnly
}

/** Waits until nobody else changes the file. The lock is a file beside it, so it holds between processes as well. */
export async function takeLock(path: string, clock: Clock): Promise<FileLock> {
  const lockPath = `${path}.lock`
  const endMs = clock.nowMs() + maxLockWaitMs
  for (;;) {
    const handle = await unless('EEXIST', open(lockPath, 'wx', ownerOnly))
    if (handle) return new FileLock(lockPath, handle)
    const held = await unless('ENOENT', stat(lockPath))
    if (held && clock.nowMs() - held.mtimeMs > staleLockMs) await rm(lockPath, { force: true })
    else if (clock.nowMs() < endMs) await clock.sleep(lockRetryMs)
    else throw new Error(`another program is changing it; if there is none, remove ${lockPath}`)
  }
}

class FileLock implements AsyncDisposable {
  private readonly path: string
  private readonly handle: FileHandle

  constructor(path: string, handle: FileHandle) {
    this.path = path
    this.handle = handle
  }

  /** Whoever slept for longer than a lock may be held has lost it, and must not write over what came since. */
  async check(): Promise<void> {
    if (!(await this.isHeld())) throw new Error('another program took its lock meanwhile')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (await this.isHeld()) await rm(this.path, { force: true })
    await this.handle.close()
  }

  /** As long as the handle is open no other file has its number. */
  private async isHeld(): Promise<boolean> {
    const mine = await this.handle.stat({ bigint: true })
    const there = await unless('ENOENT', stat(this.path, { bigint: true }))
    return mine.ino === there?.ino
  }
}

/** Undefined in place of the one error that is expected. */
export async function unless<T>(code: string, act: Promise<T>): Promise<T | undefined> {
  try {
    return await act
  } catch (error) {
    if (codeOf(error) === code) return undefined
    throw error
  }
}
