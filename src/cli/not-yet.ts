import type { Command } from 'commander'
import { CoreError } from '../errors.ts'
import { type Act, example, nameOf } from './command.ts'

/** A command whose name and options are settled and whose work is still to come. */
interface Announced {
  readonly command: string
  readonly description: string
  readonly options?: readonly (readonly [flags: string, description: string])[]
  readonly example: string
  readonly remedy: string
}

const working: readonly Announced[] = [
  {
    command: 'doctor',
    description: 'limits, states, triggers, forecast: ready to graduate or not',
    options: [['--calibrate', 'measure what this machine can do']],
    example: 'doctor',
    remedy: 'Check the record for now: cognitive-core audit verify',
  },
]

const moving: readonly Announced[] = [
  {
    command: 'graduate',
    description: 'move the store to PostgreSQL; without --yes it prints the plan and changes nothing',
    options: [
      ['--to <dsn>', 'the database to move to'],
      ['--rehearse', 'copy and verify, and stay'],
      ['--yes', 'move'],
      ['--resume', 'go on with a move that was interrupted'],
      ['--abort', 'give a move up'],
      ['--status', 'how far a move has come'],
    ],
    example: 'graduate --to postgres://db.example/cases',
    remedy: 'Stay with SQLite for now.',
  },
]

/** What says how far this place goes. */
export function addWorking(program: Command, act: Act): void {
  addAll(program, working, act)
}

/** Leaving the file for another database. */
export function addMoving(program: Command, act: Act): void {
  addAll(program, moving, act)
}

function addAll(parent: Command, announced: readonly Announced[], act: Act): void {
  for (const { command: usage, description, options = [], example: typed, remedy } of announced) {
    const command = parent.command(usage).description(`${description} (not yet)`)
    for (const [flags, says] of options) command.option(flags, says)
    command.action(act(() => refuse(nameOf(command), remedy)))
    example(command, typed)
  }
}

function refuse(name: string, remedy: string): Promise<never> {
  return Promise.reject(new CoreError('CC_ERR_NOT_YET', { what: name, remedy }))
}
