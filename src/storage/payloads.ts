import type { Payload } from '../domain/instance.ts'
import type { Reader, SqlValue, Transaction } from './backend.ts'
import { aliased, rowsInserter, type Nullable, orNull, placeholders, withoutNulls } from './rows.ts'

/** In the order of `payloadValues`. */
export const payloadColumns = ['payload_id', 'instance_id', 'kind', 'text', 'salt', 'erased_at_ms']

export const insertPayloadsSql = rowsInserter('payloads', payloadColumns)

export function payloadValues({ payloadId, instanceId, kind, text, salt, erasedAtMs }: Payload): SqlValue[] {
  return [payloadId, instanceId, kind, orNull(text), orNull(salt), orNull(erasedAtMs)]
}

export async function insertPayload(tx: Transaction, payload: Payload): Promise<void> {
  await tx.execute(insertPayloadsSql(1), payloadValues(payload))
}

const selectedColumns = aliased({
  payloadId: 'payload_id',
  instanceId: 'instance_id',
  kind: 'kind',
  text: 'text',
  salt: 'salt',
  erasedAtMs: 'erased_at_ms',
})

export async function readPayload(reader: Reader, instanceId: string, payloadId: string): Promise<Payload | undefined> {
  const [row] = await reader.query<Nullable<Payload>>(
    `select ${selectedColumns} from payloads where instance_id = $1 and payload_id = $2`,
    [instanceId, payloadId],
  )
  return row && withoutNulls<Payload>(row)
}

/** What names a payload. */
export type PayloadName = Pick<Payload, 'instanceId' | 'payloadId'>

/** The named payloads, by their ids; one that is not there is absent. */
export async function readPayloads(
  reader: Reader,
  names: readonly PayloadName[],
): Promise<ReadonlyMap<string, Payload>> {
  if (names.length === 0) return new Map()
  const list = names.map((_, index) => `(${placeholders(2, index * 2)})`).join(', ')
  const rows = await reader.query<Nullable<Payload>>(
    `select ${selectedColumns} from payloads where (instance_id, payload_id) in (values ${list})`,
    names.flatMap(({ instanceId, payloadId }) => [instanceId, payloadId]),
  )
  return new Map(rows.map((row) => [row.payloadId, withoutNulls<Payload>(row)]))
}

/** Whether something that a step reads, the input or an output, was erased. */
export async function isReadingErased(reader: Reader, instanceId: string): Promise<boolean> {
  const rows = await reader.query(
    `select 1 from payloads where instance_id = $1 and kind in ('input', 'output') and erased_at_ms is not null limit 1`,
    [instanceId],
  )
  return rows.length > 0
}

/** Removes text and salt for good. The one change that the table lets through; false when it was erased before. */
export async function erasePayload(
  tx: Transaction,
  { instanceId, payloadId, nowMs }: { instanceId: string; payloadId: string; nowMs: number },
): Promise<boolean> {
  const changed = await tx.execute(
    `update payloads set text = null, salt = null, erased_at_ms = $3
      where instance_id = $1 and payload_id = $2 and erased_at_ms is null`,
    [instanceId, payloadId, nowMs],
  )
  return changed === 1
}
