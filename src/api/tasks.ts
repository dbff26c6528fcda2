import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { isId } from '../domain/identity.ts'
import type { Json } from '../domain/json.ts'
import { briefJson, decidedJson, pageJson, taskJson } from '../engine/as-json.ts'
import { CoreError } from '../errors.ts'
import { briefDocument, decidedDocument, pageOf, taskDocument } from './documents.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute, nameToFind, wholeNumber } from './route.ts'

const taskParams = z.object({ id: z.string().meta({ description: 'task id' }) })

export function addTasks(app: FastifyInstance, { core }: ServiceParts): void {
  addRoute(
    app,
    'GET /v1/tasks',
    {
      summary: 'What waits for a person, most urgent first',
      tag: 'tasks',
      query: z.strictObject({
        queue: nameToFind.optional(),
        status: z.enum(['open', 'decided']).optional().describe('open unless said'),
        cursor: z.string().optional(),
        limit: wholeNumber(1, 500).optional(),
      }),
      answers: { 200: pageOf(taskDocument) },
    },
    async ({ query }) => pageJson(await core().listTasks(query), taskJson),
  )
  addRoute(
    app,
    'GET /v1/tasks/:id',
    {
      summary: 'All that is needed to decide a task',
      description:
        'Why the case is held, every voice in its tier, what was submitted, each step with what it gave, the proposed outcome ' +
        'with its full artifact, and the words that this task takes.',
      tag: 'tasks',
      params: taskParams,
      answers: { 200: briefDocument },
    },
    async ({ params }) => {
      checkTaskId(params.id)
      return briefJson(await core().getTask(params.id))
    },
  )
  addRoute(
    app,
    'POST /v1/tasks/:id/claim',
    {
      summary: 'Keep a task for yourself for a while; deciding needs no claim',
      tag: 'tasks',
      params: taskParams,
      body: z
        .strictObject({ seconds: z.int().min(1).max(86_400).optional().describe('for how long; 900 unless said') })
        .nullish(),
      answers: { 200: taskDocument },
    },
    async ({ params, body, caller: { actor } }) => {
      checkTaskId(params.id)
      const forMs = body?.seconds === undefined ? {} : { forMs: body.seconds * 1000 }
      return taskJson(await core().claimTask({ taskId: params.id, actor, ...forMs }))
    },
  )
  addRoute(
    app,
    'POST /v1/tasks/:id/decision',
    {
      summary: 'Decide a task',
      description:
        'The words that a task takes stand in it as `allowed`. The same person sending the same body again is answered with ' +
        'the first decision; anything else after the first is refused with 409 and the first in `decision`.',
      tag: 'tasks',
      params: taskParams,
      body: z.strictObject({
        decision: z.string().max(200),
        reason: z.string().meta({ description: 'why, in words that are still understood in years' }),
        changes: z
          .custom<Json>(() => true)
          .optional()
          .meta({ description: 'with approve_with_changes: a JSON merge patch (RFC 7396) over the proposed outcome' }),
      }),
      answers: { 200: decidedDocument },
    },
    async ({ params, body: { decision, reason, changes }, caller: { actor } }) => {
      checkTaskId(params.id)
      const patch = changes === undefined ? {} : { changes }
      return decidedJson(await core().decide({ taskId: params.id, decision, reason, ...patch, actor }))
    },
  )
}

function checkTaskId(taskId: string): void {
  if (!isId(taskId)) throw new CoreError('CC_ERR_UNKNOWN_TASK', { taskId })
}
