import {
  type AuditEvent,
  type AuditEventDraft,
  chainStart,
  checkpointDigest,
  newPayload,
  sealEvents,
} from '../../src/domain/audit.ts'
import { hash } from 'node:crypto'
import { RecordCheck, type StoredCheckpoint, type StoredInstance, type StoredPayload } from '../../src/domain/record.ts'
import type { StoredTask } from '../../src/domain/record-tasks.ts'
import type { RecordFinding, StoredEvent } from '../../src/domain/chain.ts'
import { newId } from '../../src/domain/identity.ts'
import type { TierContribution } from '../../src/domain/governance.ts'
import type { Checkpoint, Instance, Payload, PayloadKind, Work } from '../../src/domain/instance.ts'
import { canonicalJson, type Json } from '../../src/domain/json.ts'
import type { Task } from '../../src/domain/task.ts'

/** One instance as the engine would leave it behind, with everything that hangs on it. */
export interface RecordedInstance {
  readonly instance: Instance
  readonly work: Work | undefined
  readonly events: readonly AuditEvent[]
  readonly checkpoints: readonly Checkpoint[]
  readonly payloads: readonly Payload[]
  readonly tasks: readonly Task[]
}

export interface Story {
  readonly steps: number
  /** `referred`: a person asked another one, whose time then passed; `retried`: the last step failed and is due again. */
  readonly ending: 'running' | 'completed' | 'held' | 'decided' | 'referred' | 'failed' | 'retried'
  readonly startMs?: number
  readonly simulated?: boolean
  /** Erases the output of the first step at the end. */
  readonly erased?: boolean
}

export const definitionText = '{"format":1}'
export const definitionHash = hash('sha256', `cc/definition/v1\n${definitionText}`)

type Draft = Omit<AuditEventDraft, 'instanceId' | 'definition' | 'simulated'>

