import { CommanderError } from 'commander'
import { CoreError } from '../errors.ts'
import type { Terminal } from './terminal.ts'

export interface FailureContext {
  readonly terminal: Terminal
  /** How to ask for the help of the command that failed. */
  readonly help: string
  readonly isDebug: boolean
}

/** Tells why a command was not done, and returns the exit code of that. */
export function reportFailure(error: unknown, { terminal, help, isDebug }: FailureContext): number {
  // Commander ends help and version by an error too.
  if (error instanceof CommanderError && error.exitCode === 0) return 0
  const refusal = refusalOf(error, help)
  // Without a command the help itself is the answer, for people.
  const isHelpShown = error instanceof CommanderError && error.code === 'commander.help' && !terminal.json
  if (!isHelpShown) terminal.refusal(refusal)
  if (isDebug) terminal.stack(error)
  return refusal.exit
}

function refusalOf(error: unknown, help: string): CoreError {
  if (error instanceof CoreError) return error
  if (error instanceof CommanderError) {
    const problem = error.code === 'commander.help' ? 'A command is missing.' : sentenceOf(error.message)
    return new CoreError('CC_ERR_USAGE', { problem, help })
  }
  const problem = error instanceof Error ? error.message : String(error)
  return new CoreError('CC_ERR_UNEXPECTED', { problem }, { cause: error })
}

/** `error: unknown command 'taks'\n(Did you mean tasks?)` as one sentence. */
function sentenceOf(message: string): string {
  const text = message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ')
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.?!)]$/.test(text) ? '' : '.')
}
