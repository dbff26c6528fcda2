import type { Fixture, Step } from '../domain/workflow.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Model } from './model.ts'
import type { RunContext } from './run-context.ts'

/** One attempt of one step. */
export interface StepCall {
  readonly instanceId: string
  /** The case's own id; see `CallAddress.case`. */
  readonly caseId: string
  readonly step: Step
  readonly run: number
  readonly attempt: number
  /** The step's parameters with every reference filled in. */
  readonly params: Readonly<Record<string, string>>
  readonly context: RunContext
  readonly fixtures: readonly Fixture[]
  /** The same for every attempt of this run: hand it to whatever acts on the world. */
  readonly idempotencyKey: string
  /** Aborted when the attempt's time is up or the process drains. */
  readonly signal: AbortSignal
  readonly model: Model | undefined
}

export interface StepResult {
  /** Becomes the checkpoint's payload; must be representable as canonical JSON with ordinary numbers. */
  readonly output: JsonObject
  readonly model?: string
  readonly inputTokens?: number
  readonly outputTokens?: number
}

/** A type of step: what it needs and how it thinks. */
export interface Primitive {
  readonly name: string
  readonly needsModel: boolean
  /** Parameters that must be there and not empty, after defaults. */
  readonly requiredParams: readonly string[]
  readonly defaultParams: Readonly<Record<string, string>>
  run(call: StepCall): Promise<StepResult>
}

export const stepFailureCodes = [
  'timeout',
  'unparseable',
  'schema_mismatch',
  'rate_limit',
  'no_script_entry',
  'missing_params',
  'primitive_error',
] as const
export type StepFailureCode = (typeof stepFailureCodes)[number]

/** An attempt that gave no result. The engine repeats it when that can help, and fails the step otherwise. */
export class StepFailure extends Error {
  override readonly name = 'StepFailure'
  readonly code: StepFailureCode
  readonly retryable: boolean

  constructor(code: StepFailureCode, message: string, options: { retryable: boolean; cause?: unknown }) {
    super(message, { cause: options.cause })
    this.code = code
    this.retryable = options.retryable
  }
}
