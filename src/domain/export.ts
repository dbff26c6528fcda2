import type { StoredEvent } from './chain.ts'
import { checkpointColumns } from './instance.ts'
import type { JsonObject } from './json.ts'
import type { StoredCheckpoint, StoredInstance, StoredPayload } from './record.ts'
import type { StoredTask } from './record-tasks.ts'

export const exportFormat = 'cognitive-core/export/1'

/** What the file says of itself when its case is part of a simulation. */
export const simulatedNotice =
  'SIMULATED: the answers of the model were written beforehand, and nothing here was decided about anybody.'

/** What nobody can learn from one case's file, however whole it is; it stands in the file and beside each verdict. */
export const exportCannotShow: readonly string[] = [
  'whether the end of the chain was cut off, together with its head and all that belongs to it',
  'whether the chain was written anew from some event to its end, hashes and head included',
  'whether there are other cases, or were',
  'whether these columns are right, which no event states: correlation_id, updated_at_ms and ended_at_ms of the instance',
  'whether the first step of a case without any recorded step is the one that its hot row names',
  'what the file leaves out of work: state, priority, due_ms, token, claimed_by, claimed_at_ms, attempt, cancel_requested',
  'what the file leaves out of tasks: escalation_queue, because, due_ms, claimed_by, claimed_until_ms, decision_digest',
  'what erased content said',
  'whether what was recorded was true when it was recorded',
]

/** A row by its column names. */
export type Columns = Readonly<Record<string, string | number | null>>

/** Everything the store holds about one instance, events by `seq`, checkpoints by `stepNo`. */
export interface InstanceRows {
  /** What the chain is compared with; of this, only the hot row is not in `columns` too. */
  readonly instance: StoredInstance
  /** The whole row of `instances`. */
  readonly columns: Columns
  readonly events: readonly StoredEvent[]
  readonly checkpoints: readonly StoredCheckpoint[]
  readonly payloads: readonly StoredPayload[]
  readonly tasks: readonly StoredTask[]
  /** The pinned definition, unless it is gone. */
  readonly definition: { readonly hash: string; readonly text: string } | undefined
}

export interface ExportFacts {
  /** Whether the store as a whole is a simulation. */
  readonly simulated: boolean
  readonly exportedAtMs: number
  /** Version of this program. */
  readonly version: string
}

/**
 * One case as one JSON object, in the order in which a person reads it. Rows go in as they are stored, right or wrong:
 * the file is evidence, and `tools/verify-export.mjs` judges it without this program. Envelopes and contents are texts
 * within the text, since it is their exact bytes that are hashed.
 */
export function exportInstance(rows: InstanceRows, { simulated, exportedAtMs, version }: ExportFacts): JsonObject {
  const { instance, columns, definition } = rows
  return {
    format: exportFormat,
    ...(simulated ? { notice: simulatedNotice } : {}),
    simulated,
    instance_id: instance.instanceId,
    exported_at_ms: exportedAtMs,
    exported_at: new Date(exportedAtMs).toISOString(),
    program: `cognitive-core ${version}`,
    cannot_show: exportCannotShow,
    instances: columns,
    work: workColumns(instance),
    audit_events: rows.events.map(eventColumns),
    checkpoints: rows.checkpoints.map(checkpointRow),
    payloads: rows.payloads.map(payloadColumns),
    tasks: rows.tasks.map(taskColumns),
    definition: definition ? { hash: definition.hash, text: definition.text } : null,
  }
}

/** What the chain states of the hot row while there is one; its other columns are about the queue. */
function workColumns(instance: StoredInstance): Columns | null {
  const { workAuditSeq, workAuditHead, workStepNo, workStep, workRun, workDefinitionHash } = instance
  if (workAuditSeq === null && workAuditHead === null && workStepNo === null) return null
  return {
    definition_hash: workDefinitionHash,
    step: workStep,
    run: workRun,
    step_no: workStepNo,
    audit_seq: workAuditSeq,
    audit_head: workAuditHead,
  }
}

function eventColumns(event: StoredEvent): Columns {
  return {
    entry: event.entry,
    instance_id: event.instanceId,
    seq: event.seq,
    type: event.type,
    at_ms: event.atMs,
    payload_id: event.payloadId,
    prev_hash: event.prevHash,
    hash: event.hash,
    envelope: event.envelope,
  }
}

function checkpointRow(checkpoint: StoredCheckpoint): Columns {
  const fields = Object.keys(checkpointColumns) as (keyof typeof checkpointColumns)[]
  const columns = fields.map((field) => [checkpointColumns[field], checkpoint[field]] as const)
  return { entry: checkpoint.entry, ...Object.fromEntries(columns) }
}

/** Erased content is a row without text and salt that says when: the commitment to it stands in its event. */
function payloadColumns(payload: StoredPayload): JsonObject {
  return {
    payload_id: payload.payloadId,
    instance_id: payload.instanceId,
    kind: payload.kind,
    erased: payload.erasedAtMs !== null,
    erased_at_ms: payload.erasedAtMs,
    salt: payload.salt,
    text: payload.text,
  }
}

function taskColumns(task: StoredTask): Columns {
  return {
    task_id: task.taskId,
    instance_id: task.instanceId,
    tier: task.tier,
    queue: task.queue,
    status: task.status,
    submitted_by: task.submittedBy,
    barred: task.barred,
    opened_at_ms: task.openedAtMs,
    escalated_at_ms: task.escalatedAtMs,
    decision: task.decision,
    decided_by: task.decidedBy,
    decided_at_ms: task.decidedAtMs,
    decision_payload_id: task.decisionPayloadId,
  }
}
