/** What can happen to an instance, as its chain records it. */
export const auditEventTypes = [
  'case.submitted',
  'step.completed',
  'step.failed',
  'step.retried',
  'step.intended',
  'case.held',
  'case.completed',
  'case.failed',
  'case.canceled',
  'case.terminated',
  'case.retried',
  'case.disputed',
  'cancel.requested',
  'task.opened',
  'task.claimed',
  'task.decided',
  'task.escalated',
  'payload.erased',
] as const
export type AuditEventType = (typeof auditEventTypes)[number]

/** A commitment to content: which payload, and SHA-256("cc/payload/v1\n" ‖ salt ‖ bytes). */
export interface PayloadReference {
  readonly id: string
  readonly kind: string
  readonly commitment: string
}

/**
 * One link of an instance's chain before it is hashed. Absent fields are left out of the envelope; numbers are safe
 * integers; a confidence travels as a decimal string.
 */
export interface AuditEventDraft {
  readonly instanceId: string
  readonly type: AuditEventType
  readonly atMs: number
  readonly actor: string
  readonly tier?: string
  readonly step?: string
  readonly model?: string
  /** Hash of the pinned definition. */
  readonly definition: string
  readonly simulated: boolean
  readonly payload?: PayloadReference
  /** SHA-256 of the canonical checkpoint row that this event commits to. */
  readonly checkpoint?: string
  /** Small facts: never content of the case. */
  readonly facts?: Readonly<Record<string, unknown>>
}

/** A row of `audit_events`, less its `entry`. */
export interface AuditEvent {
  readonly instanceId: string
  readonly seq: number
  readonly type: AuditEventType
  readonly atMs: number
  readonly payloadId: string | undefined
  /** Canonical JSON, stored verbatim: what is hashed. */
  readonly envelope: string
  readonly prevHash: string
  readonly hash: string
}

/** The end of a chain: the sequence number and hash of its last event. */
export interface ChainHead {
  readonly seq: number
  readonly hash: string
}
