import { hash } from 'node:crypto'
import { CoreError } from '../errors.ts'
import { newId, randomHex } from './identity.ts'
import { type Checkpoint, checkpointColumns, type Payload, type PayloadKind } from './instance.ts'
import { canonicalJson, envelopeWriter, type Json } from './json.ts'

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

/** Envelopes stay below this many bytes, so that a log of two-byte lengths can take them as they are. */
export const maxEnvelopeBytes = 65_534

const payloadLabel = Buffer.from('cc/payload/v1\n')
const saltBytes = 16

/** What the first event of an instance names as the hash before it: SHA-256("cc/case/v1\n" ‖ instance id). */
export function genesisHash(instanceId: string): string {
  return hash('sha256', `cc/case/v1\n${instanceId}`)
}

/** The head of a chain that has no event yet. */
export function chainStart(instanceId: string): ChainHead {
  return { seq: 0, hash: genesisHash(instanceId) }
}

/** The head once this event is the last. */
export function nextHead(event: AuditEvent): ChainHead {
  return { seq: event.seq, hash: event.hash }
}

/** SHA-256("cc/event/v1\n" ‖ envelope), the envelope being the stored text itself: nothing is written anew. */
export function eventHash(envelope: string): string {
  return hash('sha256', `cc/event/v1\n${envelope}`)
}

/**
 * SHA-256("cc/payload/v1\n" ‖ the salt's 16 bytes ‖ the text as UTF-8). The salt is stored as 32 hex digits and hashed
 * as the bytes they stand for. Without the salt, a guess at the content cannot be tried against the commitment.
 */
export function commitPayload(saltHex: string, text: string): string {
  const head = payloadLabel.length + saltBytes
  const bytes = Buffer.allocUnsafe(head + Buffer.byteLength(text))
  payloadLabel.copy(bytes)
  bytes.write(saltHex, payloadLabel.length, saltBytes, 'hex')
  bytes.write(text, head, 'utf8')
  return hash('sha256', bytes)
}

/** A row before it was written, or as it was read back: absent is undefined in the one and null in the other. */
type Recorded<T> = {
  readonly [K in keyof T]: undefined extends T[K] ? T[K] | null : T[K] extends string ? string : T[K]
}

/**
 * SHA-256("cc/checkpoint/v1\n" ‖ canonical JSON of the row by its column names), absent columns left out. `entry`, the
 * row's place in the table, is not part of it.
 */
export function checkpointDigest(checkpoint: Recorded<Checkpoint>): string {
  return hash('sha256', `cc/checkpoint/v1\n${writeCheckpoint(checkpoint)}`)
}

const writeCheckpoint = envelopeWriter(checkpointColumns)

/** Content on its way into the store: its row, and what an event says of it. */
export function newPayload(content: {
  readonly instanceId: string
  readonly kind: PayloadKind
  readonly value: Json
  readonly nowMs: number
}): { readonly payload: Payload; readonly reference: PayloadReference } {
  const { instanceId, kind, value, nowMs } = content
  const id = newId(nowMs)
  const text = canonicalJson(value)
  refuseTooMuch(text)
  const salt = randomHex(saltBytes)
  return {
    payload: { payloadId: id, instanceId, kind, text, salt, erasedAtMs: undefined },
    reference: { id, kind, commitment: commitPayload(salt, text) },
  }
}

/** How large a content may be: far beyond any prompt, and short of what hurts a database. */
export const maxPayloadBytes = 16_777_216

function refuseTooMuch(text: string): void {
  if (text.length * 3 <= maxPayloadBytes) return
  const bytes = Buffer.byteLength(text)
  if (bytes > maxPayloadBytes) throw new CoreError('CC_ERR_JSON_TOO_LARGE', { bytes, maxBytes: maxPayloadBytes })
}

const writeEvent = envelopeWriter({
  actor: 'actor',
  at: 'at',
  checkpoint: 'checkpoint',
  definition: 'definition',
  facts: 'facts',
  instance: 'instance',
  model: 'model',
  payload: 'payload',
  prev: 'prev',
  seq: 'seq',
  simulated: 'simulated',
  step: 'step',
  tier: 'tier',
  type: 'type',
  v: 'v',
})

/** Makes the draft the event after `head`. */
export function sealEvent(head: ChainHead, draft: AuditEventDraft): AuditEvent {
  const seq = head.seq + 1
  const envelope = writeEvent({
    actor: draft.actor,
    at: draft.atMs,
    checkpoint: draft.checkpoint,
    definition: draft.definition,
    facts: draft.facts,
    instance: draft.instanceId,
    model: draft.model,
    payload: draft.payload && {
      commitment: draft.payload.commitment,
      id: draft.payload.id,
      kind: draft.payload.kind,
    },
    prev: head.hash,
    seq,
    simulated: draft.simulated ? true : undefined,
    step: draft.step,
    tier: draft.tier,
    type: draft.type,
    v: 1,
  })
  refuseTooLarge(envelope, draft)
  return {
    instanceId: draft.instanceId,
    seq,
    type: draft.type,
    atMs: draft.atMs,
    payloadId: draft.payload?.id,
    envelope,
    prevHash: head.hash,
    hash: eventHash(envelope),
  }
}

/** The drafts as one run of events, each linked to the one before it. */
export function sealEvents(head: ChainHead, drafts: readonly AuditEventDraft[]): AuditEvent[] {
  const events: AuditEvent[] = []
  let end = head
  for (const draft of drafts) {
    const event = sealEvent(end, draft)
    events.push(event)
    end = event
  }
  return events
}

function refuseTooLarge(envelope: string, { type, instanceId }: AuditEventDraft): void {
  // A code unit takes at most three bytes, so most envelopes need not be measured.
  if (envelope.length * 3 <= maxEnvelopeBytes) return
  const bytes = Buffer.byteLength(envelope)
  if (bytes > maxEnvelopeBytes) {
    throw new CoreError('CC_ERR_EVENT_TOO_LARGE', { type, instanceId, bytes, maxBytes: maxEnvelopeBytes })
  }
}
