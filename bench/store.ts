import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Core, type CoreConfig, openCore, type Primitive } from '../src/index.ts'

/** A step that does nothing, so that what is measured is the engine. */
export function noop(text = ''): Primitive {
  const output = text === '' ? { k: 1 } : { k: 1, text }
  return {
    name: 'noop',
    needsModel: false,
    requiredParams: [],
    defaultParams: {},
    run: () => Promise.resolve({ output }),
  }
}

/** A pack of one workflow with that many steps in a row, which nobody has to look at. */
export function straightPack(steps: number, primitive = 'noop') {
  const names = Array.from({ length: steps }, (_, index) => ({ name: `s${index + 1}`, primitive }))
  return {
    name: 'bench',
    workflows: [{ name: `${primitive === 'noop' ? 'straight' : primitive}_${steps}`, steps: names }],
    domains: [{ domain_name: 'bench', governance: 'auto' }],
  }
}

export interface TemporaryFolder {
  readonly path: string
  [Symbol.dispose](): void
}

export function temporaryFolder(): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), 'cc-bench-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export async function openBench(path: string, steps: number, config: Partial<CoreConfig> = {}): Promise<Core> {
  return await openCore({ path, packs: [straightPack(steps)], primitives: [noop()], ...config })
}

/** Submits that many cases, some at a time. */
export async function submitMany(core: Core, workflow: string, count: number): Promise<void> {
  const atOnce = 200
  for (let done = 0; done < count; done += atOnce) {
    const size = Math.min(atOnce, count - done)
    await Promise.all(
      Array.from({ length: size }, (_, index) =>
        core.submit({ workflow, domain: 'bench', input: { number: done + index }, actor: 'bench' }),
      ),
    )
  }
}

/** Starts the workers and resolves with the milliseconds until that many cases had completed. */
export async function runUntil(core: Core, cases: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let left = cases
  const unsubscribe = core.onProgress(({ event }) => {
    if (event === 'case.completed' && --left === 0) resolve()
  })
  const startedAt = performance.now()
  core.start()
  await promise
  const elapsedMs = performance.now() - startedAt
  unsubscribe()
  return elapsedMs
}

/** A step that waits as one waits for a model, and does nothing else. */
export const pause: Primitive = {
  ...noop(),
  name: 'pause',
  run: async () => {
    await new Promise((resolve) => setTimeout(resolve, pauseMs))
    return { output: { k: 1 } }
  },
}

export const pauseMs = 20
