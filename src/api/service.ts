import { maxHeaderSize } from 'node:http'
import helmet from '@fastify/helmet'
import Fastify, { type FastifyInstance } from 'fastify'
import { type Clock, systemClock } from '../clock.ts'
import { maxJsonBytes, parseJson } from '../domain/json.ts'
import type { ApiKey } from '../domain/role.ts'
import type { Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import type { Log } from '../log.ts'
import { isLoopback } from './access.ts'
import { addCases } from './cases.ts'
import { addHealth } from './health.ts'
import { listen, silentConnections } from './listening.ts'
import { addMetrics, Metrics } from './metrics.ts'
import { observe, requestIdOf } from './observing.ts'
import { addOpenApi, gatherRoutes } from './openapi.ts'
import { addPage, type Page, readPage } from './page.ts'
import type { ServiceParts } from './parts.ts'
import { answerBroken, answerProblem } from './problem.ts'
import { prepareRateLimit } from './rate-limit.ts'
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
  /** Lets nobody in from now on, ends streams, and resolves when those who were let in before are answered. */
  close(): Promise<void>
}

/** For so long a service that is leaving waits for somebody who was let in and has not asked anything. */
const silentMs = 100

/** A service that is leaving waits so long for requests under way, as the engine does for steps; then it cuts them. */
const leavingMs = 30_000

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
      // Whoever was let in a moment ago may be about to ask.
      const hangUp = setTimeout(() => silent.forEach((socket) => socket.destroy()), silentMs)
      const cancel = clock.after(leavingMs, () => app.server.closeAllConnections())
      await app.close()
      clearTimeout(hangUp)
      cancel()
    },
  }
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
    clientErrorHandler: (error, socket) => answerBroken(log, error, socket),
    genReqId: ({ headers }) => requestIdOf(headers['x-request-id']),
    rewriteUrl: ({ url = '/' }) => decodable(url),
    // As long as a head can be: an id that is none is answered as any other.
    routerOptions: { maxParamLength: maxHeaderSize },
  })
  const page = readPage()
  const shared = await gatherRoutes(app)
  await app.register(helmet, headersFor(page))
  observe(app, metrics, log)
  letGo(app, parts.leaving)
  const rateLimit = await prepareRateLimit(app, { host: settings.host, asked: settings.rateLimit })
  guardRoutes(app, parts.door, rateLimit)
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

/**
 * A service that leaves lets go of each connection with its answer. Who comes later finds nobody and is free to ask another
 * replica; who was let in before is answered as ever, since a refusal would be a request that failed for nothing.
 */
function letGo(app: FastifyInstance, leaving: AbortSignal): void {
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (leaving.aborted) void reply.header('connection', 'close')
    done()
  })
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
