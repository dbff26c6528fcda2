import { randomUUID } from 'node:crypto'
import { maxHeaderSize, type Server } from 'node:http'
import type { Socket } from 'node:net'
import helmet from '@fastify/helmet'
import rateLimit from '@fastify/rate-limit'
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from 'fastify'
import { type Clock, systemClock } from '../clock.ts'
import { isId } from '../domain/identity.ts'
import { maxJsonBytes, parseJson } from '../domain/json.ts'
import type { ApiKey } from '../domain/role.ts'
import type { Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Log } from '../log.ts'
import { access, isLoopback } from './access.ts'
import { addCases } from './cases.ts'
import { addHealth } from './health.ts'
import { addMetrics, Metrics } from './metrics.ts'
import { addOpenApi, gatherRoutes } from './openapi.ts'
import { addPage, type Page, readPage } from './page.ts'
import type { ServiceParts } from './parts.ts'
import { answerProblem } from './problem.ts'
import { addRecord } from './record.ts'
import { guardRoutes } from './route.ts'
import { addStreams } from './streams.ts'
import { addTasks } from './tasks.ts'
import { Watcher } from './watcher.ts'

export interface ServiceSettings {
  readonly host: string
  /** 0: any that is free. */
  readonly port: number
  /** Unset: everybody may do everything, so that the service listens on loopback alone. */
  readonly keys?: { find(secret: string): ApiKey | undefined } | undefined
  /** Who acts where there are no keys and nobody says so. */
  readonly defaultActor: string
  /** Requests a minute for each caller; 0: no limit. Unset: none on loopback, 1,200 elsewhere. */
  readonly rateLimit?: number | undefined
  readonly log: Log
  readonly clock?: Clock
}

/** A service that listens. Until it has a store it answers 503. */
export interface Service {
  /** Where it can be reached. */
  readonly url: string
  /** Serves this store from now on. */
  serve(core: Core): void
  /** Refuses what comes from now on, ends streams, and resolves when requests under way are answered. */
  close(): Promise<void>
}

const defaultRateLimit = 1200

/** A service that is leaving waits so long for requests that do not come whole, and for viewers whose line is stuck. */
const leavingMs = 10_000

/**
 * Starts to listen, before there is a store: a port that is taken is found out first, and the store's holder can say from
 * the first moment where it is reached. Refuses an address that others can reach while there are no keys.
 */
export async function startService(settings: ServiceSettings): Promise<Service> {
  const { host, port, keys, log } = settings
  if (keys === undefined && !isLoopback(host)) throw new CoreError('CC_ERR_OPEN_HOST', { host })
  let served: Core | undefined
  const core = () => {
    if (served === undefined) throw new CoreError('CC_ERR_STARTING')
    return served
  }
  const leaving = new AbortController()
  const clock = settings.clock ?? systemClock
  const watcher = new Watcher({ core, clock, log })
  const metrics = new Metrics(watcher)
  const door = { keys, defaultActor: settings.defaultActor }
  const parts: ServiceParts = { core, door, watcher, leaving: leaving.signal, clock, log }
  const app = await buildApp(settings, parts, metrics)
  const silent = silentConnections(app.server)
  const address = await listen(app, { host, port })
  return {
    url: address,
    serve(opened) {
      served = opened
      watcher.listen(opened)
      metrics.listen(opened)
    },
    async close() {
      leaving.abort(new CoreError('CC_ERR_CLOSED'))
      watcher.close()
      for (const socket of silent) socket.destroy()
      const cancel = clock.after(leavingMs, () => app.server.closeAllConnections())
      await app.close()
      cancel()
    },
  }
}

/** Connections on which nothing was asked yet. Browsers open some in advance, and a server waits for them to its end. */
function silentConnections(server: Server): ReadonlySet<Socket> {
  const silent = new Set<Socket>()
  server.on('connection', (socket) => {
    silent.add(socket)
    socket.once('close', () => silent.delete(socket))
  })
  server.on('request', ({ socket }) => silent.delete(socket))
  return silent
}

async function buildApp(settings: ServiceSettings, parts: ServiceParts, metrics: Metrics): Promise<FastifyInstance> {
  const { log } = parts
  const app = Fastify({
    logger: false,
    bodyLimit: maxJsonBytes,
    exposeHeadRoutes: false,
    // Told in our own words, see below.
    return503OnClosing: false,
    // Whoever dawdles over a request does not hold a connection for ever; streams and waits are answers, and may.
    requestTimeout: 30_000,
    genReqId: ({ headers }) => requestIdOf(headers['x-request-id']),
    rewriteUrl: ({ url = '/' }) => decodable(url),
    // As long as a head can be: an id that is none is answered as any other.
    routerOptions: { maxParamLength: maxHeaderSize },
  })
  const page = readPage()
  const shared = await gatherRoutes(app)
  await app.register(helmet, headersFor(page))
  observe(app, metrics, log)
  turnAway(app, parts.leaving)
  guardRoutes(app, parts.door)
  await limitRate(app, settings)
  takeJsonAlone(app)
  app.setErrorHandler((error, request, reply) => answerProblem(log, error, request, reply))
  app.setNotFoundHandler((request, reply) => {
    const path = request.url.replace(/\?.*/s, '')
    answerProblem(log, new CoreError('CC_ERR_NO_ROUTE', { method: request.method, path }), request, reply)
  })
  addCases(app, parts)
  addRecord(app, parts)
  addStreams(app, parts)
  addTasks(app, parts)
  addHealth(app, parts)
  addMetrics(app, metrics)
  addOpenApi(app, shared)
  addPage(app, page)
  return app
}

