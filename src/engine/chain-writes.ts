import {
  type AuditEvent,
  type AuditEventDraft,
  type ChainHead,
  newPayload,
  nextHead,
  type PayloadReference,
  sealEvents,
} from '../domain/audit.ts'
import type { Instance, PayloadKind } from '../domain/instance.ts'
import type { Json } from '../domain/json.ts'
import { insertEvents } from '../storage/audit.ts'
import type { Transaction } from '../storage/backend.ts'
import { changeInstance, type InstanceChange } from '../storage/instances.ts'
import { insertPayload } from '../storage/payloads.ts'
import { HeadMoved } from './store-writes.ts'

/** What happened, without what every event of the instance says anyway. */
export type Happening = Omit<AuditEventDraft, 'instanceId' | 'definition' | 'simulated'>

/** The happenings as the next links of the instance's chain. */
export function linkEvents(instance: Instance, head: ChainHead, happenings: readonly Happening[]): AuditEvent[] {
  const { instanceId, definitionHash: definition, simulated } = instance
  return sealEvents(
    head,
    happenings.map((happening) => ({ ...happening, instanceId, definition, simulated })),
  )
}

/** Where the chain of an instance without a work row ends. */
export function headOf({ auditSeq, auditHead }: Instance): ChainHead {
  return { seq: auditSeq, hash: auditHead }
}

/**
 * Records what happened to an instance without a work row, and what that changes in its row. Throws `HeadMoved` when
 * somebody was faster.
 */
export async function recordOnInstance(
  tx: Transaction,
  instance: Instance,
  happenings: readonly Happening[],
  change: Omit<InstanceChange, 'head'>,
): Promise<ChainHead> {
  const from = headOf(instance)
  const events = linkEvents(instance, from, happenings)
  const head = nextHead(events.at(-1)!)
  if (!(await changeInstance(tx, instance.instanceId, from, { ...change, head }))) throw new HeadMoved()
  await insertEvents(tx, events)
  return head
}

/** Stores content and returns what an event says of it. */
export async function keepContent(
  tx: Transaction,
  content: { readonly instanceId: string; readonly kind: PayloadKind; readonly value: Json; readonly nowMs: number },
): Promise<PayloadReference> {
  const { payload, reference } = newPayload(content)
  await insertPayload(tx, payload)
  return reference
}
