import type { Command } from 'commander'
import { type Config, maxSqliteWorkers } from '../config.ts'
import { workflowJson } from '../engine/as-json.ts'
import type { Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Log } from '../log.ts'
import { originInWords } from '../setting-sources.ts'
import { shownSettings } from '../shown-settings.ts'
import { type Act, example } from './command.ts'
import type { Context, KeyFile, Service } from './context.ts'
import { strong } from './lines.ts'

export function addServe(program: Command, act: Act): void {
  const serve = program
    .command('serve')
    .description('run the service: API, workers, page')
    .option('--port <port>', 'where the API listens, in place of CC_PORT; 0: any port that is free')
    .option('--host <host>', 'on which address, in place of CC_HOST')
    .option('--pack <dir...>', 'folders of packs, in place of CC_PACKS')
    .option('--workers <n>', 'cases in flight at a time; 0: the API alone, cases run elsewhere')
    .option('--override-limits <reason>', 'start although a limit says no (not yet)')
    .action(act(serveStore))
  example(serve, 'serve --pack packs/travel-claims')
}

async function serveStore(context: Context, { overrideLimits }: { readonly overrideLimits?: string }): Promise<void> {
  context.refuseService('serve')
  if (overrideLimits !== undefined) {
    const remedy = 'Leave it out: no limit is checked at the start yet.'
    throw new CoreError('CC_ERR_NOT_YET', { what: '--override-limits', remedy })
  }
  await context.interruption.hold(async () => {
    const { log } = await context.openLog('info')
    await withService(context, log, async (serving) => {
      const settings = { ...context.submittingSettings, log, url: serving.service.url }
      await context.writing(settings, (core) => serve(context, serving, core))
    })
  })
}

/** A service, and the keys of those whom it lets in; without them everybody on this machine. */
export interface Serving {
  readonly service: Service
  readonly keys: KeyFile | undefined
}

/** The service listens before the store is opened, so that its holder can be reached from the first moment. */
export async function withService<T>(context: Context, log: Log, body: (serving: Serving) => Promise<T>): Promise<T> {
  const { host, port, rateLimit, apiKeysFile } = context.config
  const keys = apiKeysFile === undefined ? undefined : await context.openKeys()
  await keys?.list()
  const defaultActor = context.actor
  const service = await context.services.start({ host, port, keys, defaultActor, rateLimit, log })
  try {
    return await body({ service, keys })
  } finally {
    await service.close()
  }
}

async function serve(context: Context, serving: Serving, core: Core): Promise<void> {
  const { service } = serving
  service.serve(core)
  core.start()
  const about = await aboutService(context, serving, core)
  context.terminal.document(about)
  showService(context, core, about)
  await serveToTheEnd(context, service, core)
}

/** Serves until somebody asks for the end, or the store is lost. Requests and steps under way are finished. */
export async function serveToTheEnd(context: Context, service: Service, core: Core): Promise<void> {
  await untilTheEnd(context, core)
  // Both at once: requests that wait for a case must not wait for each other's end.
  await Promise.all([service.close(), core.drain()])
  if (core.lost.aborted) throw core.lost.reason
}

/** Resolves once somebody asks for the end, or the store is lost. */
export async function untilTheEnd({ interruption }: Context, core: Core): Promise<void> {
  const signal = AbortSignal.any([interruption.signal, core.lost])
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
}

/** What runs here, for programs. */
export async function aboutService(context: Context, { service, keys }: Serving, core: Core) {
  const { config } = context
  const [first] = core.listWorkflows()
  return {
    url: service.url,
    store: core.location,
    backend: core.backend,
    database_id: core.databaseId,
    worker_id: config.workerConcurrency > 0 ? core.workerId : null,
    packs: core.listWorkflows().map(workflowJson),
    model: config.model ?? null,
    limits: {
      workers: workersInWords(config),
      replicas: config.postgres ? 'any number of processes on this database' : 'one process on this file',
      body: 'bodies up to 1 MiB',
    },
    keys: keys ? (await keys.list()).length : null,
    settings: shownSettings(config),
    next: first
      ? context.next('submit', first.workflow, '--domain', first.domain, '--input', 'case.json')
      : context.next('serve', '--pack', 'DIR'),
  }
}

/** One block that says what runs here, and what to type next. */
export function showService(
  { terminal: { out }, config }: Context,
  core: Core,
  about: Awaited<ReturnType<typeof aboutService>>,
): void {
  out.line(strong('Cognitive Core'), ` serves at ${about.url}`)
  out.facts([
    ['store', `${about.store} (${about.backend})`],
    ...packLines(core, 'none: no case can be submitted'),
    ['model', about.model ?? 'none: what needs one is refused'],
    ...(about.backend === 'postgres' && about.worker_id !== null ? [['worker', about.worker_id] as const] : []),
    ['limits', Object.values(about.limits).join(', ')],
    ['keys', keysInWords(about.keys, config.apiKeysFile)],
    ...settingLines(about.settings),
    ['next', about.next],
  ])
}

/** How many cases run here at a time; where none do, who runs them. */
export function workersInWords({ workerConcurrency, postgres }: Config): string {
  if (workerConcurrency === 0) {
    return postgres
      ? 'no cases in flight, workers elsewhere run them'
      : 'no cases in flight, nothing runs what is submitted before a process with workers has the file'
  }
  if (postgres) return `${workerConcurrency} cases in flight`
  return `${workerConcurrency} of at most ${maxSqliteWorkers} cases in flight`
}

export function packLines(core: Core, none: string): (readonly [string, string])[] {
  const workflows = core.listWorkflows()
  if (workflows.length === 0) return [['packs', none]]
  return workflows.map(({ pack, workflow, domain, definitionHash }, index) => [
    index === 0 ? 'packs' : '',
    `${pack}: ${workflow} · ${domain}, ${definitionHash.slice(0, 12)}`,
  ])
}

/** Settings that somebody has chosen, and where. */
function settingLines(settings: ReturnType<typeof shownSettings>): (readonly [string, string])[] {
  const chosen = Object.entries(settings).filter(([, { source }]) => source !== 'default')
  return chosen.map(([name, shown], index) => [
    index === 0 ? 'chosen' : '',
    `${name}=${shown.value} (${originInWords(shown)})`,
  ])
}

function keysInWords(count: number | null, file: string | undefined): string {
  if (count === null) return 'none: everybody on this machine may do everything'
  return count === 0 ? `none in ${file}: nobody may do anything yet` : `${count} in ${file}`
}
