import { setTimeout as delay } from 'node:timers/promises'
import type { FastifyInstance } from 'fastify'
import { workflowJson } from '../engine/as-json.ts'
import { CoreError, isCoreError } from '../errors.ts'
import { version } from '../version.ts'
import { callerDocument, healthDocument, workflowDocument, pageOf, problem } from './documents.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute } from './route.ts'

/** Whether the process lives, whether it can do its work, and who the caller is to it. */
export function addHealth(app: FastifyInstance, parts: ServiceParts): void {
  const { core } = parts
  addRoute(
    app,
    'GET /health/live',
    { summary: 'The process answers', tag: 'service', answers: { 200: healthDocument } },
    () => Promise.resolve({ status: 'live', version }),
  )
  addRoute(
    app,
    'GET /health/ready',
    {
      summary: 'The store is open and can be read',
      tag: 'service',
      answers: { 200: healthDocument, 503: healthDocument },
    },
    async ({ reply }) => {
      const status = await readiness(parts)
      if (status !== 'ready') {
        void reply.code(503).header('retry-after', '1')
        return { status, version }
      }
      const { databaseId, simulated, backend } = core()
      return { status, backend, database_id: databaseId, simulated: simulated ?? null, version }
    },
  )
  addRoute(
    app,
    'GET /v1/me',
    {
      summary: 'Who the service takes the caller for, and what the caller may do',
      tag: 'service',
      answers: { 200: callerDocument },
    },
    ({ caller }) =>
      Promise.resolve({ actor: caller.actor, roles: caller.roles, simulated: core().simulated ?? null, version }),
  )
  addRoute(
    app,
    'GET /v1/workflows',
    {
      summary: 'What can be submitted: workflows with their domains',
      tag: 'service',
      answers: { 200: pageOf(workflowDocument) },
    },
    () => {
      const items = core().listWorkflows().map(workflowJson)
      return Promise.resolve({ items, next_cursor: null })
    },
  )
  for (const [id, what] of [
    ['GET /v1/limits', 'Limits over HTTP'],
    ['GET /v1/graduation', 'Graduation over HTTP'],
  ] as const) {
    addRoute(app, id, { summary: `${what} (not yet)`, tag: 'service', answers: { 501: problem } }, () =>
      Promise.reject(new CoreError('CC_ERR_NOT_YET', { what, remedy: 'What is watched stands in docs/sqlite.md.' })),
    )
  }
}

/** A probe wants its answer soon; a store that is silent for longer is not there. */
const probeMs = 2000

/** Whether requests can be served; what is wrong with the store is in the log. */
async function readiness({
  core,
  leaving,
  log,
}: ServiceParts): Promise<'ready' | 'starting' | 'draining' | 'unavailable'> {
  if (leaving.aborted) return 'draining'
  const answered = new AbortController()
  try {
    const silence = delay(probeMs, undefined, { signal: answered.signal }).then(() => {
      throw new Error(`the store said nothing for ${probeMs} ms`)
    })
    silence.catch(() => {})
    await Promise.race([core().ping(), silence])
    return 'ready'
  } catch (error) {
    if (isCoreError(error, 'CC_ERR_STARTING')) return 'starting'
    log.error({ error: String(error) }, 'the store cannot be read')
    return 'unavailable'
  } finally {
    answered.abort()
  }
}
