import type { Clock } from '../clock.ts'
import type { AuditEvent } from '../domain/audit.ts'
import { eventJson } from '../engine/as-json.ts'
import type { CaseView, Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Log } from '../log.ts'

/** Somebody who follows a case, or all of them: frames of an event stream go in. */
export interface Viewer {
  send(frame: string): void
  /** Nothing more will come. */
  end(): void
}

/** Connections that are held open at a time. */
const maxViewers = 1000

/** Proxies take a connection for dead that is silent for long. */
const keepAliveMs = 15_000

/** A page that shows lists reads them again at most so often. */
const feedMs = 500
/** Of more instances than that a page reads its lists anyway. */
const maxFedInstances = 100

/** One case that is followed, and how far each of its viewers has been told. */
interface Followed {
  readonly viewers: Map<Viewer, number>
  isReading: boolean
  /** Something happened while it was being read. */
  isStale: boolean
}

/**
 * Follows cases for all viewers of one process. The engine's hints say which case has changed; its news are read once,
 * however many viewers it has, and nobody polls.
 */
export class Watcher {
  private readonly followed = new Map<string, Followed>()
  private readonly feed = new Set<Viewer>()
  /** Changed since the feed was last told. */
  private readonly changed = new Set<string>()
  private readonly core: () => Core
  private readonly clock: Clock
  private readonly log: Log
  private cancelKeepAlive: (() => void) | undefined
  private isClosed = false

  constructor({ core, clock, log }: { readonly core: () => Core; readonly clock: Clock; readonly log: Log }) {
    this.core = core
    this.clock = clock
    this.log = log
  }

  get viewers(): number {
    let count = this.feed.size
    for (const { viewers } of this.followed.values()) count += viewers.size
    return count
  }

  /** Takes the hints of a store that has been opened. */
  listen(core: Pick<Core, 'onChange'>): void {
    core.onChange((instanceId) => {
      if (this.followed.has(instanceId)) void this.tell(instanceId)
      if (this.feed.size > 0) this.note(instanceId)
    })
  }

  /** Tells the viewer every event of the case behind `after`, those that have been and those to come. Returns what ends it. */
  follow(instanceId: string, after: number, viewer: Viewer): () => void {
    this.admit()
    const followed = this.followed.get(instanceId) ?? { viewers: new Map(), isReading: false, isStale: false }
    this.followed.set(instanceId, followed)
    followed.viewers.set(viewer, after)
    void this.tell(instanceId)
    return () => this.leave(instanceId, viewer)
  }

  /** Tells the viewer which cases have changed, a few times a second at most. Returns what ends it. */
  followAll(viewer: Viewer): () => void {
    this.admit()
    this.feed.add(viewer)
    return () => void this.feed.delete(viewer)
  }

  /** Ends every stream; viewers come back and go on where they were. */
  close(): void {
    this.isClosed = true
    this.cancelKeepAlive?.()
    const viewers = [...this.feed, ...[...this.followed.values()].flatMap((followed) => [...followed.viewers.keys()])]
    this.feed.clear()
    this.followed.clear()
    for (const viewer of viewers) viewer.end()
  }

  private admit(): void {
    if (this.isClosed) throw new CoreError('CC_ERR_CLOSED')
    if (this.viewers >= maxViewers) throw new CoreError('CC_ERR_TOO_MANY_STREAMS', { max: maxViewers })
    if (this.cancelKeepAlive === undefined) this.keepAlive()
  }

  private leave(instanceId: string, viewer: Viewer): void {
    const followed = this.followed.get(instanceId)
    if (followed?.viewers.delete(viewer) && followed.viewers.size === 0) this.followed.delete(instanceId)
  }

  private async tell(instanceId: string): Promise<void> {
    const followed = this.followed.get(instanceId)
    if (!followed) return
    followed.isStale = true
    if (followed.isReading) return
    followed.isReading = true
    try {
      while (followed.isStale && followed.viewers.size > 0) {
        followed.isStale = false
        await this.tellNews(instanceId, followed)
      }
    } catch (error) {
      this.log.error({ instance: instanceId, error: String(error) }, 'a case could not be followed')
      this.release(instanceId, followed)
    } finally {
      followed.isReading = false
    }
  }

  private async tellNews(instanceId: string, { viewers }: Followed): Promise<void> {
    const events = await this.core().getAudit(instanceId, { after: Math.min(...viewers.values()) })
    const news = events.map((event) => ({ seq: event.seq, frame: frameOf(event) }))
    for (const [viewer, after] of viewers) {
      const unseen = news.filter(({ seq }) => seq > after)
      if (unseen.length === 0) continue
      viewers.set(viewer, unseen.at(-1)!.seq)
      viewer.send(unseen.map(({ frame }) => frame).join(''))
    }
    await this.endIfOver(instanceId, events)
  }

  /** A case that nothing more is expected of is not followed on; whether it is one, its last event lets suspect. */
  private async endIfOver(instanceId: string, events: readonly AuditEvent[]): Promise<void> {
    const last = events.at(-1)
    if (last !== undefined && last.type.startsWith('step.')) return
    const view = await this.core().getCase(instanceId)
    const followed = this.followed.get(instanceId)
    if (!isOver(view) || !followed || followed.isStale) return
    for (const viewer of followed.viewers.keys()) viewer.send(endFrame(view))
    this.release(instanceId, followed)
  }

  private release(instanceId: string, followed: Followed): void {
    this.followed.delete(instanceId)
    for (const viewer of followed.viewers.keys()) viewer.end()
    followed.viewers.clear()
  }

  private note(instanceId: string): void {
    if (this.changed.size === 0) this.clock.after(feedMs, () => this.tellFeed())
    this.changed.add(instanceId)
  }

  private tellFeed(): void {
    const ids = [...this.changed].slice(0, maxFedInstances)
    const isWhole = ids.length === this.changed.size
    this.changed.clear()
    const data = JSON.stringify({ instance_ids: ids, whole: isWhole })
    for (const viewer of this.feed) viewer.send(`event: changed\ndata: ${data}\n\n`)
  }

  private keepAlive(): void {
    this.cancelKeepAlive = this.clock.after(keepAliveMs, () => {
      this.cancelKeepAlive = undefined
      const all = [...this.feed, ...[...this.followed.values()].flatMap(({ viewers }) => [...viewers.keys()])]
      for (const viewer of all) viewer.send(': still here\n\n')
      if (all.length > 0) this.keepAlive()
    })
  }
}

/** Nothing more is expected to happen: the case has ended, and nobody is asked about it. */
export function isOver({ status, openTasks }: CaseView): boolean {
  return status !== 'running' && status !== 'suspended' && openTasks.length === 0
}

/** The sequence number is the id that a client sends back as Last-Event-ID. */
function frameOf(event: AuditEvent): string {
  const { envelope: _, ...shown } = eventJson(event)
  return `id: ${event.seq}\nevent: ${event.type}\ndata: ${JSON.stringify(shown)}\n\n`
}

/** Without an id, so that a client that comes back still names the last event of the record. */
function endFrame({ instanceId, status, tier }: CaseView): string {
  return `event: end\ndata: ${JSON.stringify({ instance_id: instanceId, status, tier: tier ?? null })}\n\n`
}
