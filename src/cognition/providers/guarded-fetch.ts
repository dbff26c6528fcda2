import { StepFailure } from '../primitive.ts'

/** What one call may answer on the wire: far beyond the longest answer with all that a stream wraps around it. */
const maxResponseBytes = 33_554_432

/**
 * The way to a provider. It follows no redirection, which would carry key and case to an address that nobody
 * configured, and lets in neither more than memory bears nor text that a decoder would quietly change.
 */
export const guardedFetch: typeof fetch = async (input, init) => {
  const response = await fetch(input, { ...init, redirect: 'manual' })
  if (!response.body) return response
  const { status, statusText, headers } = response
  const isText = /json|text/.test(headers.get('content-type') ?? 'text')
  return new Response(response.body.pipeThrough(guard(isText)), { status, statusText, headers })
}

function guard(isText: boolean): TransformStream<Uint8Array, Uint8Array> {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  const check = (chunk?: Uint8Array) => {
    try {
      if (isText) decoder.decode(chunk, { stream: chunk !== undefined })
    } catch {
      throw unreadable('it is not UTF-8')
    }
  }
  let bytes = 0
  return new TransformStream({
    transform(chunk, controller) {
      bytes += chunk.byteLength
      if (bytes > maxResponseBytes) throw unreadable(`it is longer than ${maxResponseBytes} bytes`)
      check(chunk)
      controller.enqueue(chunk)
    },
    flush: () => check(),
  })
}

function unreadable(why: string): StepFailure {
  return new StepFailure('unparseable', `the response cannot be read: ${why}`, { retryable: true })
}
