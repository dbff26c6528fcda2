import type { AuditEvent } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import type { Reader, SqlValue, Transaction } from './backend.ts'
import { aliased, rowsInserter, type Nullable, orNull, placeholders, withoutNulls } from './rows.ts'

/** In the order of `eventValues`. */
export const eventColumns = ['instance_id', 'seq', 'type', 'at_ms', 'payload_id', 'envelope', 'prev_hash', 'hash']

export const insertEventsSql = rowsInserter('audit_events', eventColumns)

export function eventValues(event: AuditEvent): SqlValue[] {
  const { instanceId, seq, type, atMs, payloadId, envelope, prevHash, hash } = event
  return [instanceId, seq, type, atMs, orNull(payloadId), envelope, prevHash, hash]
}

/** Adds events to a chain, inside the transaction that made them true. Whoever calls has moved the head to the last. */
export async function insertEvents(tx: Transaction, events: readonly AuditEvent[]): Promise<void> {
  for (const event of events) await tx.execute(insertEventsSql(1), eventValues(event))
}

const selectedColumns = aliased({
  instanceId: 'instance_id',
  seq: 'seq',
  type: 'type',
  atMs: 'at_ms',
  payloadId: 'payload_id',
  envelope: 'envelope',
  prevHash: 'prev_hash',
  hash: 'hash',
})

/** The chain of one instance behind a sequence number: so many events of it at most. */
export async function readEvents(
  reader: Reader,
  instanceId: string,
  { after, limit }: { readonly after: number; readonly limit: number },
): Promise<AuditEvent[]> {
  const rows = await reader.query<Nullable<AuditEvent>>(
    `select ${selectedColumns} from audit_events where instance_id = $1 and seq > $2 order by seq limit $3`,
    [instanceId, after, limit],
  )
  return rows.map((row) => withoutNulls<AuditEvent>(row))
}

/** The hash of one event; undefined when the chain does not reach so far. */
export async function readAuditHash(reader: Reader, instanceId: string, seq: number): Promise<string | undefined> {
  const [row] = await reader.query<{ hash: string }>(
    'select hash as "hash" from audit_events where instance_id = $1 and seq = $2',
    [instanceId, seq],
  )
  return row?.hash
}

/** The envelope of one event; undefined when it is not there. */
export async function readEnvelopeAt(reader: Reader, instanceId: string, seq: number): Promise<string | undefined> {
  const [row] = await reader.query<{ envelope: string }>(
    'select envelope as "envelope" from audit_events where instance_id = $1 and seq = $2',
    [instanceId, seq],
  )
  return row?.envelope
}

/** The latest envelope that refers to this payload: of what has just been recorded, it is among the last few. */
export async function readEnvelopeOf(
  reader: Reader,
  instanceId: string,
  payloadId: string,
): Promise<string | undefined> {
  const [row] = await reader.query<{ envelope: string }>(
    `select envelope as "envelope" from audit_events where instance_id = $1 and payload_id = $2
      order by seq desc limit 1`,
    [instanceId, payloadId],
  )
  return row?.envelope
}

/** Those of these instances that have a step whose intent stands in the chain without a result after it. */
export async function listStepsInDoubt(
  reader: Reader,
  instanceIds: readonly string[],
): Promise<{ readonly instanceId: string; readonly step: string | undefined }[]> {
  const rows = await reader.query<{ instanceId: string; envelope: string }>(
    `select i.instance_id as "instanceId", i.envelope as "envelope" from audit_events i
      where i.instance_id in (${placeholders(instanceIds.length)}) and i.type = 'step.intended' and not exists
        (select 1 from audit_events r where r.instance_id = i.instance_id and r.seq > i.seq
            and r.type in ('step.intended', 'step.completed', 'step.failed', 'step.retried'))`,
    instanceIds,
  )
  return rows.map(({ instanceId, envelope }) => ({ instanceId, step: readEnvelope(envelope)?.step }))
}
