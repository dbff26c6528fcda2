import { delimiter } from 'node:path'
import { CoreError } from './errors.ts'
import type { LogLevel } from './log.ts'

/** What the environment says, read once. Flags of the command line win over it; an empty variable is an unset one. */
export interface Config {
  readonly backend: 'sqlite'
  readonly dbPath: string
  /** Whether somebody chose the path; the demo has a default of its own. */
  readonly isDbPathSet: boolean
  readonly model: string | undefined
  readonly packs: readonly string[]
  readonly workerConcurrency: number
  /** Unset: each command has a level that suits it. */
  readonly logLevel: LogLevel | undefined
}

/** Settings given as flags, in place of the variables of the same meaning. */
export interface ConfigFlags {
  readonly db?: string | undefined
  readonly packs?: readonly string[] | undefined
}

export type Environment = Readonly<Record<string, string | undefined>>

export const defaultDbPath = 'data/coordinator.db'

/** More instances in flight only wait for each other: one file has one writer. */
export const maxSqliteWorkers = 4

/** Reads the whole of it, so that a wrong setting is met at the start and not when it is first needed. */
export function readConfig(env: Environment, flags: ConfigFlags = {}): Config {
  const given = (name: string) => env[name] || undefined
  const backend = readBackend(given('CC_DB_BACKEND'))
  refuseRemote(given('CC_URL'))
  refuseUnread(given)
  const dbPath = flags.db || given('CC_DB_PATH')
  return {
    backend,
    dbPath: dbPath ?? defaultDbPath,
    isDbPathSet: dbPath !== undefined,
    model: given('CC_MODEL'),
    packs: flags.packs ?? given('CC_PACKS')?.split(delimiter).filter(Boolean) ?? [],
    workerConcurrency: readWorkers(given('CC_WORKER_CONCURRENCY')),
    logLevel: readLogLevel(given('CC_LOG_LEVEL')),
  }
}

function readBackend(name = 'sqlite'): 'sqlite' {
  if (name === 'sqlite') return name
  if (name === 'postgres' || name === 'postgresql') {
    throw new CoreError('CC_ERR_NOT_YET', {
      what: 'PostgreSQL',
      remedy: 'Use SQLite for now: leave CC_DB_BACKEND unset, and set CC_DB_PATH to a file.',
    })
  }
  throw new CoreError('CC_ERR_BACKEND', { backend: name })
}

/** Settings of versions to come that would change what a command does: passed over in silence they would mislead. */
const notYetRead = ['CC_CONFIG', 'CC_APPCONFIG_ENDPOINT', 'CC_APPCONFIG_CONNECTION_STRING', 'CC_API_KEYS_FILE']

function refuseUnread(given: (name: string) => string | undefined): void {
  const name = notYetRead.find((candidate) => given(candidate) !== undefined)
  if (name === undefined) return
  throw new CoreError('CC_ERR_NOT_YET', {
    what: `The setting ${name}`,
    remedy: `Unset ${name}; see docs/cli.md for what is read.`,
  })
}

/** Who points at a service must not be served from a file that happens to be near. */
function refuseRemote(url: string | undefined): void {
  if (url === undefined) return
  throw new CoreError('CC_ERR_NOT_YET', {
    what: 'Talking to a service (CC_URL)',
    remedy: 'Unset CC_URL, and name the file of the store with CC_DB_PATH or --db.',
  })
}

function readWorkers(text: string | undefined): number {
  const right = `a whole number from 1 to ${maxSqliteWorkers}`
  const count = text === undefined ? maxSqliteWorkers : readWholeNumber('CC_WORKER_CONCURRENCY', text, right)
  if (count >= 1 && count <= maxSqliteWorkers) return count
  throw new CoreError('CC_ERR_SETTING', { name: 'CC_WORKER_CONCURRENCY', value: text, right })
}

function readWholeNumber(name: string, text: string, right: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text)
  throw new CoreError('CC_ERR_SETTING', { name, value: text, right })
}

/** Written out here as well, since the log itself is loaded only by commands that write one. */
const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']

function readLogLevel(text: string | undefined): LogLevel | undefined {
  const level = logLevels.find((known) => known === text)
  if (text === undefined || level !== undefined) return level
  throw new CoreError('CC_ERR_SETTING', { name: 'CC_LOG_LEVEL', value: text, right: `one of ${logLevels.join(', ')}` })
}
