import { availableParallelism } from 'node:os'
import { delimiter } from 'node:path'
import { readAppConfigurationPlace } from './app-configuration-place.ts'
import { readConfigFile } from './config-file.ts'
import { hasPassword } from './dsn.ts'
import { entraPassword } from './entra.ts'
import { CoreError } from './errors.ts'
import type { LogLevel } from './log.ts'
import { type Layer, type SettingName, Sources } from './setting-sources.ts'
import { readLogLevel, readUrl, readWholeNumber, wrongSetting } from './setting-values.ts'

/**
 * All settings, read once. Flags win over the environment, that over the configuration file, that over Azure App
 * Configuration, that over the defaults; an empty value is an unset one.
 */
export interface Config {
  /** Where each value was found. */
  readonly sources: Sources
  /** What an operator should know about the settings, in sentences. */
  readonly warnings: readonly string[]
  readonly backend: 'sqlite' | 'postgres'
  /** Where the database is; set where `backend` is postgres. */
  readonly postgres: PostgresSettings | undefined
  readonly dbPath: string
  /** Whether somebody chose the path; the demo has a default of its own. */
  readonly isDbPathSet: boolean
  readonly model: string | undefined
  /** Which models answer to the aliases of packs, and how each provider is called. */
  readonly models: ModelSettings
  readonly packs: readonly string[]
  /** How many processes are to serve the store, as far as somebody has said. */
  readonly replicas: number
  /** Cases in flight at a time; 0 only by a flag, for a process that takes cases and leaves running them to others. */
  readonly workerConcurrency: number
  /** Where the service listens. Port 0 takes any that is free. */
  readonly host: string
  readonly port: number
  /** The file of the API keys; unset: there are none, and whoever reaches the service may do everything. */
  readonly apiKeysFile: string | undefined
  /** Requests a minute that each key has; 0: no limit. Unset: none on loopback, else the service's own. */
  readonly rateLimit: number | undefined
  /** The service that commands talk to, in place of a store, and the key that they show there. */
  readonly url: string | undefined
  readonly apiKey: string | undefined
  /** Unset: each command has a level that suits it. */
  readonly logLevel: LogLevel | undefined
}

/** Settings given as flags, in place of the variables of the same meaning. */
export interface ConfigFlags {
  readonly db?: string | undefined
  readonly packs?: readonly string[] | undefined
  readonly workers?: string | undefined
  /** The same for a process that does nothing but run cases, so that 0 is none of its words. */
  readonly concurrency?: string | undefined
  readonly host?: string | undefined
  readonly port?: string | undefined
  readonly url?: string | undefined
  readonly apiKey?: string | undefined
}

export interface ModelSettings {
  /** `provider/model` by alias; `default` is `Config.model`. */
  readonly aliases: Readonly<Partial<Record<'fast' | 'standard' | 'strong', string>>>
  /** By the word before the slash. */
  readonly providers: Readonly<Record<string, ProviderSettings>>
}

export interface ProviderSettings {
  /** The address up to where the provider's own paths begin, its version included. */
  readonly baseUrl?: string
  /** Take answers in as they are written; false unless set. */
  readonly stream?: boolean
  /** Calls under way at a time in this process; 16 unless set. */
  readonly concurrency?: number
  /** How long an answer may be; the provider's own limit unless set. */
  readonly maxOutputTokens?: number
  /** Hand the schema over for the provider to keep to; where it is false the schema stands in the instructions. */
  readonly jsonSchema?: boolean
}

/** How a PostgreSQL database is reached. */
export interface PostgresSettings {
  readonly dsn: string
  /** The same database past a transaction pooler; set: `dsn` leads to a pooler. */
  readonly directDsn?: string | undefined
  readonly schema?: string | undefined
  readonly poolMin?: number | undefined
  readonly poolMax?: number | undefined
  /** How many processes are to share the database, as far as somebody has said. */
  readonly replicas?: number | undefined
  /** Asked anew for each connection, in place of the password of the DSN. */
  readonly password?: (() => Promise<string>) | undefined
}

export type Environment = Readonly<Record<string, string | undefined>>

export const defaultDbPath = 'data/coordinator.db'
const noModels: ModelSettings = { aliases: {}, providers: {} }
const defaultHost = '127.0.0.1'
const defaultPort = 8080

