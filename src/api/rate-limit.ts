import rateLimit from '@fastify/rate-limit'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { CoreError } from '../errors.ts'
import { access, isLoopback, type RouteId } from './access.ts'

const defaultMax = 1200

/** So many requests a minute: of each caller, and of each address from which nobody could be told. */
export interface RateLimit {
  /** Counts a request that named nobody. Throws CC_ERR_RATE_LIMIT when there were too many. */
  refused(request: FastifyRequest, reply: FastifyReply): Promise<void>
  /** The hook that counts those of known callers. */
  readonly hook: ReturnType<FastifyInstance['rateLimit']>
}

/** Undefined: there is no limit, as on loopback unless somebody sets one. */
export async function prepareRateLimit(
  app: FastifyInstance,
  { host, asked }: { readonly host: string; readonly asked: number | undefined },
): Promise<RateLimit | undefined> {
  const max = asked ?? (isLoopback(host) ? 0 : defaultMax)
  if (max === 0) return undefined
  const actorOf = ({ caller, ip }: FastifyRequest) => caller?.actor ?? ip
  const tooMany = (request: FastifyRequest) => new CoreError('CC_ERR_RATE_LIMIT', { actor: actorOf(request), max })
  await app.register(rateLimit, {
    global: false,
    max,
    timeWindow: 60_000,
    keyGenerator: actorOf,
    // Who watches whether the service lives must not be told that it is too busy to say.
    allowList: ({ routeOptions, method }) => access[`${method} ${routeOptions.url}` as RouteId] === 'open',
    errorResponseBuilder: tooMany,
  })
  const count = app.createRateLimit({ keyGenerator: ({ ip }) => `address ${ip}`, allowList: [] })
  return {
    hook: app.rateLimit(),
    async refused(request, reply) {
      const counted = await count(request)
      if (counted.isAllowed || !counted.isExceeded) return
      void reply.header('retry-after', counted.ttlInSeconds)
      throw tooMany(request)
    },
  }
}
