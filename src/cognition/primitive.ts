import type { z } from 'zod'
import type { Fixture, PackDocument, Step } from '../domain/workflow.ts'
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
  readonly documents?: readonly PackDocument[] | undefined
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

/** Who answered, and what it cost. */
export type Spent = Omit<StepResult, 'output'>

/** What one question has cost, or a result with its cost, and the cost of another question of the same attempt. */
export function addSpent<T extends Spent>(result: T, spent: Spent): T & Spent {
  const sum = (key: 'inputTokens' | 'outputTokens') => {
    const both = [result[key], spent[key]].filter((tokens) => tokens !== undefined)
    return both.length === 0 ? {} : { [key]: both.reduce((a, b) => a + b) }
  }
  return { ...spent, ...result, ...sum('inputTokens'), ...sum('outputTokens') }
}

/** A type of step: what it needs and how it thinks. */
export interface Primitive {
  readonly name: string
  readonly needsModel: boolean
  /** Parameters that must be there and not empty, after defaults. */
  readonly requiredParams: readonly string[]
  readonly defaultParams: Readonly<Record<string, string>>
  /** Parameters it knows beside those; unset: it does not say, and no parameter is called unknown. */
  readonly optionalParams?: readonly string[]
  /** What it answers with; unset: it does not say, and no field is called undeclared. */
  readonly answer?: z.ZodType<object>
  run(call: StepCall): Promise<StepResult>
}

/** What each means, and whether it is tried again, stands in docs/models.md. */
export const stepFailureCodes = [
  'timeout',
  'outage',
  'rate_limit',
  'refusal',
  'truncation',
  'rejected',
  'unparseable',
  'schema_mismatch',
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
  /** How long whoever failed asks to be left alone; the engine waits as long, within bounds. */
  readonly retryAfterMs: number | undefined
  /** Of the answers that could not be used, where there were any. */
  readonly spent: Spent

  constructor(code: StepFailureCode, message: string, options: StepFailureOptions) {
    super(message, { cause: options.cause })
    this.code = code
    this.retryable = options.retryable
    this.retryAfterMs = options.retryAfterMs
    this.spent = options.spent ?? {}
  }
}

interface StepFailureOptions {
  readonly retryable: boolean
  readonly cause?: unknown
  readonly retryAfterMs?: number | undefined
  readonly spent?: Spent
}
