import type { RunContext } from '../cognition/run-context.ts'
import type { StepFailure } from '../cognition/primitive.ts'
import {
  type AuditEvent,
  type AuditEventDraft,
  checkpointDigest,
  type PayloadReference,
  newPayload,
  sealEvents,
} from '../domain/audit.ts'
import type { Checkpoint, LiveInstance, Payload } from '../domain/instance.ts'
import { canonicalJson, type Json, type JsonObject } from '../domain/json.ts'
import type { Definition, Route, Step } from '../domain/workflow.ts'
import type { Fence, NextWork, StepCommit } from '../storage/hot-path.ts'
import type { InstanceEnding } from '../storage/instances.ts'
import type { NewTask } from '../storage/tasks.ts'
import type { CommitBase } from './commit-lane.ts'
import { composeOutcome, type Governed, govern, type Mishap } from './governing.ts'
import { taskFor, taskOpened } from './task-opening.ts'

/** The engine's own name in events; people and programs have theirs. */
export const engineActor = 'engine'

/** What is known of a step's run once it is over. */
export interface StepRecord {
  readonly step: Step
  readonly stepNo: number
  readonly run: number
  /** The attempt that gave the result, from 1. */
  readonly attempt: number
  readonly route: Route
  readonly startedAtMs: number
  readonly endedAtMs: number
}

interface StepWriting {
  readonly checkpoint: Checkpoint
  readonly payloads: readonly Payload[]
  readonly draft: Draft
  readonly atMs: number
}

interface Ending {
  readonly governed: Governed
  readonly outcome: { readonly payload: Payload; readonly reference: PayloadReference }
  readonly task: NewTask | undefined
}

type Draft = Omit<AuditEventDraft, 'instanceId' | 'definition' | 'simulated' | 'actor'>

export type Recorder = ReturnType<typeof recorderOf>

/**
 * Turns what happened to one instance into commits. What is written once (payload, checkpoint) is made by `write…`;
 * what hangs on the chain's head (events, hashes) is made anew for each base by the function named after the event.
 */
