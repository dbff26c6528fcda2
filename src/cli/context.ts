import { existsSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import type { Config, PostgresSettings } from '../config.ts'
import type { ApiKey } from '../domain/role.ts'
import type { CaseReader, CaseVerbs, Core, CoreConfig } from '../engine/core.ts'
import { CoreError, isCoreError } from '../errors.ts'
import type { Log, LogLevel } from '../log.ts'
import type { backupStore } from '../storage/backup.ts'
import type { restoreStore } from '../storage/restore.ts'
import type { grantStore, initStore, migrateStore, StorePlace } from '../storage/stores.ts'
import type { Interruption } from './interruption.ts'
import { commandLine, commandWords } from './invocation.ts'
import type { Terminal } from './terminal.ts'

/** How commands reach a store. Handed to them, and loaded only when one is opened: most commands are quick to answer. */
export interface Stores {
  openCore(config: CoreConfig): Promise<Core>
  openReader(place: StorePlace): Promise<CaseReader>
  readonly initStore: typeof initStore
  readonly grantStore: typeof grantStore
  readonly migrateStore: typeof migrateStore
  readonly backupStore: typeof backupStore
  readonly restoreStore: typeof restoreStore
}

/** How commands reach the other door: start it, speak to it, look after its keys. */
export interface Services {
  start(settings: ServiceSettings): Promise<Service>
  connect(address: { readonly url: string; readonly apiKey: string | undefined }): Promise<CaseVerbs>
  openKeys(path: string): Promise<KeyFile>
}

/** The file of the API keys. */
export interface KeyFile {
  find(secret: string): ApiKey | undefined
  /** Returns the secret, which is kept nowhere. */
  add(key: Pick<ApiKey, 'name' | 'role'>, nowMs: number): Promise<string>
  list(): Promise<readonly ApiKey[]>
  revoke(name: string): Promise<ApiKey>
}

export interface ServiceSettings {
  readonly host: string
  readonly port: number
  readonly keys: Pick<KeyFile, 'find'> | undefined
  readonly defaultActor: string
  readonly rateLimit: number | undefined
  readonly log: Log
}

/** A service that listens, and has a store once it was given one. */
export interface Service {
  readonly url: string
  serve(core: Core): void
  close(): Promise<void>
}

export interface ContextParts {
  readonly terminal: Terminal
  readonly config: Config
  readonly actor: string
  readonly stores: Stores
  readonly services: Services
  readonly interruption: Interruption
}

/** How long a store that is held for a moment is waited for, and between two tries. */
const patienceMs = 3000
const retryMs = 100

/** What a command works with beside its own words. */
export class Context {
  readonly terminal: Terminal
  readonly config: Config
  /** As it is recorded. */
  readonly actor: string
  readonly stores: Stores
  readonly services: Services
  readonly interruption: Interruption
  private hasWarned = false

  constructor({ terminal, config, actor, stores, services, interruption }: ContextParts) {
    this.terminal = terminal
    this.config = config
    this.actor = actor
    this.stores = stores
    this.services = services
    this.interruption = interruption
  }

  /** Where the store is. */
  get place(): { readonly path: string; readonly isPathSet: boolean; readonly postgres: PostgresSettings | undefined } {
    const { dbPath: path, isDbPathSet: isPathSet, postgres } = this.config
    return { path, isPathSet, postgres }
  }

  /** What copies a file has nothing to copy in a database, which has tools of its own for that. */
  refusePostgres(command: string): void {
    if (!this.config.postgres) return
    const problem = `${command} is for SQLite files; for PostgreSQL use pg_dump and pg_restore, or the backups of your provider.`
    throw new CoreError('CC_ERR_USAGE', { problem, help: `${command} --help` })
  }

  /** The same with other settings: the demo has a store and a model of its own. */
  with(settings: Partial<Config>): Context {
    return new Context({ ...this, config: { ...this.config, ...settings } })
  }

  /** For the body alone: the service that was named, or the store, beside whoever else has it. */
  async reading<T>(body: (reader: CaseReader) => Promise<T>): Promise<T> {
    return await this.lending(await this.openReader(), body)
  }

  /** For a command that has to say something before it says whether the store is a simulation. It closes the reader. */
  async openReader(): Promise<CaseReader> {
    const { url } = this.config
    return url === undefined ? await this.stores.openReader(this.place) : await this.connect(url)
  }

  /** Opens the store for writing, for the body alone. An interruption ends the body where it waits; then all is put in order. */
  async writing<T>(settings: CoreConfig, body: (core: Core) => Promise<T>): Promise<T> {
    return await this.interruption.hold(async () => {
      const core = await this.patiently(() => this.openCore(settings))
      return await this.lendingCore(core, body)
    })
  }

  /**
   * For the body alone: the service that was named; else the store, when nobody has it; else the service that has it.
   * What a service does by itself (running cases, looking after packs) needs no settings. An interruption ends the body
   * where it waits, so that it is told in the same words wherever the case runs.
   */
  async acting<T>(settings: CoreConfig, body: (verbs: CaseVerbs, isServed: boolean) => Promise<T>): Promise<T> {
    return await this.interruption.hold(async () => {
      const { url } = this.config
      if (url !== undefined) return await this.lending(await this.connect(url), (verbs) => body(verbs, true))
      const { core, service } = await this.patiently(() => this.openOrReach(settings))
      if (core) return await this.lendingCore(core, (verbs) => body(verbs, false))
      return await this.lending(service, (verbs) => body(verbs, true))
    })
  }

  /** The same for a store that must be there already: a word about a case must not make an empty store. */
  async changing<T>(settings: CoreConfig, body: (verbs: CaseVerbs, isServed: boolean) => Promise<T>): Promise<T> {
    const { dbPath, url, postgres } = this.config
    if (url === undefined && !postgres && !existsSync(dbPath))
      throw new CoreError('CC_ERR_NO_STORE', { location: dbPath })
    return await this.acting(settings, body)
  }

  /** What works on the file itself has nothing to ask of a service. */
  refuseService(command: string): void {
    if (this.config.url === undefined) return
    const problem = `${command} works on a store, not on a service.`
    throw new CoreError('CC_ERR_USAGE', { problem, help: `${command} --help` })
  }

  async openKeys(): Promise<KeyFile> {
    const { apiKeysFile } = this.config
    if (apiKeysFile === undefined) throw new CoreError('CC_ERR_NO_KEYS_FILE')
    return await this.services.openKeys(apiKeysFile)
  }

  /** Settings of a core that runs cases which are stored: each has its definition with it. */
  get runningSettings(): CoreConfig {
    const { model, models, workerConcurrency } = this.config
    return { workerConcurrency, models, ...(model !== undefined && { model }) }
  }

  /** Settings of a core that takes new cases as well. */
  get submittingSettings(): CoreConfig {
    return { ...this.runningSettings, packs: this.config.packs }
  }

  refuseIfInterrupted(): void {
    if (this.interruption.signal.aborted) throw new CoreError('CC_ERR_INTERRUPTED')
  }

  /** A command that goes on where this one ends, ready to be pasted. */
  next(...words: readonly string[]): string {
    return commandLine(words, this.config)
  }

  nextWords(...words: readonly string[]): string[] {
    return commandWords(words, this.config)
  }

  /** A command that ends by itself writes a log only of what went wrong, unless somebody asked for more. */
  private async log(): Promise<{ readonly log: Log }> {
    return await this.openLog('warn')
  }

  async openLog(level: LogLevel): Promise<{ readonly log: Log }> {
    const { openLog } = await import('../log.ts')
    const log = openLog(this.config.logLevel ?? level)
    if (!this.hasWarned) for (const warning of this.config.warnings) log.warn({}, warning)
    this.hasWarned = true
    return { log }
  }

  private async connect(url: string): Promise<CaseVerbs> {
    return await this.services.connect({ url, apiKey: this.config.apiKey })
  }

  /** An address may have passed to another program since its holder wrote it down. */
  private async connectHolder(url: string): Promise<CaseVerbs> {
    const verbs = await this.connect(url)
    const reader = await this.stores.openReader(this.place)
    await reader.close()
    if (verbs.databaseId === reader.databaseId) return verbs
    await verbs.close()
    throw new CoreError('CC_ERR_OTHER_STORE', { url, location: reader.location })
  }

  private async openCore(settings: CoreConfig): Promise<Core> {
    return await this.stores.openCore({ ...this.place, ...(await this.log()), ...settings })
  }

  private async openOrReach(
    settings: CoreConfig,
  ): Promise<{ core: Core; service?: never } | { core?: never; service: CaseVerbs }> {
    try {
      return { core: await this.openCore(settings) }
    } catch (error) {
      if (!isCoreError(error, 'CC_ERR_LOCKED') || typeof error.facts.url !== 'string') throw error
      return { service: await this.connectHolder(error.facts.url) }
    }
  }

  /** Other commands hold a store for a moment, and a service for one more than it can be reached: both are waited for. */
  private async patiently<T>(open: () => Promise<T>): Promise<T> {
    const endMs = performance.now() + patienceMs
    for (;;) {
      try {
        return await open()
      } catch (error) {
        if (!isPassing(error) || performance.now() >= endMs || this.interruption.signal.aborted) throw error
        await delay(retryMs)
      }
    }
  }

  private async lendingCore<T>(core: Core, body: (core: Core) => Promise<T>): Promise<T> {
    try {
      this.terminal.mark(core.simulated)
      return await body(core)
    } finally {
      if (this.interruption.signal.aborted) await core.drain()
      await core.close()
    }
  }

  private async lending<R extends CaseReader, T>(opened: R, body: (opened: R) => Promise<T>): Promise<T> {
    try {
      this.terminal.mark(opened.simulated)
      return await body(opened)
    } finally {
      await opened.close()
    }
  }
}

/** A holder without an address is a command like this one; an address that is not answered belongs to a start or an end. */
function isPassing(error: unknown): boolean {
  if (isCoreError(error, 'CC_ERR_LOCKED')) return error.facts.url === undefined
  return passing.some((code) => isCoreError(error, code))
}

const passing = ['CC_ERR_SERVICE_AWAY', 'CC_ERR_STARTING', 'CC_ERR_STORE_AWAY', 'CC_ERR_CLOSED'] as const
