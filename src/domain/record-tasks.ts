import { type Envelope, fault, type RecordFinding } from './chain.ts'
import { isSamePerson, type Decision } from './task.ts'

/** A row of `tasks`, as far as the chain states it too. */
export interface StoredTask {
  readonly taskId: string
  readonly instanceId: string
  readonly tier: string
  readonly queue: string
  readonly status: string
  readonly submittedBy: string
  /** The text of a list of names, as it was written. */
  readonly barred: string
  readonly openedAtMs: number
  readonly escalatedAtMs: number | null
  readonly decision: string | null
  readonly decidedBy: string | null
  readonly decidedAtMs: number | null
  readonly decisionPayloadId: string | null
}

/** What the whole chain comes to, which the row of each task depends on too. */
export interface TaskSurroundings {
  /** Events beyond the first bad one were not believed; what only they could explain is not held against anything. */
  readonly isCut: boolean
  readonly isCanceled: boolean
}

/** What an event states of a column. */
type Statement = readonly [column: string, has: unknown, says: unknown, seq: number]

interface Opening {
  readonly seq: number
  readonly event: Envelope
  readonly barred: readonly string[]
}

/** Decisions that ask another person, in the words in which the reasons for the tier say so. */
const passingWords: ReadonlyMap<unknown, string> = new Map<Decision, string>([
  ['refer', 'referred'],
  ['escalate', 'escalated'],
  ['object', 'disputed'],
])

/** What a person who passes the case on adds to the reasons for its tier; undefined for any other event. */
export function voiceOf({ type, facts, actor }: Envelope): object | undefined {
  const word = type === 'task.decided' ? passingWords.get(facts?.decision) : undefined
  return word === undefined ? undefined : { source: 'person', tier: 'hold', because: `${word} by ${actor}` }
}

/**
 * Checks the tasks of one instance against the events that opened, moved and decided them. Who may not decide a task
 * follows from the events before it, so a name that was taken out of a row for a while is found in the decision.
 */
export class TaskCheck {
  private readonly report: (finding: RecordFinding) => void
  private readonly openings = new Map<string, Opening>()
  private readonly escalations = new Map<string, Envelope>()
  private readonly decisions = new Map<string, Envelope>()
  private readonly found = new Set<string>()
  private submitter: string | undefined
  /** The decision that asks another person, until it has opened their task. */
  private passing: Envelope | undefined

  constructor(report: (finding: RecordFinding) => void) {
    this.report = report
  }

  note(envelope: Envelope): void {
    const { type, facts, actor, seq } = envelope
    this.submitter ??= actor
    if (type === 'task.opened') this.noteOpening(envelope)
    else if (type === 'task.escalated') noteOnce(this.escalations, facts?.task, envelope, this.report)
    else if (type === 'task.decided') {
      noteOnce(this.decisions, facts?.task, envelope, this.report)
      if (voiceOf(envelope)) this.passing = envelope
      const excluded = [this.submitter, ...this.barredFrom(facts?.task)]
      if (!excluded.some((name) => isSamePerson(name, actor))) return
      this.report(fault(seq, 'inserted', 'audit_events', `${actor} may not decide task ${String(facts?.task)}`))
    }
  }

  check(row: StoredTask, surroundings: TaskSurroundings): void {
    const { taskId } = row
    const opening = this.openings.get(taskId)
    if (!opening) return this.report(fault(undefined, 'inserted', 'tasks', `no event opened task ${taskId}`))
    this.found.add(taskId)
    for (const [column, has, says, seq] of this.statementsOn(row, opening, surroundings)) {
      if (has === says) continue
      const detail = `task ${taskId}: the column has ${String(has)}, the chain says ${String(says)}`
      this.report(fault(seq, 'changed', `tasks.${column}`, detail))
    }
  }

  finish(): void {
    for (const [id, { seq }] of this.openings) {
      if (this.found.has(id)) continue
      this.report(fault(seq, 'missing', 'tasks', `task ${id} of event ${seq} is not there`))
    }
  }

  /** A decision that passes the case on opens the next task in the same breath; any other task the engine opened. */
  private noteOpening(event: Envelope): void {
    const { passing } = this
    this.passing = undefined
    const barred = passing ? [...this.barredFrom(passing.facts?.task), passing.actor] : []
    noteOnce(this.openings, event.facts?.task, { seq: event.seq, event, barred }, this.report)
  }

  private barredFrom(taskId: unknown): readonly string[] {
    return this.openings.get(String(taskId))?.barred ?? []
  }

  private statementsOn(row: StoredTask, opening: Opening, surroundings: TaskSurroundings): Statement[] {
    const { seq, event, barred } = opening
    return [
      ['tier', row.tier, event.tier, seq],
      ['submitted_by', row.submittedBy, this.submitter, seq],
      ['barred', row.barred, JSON.stringify(barred), seq],
      ['opened_at_ms', row.openedAtMs, event.at, seq],
      ...this.statementsOnPlace(row, opening, surroundings),
      ...this.statementsOnDecision(row, opening, surroundings),
    ]
  }

  private statementsOnPlace(row: StoredTask, { seq, event }: Opening, { isCut }: TaskSurroundings): Statement[] {
    const escalation = this.escalations.get(row.taskId)
    if (!escalation && isCut) return []
    const at = escalation?.seq ?? seq
    return [
      ['queue', row.queue, escalation ? escalation.facts?.to : event.facts?.queue, at],
      ['escalated_at_ms', row.escalatedAtMs, escalation?.at ?? null, at],
    ]
  }

  private statementsOnDecision(row: StoredTask, { seq }: Opening, around: TaskSurroundings): Statement[] {
    const decision = this.decisions.get(row.taskId)
    if (!decision && around.isCut) return []
    const undecided = around.isCanceled ? 'withdrawn' : 'open'
    const at = decision?.seq ?? seq
    return [
      ['status', row.status, decision ? 'decided' : undecided, at],
      ['decision', row.decision, decision?.facts?.decision ?? null, at],
      ['decided_by', row.decidedBy, decision?.actor ?? null, at],
      ['decided_at_ms', row.decidedAtMs, decision?.at ?? null, at],
      ['decision_payload_id', row.decisionPayloadId, decision?.payload?.id ?? null, at],
    ]
  }
}

/** Keeps what an event says of something that happens once; the second event of the kind is a finding. */
export function noteOnce<T extends { readonly seq: number }>(
  map: Map<string, T>,
  id: unknown,
  value: T,
  report: (finding: RecordFinding) => void,
): void {
  const earlier = map.get(String(id))
  if (!earlier) return void map.set(String(id), value)
  report(fault(value.seq, 'inserted', 'audit_events', `event ${earlier.seq} has said the same of ${String(id)}`))
}