/** More instances in flight only wait for each other: one file has one writer. */
export const maxSqliteWorkers = 4
const maxPostgresWorkers = 1000
export const maxSqliteReplicas = 1
const maxPostgresReplicas = 1000

export const defaultSchema = 'public'
export const defaultPool = { min: 2, max: 10 } as const
const maxPool = 1000
/** A snapshot may be open while its reader writes: one connection would wait for itself. */
export const leastPool = 2

/** Reads all settings, those of App Configuration too where one is named; a source that cannot be read is refused. */
export async function loadConfig(env: Environment, flags: ConfigFlags = {}): Promise<Config> {
  const here = readHere(env, flags)
  const place = readAppConfigurationPlace(new Sources(here.layers))
  if (place === undefined) return configOf(here)
  // Loaded here: few installations have one, and every command would wait for it.
  const { readAppConfiguration } = await import('./app-configuration.ts')
  const { layer, warnings } = await readAppConfiguration(place)
  return configOf({ ...here, layers: [...here.layers, layer], warnings })
}

/** Reads the settings of flags, environment and file. */
export function readConfig(env: Environment, flags: ConfigFlags = {}): Config {
  return configOf(readHere(env, flags))
}

/** As `readConfig`, of these settings alone: no file is read. */
export function configOfSettings(given: Environment = {}): Config {
  return configOf({ layers: [{ origin: { source: 'environment' }, values: given }] })
}

/** What has been read so far. */
interface Found {
  readonly layers: readonly Layer[]
  readonly models?: ModelSettings
  /** Folders of a flag, which come one by one. */
  readonly packs?: readonly string[] | undefined
  readonly warnings?: readonly string[]
}

function readHere(env: Environment, flags: ConfigFlags): Found {
  const { models, layer } = readConfigFile(env.CC_CONFIG || undefined)
  const environment = { origin: { source: 'environment' }, values: env } as const
  const layers = [...flagLayers(flags), environment, ...(layer ? [layer] : [])]
  return { layers, models, packs: flags.packs }
}

/** Which setting each flag stands for. */
const flagSettings = {
  db: ['--db', 'CC_DB_PATH'],
  packs: ['--pack', 'CC_PACKS'],
  workers: ['--workers', 'CC_WORKER_CONCURRENCY'],
  concurrency: ['--concurrency', 'CC_WORKER_CONCURRENCY'],
  host: ['--host', 'CC_HOST'],
  port: ['--port', 'CC_PORT'],
  url: ['--url', 'CC_URL'],
  apiKey: ['--api-key', 'CC_API_KEY'],
} as const satisfies Readonly<Record<keyof ConfigFlags, readonly [string, SettingName]>>

function flagLayers(flags: ConfigFlags): Layer[] {
  return Object.entries(flagSettings).map(([key, [flag, name]]) => {
    const value = flags[key as keyof ConfigFlags]
    const text = typeof value === 'object' ? value.join(delimiter) : value
    return { origin: { source: 'flag', flag }, values: { [name]: text } }
  })
}

/** Reads the whole of it, so that a wrong setting is met at the start and not when it is first needed. */
function configOf({ layers, models = noModels, packs, warnings = [] }: Found): Config {
  const sources = new Sources(layers)
  const backend = readBackend(sources)
  const model = sources.given('CC_MODEL')
  const baseUrl = readUrl(sources, 'CC_MODEL_BASE_URL')
  const limits = readSqliteLimits(sources)
  return {
    sources,
    warnings,
    backend,
    postgres: backend === 'postgres' ? readPostgres(sources) : undefined,
    dbPath: sources.given('CC_DB_PATH') ?? defaultDbPath,
    isDbPathSet: sources.given('CC_DB_PATH') !== undefined,
    model,
    models: baseUrl === undefined ? models : withBaseUrl(models, model, baseUrl),
    packs: packs ?? sources.given('CC_PACKS')?.split(delimiter).filter(Boolean) ?? [],
    replicas: readReplicas(sources, backend === 'sqlite' ? limits.replicas : maxPostgresReplicas),
    workerConcurrency: readWorkers(sources, backend, limits.workers),
    host: sources.given('CC_HOST') ?? defaultHost,
    port: readWholeNumber(sources, 'CC_PORT', { least: 0, most: 65_535 }) ?? defaultPort,
    apiKeysFile: sources.given('CC_API_KEYS_FILE'),
    rateLimit: readWholeNumber(sources, 'CC_RATE_LIMIT', { least: 0, most: 1_000_000 }),
    url: readUrl(sources, 'CC_URL'),
    apiKey: sources.given('CC_API_KEY'),
    logLevel: readLogLevel(sources),
  }
}

