import { type Command, InvalidArgumentError, Option } from 'commander'
import type { Context } from './context.ts'
import { invocation } from './invocation.ts'

/** The words a command was given: its arguments in order, then its options. */
export type Action<Words extends unknown[]> = (context: Context, ...words: Words) => Promise<number | void>

/**
 * Makes what a command does an action of commander. What it returns becomes the exit code; nothing means 0. A command
 * without a use for settings is not kept waiting for them, and not kept from its work where one is wrong.
 */
export type Act = <Words extends unknown[]>(
  action: Action<Words>,
  options?: { readonly needsSettings: boolean },
) => (...given: [...Words, Command]) => Promise<void>

/** Shows at the end of `--help` how the command is typed here. */
export function example(command: Command, ...lines: readonly string[]): Command {
  const title = lines.length > 1 ? 'Examples:' : 'Example:'
  return command.addHelpText('after', `\n${title}\n${lines.map((line) => `  ${invocation} ${line}\n`).join('')}`)
}

/** The full name of a command: `audit verify`. */
export function nameOf(command: Command): string {
  const names: string[] = []
  for (let at: Command | null = command; at?.parent; at = at.parent) names.unshift(at.name())
  return names.join(' ')
}

/** A whole number from 1; for options that count something. */
export function count(text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text)
  throw new InvalidArgumentError('A whole number from 1 is needed.')
}

/** Whoever says how long to wait wants to wait. */
export function waitLimit(): Option {
  return new Option('--timeout <seconds>', 'how long to wait at most; implies --wait')
    .argParser(secondsToMs)
    .implies({ wait: true })
}

/** Seconds, fractions allowed, as milliseconds. */
function secondsToMs(text: string): number {
  const ms = Math.round(Number(text) * 1000)
  if (/^[\d.]+$/.test(text) && ms >= 1 && ms <= 2 ** 31 - 1) return ms
  throw new InvalidArgumentError('A number of seconds is needed.')
}
