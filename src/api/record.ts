import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { eventJson, pageJson, verifyJson } from '../engine/as-json.ts'
import { caseParams, requireVisible } from './cases.ts'
import { eventDocument, pageOf, verifyDocument } from './documents.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute } from './route.ts'

/** The record of a case: its chain, its verdict, and the whole of it for whoever checks it elsewhere. */
export function addRecord(app: FastifyInstance, { core }: ServiceParts): void {
  addRoute(
    app,
    'GET /v1/cases/:id/audit',
    {
      summary: 'The record of a case, event by event',
      tag: 'cases',
      params: caseParams,
      answers: { 200: pageOf(eventDocument) },
    },
    async ({ params, caller }) => {
      await requireVisible(core(), caller, params.id)
      return pageJson({ items: await core().getAudit(params.id), nextCursor: undefined }, eventJson)
    },
  )
  addRoute(
    app,
    'GET /v1/cases/:id/verify',
    {
      summary: 'Check that the record of a case is whole and was not changed',
      tag: 'cases',
      params: caseParams,
      answers: { 200: verifyDocument },
    },
    async ({ params, caller }) => {
      await requireVisible(core(), caller, params.id)
      return verifyJson(await core().verify({ instanceId: params.id }))
    },
  )
  addRoute(
    app,
    'GET /v1/cases/:id/export',
    {
      summary: 'One case, whole, as a file that can be checked without this program',
      description: 'tools/verify-export.mjs checks it with nothing but Node.',
      tag: 'cases',
      params: caseParams,
      answers: { 200: z.looseObject({ format: z.string() }).meta({ id: 'Export' }) },
    },
    async ({ params, caller, reply }) => {
      await requireVisible(core(), caller, params.id)
      void reply.header('content-disposition', `attachment; filename="case-${params.id}.json"`)
      return await core().exportCase(params.id)
    },
  )
}
