import type { FastifyInstance, FastifyRequest } from 'fastify'
import { z } from 'zod'
import type { Core } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import { type Caller, callerOf, checkRole, type Door, ownCasesOf, type RouteId } from './access.ts'
import { caseParams, requireVisible } from './cases.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute, type Call, maxSafeText, wholeNumber } from './route.ts'
import { type Following, isOver, type Viewer } from './watcher.ts'

const stream = z.string().meta({ description: 'server-sent events' })

export function addStreams(app: FastifyInstance, { core, door, watcher }: ServiceParts): void {
  addRoute(
    app,
    'GET /v1/cases/:id/stream',
    {
      summary: 'Follow a case, event by event',
      description:
        'Each event has its sequence number as id: a client that sends it back as Last-Event-ID is told what came after. The ' +
        'stream ends with the event `end` when nothing more is expected of the case, and is then answered with 204.',
      tag: 'cases',
      params: caseParams,
      query: z.strictObject({
        after: wholeNumber(0, maxSafeText).optional().describe('as Last-Event-ID, for clients that cannot set headers'),
      }),
      headers: z.looseObject({ 'last-event-id': z.string().optional() }),
      answers: { 200: stream, 204: z.null() },
      produces: 'text/event-stream',
    },
    async (call) => {
      const { params, query, caller, request, reply } = call
      await requireVisible(core(), caller, params.id)
      const after = lastEventId(request.headers['last-event-id']) ?? query.after ?? 0
      if (await isAllTold(core(), params.id, after)) {
        void reply.code(204)
        return ''
      }
      openStream(call, door, (viewer) => watcher.follow(params.id, after, viewer))
      return undefined
    },
  )
  addRoute(
    app,
    'GET /v1/stream',
    {
      summary: 'Hear which cases have changed',
      description: 'Hints without content, for pages that show lists: `{instance_ids, whole}`. Not resumable.',
      tag: 'cases',
      answers: { 200: stream },
      produces: 'text/event-stream',
    },
    (call) => {
      openStream(call, door, (viewer) => watcher.followAll(viewer))
      return Promise.resolve(undefined)
    },
  )
}

/** Nothing is behind this event, nor expected: asked once more after the case, which may have recorded something meanwhile. */
async function isAllTold(core: Core, instanceId: string, after: number): Promise<boolean> {
  const isMore = async () => (await core.getAudit(instanceId, { after, limit: 1 })).length > 0
  return !(await isMore()) && isOver(await core.getCase(instanceId)) && !(await isMore())
}

function lastEventId(header: string | string[] | undefined): number | undefined {
  if (header === undefined || header === '') return undefined
  if (/^\d{1,15}$/.test(String(header))) return Number(header)
  throw new CoreError('CC_ERR_REQUEST', { problem: 'header.last-event-id: no event of a case has this id' })
}

/** Answers with a stream that stays open until the viewer leaves or is let go. */
function openStream(
  { caller, request, reply }: Pick<Call<unknown, unknown, unknown>, 'caller' | 'request' | 'reply'>,
  door: Door,
  follow: (viewer: Viewer) => Following,
): void {
  const { raw } = reply
  // Whoever is not admitted is refused by an ordinary answer, so the head is written only then; frames come later still.
  const following = follow({
    actor: caller.actor,
    isWelcome: () => isStillWelcome(door, caller, request),
    // What was ended may stand open for as long as its line is stuck, and writing to it would end the process.
    send: (frame) => !raw.writableEnded && raw.write(frame),
    end: () => void raw.end(),
    drop: () => void raw.destroy(),
  })
  reply.hijack()
  // Whoever left while the case was being read does not leave a second time.
  if (raw.destroyed) return following.leave()
  raw.once('close', () => following.leave())
  raw.on('drain', () => following.drained())
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'x-request-id': request.id,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Some proxies gather an answer before they pass it on.
    'x-accel-buffering': 'no',
  })
  raw.write('retry: 1000\n\n')
}

/** A key that was revoked, or has another role now, ends what was opened with it. */
function isStillWelcome(door: Door, caller: Caller, { headers, method, routeOptions }: FastifyRequest): boolean {
  if (door.keys === undefined) return true
  try {
    const now = callerOf(door, headers)
    checkRole(`${method} ${routeOptions.url}` as RouteId, now)
    return now.actor === caller.actor && ownCasesOf(now) === ownCasesOf(caller)
  } catch {
    return false
  }
}
