import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { randomHex } from '../domain/identity.ts'
import type { Hint } from './fleet.ts'
import { clientConfig, type ConnectionSettings, type Lend } from './postgres-connections.ts'

/** Hints gather for so long and travel together: a notification takes a lock that all others wait for. */
const gatherMs = 10

/** How long the word that a listener sends to itself may take. */
const testMs = 2000

/** Pauses between tries to listen again after the connection broke: the first and the longest. */
const firstPauseMs = 200
const longestPauseMs = 10_000

/** What PostgreSQL takes as the text of one notification, with room to spare. */
const maxBytes = 7000

/** Hints of one moment, as they travel. */
interface Message {
  /** Who tells; what a process told itself it does not have to hear. */
  readonly from: string
  readonly hints: readonly Hint[]
}

/**
 * Hints between processes by LISTEN and NOTIFY. Listening takes a session of its own, past any pooler; when it breaks it is
 * begun anew, and meanwhile nothing is lost but time.
 */
export class PostgresSignals {
  isListening = false
  private readonly settings: ConnectionSettings
  private readonly lend: Lend
  private readonly warn: (sentence: string) => void
  private isDeafTold = false
  private readonly channel: string
  private readonly from = randomHex(8)
  private gathered = new Map<string, Hint>()
  private sending: NodeJS.Timeout | undefined
  private tested: (() => void) | undefined

  /** `settings` lead past a pooler, where that is possible; `warn` hears once that nothing is heard. */
  constructor(settings: ConnectionSettings, lend: Lend, warn: (sentence: string) => void) {
    this.settings = settings
    this.lend = lend
    this.warn = warn
    this.channel = `cc_${settings.schema}`.slice(0, maxNameBytes)
  }

  tell(hint: Hint): void {
    const key = keyOf(hint)
    const other = this.gathered.get(key)
    if (hint.is !== 'timer' || other?.is !== 'timer' || hint.dueMs < other.dueMs) this.gathered.set(key, hint)
    this.sending ??= setTimeout(() => void this.tellNow(), gatherMs).unref()
  }

  /** Resolves after the first try; the session is kept up until the returned function is called. */
  async listen(listener: (hint: Hint) => void): Promise<() => Promise<void>> {
    // A session that others share would hear for them, and go on doing so.
    if (this.settings.isPooled) return () => Promise.resolve()
    const leaving = new AbortController()
    const first = Promise.withResolvers<void>()
    const keeping = this.keepListening(listener, leaving.signal, first.resolve)
    await first.promise
    return async () => {
      leaving.abort()
      await keeping
    }
  }

  private async keepListening(listener: (hint: Hint) => void, leaving: AbortSignal, tried: () => void): Promise<void> {
    let pauseMs = firstPauseMs
    while (!leaving.aborted) {
      const session = new pg.Client(clientConfig(this.settings))
      const ended = Promise.withResolvers<void>()
      session.on('error', () => ended.resolve())
      session.on('end', () => ended.resolve())
      session.on('notification', ({ payload }) => this.hear(payload, listener))
      const leave = () => ended.resolve()
      leaving.addEventListener('abort', leave, { once: true })
      try {
        await session.connect()
        await session.query(`listen ${pg.escapeIdentifier(this.channel)}`)
        this.isListening = await this.testItself()
        if (!this.isListening) this.tellDeaf()
        pauseMs = firstPauseMs
        tried()
        if (!leaving.aborted) await ended.promise
      } catch {
        // The server is away, or takes no listener here: polling goes on, and this is tried again.
      }
      this.isListening = false
      tried()
      leaving.removeEventListener('abort', leave)
      await session.end().catch(() => {})
      if (leaving.aborted) return
      await delay(pauseMs, undefined, { signal: leaving }).catch(() => {})
      pauseMs = Math.min(pauseMs * 2, longestPauseMs)
    }
  }

  /** A pooler may take LISTEN and deliver nothing: a word to itself shows it. */
  private async testItself(): Promise<boolean> {
    const heard = new Promise<boolean>((resolve) => (this.tested = () => resolve(true)))
    const late = new AbortController()
    await this.notify([{ from: this.from, hints: [] }])
    const isHeard = await Promise.race([heard, delay(testMs, false, { signal: late.signal }).catch(() => false)])
    late.abort()
    this.tested = undefined
    return isHeard
  }

  private tellDeaf(): void {
    if (this.isDeafTold) return
    this.isDeafTold = true
    this.warn(
      'Notifications do not arrive: processes look for work every second instead. If a pooler stands in between, set CC_DB_DIRECT_DSN to the server itself.',
    )
  }

  private hear(payload: string | undefined, listener: (hint: Hint) => void): void {
    const message = readMessage(payload)
    if (message?.from === this.from) this.tested?.()
    else for (const hint of message?.hints ?? []) listener(hint)
  }

  /** What was told is lost when the server is away: whoever has to know finds out by looking. */
  async tellNow(): Promise<void> {
    clearTimeout(this.sending)
    this.sending = undefined
    if (this.gathered.size === 0) return
    const hints = [...this.gathered.values()]
    this.gathered = new Map()
    await this.notify(packed(this.from, hints)).catch(() => {})
  }

  private async notify(messages: readonly Message[]): Promise<void> {
    const texts = messages.map((message) => JSON.stringify(message))
    await this.lend((connection) => connection.run(notifySql, [this.channel, texts]))
  }
}

/** Not waited for on the disk: a hint that is lost in a crash of the server finds nobody who listens anyway. */
const notifySql = `select pg_notify($1, text), set_config('synchronous_commit', 'off', true)
  from unnest($2::text[]) as text`

/** What PostgreSQL keeps of a name. */
const maxNameBytes = 63

/** Of the same hint one is enough, and of due times the earliest. */
function keyOf(hint: Hint): string {
  return 'instanceId' in hint ? `${hint.is} ${hint.instanceId}` : hint.is
}

function packed(from: string, hints: readonly Hint[]): Message[] {
  const messages: { from: string; hints: Hint[] }[] = []
  let bytes = maxBytes
  for (const hint of hints) {
    const size = JSON.stringify(hint).length + 1
    if (bytes + size > maxBytes) {
      messages.push({ from, hints: [] })
      bytes = 0
    }
    messages.at(-1)!.hints.push(hint)
    bytes += size
  }
  return messages
}

/** Anybody who may connect may notify; what is not ours is passed over. */
function readMessage(payload: string | undefined): Message | undefined {
  try {
    const message = JSON.parse(payload ?? '') as Message
    return typeof message.from === 'string' && Array.isArray(message.hints) ? message : undefined
  } catch {
    return undefined
  }
}
