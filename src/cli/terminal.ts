import { createInterface } from 'node:readline/promises'
import type { Readable } from 'node:stream'
import type { Environment } from '../config.ts'
import { simulatedNotice } from '../domain/export.ts'
import type { CoreError } from '../errors.ts'
import { asTypedHere } from './invocation.ts'
import { Lines } from './lines.ts'
import { safeJson, visible } from '../visible.ts'

/** The three streams of a process; tests bring their own. */
export interface Streams {
  readonly stdin: NodeJS.ReadStream
  readonly stdout: NodeJS.WriteStream
  readonly stderr: NodeJS.WriteStream
}

export interface Conversation extends Disposable {
  /** Asks for one line. Undefined when the person ended the input instead. */
  ask(question: string): Promise<string | undefined>
}

/** Waiting longer than this without a word looks like hanging. */
const quietMs = 2000
const statusEveryMs = 1000

/**
 * Everything the program says, in one of two languages: lines for people, or with --json one document on standard output
 * and progress as JSON lines on standard error. What belongs to the other language is silent.
 */
export class Terminal {
  /** The answer, for people. */
  readonly out: Lines
  /** What goes on beside the answer, for people. */
  readonly err: Lines
  readonly json: boolean
  private readonly streams: Streams
  private simulated: boolean | undefined
  private readonly startedAtMs = performance.now()
  private statusAtMs = 0
  private isStatusShown = false

  constructor(streams: Streams, env: Environment, { json }: { readonly json: boolean }) {
    this.streams = streams
    this.json = json
    for (const stream of [streams.stdout, streams.stderr]) stream.on('error', ignoreClosedPipe)
    const lines = (stream: NodeJS.WriteStream) =>
      new Lines((line) => this.writeLine(stream, line), {
        colors: Boolean(stream.isTTY) && !env.NO_COLOR && env.TERM !== 'dumb',
        // A terminal that does not know its size says 0.
        columns: (stream.isTTY && stream.columns) || undefined,
      })
    this.out = lines(streams.stdout)
    this.err = lines(streams.stderr)
  }

  get stdin(): Readable {
    return this.streams.stdin
  }

  /** A person sits there who can be asked. */
  get isInteractive(): boolean {
    return !this.json && Boolean(this.streams.stdin.isTTY) && Boolean(this.streams.stderr.isTTY)
  }

  /** Says once that the store is a simulation, and marks every document that follows. */
  mark(simulated: boolean | undefined): void {
    const isNews = simulated === true && this.simulated !== true
    this.simulated = simulated ?? this.simulated ?? false
    if (isNews) this.out.prose(simulatedNotice, { style: 'attention' })
  }

  /** The answer, for programs. */
  document(value: object): void {
    if (!this.json) return
    const mark = this.simulated === undefined ? {} : { simulated: this.simulated }
    const notice = this.simulated ? { notice: simulatedNotice } : {}
    this.write(this.streams.stdout, `${safeJson({ ...mark, ...notice, ...value }, 2)}\n`)
  }

  /** Text that is an answer by itself in either language and was made by this program: DDL, help. */
  text(text: string): void {
    this.write(this.streams.stdout, text)
  }

  /** One thing that happened, for programs that follow along. */
  progress(record: object): void {
    if (this.json) this.write(this.streams.stderr, `${safeJson(record)}\n`)
  }

  /** How far something long has come: at most once a second, and for people only after two seconds of silence. */
  status(record: object, text: string): void {
    const now = performance.now()
    if (now - this.statusAtMs < statusEveryMs) return
    if (this.json) this.progress(record)
    else if (this.streams.stderr.isTTY && now - this.startedAtMs > quietMs) {
      this.write(this.streams.stderr, `\r${visible(text)}\u001b[K`)
      this.isStatusShown = true
    } else return
    this.statusAtMs = now
  }

  /** A refusal: for people on standard error with the way out, for programs as the one document. */
  refusal(error: CoreError): void {
    if (this.json) {
      this.write(
        this.streams.stdout,
        `${safeJson({ code: error.code, detail: error.message, remedy: error.remedy }, 2)}\n`,
      )
    }
    this.err.line({ text: 'error:', style: 'bad' }, ` ${error.message}`)
    this.hint(error)
  }

  /** The way out of a refusal that was told already, for people. */
  hint(error: CoreError): void {
    this.err.line({ text: 'hint:', style: 'strong' }, `  ${asTypedHere(error.remedy)} (${error.code})`)
  }

  /** Help and usage, where the answer of the command would not be. */
  usage(text: string): void {
    if (!this.json) this.write(this.streams.stderr, text)
  }

  /** Where a defect happened, for whoever debugs it. */
  stack(error: unknown): void {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    this.progress({ stack: text })
    for (const line of text.split('\n')) this.err.line(line)
  }

  /** A conversation with the person at the terminal. Questions go to standard error: they are no part of the answer. */
  converse(signal: AbortSignal): Conversation {
    const { stdin: input, stderr: output } = this.streams
    const prompt = createInterface({ input, output, signal })
    // Lines are read ahead, so that an answer that was pasted together with the one before it is not lost.
    const lines = prompt[Symbol.asyncIterator]()
    // Ctrl-C arrives here and not as a signal while the prompt has the keyboard.
    prompt.once('SIGINT', () => process.kill(process.pid, 'SIGINT'))
    return {
      ask: async (question) => {
        prompt.setPrompt(`${visible(question)} `)
        prompt.prompt()
        const { value, done } = await lines.next()
        return done ? undefined : value.trim()
      },
      [Symbol.dispose]: () => prompt.close(),
    }
  }

  private writeLine(stream: NodeJS.WriteStream, line: string): void {
    if (!this.json) this.write(stream, `${line}\n`)
  }

  private write(stream: NodeJS.WriteStream, text: string): void {
    const clear = this.isStatusShown && !text.startsWith('\r') ? '\r\u001b[K' : ''
    if (clear) {
      this.isStatusShown = false
      this.streams.stderr.write(clear)
    }
    stream.write(text)
  }
}

/** Whoever reads may stop reading (`… | head`): the command still does what it was asked to do. */
function ignoreClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code !== 'EPIPE') throw error
}
