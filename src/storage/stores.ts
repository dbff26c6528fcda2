import { existsSync } from 'node:fs'
import { systemClock } from '../clock.ts'
import { type PostgresSettings, defaultDbPath } from '../config.ts'
import { CoreError } from '../errors.ts'
import type { Backend } from './backend.ts'
import type { Granted } from './postgres-open.ts'

/** Where a store is: in a file, unless `postgres` says that it is in a database. */
export interface StorePlace {
  readonly path?: string | undefined
  /** Somebody chose the path: beside `postgres` it must not lead to a store that was left behind. */
  readonly isPathSet?: boolean | undefined
  readonly postgres?: PostgresSettings | undefined
}

export interface OpenSettings {
  readonly nowMs: number
  /** Where the holder of a file can be reached, for people who find it locked. */
  readonly url?: string | undefined
  /** Hears what an operator should know about the database. */
  readonly warn?: ((sentence: string) => void) | undefined
}

/** A store that is open for writing, and what was done to open it. */
export interface OpenedStore {
  readonly backend: Backend
  readonly created: boolean
  /** Numbers of the migrations that were applied. */
  readonly applied: readonly number[]
}

/** Opens a store for writing, wherever it is. Only the driver that is needed is loaded. */
export async function openPlace(place: StorePlace, settings: OpenSettings): Promise<OpenedStore> {
  const { path = defaultDbPath, postgres } = place
  if (postgres) await checkFileBeside(place, settings.warn)
  if (postgres) return await (await import('./postgres-open.ts')).openPostgres({ ...postgres, ...settings })
  return await (await import('./open.ts')).openStore({ path, ...settings })
}

/** Opens a store for reading: beside whoever writes it, and without changing anything. */
export async function openPlaceForReading(place: StorePlace): Promise<Backend> {
  const { path = defaultDbPath, postgres } = place
  if (postgres) {
    await checkFileBeside(place)
    return await (
      await import('./postgres-open.ts')
    ).openPostgresForReading({ ...postgres, nowMs: systemClock.nowMs() })
  }
  return await (await import('./open.ts')).openStoreForReading(path)
}

/**
 * A SQLite store that has not been moved stands beside the database that is opened: its cases would be missed. Where
 * nobody has named the file that is said once; a file that somebody has named is refused, since both cannot be meant.
 */
async function checkFileBeside(
  { path = defaultDbPath, isPathSet = false }: StorePlace,
  warn?: OpenSettings['warn'],
): Promise<void> {
  // The driver is loaded only where there is a file to look at.
  if (!existsSync(path) || !(await import('./store-file.ts')).isStore(path)) return
  if (isPathSet) throw new CoreError('CC_ERR_TWO_STORES', { name: 'CC_DB_PATH (or --db)', path })
  warn?.(`The cases of ${path} stay behind on SQLite; to move them run: cognitive-core graduate --to DSN`)
}

/** Makes a store where there is none, with nothing in it; one that is there is only looked at and brought up to date. */
export async function initStore(place: StorePlace): Promise<{ readonly created: boolean; readonly location: string }> {
  const { backend, created } = await openPlace(place, { nowMs: systemClock.nowMs() })
  await backend.close()
  return { created, location: backend.location }
}

/** Gives a role of a PostgreSQL database what the service needs; `isPrintOnly`: says what would. */
export async function grantStore(
  postgres: PostgresSettings,
  role: string,
  { isPrintOnly }: { readonly isPrintOnly: boolean },
): Promise<Granted> {
  const { grantPostgres, grantsFor } = await import('./postgres-open.ts')
  if (isPrintOnly) return { granting: 'only printed', statements: grantsFor(postgres, role) }
  return await grantPostgres({ ...postgres, nowMs: systemClock.nowMs() }, role)
}

/** Applies the migrations that a store lacks. */
export async function migrateStore(
  place: StorePlace,
): Promise<{ readonly applied: readonly number[]; readonly location: string }> {
  if (!place.postgres) (await import('./open.ts')).refuseAbsent(place.path ?? defaultDbPath)
  const { backend, applied } = await openPlace(place, { nowMs: systemClock.nowMs() })
  await backend.close()
  return { applied, location: backend.location }
}
