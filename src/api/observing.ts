import { randomUUID } from 'node:crypto'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { isId } from '../domain/identity.ts'
import type { Log } from '../log.ts'
import type { Metrics } from './metrics.ts'

/** A caller's own name for the request, if it is one that can stand in a log. */
export function requestIdOf(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
}

/** Nobody was there any more to be answered; the number is a custom, not a standard. */
const leftEarly = 499

/** One line and one measure for each request. Paths are those of routes: what somebody typed stays out of the log. */
export function observe(app: FastifyInstance, metrics: Metrics, log: Log): void {
  app.addHook('onSend', (request, reply, _payload, done) => {
    void reply.header('x-request-id', request.id)
    if (!reply.hasHeader('cache-control')) void reply.header('cache-control', 'no-store')
    done()
  })
  app.addHook('onRequest', (request, reply, done) => {
    const startedAt = performance.now()
    // Fastify's own hook for this does not hear of those who leave before they are answered, as viewers of streams do.
    reply.raw.once('close', () => answered(request, reply, performance.now() - startedAt))
    done()
  })
  const answered = (request: FastifyRequest, { raw }: FastifyReply, ms: number) => {
    const { method, id, caller } = request
    const route = request.routeOptions.url ?? 'none'
    const status = raw.headersSent ? raw.statusCode : leftEarly
    const isStream = status === 200 && route.endsWith('/stream')
    if (!isStream) metrics.answered({ method, route, status, seconds: ms / 1000 })
    const timed = { request_id: id, method, route, status, ms: Math.round(ms * 10) / 10 }
    log.info({ ...timed, actor: caller?.actor, instance: instanceOf(request) }, 'request')
  }
}

function instanceOf({ routeOptions, params }: FastifyRequest): string | undefined {
  if (!routeOptions.url?.startsWith('/v1/cases/:id')) return undefined
  const { id = '' } = params as { readonly id?: string }
  return isId(id) ? id : undefined
}
