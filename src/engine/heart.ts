import { hostname } from 'node:os'
import type { Fleet, Member, Pulse } from '../storage/fleet.ts'
import { readPlaces } from '../storage/instances.ts'
import type { Engine } from './execution.ts'

/** Between two beats; shorter where hints do not arrive, since looking is then all there is. */
const beatMs = 5000
const deafBeatMs = 1000

/** Without a beat for so long this process trusts its own claims no more: others are about to free them. */
const trustMs = 15_000

/** The pause after a beat that failed. */
const troubleMs = 1000

/** At most this many of those whom somebody waits for or follows are looked up with one beat; the next one goes on there. */
const maxLookedFor = 2000

/**
 * Keeps this process among those that share a store. Each beat says that it lives, frees what the dead have left, and looks
 * for work and due times, in one statement; between beats the processes tell each other what they have committed.
 */
export class Heart {
  private readonly engine: Engine
  private readonly fleet: Fleet
  private readonly member: Member
  private readonly except: () => readonly string[]
  private readonly stopping = new AbortController()
  private readonly first = Promise.withResolvers<void>()
  private lastMs = -Infinity
  private isDeaf = true
  private lookedFor = 0
  private isKnown = false
  private loop: Promise<void> | undefined

  constructor(
    engine: Engine,
    fleet: Fleet,
    options: { member: Omit<Member, 'host' | 'pid'>; except: Heart['except'] },
  ) {
    this.engine = engine
    this.fleet = fleet
    this.member = { ...options.member, host: hostname(), pid: process.pid }
    this.except = options.except
    // Also what a command does that joins nobody: the others shall not find out by looking.
    engine.wake.tap((hint) => fleet.tell(hint))
    engine.leaving.signal.addEventListener('abort', () => this.first.resolve(), { once: true })
  }

  start(): void {
    this.loop ??= this.run()
  }

  /** Resolves once this process is known to the others, or leaves. */
  get started(): Promise<void> {
    return this.first.promise
  }

  /** Whether other processes run cases of this store at the moment. */
  async hasOthersAtWork(): Promise<boolean> {
    return (await this.fleet.countAtWork({ except: this.member.workerId })) > 0
  }

  /** Whether the others still hold this process for alive, as far as it can know. */
  get isTrusted(): boolean {
    return this.engine.clock.nowMs() - this.lastMs < trustMs
  }

  /** Called when nothing is claimed any more: a drain takes its time, and its claims have to be kept meanwhile. */
  async stop(): Promise<void> {
    this.stopping.abort()
    await this.loop
    await this.fleet.tellNow()
  }

  private async run(): Promise<void> {
    const { clock, wake, log, draw } = this.engine
    const listening = this.fleet.listen((hint) => wake.pass(hint))
    while (!this.stopping.signal.aborted) {
      let pauseMs = this.fleet.isListening ? beatMs : deafBeatMs
      try {
        const pulse = await this.fleet.beat({ ...this.member, nowMs: clock.nowMs(), except: this.except() })
        this.lastMs = clock.nowMs()
        this.join()
        this.act(pulse)
        this.tellMissed()
        await this.lookForNews()
      } catch (error) {
        log.error({ error: String(error) }, 'this process could not say that it lives')
        pauseMs = troubleMs
      }
      await clock.sleep(pauseMs * (0.9 + draw() / 5), this.stopping.signal)
    }
    await (
      await listening
    )()
    await this.fleet.leave(this.member.workerId).catch((error: unknown) => {
      log.warn({ error: String(error) }, 'the others will notice in a while that this process has left')
    })
  }

  private join(): void {
    if (this.isKnown) return
    this.isKnown = true
    const { workerId: worker, concurrency } = this.member
    this.engine.log.info({ worker, concurrency }, 'this process is one of those that share the store')
    this.first.resolve()
  }

  private act({ freed, isReady, dueMs }: Pulse): void {
    const { wake, log } = this.engine
    if (freed > 0) log.warn({ freed }, 'claims of a process that is gone were given back')
    if (isReady) wake.pass({ is: 'work' })
    if (dueMs !== undefined) wake.pass({ is: 'timer', dueMs })
  }

  /** Once more when hints arrive again: what was missed before was not told. */
  private tellMissed(): void {
    const wasDeaf = this.isDeaf
    this.isDeaf = !this.fleet.isListening
    if (wasDeaf || this.isDeaf) this.engine.wake.miss()
  }

  /** For those whose hint was lost: one question for all that somebody waits for or follows, and none for each of them. */
  private async lookForNews(): Promise<void> {
    const { backend, wake } = this.engine
    const known = wake.lookedFor()
    const places = await readPlaces(backend, this.portionOf([...known.keys()]))
    for (const { instanceId, status, auditSeq } of places) {
      if (auditSeq > known.get(instanceId)!) wake.pass({ is: 'instance', instanceId })
      if (status !== 'running') wake.pass({ is: 'rest', instanceId })
    }
  }

  /** All of them where they are few, else another part with each beat. */
  private portionOf(instanceIds: readonly string[]): readonly string[] {
    if (instanceIds.length <= maxLookedFor) return instanceIds
    const start = this.lookedFor % instanceIds.length
    this.lookedFor = start + maxLookedFor
    return [...instanceIds, ...instanceIds].slice(start, start + maxLookedFor)
  }
}
