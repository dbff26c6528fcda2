/** The public face: what another program may import. */
import { systemClock } from './clock.ts'
import { readConfig } from './config.ts'
import type { Backend } from './storage/backend.ts'
import { openStore } from './storage/open.ts'

export { openCore } from './engine/open.ts'
export { schemas } from './storage/schema.ts'
export { CoreError, type ErrorCode } from './errors.ts'
export { type Primitive, type StepCall, StepFailure, type StepResult } from './cognition/primitive.ts'
export type { Model, ModelAnswer, ModelRequest } from './cognition/model.ts'
export type * from './engine/core.ts'
export type { PackObjects } from './cognition/pack.ts'
export type { Backend } from './storage/backend.ts'

/** Where a store is. `path` is for sqlite; `dsn`, `poolMin` and `poolMax` are for postgres, and legal beside sqlite. */
export interface BackendOptions {
  readonly backend?: string
  readonly path?: string
  readonly dsn?: string
  readonly poolMin?: number
  readonly poolMax?: number
}

/**
 * Opens a store for writing, as its options say or, without any, as the environment does. A program hands it to
 * `openCore`, which closes it, or closes it itself. Refuses with a `CoreError`.
 */
export async function createBackend(options?: BackendOptions): Promise<Backend> {
  const { dbPath } = readConfig(options ? { CC_DB_BACKEND: options.backend, CC_DB_PATH: options.path } : process.env)
  const { backend } = await openStore({ path: dbPath, nowMs: systemClock.nowMs() })
  return backend
}
