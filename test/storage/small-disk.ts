import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  statfsSync,
  writeSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { serverAccount } from './postgres-binaries.ts'

/** A disk of a few megabytes, in memory. */
export interface SmallDisk extends Disposable {
  readonly dir: string
  /** A folder on it that belongs to the server. */
  folder(name: string): string
  /** Takes all room but so many bytes. */
  fill(leaveBytes: number): void
  /** Gives back what was taken. */
  free(): void
}

/** Undefined where this process may not mount anything. */
export function openSmallDisk(megabytes: number): SmallDisk | undefined {
  const dir = mkdtempSync(join(tmpdir(), 'cc-disk-'))
  const mount = ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=777`, 'tmpfs', dir]
  if (process.getuid?.() !== 0 || spawnSync('mount', mount).status !== 0) {
    rmSync(dir, { recursive: true })
    return undefined
  }
  chmodSync(dir, 0o777)
  const ballast = join(dir, 'ballast')
  return {
    dir,
    folder: (name) => {
      const account = serverAccount()
      mkdirSync(join(dir, name), { mode: 0o700 })
      if (account) chownSync(join(dir, name), account.uid, account.gid)
      return join(dir, name)
    },
    fill: (leaveBytes) => {
      const { bavail, bsize } = statfsSync(dir)
      const file = openSync(ballast, 'w')
      const block = Buffer.alloc(bsize)
      for (let left = bavail * bsize - leaveBytes; left >= bsize; left -= bsize) writeSync(file, block)
      closeSync(file)
    },
    free: () => rmSync(ballast, { force: true }),
    [Symbol.dispose]: () => {
      execFileSync('umount', ['--lazy', dir])
      rmSync(dir, { recursive: true })
    },
  }
}
