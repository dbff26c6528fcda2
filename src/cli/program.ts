import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import { Command } from 'commander'
import { type Environment, readConfig } from '../config.ts'
import { CoreError } from '../errors.ts'
import { addAudit } from './audit.ts'
import { addCases } from './cases.ts'
import { addCaseVerbs } from './case-verbs.ts'
import { type Act, type Action, example, nameOf } from './command.ts'
import { Context, type Stores } from './context.ts'
import { addDb } from './db.ts'
import { addDecide } from './decide.ts'
import { addDemo } from './demo.ts'
import { reportFailure } from './failure.ts'
import { helpLook } from './help.ts'
import type { Interruption } from './interruption.ts'
import { addKeeping, addServing } from './not-yet.ts'
import { addRun } from './run.ts'
import { addSubmit } from './submit.ts'
import { addTasks } from './tasks.ts'
import { type Streams, Terminal } from './terminal.ts'

/** What the program is given from outside: nothing in here reaches for it. */
export interface Outside {
  readonly env: Environment
  readonly streams: Streams
  readonly stores: Stores
  /** Called when a signal arrives and nothing has to be put in order. */
  readonly interruption: (announce: () => void) => Interruption
}

/** Options of every command. */
interface CommonOptions {
  readonly db?: string
  readonly as?: string
  readonly url?: string
  readonly apiKey?: string
  readonly pack?: readonly string[]
}

/** Runs one command line and returns its exit code; the table of codes stands in docs/cli.md. */
export async function runProgram(args: readonly string[], outside: Outside): Promise<number> {
  const terminal = new Terminal(outside.streams, outside.env, { json: isJsonAsked(args) })
  const interruption = outside.interruption(() => {
    terminal.err.line('Interrupted: running steps are being recorded. A second time stops at once.')
  })
  const unlisten = interruption.listen()
  let exit = 0
  const act: Act =
    <Words extends unknown[]>(action: Action<Words>) =>
    async (...given: [...Words, Command]) => {
      const command = given.at(-1) as Command
      const words = given.slice(0, -1) as unknown as Words
      const context = contextOf(command, terminal, interruption, outside)
      exit = (await action(context, ...words)) ?? 0
    }
  const program = buildProgram(terminal, act)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exit
  } catch (error) {
    return reportFailure(error, {
      terminal,
      help: helpFor(program, args),
      isDebug: outside.env.CC_LOG_LEVEL === 'debug',
    })
  } finally {
    unlisten()
  }
}

/** What to ask for the help of the command that was meant. */
function helpFor(program: Command, args: readonly string[]): string {
  let command = program
  for (const word of args) command = command.commands.find((candidate) => candidate.name() === word) ?? command
  return `${nameOf(command)} --help`.trim()
}

/** Known before anything is parsed, so that a command line that cannot be parsed is answered in the right language. */
function isJsonAsked(args: readonly string[]): boolean {
  const end = args.indexOf('--')
  return args.slice(0, end < 0 ? undefined : end).includes('--json')
}

function buildProgram(terminal: Terminal, act: Act): Command {
  const program = new Command('cognitive-core')
    .description('Governed cases on a durable, hash-chained record.')
    .version(ownVersion(), '--version', 'print the version')
    .helpOption('-h, --help', 'show help')
    .option('--json', 'answer as one JSON document; progress as JSON lines on standard error')
    .option('--db <path>', 'the SQLite file of the store, in place of CC_DB_PATH')
    .option('--as <name>', 'who acts; recorded as unverified:NAME')
    .option('--url <url>', 'a service to talk to (not yet)')
    .option('--api-key <key>', 'the key for that service (not yet)')
    .configureHelp(helpLook)
    .configureOutput({
      writeOut: (text) => terminal.text(text),
      writeErr: (text) => terminal.usage(text),
      // Told with everything else that is refused.
      outputError: () => {},
      getOutHelpWidth: () => terminal.out.width,
      getErrHelpWidth: () => terminal.err.width,
    })
    .exitOverride()

  program.commandsGroup('Cases:')
  addRun(program, act)
  addSubmit(program, act)
  addCases(program, act)
  addCaseVerbs(program, act)
  program.commandsGroup('People:')
  addTasks(program, act)
  addDecide(program, act)
  program.commandsGroup('Record and store:')
  addAudit(program, act)
  addDb(program, act)
  addKeeping(program, act)
  program.commandsGroup('Running:')
  addDemo(program, act)
  addServing(program, act)
  program.helpCommand('help [command]', 'show help for a command')
  example(program, 'demo', 'tasks --help')
  return program
}

function contextOf(
  command: Command,
  terminal: Terminal,
  interruption: Interruption,
  { env, stores }: Outside,
): Context {
  const { db, as, url, apiKey, pack } = command.optsWithGlobals<CommonOptions>()
  if (url !== undefined || apiKey !== undefined) {
    throw new CoreError('CC_ERR_NOT_YET', {
      what: url === undefined ? '--api-key' : '--url',
      remedy: 'Name the file of the store with --db or CC_DB_PATH.',
    })
  }
  const config = readConfig(env, { db, packs: pack })
  return new Context({ terminal, config, actor: actorNamed(as || userName(env)), stores, interruption })
}

function userName(env: Environment): string {
  try {
    return userInfo().username
  } catch {
    // A container may run under a number that has no name.
    return env.USER || `uid-${process.getuid?.() ?? 'unknown'}`
  }
}

/** The program's own, from beside `src` or `dist`. */
function ownVersion(): string {
  const manifest = readFileSync(join(import.meta.dirname, '../../package.json'), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

/** Names are shown with the mark, so people will type it back. */
function actorNamed(name: string): string {
  return `unverified:${name.replace(/^(unverified:)+/, '')}`
}
