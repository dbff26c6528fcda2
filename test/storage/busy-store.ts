import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import type { Primitive } from '../../src/cognition/primitive.ts'
import type { CoreConfig } from '../../src/engine/core.ts'

/** A store in which a process of its own submits cases and runs them, as fast as it can, until it is killed. */
export interface BusyStore extends AsyncDisposable {
  kill(): Promise<void>
}

/** Resolves once that many cases have ended. */
export async function keepBusy(path: string, { cases = 50 } = {}): Promise<BusyStore> {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'busy.ts'), path, String(cases)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const kill = () => killed(child)
  await once(child.stdout!, 'data')
  return { kill, [Symbol.asyncDispose]: kill }
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  child.kill('SIGKILL')
  await once(child, 'exit')
}

/** Takes a moment, so that at any time some steps are under way. */
const weigh: Primitive = {
  name: 'weigh',
  needsModel: false,
  requiredParams: [],
  defaultParams: {},
  async run({ step }) {
    await delay(Math.floor(Math.random() * 3))
    return { output: { weighed: step.name, note: 'n'.repeat(2000) } }
  },
}

/** Everything that the cases of a busy store need to come to their end. */
export const busyConfig: CoreConfig = {
  packs: [
    {
      name: 'busy',
      workflows: [{ name: 'weighing', steps: ['a', 'b', 'c'].map((name) => ({ name, primitive: 'weigh' })) }],
      domains: [{ domain_name: 'plain', governance: 'auto' }],
      config: {},
    },
  ],
  primitives: [weigh],
}

export const busyCase = { workflow: 'weighing', domain: 'plain', actor: 'kim' } as const
