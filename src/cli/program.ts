import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { userInfo } from 'node:os'
import { Command } from 'commander'
import { type Config, configOfSettings, type Environment, loadConfig } from '../config.ts'
import { addAudit } from './audit.ts'
import { addBackup } from './backup.ts'
import { addCases } from './cases.ts'
import { addCaseVerbs } from './case-verbs.ts'
import { type Act, type Action, example, nameOf } from './command.ts'
import { Context, type Services, type Stores } from './context.ts'
import { addDb } from './db.ts'
import { addDecide } from './decide.ts'
import { addDemo } from './demo.ts'
import { reportFailure } from './failure.ts'
import { helpLook } from './help.ts'
import type { Interruption } from './interruption.ts'
import { addKeys } from './keys.ts'
import { addMoving, addWorking } from './not-yet.ts'
import { addPack } from './pack.ts'
import { addProvision } from './provision.ts'
import { addRun } from './run.ts'
import { addServe } from './serve.ts'
import { addSubmit } from './submit.ts'
import { addTasks } from './tasks.ts'
import { type Streams, Terminal } from './terminal.ts'
import { addWorker } from './worker.ts'

/** What the program is given from outside: nothing in here reaches for it. */
export interface Outside {
  readonly env: Environment
  readonly streams: Streams
  readonly stores: Stores
  readonly services: Services
  /** Called when a signal arrives and nothing has to be put in order. */
  readonly interruption: (announce: () => void) => Interruption
}

/** Options of every command, and those of some that stand for a setting. */
interface CommonOptions {
  readonly db?: string
  readonly as?: string
  readonly url?: string
  readonly apiKey?: string
  readonly pack?: readonly string[]
  readonly workers?: string
  readonly concurrency?: string
  readonly host?: string
  readonly port?: string
}

/** Runs one command line and returns its exit code; the table of codes stands in docs/cli.md. */
export async function runProgram(args: readonly string[], outside: Outside): Promise<number> {
  const terminal = new Terminal(outside.streams, outside.env, { json: isJsonAsked(args) })
  const interruption = outside.interruption(() => {
    // Somebody who is not there needs no word, and the log of a service is read line by line.
    if (!outside.streams.stderr.isTTY) return
    terminal.err.line('Interrupted: what is under way is brought to its end. A second time stops at once.')
  })
  const unlisten = interruption.listen()
  let exit = 0
  let isDebug = outside.env.CC_LOG_LEVEL === 'debug'
  const act: Act =
    <Words extends unknown[]>(action: Action<Words>, { needsSettings = true } = {}) =>
    async (...given: [...Words, Command]) => {
      const command = given.at(-1) as Command
      const words = given.slice(0, -1) as unknown as Words
      const config = needsSettings ? await readSettings(command, outside.env) : configOfSettings()
      isDebug ||= config.logLevel === 'debug'
      const context = contextOf(command, config, terminal, interruption, outside)
      exit = (await action(context, ...words)) ?? 0
    }
  const program = buildProgram(terminal, act, args)
  try {
    await program.parseAsync(args, { from: 'user' })
    return exit
  } catch (error) {
    return reportFailure(error, { terminal, help: helpFor(program, args), isDebug })
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

function buildProgram(terminal: Terminal, act: Act, args: readonly string[]): Command {
  const program = new Command('cognitive-core')
    .description('Governed cases on a durable, hash-chained record.')
    .helpOption('-h, --help', 'show help')
    .option('--json', 'answer as one JSON document; progress as JSON lines on standard error')
    .option('--db <path>', 'the SQLite file of the store, in place of CC_DB_PATH')
    .option('--as <name>', 'who acts; recorded as unverified:NAME')
    .option('--url <url>', 'the service to talk to, in place of a store')
    .option('--api-key <key>', 'the key to show there, in place of CC_API_KEY')
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
  // Options of the program count behind every command too, and one command has a `--version` that means another one.
  if (!args.includes('provision')) program.version(ownVersion(), '--version', 'print the version')

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
  addBackup(program, act)
  addMoving(program, act)
  addProvision(program, act)
  program.commandsGroup('Running:')
  addDemo(program, act)
  addServe(program, act)
  addWorker(program, act)
  addKeys(program, act)
  addWorking(program, act)
  addPack(program, act)
  program.helpCommand('help [command]', 'show help for a command')
  example(program, 'demo', 'tasks --help')
  return program
}

async function readSettings(command: Command, env: Environment): Promise<Config> {
  const { pack, ...flags } = command.optsWithGlobals<CommonOptions>()
  return await loadConfig(env, { packs: pack, ...flags })
}

function contextOf(
  command: Command,
  config: Config,
  terminal: Terminal,
  interruption: Interruption,
  { env, stores, services }: Outside,
): Context {
  const actor = actorNamed(command.optsWithGlobals<CommonOptions>().as || userName(env))
  return new Context({ terminal, config, actor, stores, services, interruption })
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