function readBackend(sources: Sources): Config['backend'] {
  const backend = sources.given('CC_DB_BACKEND') ?? 'sqlite'
  if (backend === 'sqlite') return backend
  if (backend === 'postgres' || backend === 'postgresql') return 'postgres'
  throw new CoreError('CC_ERR_BACKEND', { name: sources.nameOf('CC_DB_BACKEND'), backend })
}

function readPostgres(sources: Sources): PostgresSettings {
  const dsn = sources.given('CC_DB_DSN')
  if (dsn === undefined) throw new CoreError('CC_ERR_NO_DSN')
  const poolMax = readWholeNumber(sources, 'CC_DB_POOL_MAX', { least: leastPool, most: maxPool }) ?? defaultPool.max
  const poolMin = readWholeNumber(sources, 'CC_DB_POOL_MIN', { least: 0, most: poolMax }) ?? defaultPool.min
  return {
    dsn,
    directDsn: sources.given('CC_DB_DIRECT_DSN'),
    schema: readSchema(sources),
    poolMin,
    poolMax,
    replicas: readReplicas(sources, maxPostgresReplicas),
    password: readPassword(sources),
  }
}

/** How the password of a connection comes about; undefined: it stands in the DSN. */
function readPassword(sources: Sources): PostgresSettings['password'] {
  const auth = sources.given('CC_DB_AUTH') ?? 'password'
  if (auth === 'password') return undefined
  if (auth !== 'entra') throw wrongSetting(sources, 'CC_DB_AUTH', 'password or entra')
  for (const name of ['CC_DB_DSN', 'CC_DB_DIRECT_DSN'] as const) {
    if (hasPassword(sources.given(name))) throw new CoreError('CC_ERR_DSN_PASSWORD', { name: sources.nameOf(name) })
  }
  return entraPassword()
}

/** A name that needs no quotes wherever it stands. */
function readSchema(sources: Sources): string {
  const name = sources.given('CC_DB_SCHEMA') ?? defaultSchema
  if (/^[a-z_][a-z0-9_]{0,59}$/.test(name) && !name.startsWith('pg_')) return name
  const right = 'a name of small letters, digits and underscores, of at most 60 characters'
  throw wrongSetting(sources, 'CC_DB_SCHEMA', right)
}

/** What the file says of the limits of SQLite. They may be tightened, and are looked at wherever the store is. */
function readSqliteLimits(sources: Sources): { readonly replicas: number; readonly workers: number } {
  const tightened = (name: SettingName, most: number) => readWholeNumber(sources, name, { least: 1, most }) ?? most
  return {
    replicas: tightened('sqlite.max_replicas', maxSqliteReplicas),
    workers: tightened('sqlite.max_worker_concurrency', maxSqliteWorkers),
  }
}

function readReplicas(sources: Sources, most: number): number {
  return readWholeNumber(sources, 'CC_API_REPLICAS', { least: 1, most }) ?? 1
}

/** One address belongs to one provider: that of the model that answers unless a step says otherwise. */
function withBaseUrl(models: ModelSettings, model: string | undefined, baseUrl: string): ModelSettings {
  const provider = model?.split('/', 1)[0]
  if (provider === undefined) return models
  return { ...models, providers: { ...models.providers, [provider]: { ...models.providers[provider], baseUrl } } }
}

function readWorkers(sources: Sources, backend: Config['backend'], maxSqlite: number): number {
  const name = 'CC_WORKER_CONCURRENCY'
  const origin = sources.origin(name)
  const flag = origin.source === 'flag' ? origin.flag : undefined
  if (flag === '--workers' && sources.given(name) === '0') return 0
  // `worker` says itself that a file has none.
  const most = backend === 'sqlite' && flag !== '--concurrency' ? maxSqlite : maxPostgresWorkers
  return readWholeNumber(sources, name, { least: 1, most }) ?? Math.min(defaultWorkers(backend), most)
}

/** How many instances one process has in flight unless somebody says otherwise. */
export function defaultWorkers(backend: Config['backend']): number {
  return backend === 'sqlite' ? maxSqliteWorkers : availableParallelism()
}
