import type { TaskView } from '../engine/core.ts'
import type { Context } from './context.ts'
import { invocation } from './invocation.ts'
import { dim, strong } from './lines.ts'
import { showContributions, showSteps, statusStyles } from './show-case.ts'
import { localTime } from './times.ts'

/** What a reviewer reads before deciding, in the order in which the questions come. */
export function showBrief(context: Context, task: TaskView): void {
  const { out } = context.terminal
  const view = task.case
  out.line(strong(`Task ${task.taskId}`), '  ', { text: `${task.tier} · ${task.status}`, style: 'attention' })
  out.facts([
    ['case', `${view.instanceId}, ${view.workflow} · ${view.domain}`],
    ['stands', view.disputed ? `${view.status}, disputed` : view.status],
    ['submitted', `${localTime(view.submittedAtMs)} by ${task.submittedBy}`],
    ['queue', task.queue],
    ['opened', localTime(task.openedAtMs)],
    ['due', task.escalatedAtMs === undefined ? dueInWords(task) : undefined],
    [
      'escalated',
      task.escalatedAtMs === undefined ? undefined : `${localTime(task.escalatedAtMs)}: nobody decided in time`,
    ],
    ['claimed', task.claimedBy && `by ${task.claimedBy}, until ${localTime(task.claimedUntilMs ?? 0)}`],
    ['decided', task.decision && `${task.decision} by ${task.decidedBy}, ${localTime(task.decidedAtMs ?? 0)}`],
    ['not by', [task.submittedBy, ...task.barred].join(', ')],
  ])
  showReasons(context, task)
  showEvidence(context, task)
  showProposal(context, task)
  showWords(context, task)
}

function dueInWords({ dueMs, escalationQueue, queue }: TaskView): string {
  return queue === escalationQueue ? localTime(dueMs) : `${localTime(dueMs)}, then it goes to ${escalationQueue}`
}

function showReasons({ terminal: { out } }: Context, task: TaskView): void {
  out.heading('Why a person decides')
  out.prose(task.because, { indent: 2 })
  showContributions(out, task.case)
}

function showEvidence({ terminal: { out } }: Context, task: TaskView): void {
  out.heading('Case as it was submitted')
  if (task.input === undefined) out.line('  ', dim('erased'))
  else out.value(task.input)
  showSteps(out, task.steps)
}

function showProposal({ terminal: { out } }: Context, { case: view }: TaskView): void {
  out.heading('Proposed')
  out.value(view.proposed)
  if (view.outcome === undefined || view.status !== 'completed') return
  out.heading('In effect', { text: `  ${view.status}`, style: statusStyles[view.status]! })
  out.value(view.outcome)
}

function showWords(context: Context, { taskId, status, allowed }: TaskView): void {
  if (status !== 'open') return
  const { out } = context.terminal
  out.heading('Decide it')
  out.line(`  one of: ${allowed.join(', ')}`)
  const [word = 'approve'] = allowed
  for (const line of brokenCommand(context.nextWords('decide', taskId, word, '--reason', 'WHY'), out.width - 2)) {
    out.line('  ', line)
  }
}

/** A command in lines that fit, each but the last with the backslash by which a shell reads on. */
export function brokenCommand(words: readonly string[], width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of keptTogether(words)) {
    const longer = line === '' ? word : `${line} ${word}`
    if (line === '' || longer.length + 2 <= width) line = longer
    else {
      lines.push(`${line} \\`)
      line = `  ${word}`
    }
  }
  return [...lines, line]
}

/** The verb and what it is about stay on one line, where people look for them. */
function keptTogether([...words]: readonly string[]): string[] {
  const verb = words.indexOf(invocation) + 1
  words.splice(verb, 2, words.slice(verb, verb + 2).join(' '))
  return words
}
