import { hostname } from 'node:os'
import type { Fleet, Member, Pulse } from '../storage/fleet.ts'
import { listAtRest } from '../storage/instances.ts'
import type { Engine } from './execution.ts'

/** Between two beats; shorter where hints do not arrive, since looking is then all there is. */
const beatMs = 5000
const deafBeatMs = 1000

/** Without a beat for so long this process trusts its own claims no more: others are about to free them. */
const trustMs = 15_000

/** The pause after a beat that failed. */
const troubleMs = 1000

/** At most this many of those whom somebody waits for are looked up with one beat. */
const maxWaited = 500

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
  }

  private async run(): Promise<void> {
    const { clock, wake, log, draw } = this.engine
    const untap = wake.tap((hint) => this.fleet.tell(hint))
    const listening = this.fleet.listen((hint) => wake.pass(hint))
    while (!this.stopping.signal.aborted) {
      let pauseMs = this.fleet.isListening ? beatMs : deafBeatMs
      try {
        const pulse = await this.fleet.beat({ ...this.member, nowMs: clock.nowMs(), except: this.except() })
        this.lastMs = clock.nowMs()
        this.join()
        this.act(pulse)
        await this.lookForWaited()
      } catch (error) {
        log.error({ error: String(error) }, 'this process could not say that it lives')
        pauseMs = troubleMs
      }
      await clock.sleep(pauseMs * (0.9 + draw() / 5), this.stopping.signal)
    }
    untap()
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

  /** For those whose hint was lost: one question for all whom somebody waits for. */
  private async lookForWaited(): Promise<void> {
    const { backend, wake } = this.engine
    const waited = wake.waitedFor(maxWaited)
    if (waited.length === 0) return
    for (const instanceId of await listAtRest(backend, waited)) {
      wake.pass({ is: 'rest', instanceId })
    }
  }
}
