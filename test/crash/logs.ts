import { existsSync, openSync, readFileSync, readSync, writeSync } from 'node:fs'
import type { Errand } from './errands.ts'

/** What the primitives write down, before they begin and when they are done. One process writes one round. */
export type CallLine =
  | { readonly round: number; readonly what: 'begun' }
  | {
      readonly round: number
      readonly what: 'start' | 'end'
      /** Of this one call, and part of what it answers: so the store says which call it has recorded. */
      readonly call: string
      readonly instance: string
      readonly step: string
      readonly run: number
      readonly attempt: number
    }
  /** The process is about to kill itself here. */
  | { readonly round: number; readonly what: 'fault'; readonly point: 'before' | 'after' }
  /** The process has closed its store and leaves in good order. */
  | { readonly round: number; readonly what: 'left' }

/** What the client writes down: what it is going to ask, and what it was answered. */
export type ClientLine =
  | { readonly what: 'asked'; readonly key: string; readonly errand: Errand }
  | { readonly what: 'accepted'; readonly key: string; readonly instance: string; readonly seen: boolean }
  | { readonly what: 'deciding' | 'decided'; readonly task: string; readonly instance: string }

/** A log that a process can be killed over: a line is with the operating system before the next thing happens. */
export class LineLog<L> {
  private readonly file: number

  constructor(path: string) {
    this.file = openSync(path, 'a')
  }

  add(line: L): void {
    writeSync(this.file, `${JSON.stringify(line)}\n`)
  }
}

export function readLines<L>(path: string): L[] {
  const text = readFileSync(path, 'utf8')
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as L)
}

/** Follows a log while others write it: hands out what has come since it was last asked. */
export class LineTail<L> {
  private readonly path: string
  private file: number | undefined
  private place = 0
  private rest = ''

  constructor(path: string) {
    this.path = path
  }

  next(): L[] {
    if (this.file === undefined && !existsSync(this.path)) return []
    this.file ??= openSync(this.path, 'r')
    const lines: L[] = []
    const bytes = Buffer.alloc(65_536)
    for (let size; (size = readSync(this.file, bytes, 0, bytes.length, this.place)) > 0; this.place += size) {
      const parts = (this.rest + bytes.toString('latin1', 0, size)).split('\n')
      this.rest = parts.pop()!
      lines.push(...parts.map((line) => JSON.parse(line) as L))
    }
    return lines
  }
}

/** Calls of one process that have begun and not ended. */
export function countOpen(lines: readonly CallLine[]): number {
  const open = new Set<string>()
  for (const line of lines) {
    if (!('call' in line)) continue
    if (line.what === 'start') open.add(line.call)
    else open.delete(line.call)
  }
  return open.size
}

/** Where everything of one store stands. */
export function placesIn(folder: string) {
  return { database: `${folder}/errands.db`, calls: `${folder}/calls.log`, client: `${folder}/client.log` }
}

/** What stands in the logs of one store: written by the primitives, and by the client. */
export interface Logs {
  readonly calls: readonly CallLine[]
  readonly client: readonly ClientLine[]
}

export function readLogs(folder: string): Logs {
  const { calls, client } = placesIn(folder)
  return { calls: readLines(calls), client: readLines(client) }
}
