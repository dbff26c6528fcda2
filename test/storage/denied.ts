import { chmodSync, closeSync, openSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

const nobody = 65_534

/** Runs the body as somebody who may read everything in this folder and write nothing. False: nobody can be denied here. */
export async function withoutWriteRights(dir: string, body: () => Promise<void>): Promise<boolean> {
  for (const name of readdirSync(dir)) chmodSync(join(dir, name), 0o444)
  chmodSync(dir, 0o555)
  try {
    return await asNobody(() => canWrite(join(dir, 'probe')), body)
  } finally {
    chmodSync(dir, 0o755)
  }
}

/** Runs the body as somebody who may not open this one file or folder. False: nobody can be denied here. */
export async function withoutReadRights(path: string, body: () => Promise<void>): Promise<boolean> {
  chmodSync(dirname(path), 0o755)
  chmodSync(path, 0)
  try {
    return await asNobody(() => canOpen(path), body)
  } finally {
    chmodSync(path, 0o755)
  }
}

async function asNobody(isAllowed: () => boolean, body: () => Promise<void>): Promise<boolean> {
  const isRoot = process.geteuid!() === 0
  if (isRoot) process.seteuid!(nobody)
  try {
    if (isAllowed()) return false
    await body()
    return true
  } finally {
    if (isRoot) process.seteuid!(0)
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

function canOpen(path: string): boolean {
  try {
    closeSync(openSync(path, 'r'))
    return true
  } catch {
    return false
  }
}
