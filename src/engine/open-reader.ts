import { type Clock, systemClock } from '../clock.ts'
import { readMeta } from '../storage/meta.ts'
import { openPlaceForReading, type StorePlace } from '../storage/stores.ts'
import { StoreReader } from './case-reader.ts'
import type { CaseReader } from './core.ts'

/** Opens a store for reading, beside whoever writes it. Apart from `openCore`, so that who only reads loads no packs. */
export async function openReader({
  clock = systemClock,
  ...place
}: StorePlace & { clock?: Clock }): Promise<CaseReader> {
  const backend = await openPlaceForReading(place)
  return new StoreReader(backend, clock, await readMeta(backend))
}
