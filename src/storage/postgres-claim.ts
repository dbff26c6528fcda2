import { randomHex } from '../domain/identity.ts'
import { type Claimed, type SubmittedRow, toSubmittedCase } from './claimed.ts'
import type { ClaimRequest } from './hot-path.ts'
import type { Statement } from './postgres-statement.ts'
import { toWork, workColumns, type WorkRow } from './work.ts'

/** The parts of a WITH that take what is first in line and in nobody's hands: as many as `limit` says, at most `most`. */
export function claiming(
  statement: Statement,
  { claimedBy, nowMs, except = [] }: Omit<ClaimRequest, 'limit'>,
  most: number,
  limit: string,
): string[] {
  const tokens = Array.from({ length: most }, () => randomHex(16))
  return [
    `ready as materialized (select instance_id from work
      where state = 'ready' and definition_hash <> all(${statement.bindArray(except, 'text')})
      order by priority desc, instance_id limit ${limit} for update skip locked)`,
    'numbered as (select instance_id, row_number() over () as number from ready)',
    `claimed as (update work w
      set state = 'claimed', token = (${statement.bindArray(tokens, 'text')})[r.number],
          claimed_by = ${statement.bind(claimedBy, 'text')}, claimed_at_ms = ${statement.bind(nowMs, 'bigint')}
     from numbered r where w.instance_id = r.instance_id returning w.*)`,
  ]
}

export type ClaimedRow = WorkRow &
  Omit<SubmittedRow, 'instanceId'> & { readonly caseId: string | null; readonly caseHash: string }

/** The claimed instances, each with its case as it was submitted. */
export function selectClaimed(first: string, join = ''): string {
  return `select ${first}${workColumns.replaceAll(/(\w+) as/g, 'c.$1 as')},
    i.instance_id as "caseId", i.definition_hash as "caseHash", i.submitted_by as "submittedBy",
    i.simulated as "simulated", i.input_payload_id as "inputPayloadId",
    p.text as "inputText", p.salt as "inputSalt", e.envelope as "firstEnvelope"
  from claimed c
  left join instances i on i.instance_id = c.instance_id
  left join payloads p on p.instance_id = i.instance_id and p.payload_id = i.input_payload_id
  left join audit_events e on e.instance_id = i.instance_id and e.seq = 1
  ${join} order by c.priority desc, c.instance_id`
}

export function toClaimed(row: ClaimedRow): Claimed {
  const { caseId, caseHash, submittedBy, simulated, inputPayloadId, inputText, inputSalt, firstEnvelope, ...rest } = row
  const { done: _, ...work } = rest as typeof rest & { done?: string }
  const about = { submittedBy, simulated, inputPayloadId, inputText, inputSalt, firstEnvelope }
  const submitted = caseId === null ? undefined : { instanceId: caseId, definitionHash: caseHash, ...about }
  return { ...toWork(work), submitted: submitted && toSubmittedCase(submitted) }
}
