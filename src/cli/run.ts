import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Command } from 'commander'
import type { Pack } from '../cognition/pack.ts'
import type { JsonObject } from '../domain/json.ts'
import type { CaseView, Core, StepView } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import { caseJson, listJson, stepJson } from '../engine/as-json.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { type CaseInputs, readCases, shownPath } from './input-files.ts'
import { dim, strong } from './lines.ts'
import { exitOf, settled } from './running.ts'
import { outcomeInWords, showContributions, statusStyles } from './show-case.ts'
import { StepPrinter } from './step-printer.ts'
import { widthOf } from './text.ts'

interface RunOptions {
  readonly case: string
  readonly scripted?: string
  readonly workflow?: string
  readonly domain?: string
}

interface Ended {
  readonly caseId: string
  readonly view: CaseView
  readonly steps: readonly StepView[]
}

export function addRun(program: Command, act: Act): void {
  const run = program
    .command('run <pack>')
    .description('try cases on a store that is thrown away, steps as they happen: for authors of packs')
    .requiredOption('--case <file>', 'one case or a list of them, as JSON; - reads standard input')
    .option('--scripted <file>', 'written answers in place of a model')
    .option('--workflow <workflow>', 'which workflow, where the pack has several')
    .option('--domain <domain>', 'which domain, where the workflow goes with several')
    .action(act(runPack))
  example(run, 'run packs/travel-claims --case packs/travel-claims/cases/claims.json')
}

async function runPack(context: Context, dir: string, options: RunOptions): Promise<number> {
  const { loadPack } = await import('../cognition/pack.ts')
  const [pack, { inputs, isList }] = await Promise.all([loadPack(dir), readCases(options.case, context.terminal.stdin)])
  const which = choose(pack, options)
  const model = chooseModel(context, pack, options.scripted)
  introduce(context, pack, which, model)

  // The folder goes in any case, so an interruption waits for that.
  return await context.interruption.hold(async () => {
    const folder = await mkdtemp(join(tmpdir(), 'cognitive-core-run-'))
    try {
      const { workerConcurrency, models } = context.config
      const settings = {
        path: join(folder, 'run.db'),
        packs: [dir],
        workerConcurrency,
        models,
        ...(model && { model }),
      }
      return await context.writing(settings, (core) => runCases(context, core, which, { inputs, isList }))
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
}

/** One after the other, so that the steps of a case stand together. */
async function runCases(context: Context, core: Core, which: Which, { inputs, isList }: CaseInputs): Promise<number> {
  core.start()
  const ended: Ended[] = []
  for (const input of inputs) ended.push(await runCase(context, core, which, input))
  const documents = ended.map(({ caseId, view, steps }) => ({
    case_id: caseId,
    ...caseJson(view),
    steps: steps.map(stepJson),
  }))
  context.terminal.document(isList ? listJson(documents) : documents[0]!)
  return Math.max(...ended.map(({ view }) => exitOf(view)))
}

interface Which {
  readonly workflow: string
  readonly domain: string
  /** Columns that the names of its steps take. */
  readonly nameWidth: number
}

/** The only pair there is, or the one that was asked for; the core refuses what the pack does not have. */
function choose({ definitions }: Pack, { workflow, domain }: RunOptions): Which {
  const pairs = definitions.map(({ definition }) => ({
    workflow: definition.workflow,
    domain: definition.domain,
    nameWidth: Math.max(...definition.steps.map(({ name }) => widthOf(name))),
  }))
  const fitting = pairs.filter(
    (pair) => pair.workflow === (workflow ?? pair.workflow) && pair.domain === (domain ?? pair.domain),
  )
  const [first = pairs[0]!, ...others] = fitting
  if (others.length === 0) return { ...first, workflow: workflow ?? first.workflow, domain: domain ?? first.domain }
  const choices = fitting.map((pair) => `--workflow ${pair.workflow} --domain ${pair.domain}`).join(', ')
  throw new CoreError('CC_ERR_USAGE', { problem: `The pack has several; name one of: ${choices}.`, help: 'run --help' })
}

function chooseModel(context: Context, { scriptedFile }: Pack, scripted: string | undefined): string | undefined {
  if (scripted !== undefined) return `scripted:${scripted}`
  return context.config.model ?? (scriptedFile && `scripted:${scriptedFile}`)
}

function introduce(
  { terminal: { out, err } }: Context,
  pack: Pack,
  { workflow, domain }: Which,
  model: string | undefined,
): void {
  for (const warning of pack.warnings) err.line({ text: 'warning:', style: 'attention' }, ` ${warning}`)
  const isOwn = pack.scriptedFile !== undefined && model === `scripted:${pack.scriptedFile}`
  out.facts(
    [
      ['pack', pack.name],
      ['workflow', `${workflow} · ${domain}`],
      ['model', `${shownModel(model)}${isOwn ? ', the answers that the pack brings along' : ''}`],
    ],
    0,
  )
}

function shownModel(model = 'none'): string {
  return model.startsWith('scripted:') ? `scripted:${shownPath(model.slice('scripted:'.length))}` : model
}

async function runCase(context: Context, core: Core, which: Which, input: JsonObject): Promise<Ended> {
  const { caseIdOf } = await import('../domain/instance.ts')
  const { out } = context.terminal
  const { workflow, domain, nameWidth } = which
  const { instanceId } = await core.submit({ workflow, domain, input, actor: context.actor })
  const caseId = caseIdOf(input, instanceId)
  context.terminal.mark(core.simulated)
  out.line()
  out.line(strong(caseId))
  const printer = new StepPrinter(context.terminal, core, { instanceId, nameWidth })
  const view = await settled(context, core, instanceId)
  const steps = await printer.finish()
  out.line(
    '  ',
    { text: view.status, style: statusStyles[view.status]! },
    ` at ${view.tier ?? 'no tier'}  `,
    dim(outcomeInWords(view)),
  )
  if (view.failure) out.prose(view.failure.message, { indent: 2 })
  showContributions(out, view)
  return { caseId, view, steps }
}
