import type { Command } from 'commander'
import type { JsonObject } from '../domain/json.ts'
import type { CaseVerbs, CaseView, Submitted } from '../engine/core.ts'
import { type CoreError, isCoreError } from '../errors.ts'
import { caseJson, type JsonDocument, listJson } from '../engine/as-json.ts'
import { sayNobodyRuns } from './case-verbs.ts'
import { type Act, example, waitLimit } from './command.ts'
import type { Context } from './context.ts'
import { readCases } from './input-files.ts'
import { exitOf, exits, follow, sayWhatIsOpen, settled } from './running.ts'
import { outcomeInWords, showCase, statusStyles } from './show-case.ts'

interface SubmitOptions {
  readonly domain: string
  readonly input: string
  readonly key?: string
  readonly wait?: boolean
  /** Milliseconds. */
  readonly timeout?: number
}

/** What became of one item of the input. */
interface Item {
  readonly key: string | undefined
  readonly submitted?: Submitted
  readonly view?: CaseView
  readonly refused?: CoreError
}

export function addSubmit(program: Command, act: Act): void {
  const submit = program
    .command('submit <workflow>')
    .description('submit a case, or each of a list of cases')
    .requiredOption('--domain <domain>', 'what the workflow is about')
    .requiredOption('--input <file>', 'the case as JSON; - reads it from standard input')
    .option('--key <key>', 'the same key again gives the same case; a list gets KEY-1, KEY-2, …')
    .option('--pack <dir...>', 'folders of packs, in place of CC_PACKS')
    .option('--wait', 'until it has ended or is held; without a service it runs here')
    .addOption(waitLimit())
    .action(act(submitCases))
  example(
    submit,
    'submit travel_claim_settlement --domain travel_insurance \\\n    --pack packs/travel-claims --input claim.json --wait',
  )
}

async function submitCases(context: Context, workflow: string, options: SubmitOptions): Promise<number> {
  const { inputs, isList } = await readCases(options.input, context.terminal.stdin)
  return await context.acting(context.submittingSettings, async (core, isServed) => {
    const items: Item[] = []
    for (const [index, input] of inputs.entries()) {
      const key = isList && options.key !== undefined ? `${options.key}-${index + 1}` : options.key
      items.push(await submitOne(context, core, { workflow, domain: options.domain, input, key }))
      context.terminal.mark(core.simulated)
      // One case by itself is refused like any other command; in a list the others still count.
      if (!isList && items[0]!.refused) throw items[0]!.refused
    }
    const ended = options.wait ? await runAll(context, core, items, options.timeout) : items
    answer(context, ended, isList)
    const isLeft = !options.wait && ended.some((item) => item.submitted?.status === 'running')
    if (isLeft && !isServed) sayNobodyRuns(context)
    return Math.max(...ended.map(exitOfItem))
  })
}

interface OneCase {
  readonly workflow: string
  readonly domain: string
  readonly input: JsonObject
  readonly key: string | undefined
}

async function submitOne(context: Context, core: CaseVerbs, { key, ...request }: OneCase): Promise<Item> {
  context.refuseIfInterrupted()
  try {
    const submitted = await core.submit({ ...request, actor: context.actor, ...(key !== undefined && { key }) })
    return { key, submitted }
  } catch (error) {
    if (!isCoreError(error)) throw error
    return { key, refused: error }
  }
}

/** Runs what was stored, all of it at once as far as workers allow; one time limit holds for all. */
async function runAll(
  context: Context,
  core: CaseVerbs,
  items: readonly Item[],
  timeoutMs: number | undefined,
): Promise<readonly Item[]> {
  const unfollow = follow(context, core, labelsOf(items), submission)
  core.start()
  const ended = await Promise.all(items.map((item) => runItem(context, core, item, timeoutMs)))
  await unfollow()
  // Whoever set a limit does not want to wait much longer for steps that are under way.
  if (ended.some(({ refused }) => isCoreError(refused, 'CC_ERR_TIMED_OUT'))) await core.drain({ patienceMs })
  return ended
}

