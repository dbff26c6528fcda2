/** The public face: what another program may import. */
import { systemClock } from './clock.ts'
import { configOfSettings, type Environment, loadConfig } from './config.ts'
import type { Backend } from './storage/backend.ts'
import { openPlace } from './storage/stores.ts'

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
  /** The same database past a transaction pooler; set: `dsn` leads to a pooler. */
  readonly directDsn?: string
  readonly schema?: string
  readonly poolMin?: number
  readonly poolMax?: number
  /** `entra`: each connection shows a fresh token of Microsoft Entra in place of a password. */
  readonly auth?: 'password' | 'entra'
}

/**
 * Opens a store for writing, as its options say or, without any, as environment, configuration file and App Configuration
 * do. A program hands it to `openCore`, which closes it, or closes it itself. Refuses with a `CoreError`.
 */
export async function createBackend(options?: BackendOptions): Promise<Backend> {
  const config = options ? configOfSettings(environmentOf(options)) : await loadConfig(process.env)
  const { dbPath: path, isDbPathSet: isPathSet, postgres } = config
  const warn = (sentence: string) => process.emitWarning(sentence)
  for (const warning of config.warnings) warn(warning)
  const { backend } = await openPlace({ path, isPathSet, postgres }, { nowMs: systemClock.nowMs(), warn })
  return backend
}

/** Options are held to what the environment is held to. */
function environmentOf(options: BackendOptions): Environment {
  const { backend, path, dsn, directDsn, schema, poolMin, poolMax, auth } = options
  return {
    CC_DB_BACKEND: backend,
    CC_DB_PATH: path,
    CC_DB_DSN: dsn,
    CC_DB_DIRECT_DSN: directDsn,
    CC_DB_SCHEMA: schema,
    CC_DB_POOL_MIN: poolMin?.toString(),
    CC_DB_POOL_MAX: poolMax?.toString(),
    CC_DB_AUTH: auth,
  }
}
