import type { Clock } from '../clock.ts'
import type { AuditEvent } from '../domain/audit.ts'
import { eventJson } from '../engine/as-json.ts'
import type { CaseView, Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Log } from '../log.ts'

/** Somebody who follows a case, or all of them: frames of an event stream go in. */
export interface Viewer {
  readonly actor: string
  /** Asked before anything is shown: a key may have been revoked since the stream was opened. */
  isWelcome(): boolean
  /** False: it takes no more until it says that it has drained. */
  send(frame: string): boolean
  /** Nothing more will come. */
  end(): void
  /** Lets go at once of somebody who does not take what is sent. */
  drop(): void
}

/** What a viewer holds in its hand. */
export interface Following {
  leave(): void
  /** What was sent has gone out: more can come. */
  drained(): void
}

/** Connections that are held open at a time, in all and for one caller. */
const maxViewers = 1000
const maxViewersEach = 100

/** Proxies take a connection for dead that is silent for long. */
const keepAliveMs = 15_000

/** Whoever takes nothing for so long has gone. */
const stuckMs = 30_000

/** Events that are read and sent at a time: a long record must not stand in memory for every viewer. */
const maxNews = 500

/** How long news of a case may gather. */
const gatherMs = 20

/** A page that shows lists reads them again at most so often. */
const feedMs = 500
/** Of more instances than that a page reads its lists anyway. */
const maxFedInstances = 100

/** How far a viewer has been told. */
interface Told {
  after: number
  /** Since when it takes no more. */
  fullSinceMs: number | undefined
}

/** One case that is followed. */
interface Followed {
  readonly viewers: Map<Viewer, Told>
  isReading: boolean
  /** Something happened while it was being read. */
  isStale: boolean
}

/**
 * Follows cases for all viewers of one process. The engine's hints say which case has changed; its news are read once,
 * however many viewers it has, and no viewer polls: what hints of other processes have missed, the engine looks up for all
 * of them at once. Each viewer is told at its own pace.
 */
