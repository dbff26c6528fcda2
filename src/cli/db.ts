import { type Command, Option } from 'commander'
import { CoreError } from '../errors.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'

const dialects = ['sqlite', 'postgres'] as const
const parts = ['coordinator', 'audit', 'checkpoint'] as const

interface SchemaOptions {
  readonly dialect: (typeof dialects)[number]
  readonly part?: (typeof parts)[number]
}

export function addDb(program: Command, act: Act): void {
  const db = program.command('db').description('make a store, bring it up to date, print its tables')

  const init = db
    .command('init')
    .description('make the store, if it is not there')
    .option('--app-role <name>', 'PostgreSQL: the role that the service will have')
    .action(act(initDb))
  example(init, 'db init --db data/coordinator.db')

  const migrate = db.command('migrate').description('bring the store up to this version').action(act(migrateDb))
  example(migrate, 'db migrate')

  const schema = db
    .command('schema')
    .description('print the statements that make the tables')
    .addOption(new Option('--dialect <dialect>', 'for which database').choices(dialects).default('sqlite'))
    .addOption(new Option('--part <part>', 'only this part').choices(parts))
    .action(act(printSchema, { needsSettings: false }))
  example(schema, 'db schema --dialect postgres --part audit')
}

async function initDb(context: Context, { appRole }: { readonly appRole?: string }): Promise<void> {
  if (appRole !== undefined) {
    throw new CoreError('CC_ERR_NOT_YET', { what: '--app-role', remedy: 'Leave it out: a SQLite file knows no roles.' })
  }
  const { terminal, stores } = context
  context.refuseService('db init')
  const { created, location } = await stores.initStore(context.place)
  await markStore(context)
  terminal.document({ created, location })
  terminal.out.line(created ? `Made the store ${location}.` : `The store ${location} is there already.`)
}

async function migrateDb(context: Context): Promise<void> {
  const { terminal, stores } = context
  context.refuseService('db migrate')
  const { applied, location } = await stores.migrateStore(context.place)
  await markStore(context)
  terminal.document({ applied, location })
  const { out } = terminal
  if (applied.length === 0) out.line(`The store ${location} is up to date.`)
  else out.line(`Brought ${location} up to date with migration ${applied.join(', ')}.`)
}

/** Every command says whether its store is a simulation, these as well. */
async function markStore(context: Context): Promise<void> {
  await context.reading(async () => {})
}

async function printSchema({ terminal }: Context, { dialect, part }: SchemaOptions): Promise<void> {
  const { schemas } = await import('../storage/schema.ts')
  const chosen = part === undefined ? parts : [part]
  terminal.document({ dialect, parts: Object.fromEntries(chosen.map((name) => [name, schemas[name][dialect]])) })
  if (!terminal.json) terminal.text(`${chosen.map((name) => schemas[name][dialect].trimEnd()).join('\n\n')}\n`)
}
