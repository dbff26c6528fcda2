import type { AuditEvent } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import { isJsonObject, type Json } from '../domain/json.ts'
import { endOfWorkflow } from '../domain/workflow.ts'
import type { CaseView, StepView } from '../engine/core.ts'
import { dim, type Lines, strong, type Style } from './lines.ts'
import { duration, localTime } from './times.ts'

/** Colours of the words that say how a case stands. */
export const statusStyles: Readonly<Record<string, Style>> = {
  completed: 'good',
  suspended: 'attention',
  failed: 'bad',
  terminated: 'bad',
  canceled: 'dim',
  running: 'strong',
}

/** One case, whole: what it is, where it stands, how its tier came about, what came out. */
export function showCase(lines: Lines, view: CaseView): void {
  const { status } = view
  const disputed = `${view.disputed ? ' · disputed' : ''}${view.inDoubt ? ` · in doubt: ${view.inDoubt}` : ''}`
  lines.line(strong(`Case ${view.instanceId}`), '  ', { text: `${status}${disputed}`, style: statusStyles[status]! })
  lines.facts([
    ['workflow', `${view.workflow} · ${view.domain}`],
    ['work', view.work],
    ['tier', view.tier],
    ['path', view.path.length > 0 ? view.path.join(' → ') : 'no step yet'],
    ['submitted', `${localTime(view.submittedAtMs)} by ${view.submittedBy}`],
    ['changed', view.endedAtMs === undefined ? localTime(view.updatedAtMs) : undefined],
    ['ended', view.endedAtMs === undefined ? undefined : localTime(view.endedAtMs)],
    ['failure', view.failure && `${view.failure.code}: ${view.failure.message}`],
  ])
  showContributions(lines, view)
  showOutcome(lines, view)
}

/** Every voice in the choice of the tier. */
export function showContributions(lines: Lines, { tier, tierContributions }: CaseView): void {
  if (tierContributions.length === 0) return
  lines.heading(`Why the tier is ${tier ?? 'not settled'}`)
  const rows = tierContributions.map(({ source, tier, because }) => [tier, source, because])
  lines.table(['tier', 'asked by', 'because'], rows, { indent: 2 })
}

function showOutcome(lines: Lines, view: CaseView): void {
  if (view.outcome !== undefined) {
    lines.heading('Outcome')
    lines.value(view.outcome)
  } else if (view.proposed !== undefined) {
    lines.heading('Proposed', dim('  it has not taken effect'))
    lines.value(view.proposed)
  }
}

/** What came out, in a few words, for one line of a list. */
export function outcomeInWords({ outcome, proposed, failure, status }: CaseView): string {
  if (failure) return failure.code
  const value = outcome ?? proposed
  if (value === undefined || value === null) return ''
  const said = isJsonObject(value)
    ? [value.disposition, value.recommendation, value.category].filter((part) => typeof part === 'string').join(' · ')
    : JSON.stringify(value)
  return outcome === undefined && status !== 'completed' ? `proposed: ${said}` : said
}

export function showSteps(lines: Lines, steps: readonly StepView[]): void {
  lines.heading('Steps')
  for (const step of steps) {
    lines.line(`  ${step.stepNo}  `, strong(step.step), `  ${stepInWords(step)}`)
    showRoute(lines, step, 5)
    lines.value(withoutConfidence(step.output), 5)
  }
}

/** The step's own words first; how sure it was stands in the line above. */
function withoutConfidence(output: Json | undefined): Json | undefined {
  if (!isJsonObject(output)) return output
  const { confidence: _, reasoning, ...others } = output
  return { ...(reasoning !== undefined && { reasoning }), ...others }
}

/** Where the step led and why, unless it only led to the next one. */
export function showRoute(lines: Lines, { route }: StepView, indent: number): void {
  if (route.by === 'sequence' || route.by === 'failure') return
  const to = route.to === endOfWorkflow ? 'the end' : route.to
  const why = route.by === 'when' ? `because ${route.condition}` : `by ${route.by.replace('_', ' ')}`
  lines.prose(`→ ${to} ${why}`, { indent, style: 'dim' })
}

/** One step without its content: what it was and how sure it was. */
export function stepInWords(step: StepView): string {
  const parts = [
    step.primitive,
    step.run > 1 ? `run ${step.run}` : undefined,
    step.attempts > 1 ? `${step.attempts} attempts` : undefined,
    step.status === 'failed' ? `failed: ${step.errorCode}` : confidenceOf(step),
    duration(step.endedAtMs - step.startedAtMs),
  ]
  return parts.filter((part) => part !== undefined).join(' · ')
}

function confidenceOf({ output }: StepView): string | undefined {
  const confidence = isJsonObject(output) ? output.confidence : undefined
  return typeof confidence === 'number' ? `confidence ${confidence}` : undefined
}

export function showAudit(lines: Lines, events: readonly AuditEvent[]): void {
  lines.heading('Record')
  const rows = events.map((event) => {
    const { actor = '', step = '' } = readEnvelope(event.envelope) ?? {}
    return [String(event.seq), localTime(event.atMs), event.type, step, actor, event.payloadId ?? '']
  })
  lines.table(['', 'time', 'event', 'step', 'actor', 'payload'], rows, { indent: 2 })
}
