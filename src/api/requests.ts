import { setTimeout as delay } from 'node:timers/promises'
import type { z } from 'zod'
import { catalogue, CoreError, type ErrorCode, type Facts } from '../errors.ts'
import { healthDocument, problem } from './documents.ts'

/** A service and how to speak to it. */
export interface ServiceAddress {
  /** Without a slash at its end. */
  readonly url: string
  /** Unset: the service has no keys, and takes the actor's name as it is given. */
  readonly apiKey?: string | undefined
}

export interface RequestParts {
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
  /** Who acts, where no key says so. */
  readonly actor?: string
  readonly signal?: AbortSignal
  /** How long the whole answer may take; a stream has no such end. */
  readonly timeoutMs?: number
}

/** Checking or exporting a long case takes a while; nothing takes longer. */
const defaultTimeoutMs = 300_000

/** A limit on requests passes within a minute; whoever is refused more often is told. */
const maxRefusals = 5

/**
 * Sends one request. Refuses with CC_ERR_SERVICE_AWAY when there is no answer. One that came too soon after others is sent
 * again when the service says so: nothing was done of it.
 */
export async function send(
  address: ServiceAddress,
  method: 'GET' | 'POST',
  path: string,
  parts: RequestParts = {},
): Promise<Response> {
  for (let refusals = 1; ; refusals += 1) {
    const answer = await sendOnce(address, method, path, parts)
    const seconds = Number(answer.headers.get('retry-after'))
    if (answer.status !== 429 || refusals >= maxRefusals || !(seconds > 0 && seconds <= 60)) return answer
    await answer.body?.cancel()
    await delay(seconds * 1000, undefined, parts.signal && { signal: parts.signal })
  }
}

async function sendOnce(
  { url, apiKey }: ServiceAddress,
  method: 'GET' | 'POST',
  path: string,
  { body, headers = {}, actor, signal, timeoutMs = defaultTimeoutMs }: RequestParts,
): Promise<Response> {
  const name = actor?.replace(/^(unverified:)+/, '')
  const deadline = timeoutMs === Infinity ? [] : [AbortSignal.timeout(timeoutMs)]
  const limits = [...deadline, ...(signal ? [signal] : [])]
  try {
    return await fetch(`${url}${path}`, {
      method,
      headers: {
        ...headers,
        ...(body && { 'content-type': 'application/json' }),
        ...(apiKey !== undefined && { authorization: `Bearer ${apiKey}` }),
        ...(apiKey === undefined && name !== undefined && { 'x-actor': encodeURIComponent(name) }),
      },
      ...(body && { body: JSON.stringify(body) }),
      ...(limits.length > 0 && { signal: AbortSignal.any(limits) }),
      // A key is shown to nobody but the service it was given for.
      redirect: 'error',
    })
  } catch (error) {
    if (signal?.aborted) throw signal.reason
    throw new CoreError('CC_ERR_SERVICE_AWAY', { url, why: reasonOf(error) }, { cause: error })
  }
}

/** What a service answered, checked; a refusal is thrown as the refusal that it was there. */
export async function answerOf<S extends z.ZodType>(
  { url }: ServiceAddress,
  answer: Response,
  shape: S,
): Promise<z.output<S>> {
  const content = await contentOf(url, answer)
  if (!answer.ok) throw refusalOf(url, answer, content)
  const { data, error } = shape.safeParse(content)
  if (!error) return data
  const [issue] = error.issues
  throw new CoreError('CC_ERR_SERVICE', { url, problem: `${issue?.path.join('.')}: ${issue?.message}` })
}

async function contentOf(url: string, answer: Response): Promise<unknown> {
  let text: string
  try {
    text = await answer.text()
  } catch (error) {
    throw new CoreError('CC_ERR_SERVICE_AWAY', { url, why: reasonOf(error) }, { cause: error })
  }
  try {
    return JSON.parse(text)
  } catch (error) {
    const problem = `status ${answer.status} with ${answer.headers.get('content-type') ?? 'nothing'}`
    throw new CoreError('CC_ERR_SERVICE', { url, problem }, { cause: error })
  }
}

function refusalOf(url: string, answer: Response, content: unknown): CoreError {
  const { data } = problem.safeParse(content)
  if (!data) {
    // A service that is not ready says so in a document of its own.
    const health = healthDocument.safeParse(content).data
    if (health?.status === 'unavailable') return new CoreError('CC_ERR_STORE_AWAY', { url })
    if (health) return new CoreError(health.status === 'draining' ? 'CC_ERR_CLOSED' : 'CC_ERR_STARTING')
    return new CoreError('CC_ERR_SERVICE', { url, problem: `status ${answer.status}` })
  }
  const { code, facts = {}, detail } = data
  if (Object.hasOwn(catalogue, code)) return new CoreError(code as ErrorCode, facts satisfies Facts)
  return new CoreError('CC_ERR_SERVICE', { url, problem: `${code}: ${detail}` })
}

/** fetch says no more than that it failed; why stands in the cause. */
function reasonOf(error: unknown): string {
  if ((error as Error).name === 'TimeoutError') return 'nobody answered in time'
  const { code, message } = (error as { cause?: NodeJS.ErrnoException }).cause ?? (error as NodeJS.ErrnoException)
  return (code && reasons[code]) ?? code ?? message
}

const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'nobody listens there',
  ECONNRESET: 'the connection was lost',
  ENOTFOUND: 'nobody knows this name',
  ETIMEDOUT: 'nobody answered in time',
  UND_ERR_SOCKET: 'the connection was lost',
  UND_ERR_CONNECT_TIMEOUT: 'nobody answered in time',
}
