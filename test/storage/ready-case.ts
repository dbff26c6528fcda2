import { type AuditEvent, chainStart, newPayload, nextHead, sealEvent } from '../../src/domain/audit.ts'
import { newId } from '../../src/domain/identity.ts'
import type { Checkpoint, Instance, Payload, Work } from '../../src/domain/instance.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Backend } from '../../src/storage/backend.ts'
import type { Claimed } from '../../src/storage/claimed.ts'
import type { NextWork, StepCommit, Submission } from '../../src/storage/hot-path.ts'

const definitionHash = 'd'.repeat(64)

/** A case on its way into the store, as `submit` makes it. */
export function newCase({ priority = 0, nowMs = 1_000, step = 'first' } = {}): Submission {
  const instanceId = newId(nowMs)
  const { payload, reference } = newPayload({ instanceId, kind: 'input', value: { amount: 7 }, nowMs })
  const event = sealEvent(chainStart(instanceId), {
    instanceId,
    type: 'case.submitted',
    atMs: nowMs,
    actor: 'kim',
    definition: definitionHash,
    simulated: false,
    payload: reference,
  })
  const { seq: auditSeq, hash: auditHead } = nextHead(event)
  return {
    instance: { ...runningInstance(instanceId, payload.payloadId, nowMs), auditHead },
    work: { instanceId, priority, definitionHash, step, run: 1, stepNo: 0, auditSeq, auditHead },
    input: payload,
    event,
    key: undefined,
  }
}

/** A case in line for a worker; returns its instance id. */
export async function readyCase(backend: Backend, about: Parameters<typeof newCase>[0] = {}): Promise<string> {
  const submission = newCase(about)
  const [result] = await backend.hotPath.submit([submission], { definitions: [], simulated: undefined })
  if (result!.kind !== 'submitted') throw new Error(`the case was not taken: ${result!.kind}`)
  return submission.instance.instanceId
}

function runningInstance(instanceId: string, inputPayloadId: string, nowMs: number): Instance {
  return {
    instanceId,
    correlationId: instanceId,
    workflow: 'review',
    domain: 'plain',
    definitionHash,
    submittedBy: 'kim',
    inputPayloadId,
    status: 'running',
    tier: undefined,
    tierContributions: [],
    proposedPayloadId: undefined,
    outcomePayloadId: undefined,
    failureCode: undefined,
    resumeStep: undefined,
    simulated: false,
    disputed: false,
    auditSeq: 1,
    auditHead: '',
    stepCount: 0,
    submittedAtMs: nowMs,
    updatedAtMs: nowMs,
    endedAtMs: undefined,
  }
}

/** What a worker commits when it has run the step of this claim. */
export function stepCommit(
  work: Work,
  {
    next = { to: 'step', step: 'second', run: 1 },
    output = { said: 'yes' },
  }: { next?: NextWork; output?: JsonObject } = {},
): StepCommit & { readonly checkpoint: Checkpoint; readonly payloads: readonly [Payload] } {
  const { instanceId, stepNo, run, auditSeq, auditHead } = work
  const atMs = 2_000
  const { payload, reference } = newPayload({ instanceId, kind: 'output', value: output, nowMs: atMs })
  const checkpoint: Checkpoint = {
    instanceId,
    stepNo: stepNo + 1,
    step: work.step,
    primitive: 'noop',
    run,
    attempts: work.attempt + 1,
    status: 'completed',
    errorCode: undefined,
    outputPayloadId: payload.payloadId,
    outputCommitment: reference.commitment,
    model: undefined,
    inputTokens: undefined,
    outputTokens: undefined,
    route: '{}',
    startedAtMs: atMs,
    endedAtMs: atMs,
  }
  return {
    instanceId,
    fence: { token: work.token!, stepNo, run, auditSeq },
    next,
    checkpoint,
    payloads: [payload],
    events: [nextEvent({ instanceId, seq: auditSeq, hash: auditHead }, 'step.completed', atMs)],
    atMs,
  }
}

/** An event of the engine behind this head. */
export function nextEvent(
  { instanceId, ...head }: { instanceId: string; seq: number; hash: string },
  type: AuditEvent['type'],
  atMs = 2_000,
  definition = definitionHash,
): AuditEvent {
  return sealEvent(head, { instanceId, type, atMs, actor: 'engine', definition, simulated: false })
}

/** Claims the one case that is in line. */
export async function claimOne(backend: Backend, nowMs = 1_500): Promise<Claimed> {
  const [work] = await backend.hotPath.claim({ limit: 1, claimedBy: 'worker', nowMs })
  if (!work) throw new Error('nothing was in line')
  return work
}
