import type { Model } from '../cognition/model.ts'
import {
  addSpent,
  type Primitive,
  type Spent,
  type StepCall,
  StepFailure,
  type StepResult,
} from '../cognition/primitive.ts'
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
  const meter = metered(call.model)
  try {
    const ownCall = { ...call, model: meter.model, signal: controller.signal }
    const result = await Promise.race([primitive.run(ownCall), cutShort])
    return { kind: 'completed', result: checkResult(primitive, result) }
  } catch (error) {
    if (controller.signal.reason === abandoned) return { kind: 'abandoned' }
    // A primitive that notices the abort first may throw anything; the reason of the abort is the truth.
    const failure = toFailure(controller.signal.aborted ? controller.signal.reason : error)
    return { kind: 'failed', failure: withSpent(failure, meter.spent()) }
  } finally {
    cancelTimeout()
    running.delete(controller)
  }
}

/** The model as one attempt sees it, and what its answers have cost: an attempt that fails has been paid for too. */
function metered(model: Model | undefined): { readonly model: Model | undefined; readonly spent: () => Spent } {
  let spent: Spent = {}
  if (!model) return { model, spent: () => spent }
  const answer: Model['answer'] = async (request) => {
    try {
      const answered = await model.answer(request)
      const { text: _, ...cost } = answered
      spent = addSpent(cost, spent)
      return answered
    } catch (error) {
      if (error instanceof StepFailure) spent = addSpent(error.spent, spent)
      throw error
    }
  }
  return { model: { name: model.name, simulated: model.simulated, answer }, spent: () => spent }
}

/** A cost that is none is left out: the failure itself must be recorded whatever a program's own model says. */
function withSpent({ code, message, retryable, retryAfterMs, cause }: StepFailure, spent: Spent): StepFailure {
  const isSound = wrongIn(spent) === undefined
  return new StepFailure(code, message, { retryable, retryAfterMs, cause, ...(isSound && { spent }) })
}

/** Event and checkpoint carry the model's name, so it stays one. */
const maxModelCharacters = 500

/** What programs' own primitives return is seen here for the first time. Content that is not JSON is met when it is written. */
function checkResult({ name }: Primitive, result: StepResult | undefined): StepResult {
  const { output } = result ?? {}
  const refuse = (what: string): never => {
    throw new StepFailure('primitive_error', `${name} gave no result: ${what}`, { retryable: false })
  }
  if (typeof output !== 'object' || output === null || Array.isArray(output)) refuse('its output is not an object')
  const wrong = wrongIn(result!)
  if (wrong !== undefined) refuse(wrong)
  return result!
}

function wrongIn({ model, inputTokens, outputTokens }: Spent): string | undefined {
  const isName = model === undefined || (typeof model === 'string' && model.length <= maxModelCharacters)
  if (!isName) return 'its model is not a name'
  const isCount = (tokens: number | undefined) => tokens === undefined || (Number.isSafeInteger(tokens) && tokens >= 0)
  return isCount(inputTokens) && isCount(outputTokens) ? undefined : 'its tokens are not a number'
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

/** As long as whoever failed asks for, within this: a case does not sleep for a day on the word of a server. */
const maxRetryAfterMs = 900_000

/**
 * The pause before attempt `next` (from 2), doubling and bounded; `draw` in 0..1 spreads it between half and whole. Never
 * shorter than the failure asks for, and then spread beyond it: those who were sent away together come back apart.
 */
export function pauseMs(
  { retryAfterMs = 0 }: StepFailure,
  retry: StepCall['step']['retry'],
  next: number,
  draw: number,
): number {
  const whole = Math.min(retry.maxBackoffMs, retry.backoffMs * 2 ** (next - 2))
  const asked = Math.min(retryAfterMs, maxRetryAfterMs)
  return Math.round(Math.max(whole * (0.5 + draw / 2), asked * (1 + draw / 4)))
}