export function recorderOf(instance: LiveInstance, definition: Definition) {
  const { instanceId } = instance
  const common = {
    instanceId,
    definition: instance.definitionHash,
    simulated: instance.simulated,
    actor: engineActor,
  } as const

  const seal = (base: CommitBase, drafts: readonly Draft[]): AuditEvent[] =>
    sealEvents(
      base,
      drafts.map((draft) => ({ ...draft, ...common })),
    )

  const assemble = (
    fence: Fence,
    next: NextWork,
    events: AuditEvent[],
    atMs: number,
    written?: StepWriting,
    extra?: Payload,
  ): StepCommit => {
    const payloads = written?.payloads ?? []
    return {
      instanceId,
      fence,
      next,
      checkpoint: written?.checkpoint,
      payloads: extra ? [...payloads, extra] : payloads,
      events,
      atMs,
    }
  }

  const ending = (
    fence: Fence,
    events: readonly AuditEvent[],
    written: StepWriting | undefined,
    atMs: number,
    fields: Partial<InstanceEnding> & Pick<InstanceEnding, 'status'>,
  ): InstanceEnding => {
    const last = events.at(-1)!
    return {
      instanceId,
      tier: undefined,
      tierContributions: [],
      proposedPayloadId: undefined,
      outcomePayloadId: undefined,
      failureCode: undefined,
      resumeStep: undefined,
      disputed: false,
      ...fields,
      auditSeq: last.seq,
      auditHead: last.hash,
      stepCount: fence.stepNo + (written ? 1 : 0),
      atMs,
    }
  }

  const writeStep = (
    record: StepRecord,
    status: Checkpoint['status'],
    content: { readonly kind: 'output' | 'error'; readonly value: Json },
    answer: { model?: string; inputTokens?: number; outputTokens?: number },
    errorCode: string | undefined,
  ): StepWriting => {
    const { step, run, attempt, route, startedAtMs, endedAtMs } = record
    const { payload, reference } = newPayload({ instanceId, ...content, nowMs: endedAtMs })
    const checkpoint: Checkpoint = {
      instanceId,
      stepNo: record.stepNo + 1,
      step: step.name,
      primitive: step.primitive,
      run,
      attempts: attempt,
      status,
      errorCode,
      outputPayloadId: payload.payloadId,
      outputCommitment: reference.commitment,
      model: answer.model,
      inputTokens: answer.inputTokens,
      outputTokens: answer.outputTokens,
      route: canonicalJson(route),
      startedAtMs,
      endedAtMs,
    }
    const draft: Draft = {
      type: status === 'completed' ? 'step.completed' : 'step.failed',
      atMs: endedAtMs,
      step: step.name,
      payload: reference,
      checkpoint: checkpointDigest(checkpoint),
      ...(answer.model === undefined ? {} : { model: answer.model }),
      facts: { run, attempts: attempt, to: route.to, by: route.by, ...(errorCode && { error: errorCode }) },
    }
    return { checkpoint, payloads: [payload], draft, atMs: endedAtMs }
  }

  const canceled = (fence: Fence, base: CommitBase, atMs: number, written?: StepWriting): StepCommit => {
    const drafts: Draft[] = [...(written ? [written.draft] : []), { type: 'case.canceled', atMs }]
    const events = seal(base, drafts)
    const next = { to: 'end', ending: ending(fence, events, written, atMs, { status: 'canceled' }), tasks: [] } as const
    return assemble(fence, next, events, atMs, written)
  }

  const failedWith = (fence: Fence, base: CommitBase, written: StepWriting, code: string, resumeStep: string) => {
    const { atMs } = written
    const events = seal(base, [written.draft, { type: 'case.failed', atMs, step: resumeStep, facts: { error: code } }])
    const fields = { status: 'failed', failureCode: code, resumeStep } as const
    const next = { to: 'end', ending: ending(fence, events, written, atMs, fields), tasks: [] } as const
    return assemble(fence, next, events, atMs, written)
  }

  return {
    writeCompleted: (
      record: StepRecord,
      result: { output: JsonObject; model?: string; inputTokens?: number; outputTokens?: number },
    ): StepWriting => writeStep(record, 'completed', { kind: 'output', value: result.output }, result, undefined),

    writeFailed: (record: StepRecord, failure: StepFailure): StepWriting =>
      writeStep(record, 'failed', { kind: 'error', value: errorContent(failure) }, failure.spent, failure.code),

    /** An attempt that will be repeated: recorded with its reason, and the run's place is kept. */
    writeRetry: (
      step: Step,
      position: { readonly run: number; readonly attempt: number },
      failure: StepFailure,
      dueMs: number,
      atMs: number,
    ) => {
      const value = errorContent(failure)
      const { payload, reference } = newPayload({ instanceId, kind: 'error', value, nowMs: atMs })
      const { model, inputTokens, outputTokens } = failure.spent
      const facts = {
        run: position.run,
        attempt: position.attempt + 1,
        error: failure.code,
        due_ms: dueMs,
        ...(inputTokens !== undefined && { input_tokens: inputTokens }),
        ...(outputTokens !== undefined && { output_tokens: outputTokens }),
      }
      const named = model === undefined ? {} : { model }
      const draft: Draft = { type: 'step.retried', atMs, step: step.name, payload: reference, ...named, facts }
      return { payload, draft, dueMs, attempt: position.attempt + 1, atMs }
    },

    /** The workflow is over: the tier, the outcome, and the task if a person has to look. */
    writeEnding: (context: RunContext, mishaps: readonly Mishap[], atMs: number): Ending => {
      const governed = govern(definition, context, mishaps)
      const outcome = newPayload({ instanceId, kind: 'outcome', value: composeOutcome(context), nowMs: atMs })
      return { governed, outcome, task: taskFor(instance, definition, governed, atMs) }
    },

    /** The step goes on to another one; when the process is leaving, the claim is given back with it. */
    advanced: (
      fence: Fence,
      base: CommitBase,
      written: StepWriting,
      to: { readonly step: string; readonly run: number },
      leaving: boolean,
    ): StepCommit => {
      if (base.cancelRequested) return canceled(fence, base, written.atMs, written)
      const next: NextWork = leaving ? { to: 'release', ...to, attempt: 0 } : { to: 'step', ...to }
      return assemble(fence, next, seal(base, [written.draft]), written.atMs, written)
    },

    ended: (fence: Fence, base: CommitBase, written: StepWriting, { governed, outcome, task }: Ending): StepCommit => {
      if (base.cancelRequested) return canceled(fence, base, written.atMs, written)
      const { atMs } = written
      const { tier, contributions } = governed
      const isHeld = tier === 'gate' || tier === 'hold'
      const drafts: Draft[] = [
        written.draft,
        {
          type: isHeld ? 'case.held' : 'case.completed',
          atMs,
          tier,
          payload: outcome.reference,
          facts: { contributions },
        },
      ]
      if (task) drafts.push(taskOpened(task))
      const events = seal(base, drafts)
      const { payloadId } = outcome.payload
      const fields = {
        status: isHeld ? 'suspended' : 'completed',
        tier,
        tierContributions: contributions,
        proposedPayloadId: payloadId,
        outcomePayloadId: isHeld ? undefined : payloadId,
      } as const
      const next: NextWork = {
        to: 'end',
        ending: ending(fence, events, written, atMs, fields),
        tasks: task ? [task] : [],
      }
      return assemble(fence, next, events, atMs, written, outcome.payload)
    },

    failed: (fence: Fence, base: CommitBase, written: StepWriting, code: string): StepCommit =>
      base.cancelRequested
        ? canceled(fence, base, written.atMs, written)
        : failedWith(fence, base, written, code, written.checkpoint.step),

    overBudget: (fence: Fence, base: CommitBase, written: StepWriting, resumeStep: string): StepCommit =>
      base.cancelRequested
        ? canceled(fence, base, written.atMs, written)
        : failedWith(fence, base, written, 'step_budget', resumeStep),

    retried: (
      fence: Fence,
      base: CommitBase,
      written: { payload: Payload; draft: Draft; dueMs: number; attempt: number; atMs: number },
    ): StepCommit => {
      if (base.cancelRequested) return canceled(fence, base, written.atMs)
      const next = { to: 'sleep', dueMs: written.dueMs, attempt: written.attempt } as const
      return assemble(fence, next, seal(base, [written.draft]), written.atMs, undefined, written.payload)
    },

    intended: (
      fence: Fence,
      base: CommitBase,
      step: Step,
      facts: Record<string, unknown>,
      atMs: number,
    ): StepCommit => {
      if (base.cancelRequested) return canceled(fence, base, atMs)
      const draft: Draft = { type: 'step.intended', atMs, step: step.name, facts }
      return assemble(fence, { to: 'stay' }, seal(base, [draft]), atMs)
    },

    /** The claim is given back without a word: nothing happened to the case. */
    released: (
      fence: Fence,
      base: CommitBase,
      { step, run, attempt }: { step: string; run: number; attempt: number },
      atMs: number,
    ): StepCommit =>
      base.cancelRequested
        ? canceled(fence, base, atMs)
        : assemble(fence, { to: 'release', step, run, attempt }, [], atMs),

    canceled,
  }
}

const maxMessageCharacters = 10_000

function errorContent(failure: StepFailure): Json {
  // A message may quote what a model wrote, at any length; what could not be stored as text is shown as what it is not.
  const message = failure.message.slice(0, maxMessageCharacters).toWellFormed().replaceAll('\0', '␀')
  return { code: failure.code, message }
}
