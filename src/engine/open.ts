import { type Clock, systemClock } from '../clock.ts'
import { definitionHash, parseDefinition } from '../cognition/definition.ts'
import { definePack, loadPack, type Pack, refuseDuplicateWorkflows } from '../cognition/pack.ts'
import type { Model } from '../cognition/model.ts'
import { olderNames } from '../domain/workflow.ts'
import { openModel } from '../cognition/models.ts'
import type { Primitive } from '../cognition/primitive.ts'
import { builtIn } from '../cognition/primitives/index.ts'
import type { Definition } from '../domain/workflow.ts'
import { defaultWorkers } from '../config.ts'
import { CoreError } from '../errors.ts'
import { type Log, silentLog } from '../log.ts'
import type { Backend } from '../storage/backend.ts'
import { readDefinition } from '../storage/definitions.ts'
import { readMeta } from '../storage/meta.ts'
import { openPlace } from '../storage/stores.ts'
import { CommitLane } from './commit-lane.ts'
import { Coordinator } from './coordinator.ts'
import type { Core, CoreConfig, Progress } from './core.ts'
import type { Engine } from './execution.ts'
import { refuseModel } from './runnable.ts'
import { Wake } from './wake.ts'

/** Steps one instance may record: far beyond any workflow, and short of filling a disk. */
const maxSteps = 10_000

/**
 * Opens a store for writing, with its packs and its model. Nothing runs before `start`. What is wrong with packs, model
 * or primitives is refused before the store is touched.
 */
export async function openCore(config: CoreConfig = {}): Promise<Core> {
  const clock = config.clock ?? systemClock
  const primitives = joinPrimitives(config.primitives ?? [])
  const packs = await loadPacks(config.packs ?? [], [...primitives.keys()])
  const model = typeof config.model === 'string' ? await openModel(config.model, config.models) : config.model
  for (const alias of model ? aliasesIn(packs) : []) await model?.prepare?.(alias)
  if (config.workerConcurrency !== undefined) checkConcurrency(config.workerConcurrency)
  const backend = config.backend ?? (await openIt(config, clock))
  try {
    const concurrency = config.workerConcurrency ?? defaultWorkers(backend.dialect.name)
    const meta = await readMeta(backend)
    const { simulated } = meta
    if (model && simulated !== undefined && model.simulated !== simulated) {
      throw refuseModel(backend.location, simulated, model.name)
    }
    const listeners = new Set<(progress: Progress) => void>()
    const engine = buildEngine({ config, clock, backend, primitives, model, listeners })
    return new Coordinator({ engine, packs, concurrency, meta, listeners })
  } catch (error) {
    if (!config.backend) await backend.close()
    throw error
  }
}

/** Models that steps name themselves: they must be there before the first case needs them. */
function aliasesIn(packs: readonly Pack[]): ReadonlySet<string> {
  const steps = packs.flatMap(({ definitions }) => definitions.flatMap(({ definition }) => definition.steps))
  return new Set(steps.flatMap(({ model }) => model ?? []))
}

async function openIt({ path, isPathSet, postgres, url, log }: CoreConfig, clock: Clock): Promise<Backend> {
  const warn = (sentence: string) => log?.warn({}, sentence)
  const { backend } = await openPlace({ path, isPathSet, postgres }, { url, warn, nowMs: clock.nowMs() })
  return backend
}

function checkConcurrency(count: number): void {
  if (Number.isSafeInteger(count) && count >= 0) return
  throw new CoreError('CC_ERR_SETTING', {
    name: 'workerConcurrency',
    value: String(count),
    right: 'a whole number from 0',
  })
}

function joinPrimitives(own: readonly Primitive[]): ReadonlyMap<string, Primitive> {
  const joined = new Map(builtIn)
  for (const primitive of own) {
    const { name } = primitive
    if (!/^[A-Za-z][A-Za-z0-9_-]{0,99}$/.test(name)) {
      throw new CoreError('CC_ERR_PRIMITIVE', { name, why: 'its name is not one of letters, digits, `_` and `-`' })
    }
    if (joined.has(name)) throw new CoreError('CC_ERR_PRIMITIVE', { name, why: 'there is one of that name' })
    const older = olderNames[name]
    if (older) throw new CoreError('CC_ERR_PRIMITIVE', { name, why: `packs mean ${older} by it` })
    joined.set(name, primitive)
  }
  return joined
}

async function loadPacks(sources: NonNullable<CoreConfig['packs']>, primitives: readonly string[]): Promise<Pack[]> {
  const packs: Pack[] = []
  for (const source of sources) {
    packs.push(typeof source === 'string' ? await loadPack(source, { primitives }) : definePack(source, { primitives }))
  }
  refuseDuplicateWorkflows(packs)
  return packs
}

function buildEngine(parts: {
  readonly config: CoreConfig
  readonly clock: Clock
  readonly backend: Backend
  readonly primitives: ReadonlyMap<string, Primitive>
  readonly model: Model | undefined
  readonly listeners: ReadonlySet<(progress: Progress) => void>
}): Engine {
  const { config, clock, backend, primitives, model, listeners } = parts
  const log = config.log ?? silentLog
  return {
    backend,
    lane: new CommitLane(backend),
    wake: new Wake(),
    clock,
    log,
    primitives,
    model,
    definition: definitionCache(backend),
    running: new Set(),
    stuck: new Set(),
    leaving: new AbortController(),
    report: (progress) => {
      for (const listener of listeners) tell(listener, progress, log)
    },
    maxSteps,
    draw: Math.random,
  }
}

/** Whoever listens may fail, and the case goes on. */
function tell(listener: (progress: Progress) => void, progress: Progress, log: Log): void {
  try {
    listener(progress)
  } catch (error) {
    log.error({ instance: progress.instanceId, error: String(error) }, 'a listener failed')
  }
}

/** Definitions never change, and a store has few: each is read once. */
function definitionCache(backend: Backend): (hash: string) => Promise<Definition> {
  const known = new Map<string, Promise<Definition>>()
  return (hash) => {
    let reading = known.get(hash)
    if (!reading) {
      reading = readPinned(backend, hash)
      known.set(hash, reading)
      reading.catch(() => known.delete(hash))
    }
    return reading
  }
}

async function readPinned(backend: Backend, hash: string): Promise<Definition> {
  const text = await readDefinition(backend, hash)
  if (text === undefined || definitionHash(text) !== hash) {
    throw new CoreError('CC_ERR_DEFINITION_LOST', { hash, location: backend.location })
  }
  return parseDefinition(text)
}
