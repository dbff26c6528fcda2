import type { FastifyInstance, FastifyReply } from 'fastify'
import { z } from 'zod'
import { isId } from '../domain/identity.ts'
import { instanceStatuses } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import { caseJson, pageJson, stepJson } from '../engine/as-json.ts'
import type { CaseVerbs, CaseView } from '../engine/core.ts'
import { CoreError, isCoreError } from '../errors.ts'
import { type Caller, ownCasesOf } from './access.ts'
import { caseDocument, erasedDocument, pageOf, stepDocument, submittedDocument } from './documents.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute, nameToFind, wholeNumber } from './route.ts'

export const caseParams = z.object({ id: z.string().meta({ description: 'instance id' }) })

/** Whoever waits longer asks again: proxies end a request that says nothing for a minute. */
const maxWaitSeconds = 60

/** A name that no pack has need not be told back whole. */
const name = z.string().max(200)

const reason = z.string().meta({ description: 'why, in words that are still understood in years' })

export function addCases(app: FastifyInstance, parts: ServiceParts): void {
  addSubmit(app, parts)
  addReading(app, parts)
  addChanging(app, parts)
}

function addSubmit(app: FastifyInstance, { core }: ServiceParts): void {
  addRoute(
    app,
    'POST /v1/cases',
    {
      summary: 'Submit a case',
      description:
        'Answers as soon as the case is stored. With an Idempotency-Key the same request can be sent again: it is answered ' +
        'with the case that was stored first. The key is unique for each submitter, and kept as long as the case.',
      tag: 'cases',
      headers: z.looseObject({ 'idempotency-key': z.string().optional() }),
      body: z.strictObject({
        workflow: name,
        domain: name,
        input: z.record(z.string(), z.custom<JsonObject[string]>(() => true).meta({ description: 'any JSON' })),
      }),
      answers: { 200: submittedDocument, 202: submittedDocument },
    },
    async ({ body, caller, request, reply }) => {
      const key = request.headers['idempotency-key']
      const submitted = await core().submit({
        ...body,
        actor: caller.actor,
        ...(typeof key === 'string' && { key }),
      })
      const { instanceId, status, seen } = submitted
      const self = `/v1/cases/${instanceId}`
      void reply.code(seen ? 200 : 202).header('location', self)
      const links = { self, steps: `${self}/steps`, audit: `${self}/audit`, stream: `${self}/stream` }
      return { instance_id: instanceId, status, simulated: core().simulated === true, links }
    },
  )
}

function addReading(app: FastifyInstance, parts: ServiceParts): void {
  const { core } = parts
  addRoute(
    app,
    'GET /v1/cases',
    {
      summary: 'List cases, latest first',
      tag: 'cases',
      query: z.strictObject({
        status: z.enum(instanceStatuses).optional(),
        workflow: nameToFind.optional(),
        cursor: z.string().optional(),
        limit: wholeNumber(1, 500).optional(),
      }),
      answers: { 200: pageOf(caseDocument) },
    },
    async ({ query, caller }) => {
      const submittedBy = ownCasesOf(caller)
      const filter = { ...query, ...(submittedBy !== undefined && { submittedBy }) }
      return pageJson(await core().listCases(filter), caseJson)
    },
  )
  addRoute(
    app,
    'GET /v1/cases/:id',
    {
      summary: 'One case',
      tag: 'cases',
      params: caseParams,
      query: z.strictObject({
        wait: wholeNumber(0, maxWaitSeconds)
          .optional()
          .describe('wait for so many seconds until the case has ended or is held'),
      }),
      answers: { 200: caseDocument },
    },
    async ({ params, query, caller, reply }) => {
      const view = await requireCase(core(), caller, params.id)
      if (!query.wait || view.status !== 'running') return caseJson(view)
      return caseJson(await rested(parts, view.instanceId, query.wait * 1000, reply))
    },
  )
  addRoute(
    app,
    'GET /v1/cases/:id/steps',
    {
      summary: 'Every recorded step of a case, with what it gave',
      tag: 'cases',
      params: caseParams,
      answers: { 200: pageOf(stepDocument) },
    },
    async ({ params, caller }) => {
      await requireVisible(core(), caller, params.id)
      const steps = await core().getSteps(params.id)
      return pageJson({ items: steps, nextCursor: undefined }, stepJson)
    },
  )
}

