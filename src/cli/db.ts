import { type Command, Option } from 'commander'
import type { PostgresSettings } from '../config.ts'
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
    .option('--app-role <name>', 'PostgreSQL: give this role the rights that the service needs, and no others')
    .option('--print', 'only print what --app-role would run')
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

interface InitOptions {
  readonly appRole?: string
  readonly print?: boolean
}

async function initDb(context: Context, { appRole, print = false }: InitOptions): Promise<void> {
  context.refuseService('db init')
  if (print && appRole === undefined) throw refuse('--print says what --app-role would run, and needs it.')
  if (appRole !== undefined && print) return await printGrants(context, appRole)
  // What is no role is refused before anything is made.
  if (appRole !== undefined) await grant(context, appRole, { isPrintOnly: true })
  const { terminal, stores } = context
  const { created, location } = await stores.initStore(context.place)
  await markStore(context)
  const grants = appRole === undefined ? undefined : await grant(context, appRole)
  terminal.document({ created, location, ...(grants && { grants }) })
  terminal.out.line(created ? `Made the store ${location}.` : `The store ${location} is there already.`)
  if (grants) showGrants(context, grants)
}

async function printGrants(context: Context, role: string): Promise<void> {
  const grants = await grant(context, role, { isPrintOnly: true })
  context.terminal.document({ grants })
  if (!context.terminal.json) context.terminal.text(asScript(grants.statements))
}

async function grant(context: Context, role: string, { isPrintOnly = false } = {}) {
  const { granting, statements } = await context.stores.grantStore(postgresOf(context), role, { isPrintOnly })
  return { role, applied: granting === 'applied', granting, statements }
}

function showGrants({ terminal }: Context, { role, granting, statements }: Awaited<ReturnType<typeof grant>>): void {
  const { out } = terminal
  if (granting === 'applied') return out.line(`The role ${role} has the rights that the service needs, and no others.`)
  const what = granting === 'no such role' ? `There is no role ${role}` : 'Only the owner of the tables may give rights'
  out.line(`${what}. Nothing was given; this would:`)
  if (!terminal.json) terminal.text(asScript(statements))
}

function asScript(statements: readonly string[]): string {
  return ['begin', ...statements, 'commit'].map((statement) => `${statement};\n`).join('')
}

function postgresOf({ config }: Context): PostgresSettings {
  if (config.postgres) return config.postgres
  throw refuse('--app-role is for PostgreSQL: a SQLite file knows no roles.')
}

function refuse(problem: string): CoreError {
  return new CoreError('CC_ERR_USAGE', { problem, help: 'db init --help' })
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
  const { storeScript } = await import('../storage/migrations.ts')
  const script = part === undefined ? storeScript(dialect) : schemas[part][dialect]
  const chosen = part === undefined ? parts : [part]
  const texts = Object.fromEntries(chosen.map((name) => [name, schemas[name][dialect]]))
  terminal.document({ dialect, script, parts: texts })
  if (!terminal.json) terminal.text(script)
}
