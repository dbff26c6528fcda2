import { caseJson, type JsonDocument, taskJson, verifyJson } from '../engine/as-json.ts'
import { showVerdict } from './audit.ts'
import type { Context } from './context.ts'
import type { DemoCase, DemoResult } from './demo-play.ts'
import { demoActors, type DemoPack } from './demo-packs.ts'
import { dim, type Part, strong } from './lines.ts'
import { outcomeInWords, statusStyles } from './show-case.ts'
import { brokenCommand } from './show-task.ts'
import { padTo } from './text.ts'
import { localTime } from './times.ts'

/** What the demo is about to do, said before anything happens. */
export function introduce({ terminal, config }: Context, packs: readonly DemoPack[]): void {
  const { out } = terminal
  const cases = packs.reduce((sum, pack) => sum + pack.cases.length, 0)
  out.line(strong('Cognitive Core: a demo'))
  // The store says so itself as soon as it has a case; here it is said before there is one.
  terminal.mark(true)
  out.line()
  out.facts([
    ['store', config.dbPath],
    ['cases', `${cases} of ${packs.length} sample packs, submitted as ${demoActors.submitter}`],
    ['model', 'scripted: every answer was written beforehand, and no API key is needed'],
  ])
}

export function showDemo(context: Context, result: DemoResult): void {
  const { out } = context.terminal
  for (const { pack, workflow, domain } of result.packs) {
    out.heading(pack.name, dim(`  ${workflow} · ${domain}`))
    for (const one of result.cases.filter(({ packName }) => packName === pack.name)) showOne(context, one)
  }
  showHeld(context, result)
  showRecord(context, result)
  showExpectation(context, result)
}

const margin = ' '.repeat(10)

function showOne({ terminal: { out } }: Context, { caseId, view, decided }: DemoCase): void {
  const status: Part = { text: padTo(view.status, 11), style: statusStyles[view.status]! }
  out.line('  ', strong(padTo(caseId, 7)), ` ${padTo(view.tier ?? 'no tier', 11)} `, status, ` ${outcomeInWords(view)}`)
  out.prose(view.path.join(' → '), { indent: margin.length, style: 'dim' })
  if (decided) out.prose(`${decided.decision} by ${demoActors.reviewer}: ${decided.reason}`, { indent: margin.length })
  if (view.failure) out.prose(`failed: ${view.failure.message}`, { indent: margin.length })
}

/** Each held case with the commands that show and decide it. */
function showHeld(context: Context, { cases, olderTasks }: DemoResult): void {
  const { out } = context.terminal
  out.heading('Held for a person')
  for (const { caseId, task, view } of cases) {
    if (!task) continue
    const what = view.status === 'suspended' ? 'nothing takes effect before' : 'a look at a completed case'
    out.line('  ', strong(padTo(caseId, 7)), ` ${padTo(task.tier, 11)} ${task.queue}`)
    out.prose(task.because, { indent: margin.length })
    out.prose(`due ${localTime(task.dueMs)}; ${what}`, { indent: margin.length, style: 'dim' })
    for (const words of commandsFor(context, task.taskId, task.tier)) {
      for (const line of brokenCommand(words, out.width - 4)) out.line('    ', line)
    }
    out.line()
  }
  if (olderTasks === 0) return
  out.line(`  ${olderTasks} more from earlier runs:`)
  out.line(`    ${context.next('tasks')}`)
  out.line()
}

const firstWords = { spot_check: 'confirm', gate: 'approve', hold: 'release' } as const

function commandsFor(context: Context, taskId: string, tier: keyof typeof firstWords): string[][] {
  return [
    context.nextWords('task', taskId),
    context.nextWords('decide', taskId, firstWords[tier], '--reason', 'Looked at it in the demo.'),
  ]
}

function showRecord(context: Context, { report }: DemoResult): void {
  const { out } = context.terminal
  out.line(strong('Record'))
  showVerdict(out, report, 2)
  out.prose(
    'No chain by itself can show that a whole case was removed, that its end was cut off together with its head, or ' +
      'that it was written anew to its end. In full, and for one store at any time:',
    { indent: 2, style: 'dim' },
  )
  out.line(`    ${context.next('audit', 'verify')}`)
}

function showExpectation({ terminal: { out } }: Context, { cases }: DemoResult): void {
  const surprising = cases.filter(({ surprises }) => surprises.length > 0)
  out.line()
  if (surprising.length === 0) {
    out.line({ text: 'Every case ended as its pack expects.', style: 'good' })
    return
  }
  out.line({ text: 'Not every case ended as its pack expects:', style: 'bad' })
  for (const { caseId, surprises } of surprising) out.prose(`${caseId}: ${surprises.join('; ')}`, { indent: 2 })
}

export function demoJson(context: Context, { cases, report }: DemoResult): JsonDocument {
  return {
    store: context.config.dbPath,
    items: cases.map(({ packName, caseId, view, decided, surprises }) => ({
      case_id: caseId,
      pack: packName,
      ...caseJson(view),
      decided: decided ? { ...decided, decided_by: demoActors.reviewer } : null,
      as_expected: surprises.length === 0,
      surprises,
    })),
    next_cursor: null,
    held: cases.flatMap(({ caseId, task }) => {
      if (!task) return []
      const [look, decide] = commandsFor(context, task.taskId, task.tier).map((words) => words.join(' '))
      return [{ case_id: caseId, ...taskJson(task), look, decide }]
    }),
    record: verifyJson(report),
  }
}
