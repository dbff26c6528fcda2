import type { LiveInstance, Work } from '../domain/instance.ts'

/** What a case was when it was submitted, as the rows have it now; who goes on with it holds one against the other. */
export interface SubmittedCase extends LiveInstance {
  readonly inputText: string | undefined
  readonly inputSalt: string | undefined
  /** The first event's envelope. */
  readonly firstEnvelope: string | undefined
}

/** A claimed instance, with what going on needs of it: a claim that brings it saves a read for every case. */
export interface Claimed extends Work {
  /** Undefined when a work row stands without its instance. */
  readonly submitted: SubmittedCase | undefined
}

export const submittedCaseSql = `select i.instance_id as "instanceId", i.definition_hash as "definitionHash",
    i.submitted_by as "submittedBy", i.simulated as "simulated", i.input_payload_id as "inputPayloadId",
    p.text as "inputText", p.salt as "inputSalt", e.envelope as "firstEnvelope"
  from instances i
  left join payloads p on p.instance_id = i.instance_id and p.payload_id = i.input_payload_id
  left join audit_events e on e.instance_id = i.instance_id and e.seq = 1
  where i.instance_id = $1`

export type SubmittedRow = Omit<LiveInstance, 'simulated'> & {
  readonly simulated: number
  readonly inputText: string | null
  readonly inputSalt: string | null
  readonly firstEnvelope: string | null
}

export function toSubmittedCase(row: SubmittedRow): SubmittedCase {
  return {
    ...row,
    simulated: row.simulated === 1,
    inputText: row.inputText ?? undefined,
    inputSalt: row.inputSalt ?? undefined,
    firstEnvelope: row.firstEnvelope ?? undefined,
  }
}