/** Plays a story through the functions that the engine uses. */
export function recordInstance({
  steps,
  ending,
  startMs = 1_790_000_000_000,
  simulated = true,
  erased,
}: Story): RecordedInstance {
  const instanceId = newId(startMs)
  let atMs = startMs
  const drafts: Draft[] = []
  const payloads: Payload[] = []
  const checkpoints: Checkpoint[] = []
  const tasks: Task[] = []

  const keep = (kind: PayloadKind, value: Json) => {
    const { payload, reference } = newPayload({ instanceId, kind, value, nowMs: atMs })
    payloads.push(payload)
    return reference
  }

  const input = keep('input', { case_id: 'case-1', applicant: 'Zoë Ångström 😀 \u{FFFD}' })
  const facts = { workflow: 'claims', domain: 'travel' }
  drafts.push({ type: 'case.submitted', atMs, actor: 'kim', payload: input, facts })

  for (let stepNo = 1; stepNo <= steps; stepNo++) {
    const startedAtMs = atMs
    atMs += 250
    const failed = (ending === 'failed' || ending === 'retried') && stepNo === steps
    const output = keep(failed ? 'error' : 'output', { step: stepNo, reasoning: `because ${stepNo}` })
    const to = failed || (stepNo === steps && ending !== 'running') ? '__end__' : `step_${stepNo + 1}`
    const checkpoint: Checkpoint = {
      instanceId,
      stepNo,
      step: `step_${stepNo}`,
      primitive: 'classify',
      run: 1,
      attempts: 1,
      status: failed ? 'failed' : 'completed',
      errorCode: failed ? 'timeout' : undefined,
      outputPayloadId: output.id,
      outputCommitment: output.commitment,
      model: 'scripted',
      inputTokens: 12,
      outputTokens: undefined,
      route: canonicalJson({ to, by: 'sequence' }),
      startedAtMs,
      endedAtMs: atMs,
    }
    checkpoints.push(checkpoint)
    drafts.push({
      type: failed ? 'step.failed' : 'step.completed',
      atMs,
      actor: 'engine',
      step: checkpoint.step,
      model: 'scripted',
      payload: output,
      checkpoint: checkpointDigest(checkpoint),
      facts: { run: 1, attempts: 1, to, by: 'sequence' },
    })
  }

  const isHeld = ending === 'held' || ending === 'decided' || ending === 'referred'
  const voices: TierContribution[] = []
  let outcomeId: string | undefined
  if (ending === 'failed' || ending === 'retried') {
    const step = `step_${steps}`
    drafts.push({ type: 'case.failed', atMs, actor: 'engine', step, facts: { error: 'timeout' } })
    if (ending === 'retried') drafts.push({ type: 'case.retried', atMs, actor: 'ann', step, facts: { run: 2 } })
  }
  if (ending === 'completed' || isHeld) {
    const outcome = keep('outcome', { decision: 'pay' })
    outcomeId = outcome.id
    const type = isHeld ? 'case.held' : 'case.completed'
    const tier = isHeld ? 'gate' : 'auto'
    voices.push({ source: 'domain', tier, because: 'floor of travel' })
    drafts.push({ type, atMs, actor: 'engine', tier, payload: outcome, facts: { contributions: [...voices] } })
    if (isHeld) {
      const taskId = newId(atMs)
      drafts.push({
        type: 'task.opened',
        atMs,
        actor: 'engine',
        tier: 'gate',
        facts: { task: taskId, queue: 'claims' },
      })
      tasks.push(openTask(instanceId, taskId, atMs))
    }
    if (ending === 'decided') {
      atMs += 60_000
      const decision = keep('decision', { decision: 'approve', reason: 'well founded' })
      const task = tasks[0]!
      const facts = { task: task.taskId, decision: 'approve' }
      drafts.push({ type: 'task.decided', atMs, actor: 'ann', tier: 'gate', payload: decision, facts })
      drafts.push({ type: 'case.completed', atMs, actor: 'ann', tier: 'gate', payload: outcome })
      const decided = { status: 'decided', decision: 'approve', decidedBy: 'ann', decidedAtMs: atMs } as const
      tasks[0] = { ...task, ...decided, decisionDigest: hash('sha256', 'approve'), decisionPayloadId: decision.id }
    }
  }

  if (ending === 'referred') {
    atMs += 60_000
    const decision = keep('decision', { decision: 'refer', reason: 'too large for me' })
    const task = tasks[0]!
    const facts = { task: task.taskId, decision: 'refer' }
    drafts.push({ type: 'task.decided', atMs, actor: 'ann', tier: 'gate', payload: decision, facts })
    const decided = { status: 'decided', decision: 'refer', decidedBy: 'ann', decidedAtMs: atMs } as const
    tasks[0] = { ...task, ...decided, decisionDigest: hash('sha256', 'refer'), decisionPayloadId: decision.id }
    voices.push({ source: 'person', tier: 'hold', because: 'referred by ann' })
    const next = { ...openTask(instanceId, newId(atMs), atMs), tier: 'hold', barred: ['ann'] } as const
    const opened = { task: next.taskId, queue: next.queue }
    drafts.push({ type: 'task.opened', atMs, actor: 'ann', tier: 'hold', facts: opened })
    atMs = next.dueMs
    const moved = { task: next.taskId, from: next.queue, to: next.escalationQueue, due_ms: next.dueMs }
    drafts.push({ type: 'task.escalated', atMs, actor: 'engine', tier: 'hold', facts: moved })
    tasks.push({ ...next, queue: next.escalationQueue, escalatedAtMs: atMs })
  }

  if (erased) {
    atMs += 1_000
    const target = payloads[1]!
    drafts.push({ type: 'payload.erased', atMs, actor: 'dana', facts: { payload: target.payloadId } })
    payloads[1] = { ...target, text: undefined, salt: undefined, erasedAtMs: atMs }
  }

  const whole = drafts.map((draft) => ({ ...draft, instanceId, definition: definitionHash, simulated }))
  const events = sealEvents(chainStart(instanceId), whole)
  const head = events.at(-1)!
  const status = (
    {
      running: 'running',
      completed: 'completed',
      held: 'suspended',
      decided: 'completed',
      referred: 'suspended',
      failed: 'failed',
      retried: 'running',
    } as const
  )[ending]
  const instance: Instance = {
    instanceId,
    correlationId: instanceId,
    workflow: 'claims',
    domain: 'travel',
    definitionHash,
    submittedBy: 'kim',
    inputPayloadId: input.id,
    status,
    tier: ending === 'referred' ? 'hold' : isHeld ? 'gate' : ending === 'completed' ? 'auto' : undefined,
    tierContributions: voices,
    proposedPayloadId: outcomeId,
    outcomePayloadId: status === 'suspended' ? undefined : outcomeId,
    failureCode: ending === 'failed' ? 'timeout' : undefined,
    resumeStep: ending === 'failed' ? `step_${steps}` : undefined,
    simulated,
    disputed: false,
    auditSeq: status === 'running' ? 1 : head.seq,
    auditHead: status === 'running' ? events[0]!.hash : head.hash,
    stepCount: status === 'running' ? 0 : steps,
    submittedAtMs: startMs,
    updatedAtMs: atMs,
    endedAtMs: status === 'running' || status === 'suspended' ? undefined : atMs,
  }
  const due = ending === 'retried' ? { step: `step_${steps}`, run: 2 } : { step: `step_${steps + 1}`, run: 1 }
  const work = status === 'running' ? workOf(instance, head, steps, due) : undefined
  return { instance, work, events, checkpoints, payloads, tasks }
}

