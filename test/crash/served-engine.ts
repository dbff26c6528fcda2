import { flushCompileCache, registerHooks } from 'node:module'
import type { Core, CoreConfig } from '../../src/engine/core.ts'
import { openCore as openPlainCore } from '../../src/engine/open.ts'
import { errandPack } from './errands.ts'
import { loggedPrimitive } from './logged.ts'
import { type CallLine, LineLog, placesIn } from './logs.ts'

/**
 * Loaded before the real program: where that opens the engine, it is given one that knows errands as well, and whose steps
 * write down each call. Everything else, the service included, is the program's own.
 */
registerHooks({
  resolve: (specifier, context, nextResolve) => {
    const isWanted = specifier === './engine/open.ts' && context.parentURL?.endsWith('/src/main.ts')
    return nextResolve(isWanted ? import.meta.url : specifier, context)
  },
})

/** Which life this is of the store in the folder. */
export interface ServedOrder {
  readonly folder: string
  readonly round: number
}

export async function openCore(config: CoreConfig): Promise<Core> {
  const { folder, round } = JSON.parse(process.env.ERRANDS!) as ServedOrder
  const calls = new LineLog<CallLine>(placesIn(folder).calls)
  const core = await openPlainCore({
    ...config,
    packs: [...(config.packs ?? []), errandPack],
    primitives: [loggedPrimitive({ round, calls })],
  })
  calls.add({ round, what: 'begun' })
  process.once('exit', (code) => {
    if (code === 0) calls.add({ round, what: 'left' })
  })
  // Saves the next start the compiling; written out now, since this process may not live to do so.
  flushCompileCache()
  return core
}