/** What is no percent-encoding is taken as it is written, and so finds no case rather than an answer that is not ours. */
function decodable(url: string): string {
  const end = url.search(/[?#]|$/)
  const path = url.slice(0, end)
  try {
    decodeURIComponent(path)
    return url
  } catch {
    return path.replaceAll('%', '%25') + url.slice(end)
  }
}

/** A caller's own name for the request, if it is one that can stand in a log. */
function requestIdOf(given: string | string[] | undefined): string {
  return typeof given === 'string' && /^[\w.-]{1,64}$/.test(given) ? given : randomUUID()
}

/** Nothing may be embedded, nothing comes from elsewhere, and of scripts and styles only the page's own run. */
function headersFor({ scriptHash, styleHash }: Page) {
  return {
    contentSecurityPolicy: {
      useDefaults: false,
      directives: {
        defaultSrc: ["'none'"],
        scriptSrc: [scriptHash],
        styleSrc: [styleHash],
        connectSrc: ["'self'"],
        imgSrc: ["'self'", 'data:'],
        baseUri: ["'none'"],
        formAction: ["'none'"],
        frameAncestors: ["'none'"],
      },
    },
    frameguard: { action: 'deny' },
    // Whether a name is to be reached by TLS alone is for whoever ends the TLS in front of this service.
    strictTransportSecurity: false,
    referrerPolicy: { policy: 'no-referrer' },
  } as const
}

/** Nobody was there any more to be answered; the number is a custom, not a standard. */
const leftEarly = 499

/** One line and one measure for each request. Paths are those of routes: what somebody typed stays out of the log. */
function observe(app: FastifyInstance, metrics: Metrics, log: Log): void {
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

/** A service that leaves takes nothing new, and lets go of each connection with its answer. */
function turnAway(app: FastifyInstance, leaving: AbortSignal): void {
  app.addHook('onRequest', async ({ routeOptions: { url } }) => {
    if (leaving.aborted && !url?.startsWith('/health/')) throw new CoreError('CC_ERR_CLOSED')
  })
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (leaving.aborted) void reply.header('connection', 'close')
    done()
  })
}

function instanceOf({ routeOptions, params }: FastifyRequest): string | undefined {
  if (!routeOptions.url?.startsWith('/v1/cases/:id')) return undefined
  const { id = '' } = params as { readonly id?: string }
  return isId(id) ? id : undefined
}

/** So many requests a minute for each caller. On loopback there is no limit unless somebody sets one. */
async function limitRate(app: FastifyInstance, { host, rateLimit: asked }: ServiceSettings): Promise<void> {
  const max = asked ?? (isLoopback(host) ? 0 : defaultRateLimit)
  if (max === 0) return
  const actorOf = ({ caller, ip }: FastifyRequest) => caller?.actor ?? ip
  await app.register(rateLimit, {
    global: false,
    max,
    timeWindow: 60_000,
    keyGenerator: actorOf,
    // Who watches whether the service lives must not be told that it is too busy to say.
    allowList: ({ routeOptions, method }) => access[`${method} ${routeOptions.url}` as keyof typeof access] === 'open',
    errorResponseBuilder: (request) => new CoreError('CC_ERR_RATE_LIMIT', { actor: actorOf(request), max }),
  })
  app.addHook('onRequest', app.rateLimit())
}

/** The strict door is the only reader of bodies; any other type than JSON, and what was packed, is refused unread. */
function takeJsonAlone(app: FastifyInstance): void {
  app.addHook('preParsing', async ({ headers }) => {
    const { 'content-encoding': encoding = 'identity' } = headers
    if (encoding.toLowerCase() === 'identity') return
    throw new CoreError('CC_ERR_MEDIA_TYPE', { type: `packed with ${encoding}` })
  })
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJson(body as Buffer))
    } catch (error) {
      done(error as Error)
    }
  })
}

async function listen(app: FastifyInstance, { host, port }: { host: string; port: number }): Promise<string> {
  try {
    await app.listen({ host, port })
  } catch (error) {
    await app.close()
    const { code = '', message } = error as NodeJS.ErrnoException
    throw new CoreError('CC_ERR_PORT', { host, port, why: reasons[code] ?? message }, { cause: error })
  }
  return urlOf(app, host)
}

const reasons: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'this user may not',
  ENOTFOUND: 'nobody knows this name',
}

/** An address that stands for all of a machine's is reached by its loopback from here. */
function urlOf(app: FastifyInstance, host: string): string {
  const address = app.server.address()
  const port = typeof address === 'object' && address !== null ? address.port : 0
  const name = { '0.0.0.0': '127.0.0.1', '::': '[::1]' }[host] ?? (host.includes(':') ? `[${host}]` : host)
  return `http://${name}:${port}`
}
