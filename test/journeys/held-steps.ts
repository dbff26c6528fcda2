import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Desk } from '../cli/cli.ts'
import { eventually } from './serving.ts'

/**
 * Steps of the real program that are under way for as long as a test wants. Scripted answers come at once, so the program
 * is started with a module before it that gives them only when a file says so. Nothing else in the program is another.
 */
export interface HeldStep {
  /** Set in the environment of the process that is to be held up. */
  readonly env: Readonly<Record<string, string>>
  /** The same for npm, which passes it on to what it starts and does not take it for itself. */
  readonly npmEnv: Readonly<Record<string, string>>
  /** Resolves once a case has come to the step. */
  reached(): Promise<void>
  /** Lets every case go on, here and from now on. */
  release(): void
}

/** Holds the step of this name until it is released. */
export function holdStep(desk: Desk, step: string): HeldStep {
  const [reached, released] = [join(desk.folder, `${step}.reached`), join(desk.folder, `${step}.released`)]
  const held = { HELD_STEP: step, HELD_REACHED: reached, HELD_RELEASED: released }
  const options = `--import=${import.meta.resolve('./held-model.ts')}`
  return {
    env: { ...held, NODE_OPTIONS: options },
    npmEnv: { ...held, npm_config_node_options: options },
    reached: () => eventually(() => existsSync(reached), `that a case comes to ${step}`),
    release: () => writeFileSync(released, ''),
  }
}
