import { existsSync } from 'node:fs'
import type { Config } from '../config.ts'
import type { CaseReader, Core, CoreConfig } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Interruption } from './interruption.ts'
import { commandLine, commandWords } from './invocation.ts'
import type { Terminal } from './terminal.ts'

/** How commands reach a store. Handed to them, and loaded only when one is opened: most commands are quick to answer. */
export interface Stores {
  openCore(config: CoreConfig): Promise<Core>
  openReader(config: { readonly path: string }): Promise<CaseReader>
  initStore(path: string): Promise<{ readonly created: boolean; readonly location: string }>
  migrateStore(path: string): Promise<{ readonly applied: readonly number[]; readonly location: string }>
}

export interface ContextParts {
  readonly terminal: Terminal
  readonly config: Config
  readonly actor: string
  readonly stores: Stores
  readonly interruption: Interruption
}

/** What a command works with beside its own words. */
export class Context {
  readonly terminal: Terminal
  readonly config: Config
  /** As it is recorded. */
  readonly actor: string
  readonly stores: Stores
  readonly interruption: Interruption

  constructor({ terminal, config, actor, stores, interruption }: ContextParts) {
    this.terminal = terminal
    this.config = config
    this.actor = actor
    this.stores = stores
    this.interruption = interruption
  }

  /** The same with another store: the demo and trial runs have one of their own. */
  withDbPath(dbPath: string): Context {
    return new Context({ ...this, config: { ...this.config, dbPath } })
  }

  /** Opens the store beside whoever else has it, for the body alone. */
  async reading<T>(body: (reader: CaseReader) => Promise<T>): Promise<T> {
    const reader = await this.stores.openReader({ path: this.config.dbPath })
    try {
      this.terminal.mark(reader.simulated)
      return await body(reader)
    } finally {
      await reader.close()
    }
  }

  /** Opens the store for writing, for the body alone. An interruption ends the body where it waits; then all is put in order. */
  async writing<T>(settings: CoreConfig, body: (core: Core) => Promise<T>): Promise<T> {
    return await this.interruption.hold(async () => {
      const core = await this.stores.openCore({ path: this.config.dbPath, ...(await this.log()), ...settings })
      try {
        this.terminal.mark(core.simulated)
        return await body(core)
      } finally {
        if (this.interruption.signal.aborted) await core.drain()
        await core.close()
      }
    })
  }

  /** The same for a store that must be there already: a word about a case must not make an empty store. */
  async changing<T>(settings: CoreConfig, body: (core: Core) => Promise<T>): Promise<T> {
    const { dbPath } = this.config
    if (!existsSync(dbPath)) throw new CoreError('CC_ERR_NO_STORE', { location: dbPath })
    return await this.writing(settings, body)
  }

  /** Settings of a core that runs cases which are stored: each has its definition with it. */
  get runningSettings(): CoreConfig {
    const { model, workerConcurrency } = this.config
    return { workerConcurrency, ...(model !== undefined && { model }) }
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
    return commandLine(words, this.config.dbPath)
  }

  nextWords(...words: readonly string[]): string[] {
    return commandWords(words, this.config.dbPath)
  }

  /** A command that ends by itself writes a log only of what went wrong, unless somebody asked for more. */
  private async log(): Promise<CoreConfig> {
    const { openLog } = await import('../log.ts')
    return { log: openLog(this.config.logLevel ?? 'warn') }
  }
}
