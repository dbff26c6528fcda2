import { systemClock } from '../clock.ts'
import { type PostgresSettings, defaultDbPath } from '../config.ts'
import type { Backend } from './backend.ts'
import type { Granted } from './postgres-open.ts'

/** Where a store is: in a file, unless `postgres` says that it is in a database. */
export interface StorePlace {
  readonly path?: string | undefined
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
export async function openPlace(
  { path = defaultDbPath, postgres }: StorePlace,
  settings: OpenSettings,
): Promise<OpenedStore> {
  if (postgres) return await (await import('./postgres-open.ts')).openPostgres({ ...postgres, ...settings })
  return await (await import('./open.ts')).openStore({ path, ...settings })
}

/** Opens a store for reading: beside whoever writes it, and without changing anything. */
export async function openPlaceForReading({ path = defaultDbPath, postgres }: StorePlace): Promise<Backend> {
  if (postgres) {
    return await (
      await import('./postgres-open.ts')
    ).openPostgresForReading({ ...postgres, nowMs: systemClock.nowMs() })
  }
  return await (await import('./open.ts')).openStoreForReading(path)
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
