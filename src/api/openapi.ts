import type { FastifyInstance } from 'fastify'
import swagger from '@fastify/swagger'
import { z } from 'zod'
import { version } from '../version.ts'
import { problem } from './documents.ts'
import { problemType } from './problem.ts'
import { addRoute } from './route.ts'

/** Gathers every route that is added from now on into the OpenAPI document. */
export async function gatherRoutes(app: FastifyInstance): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'Cognitive Core',
        version,
        description:
          'Governed cases on a durable, hash-chained record. Refusals are application/problem+json with a code.',
      },
      tags: [
        { name: 'cases', description: 'submit, follow, read and verify cases' },
        { name: 'tasks', description: 'what waits for a person' },
        { name: 'service', description: 'the service itself' },
      ],
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
      security: [{ key: [] }],
    },
    transform: ({ schema, url }) => ({ schema: describe(schema as RouteSchema), url }),
  })
}

export function addOpenApi(app: FastifyInstance): void {
  let document: object | undefined
  addRoute(
    app,
    'GET /openapi.json',
    { summary: 'This document', tag: 'service', answers: { 200: z.looseObject({}) } },
    // Made when it is first asked for: it takes longer than everything else at the start.
    () => Promise.resolve((document ??= withSharedSchemas(app.swagger()))),
  )
}

/** Schemas that have a name stand once in the document, and are referred to. */
function withSharedSchemas(document: object): object {
  const shared: Record<string, unknown> = {}
  const text = JSON.stringify(document, (key, value: unknown) => {
    if (key !== '$defs') return value
    Object.assign(shared, value)
    return undefined
  })
  const relocated = (json: string) => json.replaceAll('"#/$defs/', '"#/components/schemas/')
  const { components, ...rest } = JSON.parse(relocated(text)) as { components: object }
  return { ...rest, components: { ...components, schemas: JSON.parse(relocated(JSON.stringify(shared))) as object } }
}

interface RouteSchema {
  readonly params?: z.ZodType
  readonly querystring?: z.ZodType
  readonly headers?: z.ZodType
  readonly body?: z.ZodType
  readonly response?: Readonly<Record<string, z.ZodType>>
}

function describe({ params, querystring, headers, body, response = {}, ...words }: RouteSchema): object {
  return {
    ...words,
    ...(params && { params: jsonSchema(params, 'input') }),
    ...(querystring && { querystring: jsonSchema(querystring, 'input') }),
    ...(headers && { headers: jsonSchema(headers, 'input') }),
    ...(body && { body: jsonSchema(body, 'input') }),
    response: Object.fromEntries(Object.entries(response).map(([status, answer]) => [status, describeAnswer(answer)])),
  }
}

/** Refusals have a type of their own, whatever the route answers otherwise. */
function describeAnswer(answer: z.ZodType): object {
  const schema = jsonSchema(answer, 'output')
  return answer === problem ? { description: 'A refusal', content: { [problemType]: { schema } } } : schema
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $schema: _, ...described } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    override: ({ zodSchema, jsonSchema }) => {
      // A number in a query arrives as text, and is still a number to whoever sends it.
      const { integer } = (zodSchema as unknown as z.ZodType).meta() ?? {}
      if (!integer) return
      for (const key of Object.keys(jsonSchema)) if (key !== 'description') delete jsonSchema[key as 'pattern']
      Object.assign(jsonSchema, { type: 'integer' }, integer)
    },
  })
  return described
}
