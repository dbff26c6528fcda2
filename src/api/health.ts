import type { FastifyInstance } from 'fastify'
import { CoreError } from '../errors.ts'
import { version } from '../version.ts'
import { callerDocument, healthDocument, workflowDocument, pageOf, problem } from './documents.ts'
import type { ServiceParts } from './parts.ts'
import { addRoute } from './route.ts'

/** Whether the process lives, whether it can do its work, and who the caller is to it. */
export function addHealth(app: FastifyInstance, parts: ServiceParts): void {
  const { core, leaving } = parts
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
      const items = core()
        .listWorkflows()
        .map(({ workflow, domain, definitionHash, pack }) => ({
          workflow,
          domain,
          definition_hash: definitionHash,
          pack,
        }))
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

  async function readiness({ core }: ServiceParts): Promise<'ready' | 'starting' | 'draining'> {
    if (leaving.aborted) return 'draining'
    try {
      await core().ping()
      return 'ready'
    } catch {
      return 'starting'
    }
  }
}
