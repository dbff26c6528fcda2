import { type ChildProcess, spawn } from 'node:child_process'
import { join } from 'node:path'
import type { Ended } from './life.ts'

const main = join(import.meta.dirname, '../../src/main.ts')

/** One life of a process of the real program, from its start to its end. */
export class Member {
  /** What it says of itself when it is ready. Never resolves when it ends before that. */
  readonly about: Promise<{ readonly url: string; readonly worker_id: string }>
  readonly ended: Promise<Ended>
  isReady = false
  private readonly child: ChildProcess
  private stdout = ''
  private stderr = ''

  constructor(words: readonly string[], env: Readonly<Record<string, string>>) {
    this.child = spawn(process.execPath, [main, ...words, '--json'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
    this.about = new Promise((resolve) => {
      this.child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        this.stdout += text
        if (!this.stdout.endsWith('}\n')) return
        const document = JSON.parse(this.stdout)
        this.isReady = document.code === undefined
        if (this.isReady) resolve(document)
      })
    })
    this.child.stderr!.setEncoding('utf8').on('data', (text: string) => (this.stderr += text))
    this.ended = new Promise((resolve) => {
      this.child.once('close', (code, signal) => resolve({ code, signal, stderr: this.stderr }))
    })
  }

  /** What it has written to its log so far. */
  get log(): string {
    return this.stderr
  }

  /** The same, and what it has answered. */
  get words(): string {
    return `${this.stdout}${this.stderr}`
  }

  get isAlive(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  signal(signal: 'SIGSTOP' | 'SIGCONT'): void {
    this.child.kill(signal)
  }

  /** Kills the process from outside, whatever it does. */
  async kill(): Promise<Ended> {
    this.child.kill('SIGKILL')
    return await this.ended
  }

  async leave(): Promise<Ended> {
    this.child.kill('SIGTERM')
    return await this.ended
  }
}