export class Watcher {
  private readonly followed = new Map<string, Followed>()
  private readonly feed = new Map<Viewer, Told>()
  private readonly viewersOf = new Map<string, number>()
  /** Followed and changed, and not told yet. */
  private readonly hinted = new Set<string>()
  /** Changed since the feed was last told. */
  private readonly changed = new Set<string>()
  private isChangeUnknown = false
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
    let count = 0
    for (const each of this.viewersOf.values()) count += each
    return count
  }

  /** Takes the hints of a store that has been opened. */
  listen(core: Pick<Core, 'onChange'>): void {
    core.onChange(
      (instanceId) => {
        if (instanceId !== undefined && this.followed.has(instanceId)) this.gather(instanceId)
        if (this.feed.size > 0) this.note(instanceId)
      },
      () => this.known(),
    )
  }

  /** Tells the viewer every event of the case behind `after`, those that have been and those to come. */
  follow(instanceId: string, after: number, viewer: Viewer): Following {
    const release = this.admit(viewer)
    const followed = this.followed.get(instanceId) ?? { viewers: new Map(), isReading: false, isStale: false }
    const told: Told = { after, fullSinceMs: undefined }
    this.followed.set(instanceId, followed)
    followed.viewers.set(viewer, told)
    void this.tell(instanceId)
    return {
      leave: () => {
        release()
        followed.viewers.delete(viewer)
        if (followed.viewers.size === 0 && this.followed.get(instanceId) === followed) this.followed.delete(instanceId)
      },
      drained: () => {
        told.fullSinceMs = undefined
        void this.tell(instanceId)
      },
    }
  }

  /** Tells the viewer which cases have changed, a few times a second at most. */
  followAll(viewer: Viewer): Following {
    const release = this.admit(viewer)
    const told: Told = { after: 0, fullSinceMs: undefined }
    this.feed.set(viewer, told)
    return {
      leave: () => {
        release()
        this.feed.delete(viewer)
      },
      drained: () => {
        told.fullSinceMs = undefined
      },
    }
  }

  /** Ends every stream; viewers come back and go on where they were. */
  close(): void {
    this.isClosed = true
    this.cancelKeepAlive?.()
    const viewers = this.everybody()
    this.feed.clear()
    this.followed.clear()
    for (const [viewer] of viewers) viewer.end()
  }

  /** How far those who follow a case have been told, the least of them; those who take no more are not waited for. */
  private *known(): Generator<readonly [string, number]> {
    for (const [instanceId, { viewers }] of this.followed) {
      const told = [...viewers.values()].flatMap(({ after, fullSinceMs }) => (fullSinceMs === undefined ? after : []))
      if (told.length > 0) yield [instanceId, Math.min(...told)]
    }
  }

  /** Counts a viewer in, until what it returns is called. */
  private admit({ actor }: Viewer): () => void {
    if (this.isClosed) throw new CoreError('CC_ERR_CLOSED')
    const own = this.viewersOf.get(actor) ?? 0
    const max = own >= maxViewersEach ? maxViewersEach : maxViewers
    if (own >= maxViewersEach || this.viewers >= maxViewers) throw new CoreError('CC_ERR_TOO_MANY_STREAMS', { max })
    this.viewersOf.set(actor, own + 1)
    if (this.cancelKeepAlive === undefined) this.keepAlive()
    let isIn = true
    return () => {
      if (!isIn) return
      isIn = false
      const left = this.viewersOf.get(actor)! - 1
      if (left > 0) this.viewersOf.set(actor, left)
      else this.viewersOf.delete(actor)
    }
  }

  /** Steps that follow each other at once are told together: nobody sees the difference, and each costs a third. */
  private gather(instanceId: string): void {
    if (this.hinted.size === 0) {
      setTimeout(() => {
        const hinted = [...this.hinted]
        this.hinted.clear()
        for (const each of hinted) void this.tell(each)
      }, gatherMs).unref()
    }
    this.hinted.add(instanceId)
  }

  private async tell(instanceId: string): Promise<void> {
    const followed = this.followed.get(instanceId)
    if (!followed) return
    followed.isStale = true
    if (followed.isReading) return
    followed.isReading = true
    try {
      while (followed.isStale && this.followed.get(instanceId) === followed) {
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

  /** Reads what the viewers that can take it have not seen, and tells each its part. */
  private async tellNews(instanceId: string, followed: Followed): Promise<void> {
    const ready = [...followed.viewers].filter(([, { fullSinceMs }]) => fullSinceMs === undefined)
    if (ready.length === 0) return
    const events = await this.readNews(instanceId, Math.min(...ready.map(([, { after }]) => after)))
    const news = events.map((event) => ({ seq: event.seq, frame: frameOf(event) }))
    for (const [viewer, told] of ready) {
      const unseen = news.filter(({ seq }) => seq > told.after)
      if (unseen.length === 0 || !followed.viewers.has(viewer)) continue
      told.after = unseen.at(-1)!.seq
      this.show(viewer, told, unseen.map(({ frame }) => frame).join(''))
    }
    if (events.length === maxNews) followed.isStale = true
    else if (!events.at(-1)?.type.startsWith('step.')) await this.endIfOver(instanceId, followed)
  }

  private async readNews(instanceId: string, after: number): Promise<readonly AuditEvent[]> {
    return await this.core().getAudit(instanceId, { after, limit: maxNews })
  }

  /**
   * A case that nothing more is expected of is not followed on. What it has recorded until it was seen to be over must
   * have been told, so the record is read once more, after the case.
   */
  private async endIfOver(instanceId: string, followed: Followed): Promise<void> {
    const view = await this.core().getCase(instanceId)
    if (!isOver(view)) return
    const told = [...followed.viewers.values()].filter(({ fullSinceMs }) => fullSinceMs === undefined)
    const isMore = (await this.readNews(instanceId, Math.max(0, ...told.map(({ after }) => after)))).length > 0
    if (isMore || followed.isStale) {
      followed.isStale = true
      return
    }
    for (const [viewer, { fullSinceMs }] of followed.viewers) {
      // Those who are behind are told the rest first.
      if (fullSinceMs !== undefined) continue
      viewer.send(endFrame(view))
      viewer.end()
      followed.viewers.delete(viewer)
    }
    if (followed.viewers.size === 0 && this.followed.get(instanceId) === followed) this.followed.delete(instanceId)
  }

  private show(viewer: Viewer, told: Told, frame: string): void {
    if (!viewer.isWelcome()) viewer.end()
    else if (!viewer.send(frame)) told.fullSinceMs ??= this.clock.nowMs()
  }

  private release(instanceId: string, followed: Followed): void {
    if (this.followed.get(instanceId) === followed) this.followed.delete(instanceId)
    for (const viewer of followed.viewers.keys()) viewer.end()
    followed.viewers.clear()
  }

  /** Without an id: which ones have changed is not known. */
  private note(instanceId: string | undefined): void {
    if (this.changed.size === 0 && !this.isChangeUnknown) this.clock.after(feedMs, () => this.tellFeed())
    if (instanceId === undefined) this.isChangeUnknown = true
    else this.changed.add(instanceId)
  }

  private tellFeed(): void {
    const ids = [...this.changed].slice(0, maxFedInstances)
    const isWhole = ids.length === this.changed.size && !this.isChangeUnknown
    this.changed.clear()
    this.isChangeUnknown = false
    const data = JSON.stringify({ instance_ids: ids, whole: isWhole })
    for (const [viewer, told] of this.feed) this.show(viewer, told, `event: changed\ndata: ${data}\n\n`)
  }

  private everybody(): (readonly [Viewer, Told])[] {
    return [...this.feed, ...[...this.followed.values()].flatMap(({ viewers }) => [...viewers])]
  }

  private keepAlive(): void {
    this.cancelKeepAlive = this.clock.after(keepAliveMs, () => {
      this.cancelKeepAlive = undefined
      const all = this.everybody()
      for (const [viewer, told] of all) {
        if (told.fullSinceMs === undefined) this.show(viewer, told, ': still here\n\n')
        else if (this.clock.nowMs() - told.fullSinceMs >= stuckMs) viewer.drop()
      }
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
