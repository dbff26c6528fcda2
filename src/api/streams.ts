import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { CoreError } from '../errors.ts'
import { caseParams, requireVisible } from './cases.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute, wholeNumber } from './route.ts'
import { isOver, type Viewer } from './watcher.ts'

/** A viewer that is further behind is let go; it comes back and is told the rest. */
const maxBehindBytes = 1_048_576

const stream = z.string().meta({ description: 'server-sent events' })

export function addStreams(app: FastifyInstance, { core, watcher }: ServiceParts): void {
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
        after: wholeNumber(0, Number.MAX_SAFE_INTEGER)
          .optional()
          .describe('as Last-Event-ID, for clients that cannot set headers'),
      }),
      answers: { 200: stream, 204: z.null() },
      produces: 'text/event-stream',
    },
    async ({ params, query, caller, request, reply }) => {
      await requireVisible(core(), caller, params.id)
      const after = lastEventId(request.headers['last-event-id']) ?? query.after ?? 0
      const isNewsToCome = (await core().getAudit(params.id, { after })).length > 0
      if (!isNewsToCome && isOver(await core().getCase(params.id))) {
        void reply.code(204)
        return ''
      }
      openStream(reply, (viewer) => watcher.follow(params.id, after, viewer))
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
    ({ reply }) => {
      openStream(reply, (viewer) => watcher.followAll(viewer))
      return Promise.resolve(undefined)
    },
  )
}

function lastEventId(header: string | string[] | undefined): number | undefined {
  if (header === undefined || header === '') return undefined
  if (/^\d{1,15}$/.test(String(header))) return Number(header)
  throw new CoreError('CC_ERR_REQUEST', { problem: 'header.last-event-id: no event of a case has this id' })
}

/** Answers with a stream that stays open until the viewer leaves or is let go. */
function openStream(reply: FastifyReply, follow: (viewer: Viewer) => () => void): void {
  const { raw } = reply
  const viewer: Viewer = {
    send(frame) {
      // Of what was written before: a record that is longer than this by itself must still reach its viewer.
      if (raw.writableLength > maxBehindBytes) raw.destroy()
      else raw.write(frame)
    },
    end: () => void raw.end(),
  }
  // Whoever is not admitted is refused by an ordinary answer, so the head is written only then; frames come later still.
  const leave = follow(viewer)
  reply.hijack()
  // Whoever left while the case was being read does not leave a second time.
  if (raw.destroyed) return leave()
  raw.once('close', leave)
  raw.writeHead(200, {
    ...(reply.getHeaders() as Record<string, string>),
    'x-request-id': reply.request.id,
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    // Some proxies gather an answer before they pass it on.
    'x-accel-buffering': 'no',
  })
  raw.write('retry: 1000\n\n')
}
