import type { Tier } from './governance.ts'

export const decisions = [
  'approve',
  'approve_with_changes',
  'deny',
  'refer',
  'release',
  'escalate',
  'confirm',
  'object',
] as const
export type Decision = (typeof decisions)[number]

/** `withdrawn`: nobody needs to decide any more, since the case was canceled. */
export const taskStatuses = ['open', 'decided', 'withdrawn'] as const
export type TaskStatus = (typeof taskStatuses)[number]

/** The words a task of each tier takes; every other word is refused. */
export const allowedDecisions: Readonly<Record<Task['tier'], readonly Decision[]>> = {
  spot_check: ['confirm', 'object'],
  gate: ['approve', 'approve_with_changes', 'deny', 'refer'],
  hold: ['release', 'approve_with_changes', 'deny', 'escalate'],
}

/** Something a person must do about an instance. */
export interface Task {
  readonly taskId: string
  readonly instanceId: string
  readonly tier: Exclude<Tier, 'auto'>
  readonly queue: string
  readonly escalationQueue: string
  readonly status: TaskStatus
  /** Why it was held: a short fact, never content. */
  readonly because: string
  readonly submittedBy: string
  /** People who may not decide this task: those who referred or escalated it. */
  readonly barred: readonly string[]
  readonly openedAtMs: number
  readonly dueMs: number
  /** Set when the SLA has passed and the task went to the escalation queue. */
  readonly escalatedAtMs: number | undefined
  readonly claimedBy: string | undefined
  readonly claimedUntilMs: number | undefined
  readonly decision: Decision | undefined
  readonly decidedBy: string | undefined
  readonly decidedAtMs: number | undefined
  /** SHA-256 of the canonical decision body, so that a repeat can be told from a second opinion. */
  readonly decisionDigest: string | undefined
  readonly decisionPayloadId: string | undefined
}

/** Whether two actors are one person, however their names are spelled; who was verified later is still who they were. */
export function isSamePerson(a: string, b: string): boolean {
  return nameOf(a) === nameOf(b)
}

function nameOf(actor: string): string {
  return actor
    .replace(/^(unverified:\s*)+/, '')
    .normalize('NFKC')
    .toLowerCase()
}