function addChanging(app: FastifyInstance, { core }: ServiceParts): void {
  addRoute(
    app,
    'POST /v1/cases/:id/cancel',
    {
      summary: 'End a case that nobody needs any more',
      tag: 'cases',
      params: caseParams,
      body: z.strictObject({ reason }),
      answers: { 200: caseDocument },
    },
    async ({ params, body, caller }) => {
      checkCaseId(params.id)
      const { actor } = caller
      return caseJson(asSeenBy(caller, await core().cancel({ instanceId: params.id, actor, reason: body.reason })))
    },
  )
  addRoute(
    app,
    'POST /v1/cases/:id/retry',
    {
      summary: 'Let a failed case go on at the step that failed',
      tag: 'cases',
      params: caseParams,
      body: z.strictObject({}).nullish(),
      answers: { 200: caseDocument },
    },
    async ({ params, caller }) => {
      checkCaseId(params.id)
      const { actor } = caller
      return caseJson(asSeenBy(caller, await core().retry({ instanceId: params.id, actor })))
    },
  )
  addRoute(
    app,
    'POST /v1/cases/:id/erase',
    {
      summary: 'Remove the content of one payload for good; the record still verifies',
      tag: 'cases',
      params: caseParams,
      body: z.strictObject({ payload_id: z.string(), reason }),
      answers: { 200: erasedDocument },
    },
    async ({ params, body, caller: { actor } }) => {
      checkCaseId(params.id)
      const { payload_id: payloadId } = body
      await core().erase({ instanceId: params.id, payloadId, actor, reason: body.reason })
      return { instance_id: params.id, payload_id: payloadId, erased: true }
    },
  )
}

/** Once the case has ended or is held; after the time, or when nobody will get it there, as it stands. */
async function rested(
  { core, leaving }: ServiceParts,
  instanceId: string,
  timeoutMs: number,
  reply: FastifyReply,
): Promise<CaseView> {
  const gone = new AbortController()
  reply.raw.once('close', () => gone.abort())
  try {
    return await core().waitFor(instanceId, { timeoutMs, signal: AbortSignal.any([leaving, gone.signal]) })
  } catch (error) {
    if (!isCoreError(error) && !leaving.aborted && !gone.signal.aborted) throw error
    return await core().getCase(instanceId)
  }
}

/** Refuses what cannot be the id of a case, before it meets a database. */
function checkCaseId(instanceId: string): void {
  if (!isId(instanceId)) throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
}

/** A case as this caller may see it: to a submitter the cases of others do not exist. */
async function requireCase(core: Pick<CaseVerbs, 'getCase'>, caller: Caller, instanceId: string): Promise<CaseView> {
  checkCaseId(instanceId)
  const view = await core.getCase(instanceId)
  const own = ownCasesOf(caller)
  if (own !== undefined && view.submittedBy !== own) throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
  return view
}

/** Who keeps cases moving hears how they stand, and nothing of what they are about. */
function asSeenBy({ roles }: Caller, view: CaseView): CaseView {
  if (roles.some((role) => role !== 'operator')) return view
  const failure = view.failure && { code: view.failure.code, message: 'told to who may see the case' }
  return { ...view, outcome: undefined, proposed: undefined, failure }
}

/** As `requireCase`, where the case itself is not needed. */
export async function requireVisible(
  core: Pick<CaseVerbs, 'getCase'>,
  caller: Caller,
  instanceId: string,
): Promise<void> {
  checkCaseId(instanceId)
  if (ownCasesOf(caller) !== undefined) await requireCase(core, caller, instanceId)
}
