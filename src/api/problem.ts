import { randomUUID } from 'node:crypto'
import { maxHeaderSize, STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify'
import { CoreError, isCoreError } from '../errors.ts'
import type { Log } from '../log.ts'

export const problemType = 'application/problem+json'

/** What a refusal is as an answer: RFC 9457, with the code, the way out and the facts beside it. */
export function problemOf(error: CoreError, requestId: string): Readonly<Record<string, unknown>> {
  const { code, status, message, remedy, facts } = error
  return {
    type: 'about:blank',
    title: STATUS_CODES[status],
    status,
    code,
    detail: message,
    remedy,
    ...extensionsOf(error),
    facts,
    request_id: requestId,
  }
}

/** What programs look for beside the words. */
function extensionsOf({ code, facts }: CoreError): object {
  if (code === 'CC_ERR_ALREADY_DECIDED') {
    const { decision, decidedBy, decidedAtMs } = facts
    const decidedAt = new Date(Number(decidedAtMs)).toISOString()
    return { decision: { decision, decided_by: decidedBy, decided_at_ms: decidedAtMs, decided_at: decidedAt } }
  }
  if (code === 'CC_ERR_CLAIMED') return { holder: facts.holder, claimed_until: facts.until }
  return {}
}

/** Answers whatever a request failed with. What nobody foresaw is logged whole and told without its words. */
export function answerProblem(log: Log, error: unknown, request: FastifyRequest, reply: FastifyReply): void {
  const refusal = refusalOf(error, request)
  if (refusal.status === 500 || (refusal.status > 500 && refusal !== error)) {
    const why = refusal === error ? { error: refusal.message } : { stack: (error as Error).stack ?? String(error) }
    log.error({ request_id: request.id, code: refusal.code, ...why }, 'request failed')
  }
  if (refusal.code === 'CC_ERR_KEY_MISSING' || refusal.code === 'CC_ERR_KEY_UNKNOWN') {
    void reply.header('www-authenticate', 'Bearer')
  }
  if (refusal.status === 503 && !reply.hasHeader('retry-after')) void reply.header('retry-after', '1')
  void reply
    .code(refusal.status)
    .type(problemType)
    .send(JSON.stringify(problemOf(refusal, request.id)))
}

/** Answers what was no request that could be read: there is no route yet, nor a reply, only the connection. */
export function answerBroken(log: Log, error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || socket.destroyed) return
  const requestId = randomUUID()
  const refusal = brokenAs(error)
  log.info({ request_id: requestId, code: refusal.code, error: error.code }, 'request could not be read')
  const body = JSON.stringify(problemOf(refusal, requestId))
  const head = [
    `HTTP/1.1 ${refusal.status} ${STATUS_CODES[refusal.status]}`,
    `content-type: ${problemType}`,
    `content-length: ${Buffer.byteLength(body)}`,
    `x-request-id: ${requestId}`,
    'cache-control: no-store',
    'connection: close',
  ]
  if (socket.writable) socket.end(`${head.join('\r\n')}\r\n\r\n${body}`)
  else socket.destroy()
}

function brokenAs({ code, message }: NodeJS.ErrnoException): CoreError {
  if (code === 'HPE_HEADER_OVERFLOW') return new CoreError('CC_ERR_HEAD_TOO_LARGE', { maxBytes: maxHeaderSize })
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return new CoreError('CC_ERR_REQUEST_TIMEOUT')
  return new CoreError('CC_ERR_REQUEST', { problem: message })
}

function refusalOf(error: unknown, request: FastifyRequest): CoreError {
  if (isCoreError(error, 'CC_ERR_KEYS_FILE')) {
    // It is met before anybody is known, and what is wrong with it is for whoever keeps it.
    return new CoreError(error.code, { file: 'of this service', problem: `see the log for request ${request.id}` })
  }
  if (error instanceof CoreError) return error
  const { code, statusCode, message } = error as Partial<FastifyError>
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') {
    return new CoreError('CC_ERR_BODY_TOO_LARGE', { maxBytes: request.routeOptions.bodyLimit })
  }
  if (code === 'FST_ERR_CTP_INVALID_MEDIA_TYPE') {
    return new CoreError('CC_ERR_MEDIA_TYPE', { type: request.headers['content-type'] ?? 'nothing' })
  }
  if (code?.startsWith('FST_ERR_') && statusCode === 400) return new CoreError('CC_ERR_REQUEST', { problem: message })
  return new CoreError('CC_ERR_UNEXPECTED', { problem: `see the log for request ${request.id}.` }, { cause: error })
}
