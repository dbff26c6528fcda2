import type { Clock } from '../clock.ts'
import type { Core } from '../engine/core.ts'
import type { Log } from '../log.ts'
import type { Door } from './access.ts'
import type { Watcher } from './watcher.ts'

/** What the resources of one service share. */
export interface ServiceParts {
  /** The store's verbs; refuses with CC_ERR_STARTING until there are any. */
  readonly core: () => Core
  readonly door: Door
  /** Follows cases for everybody who streams them. */
  readonly watcher: Watcher
  /** Aborted once the service is leaving: whoever waits is answered with what is known. */
  readonly leaving: AbortSignal
  readonly clock: Clock
  readonly log: Log
}
