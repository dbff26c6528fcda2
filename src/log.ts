import { pino } from 'pino'
import { withoutEscapes } from './visible.ts'

/** One JSON line each; fields first, then a sentence without facts in it. Never content of a case, never a secret. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const
export type LogLevel = (typeof logLevels)[number]

/** Writes to standard error, so that standard output stays what a command answers. */
export function openLog(level: LogLevel): Log {
  const stream = pino.destination(2)
  const destination = { write: (line: string) => void stream.write(withoutEscapes(line)) }
  return pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, destination)
}

export const silentLog: Log = { debug: nothing, info: nothing, warn: nothing, error: nothing }

function nothing(): void {}
