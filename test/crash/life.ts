import { type ChildProcess, spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import assert from 'node:assert/strict'
import { type CallLine, countOpen, LineTail, placesIn } from './logs.ts'
import type { Order } from './program.ts'
import { countClaimed, type CrashStore } from './stores.ts'

export interface Ended {
  readonly code: number | null
  readonly signal: string | null
  readonly stderr: string
}

/** A life that takes longer than this hangs. */
const patienceMs = 20_000

/** One process of the program, from its start to its end, and what it has written down meanwhile. */
export class Life {
  readonly ended: Promise<Ended>
  readonly lines: CallLine[] = []
  private readonly child: ChildProcess
  private readonly tail: LineTail<CallLine>
  private readonly store: CrashStore

  /** `tail` is handed from one life to the next, so that each sees the lines of its own. */
  constructor(store: CrashStore, order: Order, tail: LineTail<CallLine>) {
    this.tail = tail
    this.store = store
    this.child = spawn(process.execPath, [join(import.meta.dirname, 'program.ts'), JSON.stringify(order)], {
      env: { ...process.env, ...store.env, NODE_COMPILE_CACHE: join(dirname(order.folder), 'compiled') },
      stdio: ['ignore', 'ignore', 'pipe'],
      timeout: patienceMs,
      killSignal: 'SIGABRT',
    })
    let stderr = ''
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    const { promise, resolve } = Promise.withResolvers<Ended>()
    this.child.once('close', (code, signal) => {
      this.look()
      resolve({ code, signal, stderr })
    })
    this.ended = promise
  }

  /** Resolves once steps are running, or when the process has ended without any. */
  async hasBegun(): Promise<void> {
    while (this.isAlive && this.look().length < 4) await delay(2)
  }

  leave(): void {
    this.child.kill('SIGTERM')
  }

  /** Kills the process from outside, whatever it does. */
  kill(): void {
    this.child.kill('SIGKILL')
  }

  /**
   * Kills the process from outside while steps are under way. It is stopped first and looked at: when too little is in
   * flight at that moment, it may go on for a little.
   */
  async strike(leastInFlight: number): Promise<void> {
    while (this.isAlive) {
      this.child.kill('SIGSTOP')
      await delay(1)
      if (countOpen(this.look()) > 0 && (await countClaimed(this.store)) >= leastInFlight) break
      this.child.kill('SIGCONT')
      await delay(1)
    }
    this.child.kill('SIGKILL')
  }

  private get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  private look(): readonly CallLine[] {
    this.lines.push(...this.tail.next())
    return this.lines
  }
}

/** A life in which everything that was ever accepted comes to its end. */
export async function playToRest(store: CrashStore, order: Omit<Order, 'untilRest'>): Promise<void> {
  const { calls } = placesIn(order.folder)
  const { code, stderr } = await new Life(store, { ...order, untilRest: true }, new LineTail(calls)).ended
  assert.equal(stderr, '')
  assert.equal(code, 0)
}