/** The first event of every case. */
const submission = 1

const patienceMs = 1000

/** A single case needs no name beside what happens to it. */
function labelsOf(items: readonly Item[]): ReadonlyMap<string, string> {
  const stored = items.flatMap(({ submitted, key }, index) =>
    submitted?.status === 'running' ? [[submitted.instanceId, key ?? String(index + 1)] as const] : [],
  )
  return new Map(stored.length === 1 ? stored.map(([instanceId]) => [instanceId, '']) : stored)
}

async function runItem(context: Context, core: CaseVerbs, item: Item, timeoutMs: number | undefined): Promise<Item> {
  if (!item.submitted) return item
  const { instanceId } = item.submitted
  try {
    return { ...item, view: await settled(context, core, instanceId, { timeoutMs }) }
  } catch (error) {
    if (!isCoreError(error) || isCoreError(error, 'CC_ERR_INTERRUPTED')) throw error
    // The case is stored, and its place in the answer must not be lost with whatever kept it from being followed.
    const view = isCoreError(error, 'CC_ERR_TIMED_OUT') ? await lookOnce(core, instanceId) : undefined
    return { ...item, ...(view && { view }), refused: error }
  }
}

async function lookOnce(core: CaseVerbs, instanceId: string): Promise<CaseView | undefined> {
  try {
    return await core.getCase(instanceId)
  } catch (error) {
    if (isCoreError(error)) return undefined
    throw error
  }
}

function exitOfItem({ view, refused }: Item): number {
  if (refused) return refused.exit
  return view ? exitOf(view) : exits.done
}

function answer(context: Context, items: readonly Item[], isList: boolean): void {
  const { terminal } = context
  const [only] = items
  if (!isList && only?.refused) {
    // The refusal is the answer; that the case is stored all the same is said beside it.
    const { submitted } = only
    if (submitted) terminal.err.line(`Stored: case ${submitted.instanceId}, ${submitted.status}.`)
    throw only.refused
  }
  const documents = items.map(itemJson)
  terminal.document(isList ? listJson(documents) : documents[0]!)
  if (isList) showList(context, items)
  else showOne(context, only!)
}

function itemJson({ key, submitted, view, refused }: Item): JsonDocument {
  return {
    ...(submitted && { instance_id: submitted.instanceId, status: submitted.status, seen: submitted.seen }),
    ...(view && caseJson(view)),
    key: key ?? null,
    ...(refused && { error: { code: refused.code, detail: refused.message, remedy: refused.remedy } }),
  }
}

function showOne(context: Context, { submitted, view }: Item): void {
  const { out } = context.terminal
  if (view) {
    showCase(out, view)
    return sayWhatIsOpen(context, view)
  }
  const { instanceId, status, seen } = submitted!
  out.line(seen ? 'Known by its key: case ' : 'Stored: case ', `${instanceId}, ${status}.`)
}

function showList(context: Context, items: readonly Item[]): void {
  const { out } = context.terminal
  const rows = items.map(({ key, submitted, view, refused }, index) => [
    key ?? String(index + 1),
    submitted?.instanceId ?? '-',
    view?.status ?? submitted?.status ?? 'refused',
    view?.tier ?? '-',
    refused ? refused.message : view ? outcomeInWords(view) : submitted!.seen ? 'known by its key' : 'stored',
  ])
  out.table(['', 'case', 'status', 'tier', ''], rows, { styles: statusStyles })
  const refusals = new Map(items.flatMap(({ refused }) => (refused ? [[refused.remedy, refused]] : [])))
  for (const refused of refusals.values()) context.terminal.hint(refused)
  if (items.some(({ view }) => view && view.openTasks.length > 0)) {
    out.heading('Waiting for a person')
    out.line(`  ${context.next('tasks')}`)
  }
}
