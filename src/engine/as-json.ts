import type { AuditEvent } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import type { Task } from '../domain/task.ts'
import type {
  CaseView,
  Decided,
  Page,
  Progress,
  StepView,
  TaskView,
  VerifyFinding,
  VerifyReport,
  WorkflowName,
} from './core.ts'

/**
 * Views as programs read them: snake_case, null for what is unset, times as milliseconds and as ISO text. Content (input,
 * outputs, outcome) keeps its own names.
 */
export type JsonDocument = Readonly<Record<string, unknown>>

export function caseJson(view: CaseView): JsonDocument {
  return {
    instance_id: view.instanceId,
    workflow: view.workflow,
    domain: view.domain,
    status: view.status,
    work: view.work ?? null,
    tier: view.tier ?? null,
    tier_contributions: view.tierContributions,
    path: view.path,
    outcome: view.outcome ?? null,
    proposed: view.proposed ?? null,
    failure: view.failure ?? null,
    disputed: view.disputed,
    in_doubt: view.inDoubt ?? null,
    simulated: view.simulated,
    open_tasks: view.openTasks,
    submitted_by: view.submittedBy,
    definition_hash: view.definitionHash,
    ...time('submitted_at', view.submittedAtMs),
    ...time('updated_at', view.updatedAtMs),
    ...time('ended_at', view.endedAtMs),
  }
}

export function workflowJson({ definitionHash, ...names }: WorkflowName): JsonDocument {
  return { ...names, definition_hash: definitionHash }
}

export function stepJson(step: StepView): JsonDocument {
  return {
    step_no: step.stepNo,
    step: step.step,
    primitive: step.primitive,
    run: step.run,
    attempts: step.attempts,
    status: step.status,
    error_code: step.errorCode ?? null,
    output: step.output ?? null,
    model: step.model ?? null,
    input_tokens: step.inputTokens ?? null,
    output_tokens: step.outputTokens ?? null,
    route: step.route,
    ...time('started_at', step.startedAtMs),
    ...time('ended_at', step.endedAtMs),
  }
}

export function taskJson(task: Task): JsonDocument {
  return {
    task_id: task.taskId,
    instance_id: task.instanceId,
    tier: task.tier,
    queue: task.queue,
    escalation_queue: task.escalationQueue,
    status: task.status,
    because: task.because,
    submitted_by: task.submittedBy,
    barred: task.barred,
    claimed_by: task.claimedBy ?? null,
    ...time('claimed_until', task.claimedUntilMs),
    decision: task.decision ?? null,
    decided_by: task.decidedBy ?? null,
    ...time('decided_at', task.decidedAtMs),
    ...time('opened_at', task.openedAtMs),
    ...time('due_at', task.dueMs),
    ...time('escalated_at', task.escalatedAtMs),
  }
}

/** A task with all that is needed to decide it. */
export function briefJson(task: TaskView): JsonDocument {
  return {
    ...taskJson(task),
    allowed: task.allowed,
    reason: task.reason ?? null,
    changes: task.changes ?? null,
    input: task.input ?? null,
    case: caseJson(task.case),
    steps: task.steps.map(stepJson),
  }
}

export function decidedJson(decided: Decided): JsonDocument {
  const { taskId, instanceId, decision, decidedBy, status, repeated, openedTaskId } = decided
  return {
    task_id: taskId,
    instance_id: instanceId,
    decision,
    decided_by: decidedBy,
    status,
    repeated,
    opened_task_id: openedTaskId ?? null,
  }
}

export function progressJson({ instanceId, step, event, detail }: Progress): JsonDocument {
  return { event, instance_id: instanceId, step: step ?? null, detail: detail ?? null }
}

/** The envelope stands as it was hashed; what people look for in it stands beside it. */
export function eventJson(event: AuditEvent): JsonDocument {
  // One that somebody broke says nothing, which verification will tell.
  const { actor = null, step = null, tier = null, facts = null } = readEnvelope(event.envelope) ?? {}
  return {
    seq: event.seq,
    type: event.type,
    ...time('at', event.atMs),
    actor,
    step,
    tier,
    facts,
    payload_id: event.payloadId ?? null,
    prev_hash: event.prevHash,
    hash: event.hash,
    envelope: event.envelope,
  }
}

export function verifyJson(report: VerifyReport): JsonDocument {
  const [first] = report.findings
  return {
    valid: report.valid,
    simulated: report.simulated,
    instances: report.instances,
    events: report.events,
    checkpoints: report.checkpoints,
    payloads: report.payloads,
    erased_payloads: report.erasedPayloads,
    elapsed_ms: report.elapsedMs,
    head: report.head ?? null,
    first_invalid: first ? findingJson(first) : null,
    findings: report.findings.map(findingJson),
    cannot_show: report.cannotShow,
  }
}

function findingJson({ instanceId, seq, what, where, detail }: VerifyFinding): JsonDocument {
  return { instance_id: instanceId, seq: seq ?? null, what, where, detail }
}

export function pageJson<T>(page: Page<T>, item: (value: T) => JsonDocument): JsonDocument {
  return { items: page.items.map(item), next_cursor: page.nextCursor ?? null }
}

/** A list that is whole. */
export function listJson(items: readonly unknown[]): JsonDocument {
  return { items, next_cursor: null }
}

function time(name: string, ms: number | undefined): JsonDocument {
  return { [`${name}_ms`]: ms ?? null, [name]: ms === undefined ? null : new Date(ms).toISOString() }
}
