import { AISDKError, APICallError, LoadAPIKeyError, LoadSettingError } from '@ai-sdk/provider'
import { isObject } from '../tools.ts'
import { StepFailure, type StepFailureCode } from '../primitive.ts'

/** What is known of whom the call went to. */
export interface Callee {
  /** `openai/…`, as it is configured. */
  readonly name: string
  /** Values that must not stand in any message, whoever wrote it. */
  readonly secrets: readonly string[]
}

/**
 * What went wrong with a call, as a failed attempt. What is not about the call (a defect of a program) is handed back as
 * it is. Messages name the callee and quote what it said, within bounds: never a header, never what was sent.
 */
export function failureOf(error: unknown, callee: Callee): unknown {
  const own = causesOf(error).find((cause) => cause instanceof StepFailure)
  if (own) return own
  if (APICallError.isInstance(error)) return callFailure(error, callee)
  if (LoadAPIKeyError.isInstance(error) || LoadSettingError.isInstance(error)) {
    return failure('rejected', 'cannot be called', error.message, callee, error)
  }
  if (AISDKError.isInstance(error)) return failure('unparseable', 'sent no answer', error.message, callee, error)
  return error
}

/** A stream tells of an error in the provider's own words: an object without a status, or with one in its `code`. */
export function streamFailure(error: unknown, callee: Callee): unknown {
  if (error instanceof Error || !isObject(error)) return failureOf(error, callee)
  const words = `${String(error.code ?? '')} ${String(error.type ?? '')}`
  const code = /429|rate.?limit/i.test(words) ? 'rate_limit' : 'outage'
  return failure(code, 'broke off its answer', String(error.message ?? words), callee, error)
}

export function failure(
  code: StepFailureCode,
  did: string,
  said: string | undefined,
  { name, secrets }: Callee,
  cause?: unknown,
): StepFailure {
  const quoted = said?.trim() ? `: ${quote(said, secrets)}` : ''
  const isPassing = code !== 'rejected' && code !== 'refusal' && code !== 'truncation'
  return new StepFailure(code, `${name} ${did}${quoted}`, { retryable: isPassing, cause })
}

function callFailure(error: APICallError, callee: Callee): StepFailure {
  const { statusCode: status, message, isRetryable } = error
  if (status === undefined) return failure('outage', 'could not be reached', message, callee, error)
  // An answer had begun well, and then the connection was lost.
  if (status < 300 && isRetryable) return failure('outage', 'broke off its answer', undefined, callee, error)
  if (status < 300)
    return failure(isRefusal(error) ? 'refusal' : 'unparseable', 'sent no answer', message, callee, error)
  const { code, message: text, retryable } = failure(codeOf(status, error), `answered HTTP ${status}`, message, callee)
  return new StepFailure(code, text, { retryable, cause: error, retryAfterMs: retryAfterMs(error.responseHeaders) })
}

function codeOf(status: number, { responseBody = '' }: APICallError): StepFailureCode {
  if (status === 429) return 'rate_limit'
  if (status >= 500 || status === 408 || status === 425) return 'outage'
  // Azure and OpenAI refuse what their filter found in the prompt by a status of its own making.
  return /"code"\s*:\s*"content_(filter|policy_violation)"/.test(responseBody) ? 'refusal' : 'rejected'
}

/** Packages that do not know a refusal in place of a text take it for a broken response. No text of a model can look so. */
function isRefusal({ responseBody = '' }: APICallError): boolean {
  return /"type"\s*:\s*"refusal"/.test(responseBody)
}

/** Seconds or a date, which is held against the provider's own clock where it shows it. */
function retryAfterMs(headers: Readonly<Record<string, string>> = {}): number | undefined {
  const { 'retry-after': text, 'retry-after-ms': milliseconds, date = '' } = headers
  if (milliseconds && /^\d{1,12}$/.test(milliseconds)) return Number(milliseconds)
  if (!text) return undefined
  if (/^\d{1,9}$/.test(text)) return Number(text) * 1000
  const waitMs = Date.parse(text) - (Date.parse(date) || Date.now())
  return waitMs > 0 ? waitMs : undefined
}

const quotedCharacters = 300

function quote(said: string, secrets: readonly string[]): string {
  const safe = secrets.reduce((text, secret) => text.replaceAll(secret, '***'), said)
  const line = safe.replaceAll(/\s+/g, ' ').trim()
  return line.length <= quotedCharacters ? line : `${line.slice(0, quotedCharacters).toWellFormed()}…`
}

/** A chain of causes is short; a ring of them must not hold anybody up. */
function causesOf(error: unknown): unknown[] {
  const causes: unknown[] = []
  for (let cause = error; cause instanceof Error && causes.length < 10; cause = cause.cause) causes.push(cause)
  return causes
}
