import type { Tier, TierContribution } from './governance.ts'
import type { JsonObject } from './json.ts'

/** Where one run of a workflow stands, as people and programs see it. */
export const instanceStatuses = ['running', 'suspended', 'completed', 'failed', 'terminated', 'canceled'] as const
export type InstanceStatus = (typeof instanceStatuses)[number]

/** A running instance's place in the queue: waiting for a worker, with one, or waiting for a time (a retry). */
export const workStates = ['ready', 'claimed', 'sleeping'] as const
export type WorkState = (typeof workStates)[number]

/** One run of a workflow on a case. Content (input, outcome) stands in `payloads`; the instance refers to it. */
export interface Instance {
  readonly instanceId: string
  /** The id of the first instance of a family; equal to `instanceId` unless the case was delegated. */
  readonly correlationId: string
  readonly workflow: string
  readonly domain: string
  /** SHA-256 of the pinned definition that this instance runs with, whatever the pack says later. */
  readonly definitionHash: string
  readonly submittedBy: string
  readonly inputPayloadId: string
  readonly status: InstanceStatus
  /** The effective tier; unset until the workflow has ended. */
  readonly tier: Tier | undefined
  readonly tierContributions: readonly TierContribution[]
  /** What the workflow proposed. */
  readonly proposedPayloadId: string | undefined
  /** What took effect: the proposal, or the proposal with a person's changes; unset while held or denied. */
  readonly outcomePayloadId: string | undefined
  /** A code and a sentence when the instance failed; the sentence's details stand in the failing step's payload. */
  readonly failureCode: string | undefined
  /** The step at which `retry` goes on. */
  readonly resumeStep: string | undefined
  readonly simulated: boolean
  /** A completed case to which a spot-checking reviewer objected. */
  readonly disputed: boolean
  /** Head of the chain while no work row exists (held or ended). */
  readonly auditSeq: number
  readonly auditHead: string
  /** Steps recorded so far, while no work row exists. */
  readonly stepCount: number
  readonly submittedAtMs: number
  readonly updatedAtMs: number
  readonly endedAtMs: number | undefined
}

/** What does not change while an instance lives, and all that moving it needs of its row. */
export type LiveInstance = Pick<
  Instance,
  'instanceId' | 'definitionHash' | 'submittedBy' | 'simulated' | 'inputPayloadId'
>

/** The hot row of a live instance: its step pointer, its fence and the head of its chain. */
export interface Work {
  readonly instanceId: string
  readonly state: WorkState
  readonly priority: number
  /** When a sleeping instance is due. */
  readonly dueMs: number | undefined
  /** Proof of the claim; random, new at each claim. */
  readonly token: string | undefined
  readonly claimedBy: string | undefined
  readonly claimedAtMs: number | undefined
  readonly definitionHash: string
  /** The step to run next. */
  readonly step: string
  /** Which run of that step this is, from 1. */
  readonly run: number
  /** Attempts of that run that failed and are to be repeated. */
  readonly attempt: number
  /** Checkpoints recorded so far. */
  readonly stepNo: number
  readonly auditSeq: number
  readonly auditHead: string
  readonly cancelRequested: boolean
}

/** One step's recorded result: exactly one per (instance, stepNo). Append-only. */
export interface Checkpoint {
  readonly instanceId: string
  /** 1, 2, 3 … within the instance. */
  readonly stepNo: number
  readonly step: string
  readonly primitive: string
  /** Which run of this step, from 1. */
  readonly run: number
  /** How many attempts this run took, from 1. */
  readonly attempts: number
  readonly status: 'completed' | 'failed'
  readonly errorCode: string | undefined
  readonly outputPayloadId: string
  readonly outputCommitment: string
  readonly model: string | undefined
  readonly inputTokens: number | undefined
  readonly outputTokens: number | undefined
  /** Canonical JSON of how the next step was chosen (`Route`). */
  readonly route: string
  readonly startedAtMs: number
  readonly endedAtMs: number
}

/** The columns of `checkpoints` by their fields: as they are stored, hashed and exported. `entry` is the table's own. */
export const checkpointColumns = {
  instanceId: 'instance_id',
  stepNo: 'step_no',
  step: 'step',
  primitive: 'primitive',
  run: 'run',
  attempts: 'attempts',
  status: 'status',
  errorCode: 'error_code',
  outputPayloadId: 'output_payload_id',
  outputCommitment: 'output_commitment',
  model: 'model',
  inputTokens: 'input_tokens',
  outputTokens: 'output_tokens',
  route: 'route',
  startedAtMs: 'started_at_ms',
  endedAtMs: 'ended_at_ms',
} as const satisfies Record<keyof Checkpoint, string>

export const payloadKinds = ['input', 'output', 'error', 'outcome', 'decision', 'reason'] as const
export type PayloadKind = (typeof payloadKinds)[number]

/** A piece of content, kept apart from the chain so that it can be erased while the chain still verifies. */
export interface Payload {
  readonly payloadId: string
  readonly instanceId: string
  readonly kind: PayloadKind
  /** Canonical JSON text; unset once erased. */
  readonly text: string | undefined
  /** 16 random bytes as hex; unset once erased. */
  readonly salt: string | undefined
  readonly erasedAtMs: number | undefined
}

/** The case's own name: `case_id`, `claim_id` or `_id` of its input, else the instance id. */
export function caseIdOf(input: JsonObject, instanceId: string): string {
  for (const key of ['case_id', 'claim_id', '_id']) {
    const value = input[key]
    if (typeof value === 'string' && value !== '') return value
  }
  return instanceId
}
