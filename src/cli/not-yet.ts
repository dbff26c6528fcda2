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

const serving: readonly Announced[] = [
  {
    command: 'serve',
    description: 'run the service: API, workers, page',
    options: [
      ['--port <port>', 'where the API listens'],
      ['--host <host>', 'on which address'],
      ['--pack <dir...>', 'folders of packs, in place of CC_PACKS'],
      ['--workers <n>', 'cases in flight at a time; 0: the API alone'],
      ['--override-limits <reason>', 'start although a limit says no'],
    ],
    example: 'serve --pack packs/travel-claims',
    remedy: 'Run cases in this process: cognitive-core submit … --wait',
  },
  {
    command: 'worker',
    description: 'run workers alone (PostgreSQL)',
    options: [
      ['--concurrency <n>', 'cases in flight at a time'],
      ['--pack <dir...>', 'folders of packs, in place of CC_PACKS'],
    ],
    example: 'worker --concurrency 8',
    remedy: 'Run cases in this process: cognitive-core submit … --wait',
  },
  {
    command: 'doctor',
    description: 'limits, states, triggers, forecast: ready to graduate or not',
    options: [['--calibrate', 'measure what this machine can do']],
    example: 'doctor',
    remedy: 'Check the record for now: cognitive-core audit verify',
  },
]

const packs: readonly Announced[] = [
  {
    command: 'check <dir>',
    description: 'validate a pack: file, line, column, what is wrong, what would be right',
    example: 'pack check packs/travel-claims',
    remedy: 'Loading a pack checks it as well: cognitive-core run <pack> --case <file>',
  },
]

const noKeys = 'There is nothing to manage yet: --as names who acts, and is recorded as unverified.'

const keys: readonly Announced[] = [
  {
    command: 'add <name>',
    description: 'make a key',
    options: [['--role <role>', 'submitter, reviewer, auditor or operator']],
    example: 'keys add ann --role reviewer',
    remedy: noKeys,
  },
  { command: 'list', description: 'list the keys, without their secrets', example: 'keys list', remedy: noKeys },
  { command: 'revoke <name>', description: 'end a key', example: 'keys revoke ann', remedy: noKeys },
]

const moving: readonly Announced[] = [
  {
    command: 'backup <file>',
    description: 'copy a live SQLite store consistently',
    example: 'backup backup.db',
    remedy: 'Copy the file with its -wal beside it while no command runs.',
  },
  {
    command: 'restore <file>',
    description: 'put a backup in place, under a new epoch',
    example: 'restore backup.db',
    remedy: 'Point CC_DB_PATH at the copy.',
  },
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

const provisioning: readonly Announced[] = [
  {
    command: 'azure',
    description: 'print the az commands that make a database; they hold no secrets',
    options: [
      ['--resource-group <name>', 'where it belongs'],
      ['--name <name>', 'its name'],
      ['--location <location>', 'its region'],
      ['--sku <sku>', 'its size'],
      ['--version <version>', 'of PostgreSQL'],
      ['--storage-gb <n>', 'its disk'],
    ],
    example: 'provision azure --name cases-db',
    remedy: 'Stay with SQLite for now.',
  },
]

export function addServing(program: Command, act: Act): void {
  addAll(program, serving, act)
}

/** Commands that look after packs, keys and the store itself. */
export function addKeeping(program: Command, act: Act): void {
  addAll(program.command('pack').description('look after packs'), packs, act)
  addAll(program.command('keys').description('look after the keys of the API'), keys, act)
  addAll(program, moving, act)
  addAll(program.command('provision').description('prepare a database elsewhere'), provisioning, act)
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
