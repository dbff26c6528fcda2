import { chmodSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const nobody = 65_534

/** Runs the body as somebody who may read everything in this folder and write nothing. False: nobody can be denied here. */
export async function withoutWriteRights(dir: string, body: () => Promise<void>): Promise<boolean> {
  for (const name of readdirSync(dir)) chmodSync(join(dir, name), 0o444)
  chmodSync(dir, 0o555)
  const isRoot = process.geteuid!() === 0
  if (isRoot) process.seteuid!(nobody)
  try {
    if (canWrite(join(dir, 'probe'))) return false
    await body()
    return true
  } finally {
    if (isRoot) process.seteuid!(0)
    chmodSync(dir, 0o755)
  }
}

function canWrite(path: string): boolean {
  try {
    writeFileSync(path, '')
    rmSync(path)
    return true
  } catch {
    return false
  }
}
