import { type Command, Option } from 'commander'
import { type InstanceStatus, instanceStatuses } from '../domain/instance.ts'
import type { CaseView, Page } from '../engine/core.ts'
import { caseJson, eventJson, pageJson, stepJson } from '../engine/as-json.ts'
import { type Act, count, example } from './command.ts'
import type { Context } from './context.ts'
import { dim } from './lines.ts'
import { sayWhatIsOpen } from './running.ts'
import { showAudit, showCase, showSteps, statusStyles } from './show-case.ts'
import { localTime } from './times.ts'

interface ListOptions {
  readonly status?: InstanceStatus
  readonly workflow?: string
  readonly limit?: number
  readonly cursor?: string
}

export function addCases(program: Command, act: Act): void {
  const cases = program
    .command('cases')
    .description('list the cases of the store, latest first')
    .addOption(new Option('--status <status>', 'only cases that stand like this').choices(instanceStatuses))
    .option('--workflow <workflow>', 'only cases of this workflow')
    .option('--limit <n>', 'at most so many', count)
    .option('--cursor <cursor>', 'go on where an earlier list ended')
    .action(act(listCases))
  example(cases, 'cases --status suspended')

  const one = program
    .command('case <instance>')
    .description('show one case, whole')
    .option('--steps', 'with every step and its result')
    .option('--audit', 'with its record, event by event')
    .action(act(showOne))
  example(one, 'case CASE --steps')
}

async function listCases(context: Context, options: ListOptions): Promise<void> {
  const { terminal } = context
  const page = await context.reading((reader) => reader.listCases(options))
  terminal.document(pageJson(page, caseJson))
  if (page.items.length === 0) return terminal.out.line('No case.')
  const rows = page.items.map((view) => [
    view.instanceId,
    view.status,
    view.tier ?? '-',
    localTime(view.submittedAtMs),
    view.workflow,
  ])
  terminal.out.table(['case', 'status', 'tier', 'submitted', 'workflow'], rows, { styles: statusStyles })
  sayMore(context, page)
}

function sayMore(context: Context, { nextCursor }: Page<CaseView>): void {
  if (nextCursor !== undefined) context.terminal.out.line(dim(`There are more: --cursor ${nextCursor}`))
}

async function showOne(
  context: Context,
  instanceId: string,
  options: { readonly steps?: boolean; readonly audit?: boolean },
): Promise<void> {
  const { terminal } = context
  await context.reading(async (reader) => {
    const view = await reader.getCase(instanceId)
    const steps = options.steps ? await reader.getSteps(instanceId) : undefined
    const events = options.audit ? await reader.getAudit(instanceId) : undefined
    terminal.document({
      ...caseJson(view),
      ...(steps && { steps: steps.map(stepJson) }),
      ...(events && { audit: events.map(eventJson) }),
    })
    showCase(terminal.out, view)
    if (steps) showSteps(terminal.out, steps)
    if (events) showAudit(terminal.out, events)
    sayWhatIsOpen(context, view)
  })
}
