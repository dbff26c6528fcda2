import { type Primitive, type StepCall, StepFailure, type StepResult } from '../cognition/primitive.ts'
import type { Clock } from '../clock.ts'
import { isCoreError } from '../errors.ts'

/** How one attempt of a step ended. Never an exception: a failure is a result that governance must see. */
export type Attempt =
  | { readonly kind: 'completed'; readonly result: StepResult }
  | { readonly kind: 'failed'; readonly failure: StepFailure }
  /** The process is leaving: nothing is recorded, and the step runs again elsewhere. */
  | { readonly kind: 'abandoned' }

/** Why an attempt was cut short from outside, as the reason of its abort signal. */
export const abandoned = Symbol('abandoned')

/**
 * Runs one attempt and ends it when its time is up, whether or not the primitive listens to the signal. A late answer
 * goes nowhere.
 */
export async function attemptStep(
  primitive: Primitive,
  call: Omit<StepCall, 'signal'>,
  running: Set<AbortController>,
  clock: Clock,
): Promise<Attempt> {
  const controller = new AbortController()
  running.add(controller)
  const cancelTimeout = clock.after(call.step.timeoutMs, () =>
    controller.abort(
      new StepFailure('timeout', `${call.step.name} took longer than ${call.step.timeoutMs} ms`, { retryable: true }),
    ),
  )
  const cutShort = new Promise<never>((_, reject) => {
    controller.signal.addEventListener('abort', () => reject(controller.signal.reason as Error), { once: true })
  })
  try {
    const result = await Promise.race([primitive.run({ ...call, signal: controller.signal }), cutShort])
    return { kind: 'completed', result: checkResult(primitive, result) }
  } catch (error) {
    if (controller.signal.reason === abandoned) return { kind: 'abandoned' }
    // A primitive that notices the abort first may throw anything; the reason of the abort is the truth.
    return { kind: 'failed', failure: toFailure(controller.signal.aborted ? controller.signal.reason : error) }
  } finally {
    cancelTimeout()
    running.delete(controller)
  }
}

/** Event and checkpoint carry the model's name, so it stays one. */
const maxModelCharacters = 500

/** What programs' own primitives return is seen here for the first time. Content that is not JSON is met when it is written. */
function checkResult({ name }: Primitive, result: StepResult | undefined): StepResult {
  const { output, model, inputTokens, outputTokens } = result ?? {}
  const refuse = (what: string): never => {
    throw new StepFailure('primitive_error', `${name} gave no result: ${what}`, { retryable: false })
  }
  if (typeof output !== 'object' || output === null || Array.isArray(output)) refuse('its output is not an object')
  const isName = model === undefined || (typeof model === 'string' && model.length <= maxModelCharacters)
  if (!isName) refuse('its model is not a name')
  for (const tokens of [inputTokens, outputTokens]) {
    if (tokens !== undefined && !(Number.isSafeInteger(tokens) && tokens >= 0)) refuse('its tokens are not a number')
  }
  return result!
}

function toFailure(error: unknown): StepFailure {
  if (error instanceof StepFailure) return error
  return new StepFailure('primitive_error', messageOf(error), { retryable: !isCoreError(error), cause: error })
}

/** Anything can be thrown, also what has no text. */
function messageOf(error: unknown): string {
  try {
    return error instanceof Error ? String(error.message) : String(error)
  } catch {
    return 'something was thrown that has no text'
  }
}

/** The pause before attempt `next` (from 2), doubling and bounded; `draw` in 0..1 spreads it between half and whole. */
export function backoffMs(retry: StepCall['step']['retry'], next: number, draw: number): number {
  const whole = Math.min(retry.maxBackoffMs, retry.backoffMs * 2 ** (next - 2))
  return Math.round(whole * (0.5 + draw / 2))
}
