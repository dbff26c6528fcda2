import { availableParallelism } from 'node:os'
import { delimiter } from 'node:path'
import { isPlainAddress, readConfigFile } from './config-file.ts'
import { CoreError } from './errors.ts'
import type { LogLevel } from './log.ts'

/** What the environment says, read once. Flags of the command line win over it; an empty variable is an unset one. */
export interface Config {
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
}

export type Environment = Readonly<Record<string, string | undefined>>

export const defaultDbPath = 'data/coordinator.db'
const defaultHost = '127.0.0.1'
const defaultPort = 8080

/** More instances in flight only wait for each other: one file has one writer. */
export const maxSqliteWorkers = 4
const maxPostgresWorkers = 1000

export const defaultSchema = 'public'
export const defaultPool = { min: 2, max: 10 } as const
const maxPool = 1000
/** A snapshot may be open while its reader writes: one connection would wait for itself. */
export const leastPool = 2
const maxReplicas = 1000

/** Reads the whole of it, so that a wrong setting is met at the start and not when it is first needed. */
export function readConfig(env: Environment, flags: ConfigFlags = {}): Config {
  const given = (name: string) => env[name] || undefined
  const backend = readBackend(given('CC_DB_BACKEND'))
  refuseUnread(given)
  const file = readConfigFile(given('CC_CONFIG'))
  const model = given('CC_MODEL') ?? file.model
  const baseUrl = readUrl(given('CC_MODEL_BASE_URL'), 'CC_MODEL_BASE_URL')
  const dbPath = flags.db || given('CC_DB_PATH')
  return {
    backend,
    postgres: backend === 'postgres' ? readPostgres(given) : undefined,
    dbPath: dbPath ?? defaultDbPath,
    isDbPathSet: dbPath !== undefined,
    model,
    models: baseUrl === undefined ? file.models : withBaseUrl(file.models, model, baseUrl),
    packs: flags.packs ?? given('CC_PACKS')?.split(delimiter).filter(Boolean) ?? [],
    workerConcurrency: readWorkers(backend, flags.workers, given('CC_WORKER_CONCURRENCY')),
    host: flags.host || given('CC_HOST') || defaultHost,
    port: readPort(flags.port || given('CC_PORT'), flags.port ? '--port' : 'CC_PORT'),
    apiKeysFile: given('CC_API_KEYS_FILE'),
    rateLimit: readRateLimit(given('CC_RATE_LIMIT')),
    url: readUrl(flags.url || given('CC_URL'), flags.url ? '--url' : 'CC_URL'),
    apiKey: flags.apiKey || given('CC_API_KEY'),
    logLevel: readLogLevel(given('CC_LOG_LEVEL')),
  }
}

function readBackend(name = 'sqlite'): Config['backend'] {
  if (name === 'sqlite') return name
  if (name === 'postgres' || name === 'postgresql') return 'postgres'
  throw new CoreError('CC_ERR_BACKEND', { backend: name })
}

function readPostgres(given: (name: string) => string | undefined): PostgresSettings {
  const dsn = given('CC_DB_DSN')
  if (dsn === undefined) throw new CoreError('CC_ERR_NO_DSN')
  const [min, max] = ['CC_DB_POOL_MIN', 'CC_DB_POOL_MAX'] as const
  const poolMax = readWholeNumber(max, given(max) ?? String(defaultPool.max), { least: leastPool, most: maxPool })
  const poolMin = readWholeNumber(min, given(min) ?? String(defaultPool.min), { least: 0, most: poolMax })
  const replicas = readWholeNumber('CC_API_REPLICAS', given('CC_API_REPLICAS') ?? '1', { least: 1, most: maxReplicas })
  const schema = readSchema(given('CC_DB_SCHEMA'))
  return { dsn, directDsn: given('CC_DB_DIRECT_DSN'), schema, poolMin, poolMax, replicas }
}

/** A name that needs no quotes wherever it stands. */
function readSchema(name = defaultSchema): string {
  if (/^[a-z_][a-z0-9_]{0,59}$/.test(name) && !name.startsWith('pg_')) return name
  throw new CoreError('CC_ERR_SETTING', {
    name: 'CC_DB_SCHEMA',
    value: name,
    right: 'a name of small letters, digits and underscores, of at most 60 characters',
  })
}

/** Settings of versions to come that would change what a command does: passed over in silence they would mislead. */
const notYetRead = ['CC_APPCONFIG_ENDPOINT', 'CC_APPCONFIG_CONNECTION_STRING']

function refuseUnread(given: (name: string) => string | undefined): void {
  const name = notYetRead.find((candidate) => given(candidate) !== undefined)
  if (name === undefined) return
  throw new CoreError('CC_ERR_NOT_YET', {
    what: `The setting ${name}`,
    remedy: `Unset ${name}; see docs/cli.md for what is read.`,
  })
}

/** One address belongs to one provider: that of the model that answers unless a step says otherwise. */
function withBaseUrl(models: ModelSettings, model: string | undefined, baseUrl: string): ModelSettings {
  const provider = model?.split('/', 1)[0]
  if (provider === undefined) return models
  return { ...models, providers: { ...models.providers, [provider]: { ...models.providers[provider], baseUrl } } }
}

function readWorkers(backend: Config['backend'], flag: string | undefined, text: string | undefined): number {
  if (flag === '0') return 0
  const name = flag === undefined ? 'CC_WORKER_CONCURRENCY' : '--workers'
  const value = flag ?? text
  if (value === undefined) return defaultWorkers(backend)
  return readWholeNumber(name, value, { least: 1, most: backend === 'sqlite' ? maxSqliteWorkers : maxPostgresWorkers })
}

/** How many instances one process has in flight unless somebody says otherwise. */
export function defaultWorkers(backend: Config['backend']): number {
  return backend === 'sqlite' ? maxSqliteWorkers : availableParallelism()
}

function readPort(text: string | undefined, name: string): number {
  return text === undefined ? defaultPort : readWholeNumber(name, text, { least: 0, most: 65_535 })
}

function readRateLimit(text: string | undefined): number | undefined {
  return text === undefined ? undefined : readWholeNumber('CC_RATE_LIMIT', text, { least: 0, most: 1_000_000 })
}

function readWholeNumber(name: string, text: string, { least, most }: { least: number; most: number }): number {
  const count = Number(text)
  if (/^\d{1,15}$/.test(text) && count >= least && count <= most) return count
  throw new CoreError('CC_ERR_SETTING', { name, value: text, right: `a whole number from ${least} to ${most}` })
}

/** The address of a service without a slash at its end. */
function readUrl(text: string | undefined, name: string): string | undefined {
  if (text === undefined) return undefined
  if (isPlainAddress(text)) return new URL(text).href.replace(/\/+$/, '')
  throw new CoreError('CC_ERR_SETTING', { name, value: text, right: 'an address such as https://cases.example' })
}

/** Written out here as well, since the log itself is loaded only by commands that write one. */
const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']

function readLogLevel(text: string | undefined): LogLevel | undefined {
  const level = logLevels.find((known) => known === text)
  if (text === undefined || level !== undefined) return level
  throw new CoreError('CC_ERR_SETTING', { name: 'CC_LOG_LEVEL', value: text, right: `one of ${logLevels.join(', ')}` })
}
