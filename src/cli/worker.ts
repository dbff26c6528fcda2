import type { Command } from 'commander'
import { workflowJson } from '../engine/as-json.ts'
import type { Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { strong } from './lines.ts'
import { packLines, untilTheEnd, workersInWords } from './serve.ts'

export function addWorker(program: Command, act: Act): void {
  const worker = program
    .command('worker')
    .description('run cases, and nothing else, beside services on the same PostgreSQL')
    .option('--concurrency <n>', 'cases in flight at a time, in place of CC_WORKER_CONCURRENCY')
    .option('--pack <dir...>', 'folders of packs, in place of CC_PACKS; cases run without them too')
    .action(act(runWorker))
  example(worker, 'worker --concurrency 8')
}

async function runWorker(context: Context): Promise<void> {
  context.refuseService('worker')
  const { config } = context
  if (!config.postgres) throw new CoreError('CC_ERR_WORKER_ON_SQLITE', { location: config.dbPath })
  await context.interruption.hold(async () => {
    const { log } = await context.openLog('info')
    await context.writing({ ...context.submittingSettings, log }, (core) => work(context, core))
  })
}

async function work(context: Context, core: Core): Promise<void> {
  core.start()
  const about = aboutWorker(context, core)
  context.terminal.document(about)
  showWorker(context, core, about)
  await untilTheEnd(context, core)
  await core.drain()
  if (core.lost.aborted) throw core.lost.reason
}

/** What runs here, for programs. */
function aboutWorker(context: Context, core: Core) {
  const { config } = context
  return {
    worker_id: core.workerId,
    store: core.location,
    backend: core.backend,
    database_id: core.databaseId,
    packs: core.listWorkflows().map(workflowJson),
    model: config.model ?? null,
    limits: { workers: workersInWords(config) },
    next: context.next('serve', '--workers', '0'),
  }
}

/** One block that says what runs here, and what to type next. */
function showWorker({ terminal: { out } }: Context, core: Core, about: ReturnType<typeof aboutWorker>): void {
  out.line(strong('Cognitive Core'), ` runs cases as ${about.worker_id}`)
  out.facts([
    ['store', `${about.store} (${about.backend})`],
    ...packLines(core, 'none: each case has its definition with it'),
    ['model', about.model ?? 'none: what needs one is left to others'],
    ['limits', about.limits.workers],
    ['next', about.next],
  ])
}
