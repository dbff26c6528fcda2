import type { z } from 'zod'
import type { AuditEvent } from '../domain/audit.ts'
import type { Task } from '../domain/task.ts'
import type { Route } from '../domain/workflow.ts'
import type { CaseView, Decided, Page, StepView, TaskView, VerifyReport } from '../engine/core.ts'
import type {
  briefDocument,
  caseDocument,
  decidedDocument,
  eventDocument,
  stepDocument,
  taskDocument,
  verifyDocument,
} from './documents.ts'

/** Documents of the API as the views they were made of: the way back from `engine/as-json.ts`. */

type Document<Schema extends z.ZodType> = z.output<Schema>

export function caseView(document: Document<typeof caseDocument>): CaseView {
  return {
    instanceId: document.instance_id,
    workflow: document.workflow,
    domain: document.domain,
    definitionHash: document.definition_hash,
    submittedBy: document.submitted_by,
    status: document.status,
    work: document.work ?? undefined,
    tier: document.tier ?? undefined,
    tierContributions: document.tier_contributions,
    path: document.path,
    outcome: document.outcome ?? undefined,
    proposed: document.proposed ?? undefined,
    failure: document.failure ?? undefined,
    simulated: document.simulated,
    disputed: document.disputed,
    inDoubt: document.in_doubt ?? undefined,
    openTasks: document.open_tasks,
    submittedAtMs: document.submitted_at_ms,
    updatedAtMs: document.updated_at_ms,
    endedAtMs: document.ended_at_ms ?? undefined,
  }
}

export function stepView(document: Document<typeof stepDocument>): StepView {
  return {
    stepNo: document.step_no,
    step: document.step,
    primitive: document.primitive,
    run: document.run,
    attempts: document.attempts,
    status: document.status,
    errorCode: document.error_code ?? undefined,
    output: document.output ?? undefined,
    model: document.model ?? undefined,
    inputTokens: document.input_tokens ?? undefined,
    outputTokens: document.output_tokens ?? undefined,
    route: document.route as unknown as Route,
    startedAtMs: document.started_at_ms,
    endedAtMs: document.ended_at_ms,
  }
}

/** Less the digest and the payload of its decision, which the API does not show. */
export function taskOf(document: Document<typeof taskDocument>): Task {
  return {
    taskId: document.task_id,
    instanceId: document.instance_id,
    tier: document.tier,
    queue: document.queue,
    escalationQueue: document.escalation_queue,
    status: document.status,
    because: document.because,
    submittedBy: document.submitted_by,
    barred: document.barred,
    openedAtMs: document.opened_at_ms,
    dueMs: document.due_at_ms,
    escalatedAtMs: document.escalated_at_ms ?? undefined,
    claimedBy: document.claimed_by ?? undefined,
    claimedUntilMs: document.claimed_until_ms ?? undefined,
    decision: document.decision ?? undefined,
    decidedBy: document.decided_by ?? undefined,
    decidedAtMs: document.decided_at_ms ?? undefined,
    decisionDigest: undefined,
    decisionPayloadId: undefined,
  }
}

export function taskView(document: Document<typeof briefDocument>): TaskView {
  return {
    ...taskOf(document),
    allowed: document.allowed,
    reason: document.reason ?? undefined,
    changes: document.changes ?? undefined,
    case: caseView(document.case),
    input: document.input ?? undefined,
    steps: document.steps.map(stepView),
  }
}

export function decidedView(document: Document<typeof decidedDocument>): Decided {
  return {
    taskId: document.task_id,
    instanceId: document.instance_id,
    decision: document.decision,
    decidedBy: document.decided_by,
    status: document.status,
    repeated: document.repeated,
    openedTaskId: document.opened_task_id ?? undefined,
  }
}

export function auditEvent(instanceId: string, document: Document<typeof eventDocument>): AuditEvent {
  return {
    instanceId,
    seq: document.seq,
    type: document.type,
    atMs: document.at_ms,
    payloadId: document.payload_id ?? undefined,
    envelope: document.envelope,
    prevHash: document.prev_hash,
    hash: document.hash,
  }
}

export function verifyReport(document: Document<typeof verifyDocument>): VerifyReport {
  return {
    valid: document.valid,
    simulated: document.simulated,
    instances: document.instances,
    events: document.events,
    checkpoints: document.checkpoints,
    payloads: document.payloads,
    erasedPayloads: document.erased_payloads,
    elapsedMs: document.elapsed_ms,
    head: document.head ?? undefined,
    findings: document.findings.map(({ instance_id: instanceId, seq, what, where, detail }) => ({
      instanceId,
      seq: seq ?? undefined,
      what,
      where,
      detail,
    })),
    cannotShow: document.cannot_show,
  }
}

export function pageView<D, T>(
  { items, next_cursor: cursor }: { readonly items: readonly D[]; readonly next_cursor: string | null },
  view: (document: D) => T,
): Page<T> {
  return { items: items.map(view), nextCursor: cursor ?? undefined }
}