function openTask(instanceId: string, taskId: string, openedAtMs: number): Task {
  return {
    taskId,
    instanceId,
    tier: 'gate',
    queue: 'claims',
    escalationQueue: 'claims-lead',
    status: 'open',
    because: 'domain: floor of travel',
    submittedBy: 'kim',
    barred: [],
    openedAtMs,
    dueMs: openedAtMs + 3_600_000,
    escalatedAtMs: undefined,
    claimedBy: undefined,
    claimedUntilMs: undefined,
    decision: undefined,
    decidedBy: undefined,
    decidedAtMs: undefined,
    decisionDigest: undefined,
    decisionPayloadId: undefined,
  }
}

function workOf(instance: Instance, head: AuditEvent, steps: number, due: Pick<Work, 'step' | 'run'>): Work {
  return {
    instanceId: instance.instanceId,
    state: 'ready',
    priority: 0,
    dueMs: undefined,
    token: undefined,
    claimedBy: undefined,
    claimedAtMs: undefined,
    definitionHash,
    ...due,
    attempt: 0,
    stepNo: steps,
    auditSeq: head.seq,
    auditHead: head.hash,
    cancelRequested: false,
  }
}

/** The same rows as verification reads them. */
export interface StoredRecord {
  readonly instance: StoredInstance
  readonly events: readonly StoredEvent[]
  readonly checkpoints: readonly StoredCheckpoint[]
  readonly payloads: readonly StoredPayload[]
  readonly tasks: readonly StoredTask[]
}

export function storedRows({ instance, work, events, checkpoints, payloads, tasks }: RecordedInstance): StoredRecord {
  return {
    instance: {
      ...instance,
      tier: instance.tier ?? null,
      proposedPayloadId: instance.proposedPayloadId ?? null,
      outcomePayloadId: instance.outcomePayloadId ?? null,
      failureCode: instance.failureCode ?? null,
      resumeStep: instance.resumeStep ?? null,
      simulated: Number(instance.simulated),
      disputed: Number(instance.disputed),
      workAuditSeq: work?.auditSeq ?? null,
      workAuditHead: work?.auditHead ?? null,
      tierContributions: JSON.stringify(instance.tierContributions),
      workStepNo: work?.stepNo ?? null,
      workStep: work?.step ?? null,
      workRun: work?.run ?? null,
      workDefinitionHash: work?.definitionHash ?? null,
    },
    events: events.map((event, index) => ({
      ...event,
      entry: 10 + index,
      payloadId: event.payloadId ?? null,
      envelopeBytes: Buffer.byteLength(event.envelope),
    })),
    checkpoints: checkpoints.map((checkpoint, index) => ({
      ...checkpoint,
      entry: 5 + index,
      errorCode: checkpoint.errorCode ?? null,
      model: checkpoint.model ?? null,
      inputTokens: checkpoint.inputTokens ?? null,
      outputTokens: checkpoint.outputTokens ?? null,
    })),
    payloads: payloads.map((payload) => ({
      ...payload,
      text: payload.text ?? null,
      textBytes: payload.text === undefined ? null : Buffer.byteLength(payload.text),
      salt: payload.salt ?? null,
      erasedAtMs: payload.erasedAtMs ?? null,
    })),
    tasks: tasks.map((task) => ({
      ...task,
      barred: JSON.stringify(task.barred),
      escalatedAtMs: task.escalatedAtMs ?? null,
      decision: task.decision ?? null,
      decidedBy: task.decidedBy ?? null,
      decidedAtMs: task.decidedAtMs ?? null,
      decisionPayloadId: task.decisionPayloadId ?? null,
    })),
  }
}

/** Checks one record that is wholly in memory. */
export function checkRecord(record: StoredRecord): RecordFinding | undefined {
  const { instance, events, checkpoints, payloads, tasks } = record
  const store = { simulated: true, definitions: new Map([[definitionHash, true]]) }
  const check = new RecordCheck(instance.instanceId, instance, store)
  const bySeq = events.toSorted((a, b) => a.seq - b.seq)
  for (const event of bySeq) check.event(event)
  check.endOfEvents()
  for (const checkpoint of checkpoints.toSorted((a, b) => a.stepNo - b.stepNo)) check.checkpoint(checkpoint)
  for (const payload of payloads) check.payload(payload)
  for (const task of tasks) check.task(task)
  return check.finish()
}
