import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { z } from 'zod'
import { isStorableText } from '../domain/json.ts'
import { CoreError } from '../errors.ts'
import {
  type Caller,
  callerOf,
  checkHeaders,
  checkOrigin,
  checkRole,
  type Door,
  type RouteId,
  access,
} from './access.ts'
import { problem } from './documents.ts'
import type { RateLimit } from './rate-limit.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Set by the door for every route that is not open. */
    caller: Caller | undefined
  }
}

/** What a route takes and answers, for checking what comes in and for saying so in the OpenAPI document. */
interface RouteWords<Params, Query, Body> {
  readonly summary: string
  readonly description?: string
  readonly tag: 'cases' | 'tasks' | 'service'
  readonly params?: z.ZodType<Params>
  readonly query?: z.ZodType<Query>
  readonly body?: z.ZodType<Body>
  readonly headers?: z.ZodType
  /** By status: what is answered. Refusals are the same everywhere and need no mention. */
  readonly answers: Readonly<Record<number, z.ZodType>>
  /** Of the answers, where it is not JSON. */
  readonly produces?: string
}

/** One request that has passed the door and whose parts fit their schemas. */
export interface Call<Params, Query, Body> {
  readonly params: Params
  readonly query: Query
  readonly body: Body
  readonly caller: Caller
  readonly request: FastifyRequest
  readonly reply: FastifyReply
}

/** What a handler returns is the answer, as JSON; nothing when it has answered by itself. */
type Handler<Params, Query, Body> = (call: Call<Params, Query, Body>) => Promise<object | string | undefined>

/** Where nobody is asked for a name. */
const nobody: Caller = { actor: 'unverified:nobody', roles: [] }

/** Adds a route of the table to the API. */
export function addRoute<Params = unknown, Query = unknown, Body = unknown>(
  app: FastifyInstance,
  id: RouteId,
  words: RouteWords<Params, Query, Body>,
  handler: Handler<Params, Query, Body>,
): void {
  const [method = 'GET', url = '/'] = id.split(' ')
  const { summary, description, tag, params, query, body, headers, answers, produces } = words
  app.route({
    method,
    url,
    schema: {
      summary,
      ...(description !== undefined && { description }),
      tags: [tag],
      ...(params && { params }),
      // One that takes no parameters refuses all of them: a word that is misspelled must not change what is meant.
      querystring: query ?? z.strictObject({}),
      ...(body && { body }),
      ...(headers && { headers }),
      ...(produces !== undefined && { produces: [produces] }),
      ...(access[id] === 'open' && { security: [] }),
      response: { ...answers, default: problem },
    },
    handler: async (request, reply) => {
      const parts = request as unknown as { params: Params; query: Query; body: Body }
      const caller = request.caller ?? nobody
      const answer = await handler({
        params: parts.params,
        query: parts.query,
        body: parts.body,
        caller,
        request,
        reply,
      })
      return answer === undefined ? reply : answer
    },
  })
}

/** Puts the door before every route: who may not take it is refused before anything of the request is read. */
export function guardRoutes(app: FastifyInstance, door: Door, rateLimit?: RateLimit): void {
  app.decorateRequest('caller', undefined)
  app.addHook('onRoute', ({ method, url }) => {
    if (!(`${String(method)} ${url}` in access))
      throw new TypeError(`${String(method)} ${url} is not in the table of access`)
  })

  app.addHook('onRequest', async (request, reply) => {
    checkHeaders(request.raw)
    checkOrigin(request.headers, { isKeyless: door.keys === undefined })
    const { url } = request.routeOptions
    // Without a route there is nothing to protect: it is answered as not found.
    if (url === undefined) return
    const id = `${request.method} ${url}` as RouteId
    if (access[id] === 'open') return
    try {
      request.caller = callerOf(door, request.headers)
    } catch (error) {
      await rateLimit?.refused(request, reply)
      throw error
    }
    checkRole(id, request.caller)
  })
  if (rateLimit) app.addHook('onRequest', rateLimit.hook)
  app.setValidatorCompiler(({ schema, httpPart }) => (value: unknown) => {
    const { data, error } = (schema as z.ZodType).safeParse(value ?? undefined)
    if (!error) return { value: data }
    const [issue] = error.issues
    const where = [partNames[httpPart as keyof typeof partNames] ?? httpPart, ...(issue?.path ?? [])].join('.')
    const code = httpPart === 'body' ? 'CC_ERR_BODY' : 'CC_ERR_REQUEST'
    return { error: new CoreError(code, { problem: `${where}: ${issue?.message}` }) }
  })
  // Answers are made by the functions that know their shape; the schemas of answers are for the document alone.
  app.setSerializerCompiler(() => (value) => JSON.stringify(value))
}

const partNames = { body: 'body', querystring: 'query', params: 'path', headers: 'header' } as const

/** A name in a query that a database can be asked for. */
export const nameToFind = z.string().refine(isStorableText, 'no name has a NUL in it')

/** The largest number of fifteen digits: every one up to it is exact. */
export const maxSafeText = 999_999_999_999_999

/** A whole number in a query, where everything is text. */
export function wholeNumber(least: number, most: number) {
  return z
    .string()
    .regex(/^\d{1,15}$/, `a whole number from ${least} to ${most} is needed`)
    .transform(Number)
    .pipe(z.number().min(least).max(most))
    .meta({ integer: { minimum: least, maximum: most } })
}
