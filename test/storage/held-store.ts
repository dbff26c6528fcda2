import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'

/** A store that a process of its own holds; that process is killed when the test ends. */
export interface HeldStore extends AsyncDisposable {
  readonly pid: number
  /** The case that the process has claimed; another one is in line. */
  readonly claimed: string
  /** Ends the process as a power failure would: it gets to do nothing any more. */
  kill(): Promise<void>
}

export async function holdElsewhere(path: string): Promise<HeldStore> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'holder.ts'), path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const claimed = await firstLine(child)
  const kill = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGKILL')
    await once(child, 'exit')
  }
  return { pid: child.pid!, claimed, kill, [Symbol.asyncDispose]: kill }
}

async function firstLine(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout!) {
    text += String(chunk)
    if (text.includes('\n')) return text.split('\n', 1)[0]!
  }
  throw new Error('the process that was to hold the store ended')
}
