import type { Backend } from '../../src/storage/backend.ts'
import type { Fleet } from '../../src/storage/fleet.ts'
import type { OpenPostgresStore, PostgresFixture } from '../storage/postgres-store.ts'
import { type EngineFixture, type EngineOptions, openEngine } from './fixture.ts'

export interface MemberOptions extends EngineOptions {
  /** It hears nothing of the others, and they nothing of it: hints are lost on their way. */
  readonly isDeaf?: boolean
}

/** Engines on one store. */
export interface OpenFleet extends AsyncDisposable {
  readonly engines: readonly EngineFixture[]
  readonly store: PostgresFixture
}

/** Opens an engine with each of these options, each with connections of its own, as in processes of their own. */
export async function openFleet(open: OpenPostgresStore, ...options: readonly MemberOptions[]): Promise<OpenFleet> {
  const store = await open()
  const engines: EngineFixture[] = []
  for (const { isDeaf, ...option } of options) {
    const joined = await store.join()
    const backend = isDeaf ? deafened(joined) : joined
    engines.push(
      await openEngine(
        () => Promise.resolve({ ...store, backend, underWay: 0, [Symbol.asyncDispose]: async () => {} }),
        option,
      ),
    )
  }
  return {
    engines,
    store,
    async [Symbol.asyncDispose]() {
      for (const engine of engines) await engine[Symbol.asyncDispose]()
      await store[Symbol.asyncDispose]()
    },
  }
}

/** For a process that takes cases and leaves running them to others. */
export const without: EngineOptions = { core: { workerConcurrency: 0 } }

function deafened<B extends Backend>(backend: B): B {
  const fleet = backend.fleet!
  const deaf: Fleet = {
    beat: (beat) => fleet.beat(beat),
    leave: (workerId) => fleet.leave(workerId),
    countAtWork: (options) => fleet.countAtWork(options),
    tell: () => {},
    tellNow: () => Promise.resolve(),
    listen: () => Promise.resolve(() => Promise.resolve()),
    isListening: false,
  }
  return Object.assign(backend, { fleet: deaf })
}
