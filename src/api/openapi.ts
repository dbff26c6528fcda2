import type { FastifyInstance } from 'fastify'
import swagger from '@fastify/swagger'
import { z } from 'zod'
import { version } from '../version.ts'
import { problem } from './documents.ts'
import { problemType } from './problem.ts'
import { addRoute } from './route.ts'

/** Schemas that have a name: they stand once in the document, and are referred to. */
type Shared = Record<string, unknown>

/** Gathers every route that is added from now on into the OpenAPI document. */
export async function gatherRoutes(app: FastifyInstance): Promise<Shared> {
  const shared: Shared = {}
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
    transform: ({ schema, url }) => ({ schema: describe(schema as RouteSchema, shared), url }),
  })
  return shared
}

export function addOpenApi(app: FastifyInstance, shared: Shared): void {
  let document: object | undefined
  addRoute(
    app,
    'GET /openapi.json',
    { summary: 'This document', tag: 'service', answers: { 200: z.looseObject({}) } },
    // Made when it is first asked for: it takes longer than everything else at the start.
    () => Promise.resolve((document ??= withShared(app.swagger(), shared))),
  )
}

function withShared(document: object, shared: Shared): object {
  const { components } = document as { readonly components: object }
  const whole = { ...document, components: { ...components, schemas: shared } }
  const text = JSON.stringify(whole, (key, value: unknown) =>
    key === 'requestBody' ? withRequired(value as RequestBody) : value,
  )
  return JSON.parse(text.replaceAll('"#/$defs/', '"#/components/schemas/')) as object
}

interface RequestBody {
  readonly content: Readonly<Record<string, { readonly schema: { readonly anyOf?: readonly { type?: string }[] } }>>
}

/** A body that may be null may be left out. */
function withRequired(body: RequestBody): object {
  const isNullable = ({ schema }: RequestBody['content'][string]) => schema.anyOf?.some(({ type }) => type === 'null')
  return { ...body, required: !Object.values(body.content).some((part) => isNullable(part)) }
}

interface RouteSchema {
  readonly params?: z.ZodType
  readonly querystring?: z.ZodType
  readonly headers?: z.ZodType
  readonly body?: z.ZodType
  readonly response?: Readonly<Record<string, z.ZodType>>
}

function describe(route: RouteSchema, shared: Shared): object {
  const { params, querystring, headers, body, response = {}, ...words } = route
  const input = (schema: z.ZodType) => jsonSchema(schema, 'input', shared)
  return {
    ...words,
    ...(params && { params: input(params) }),
    ...(querystring && { querystring: input(querystring) }),
    ...(headers && { headers: input(headers) }),
    ...(body && { body: input(body) }),
    response: Object.fromEntries(
      Object.entries(response).map(([status, answer]) => [status, describeAnswer(answer, shared)]),
    ),
  }
}

/** Refusals have a type of their own, whatever the route answers otherwise. */
function describeAnswer(answer: z.ZodType, shared: Shared): object {
  const schema = jsonSchema(answer, 'output', shared)
  return answer === problem ? { description: 'A refusal', content: { [problemType]: { schema } } } : schema
}

function jsonSchema(schema: z.ZodType, io: 'input' | 'output', shared: Shared): object {
  const {
    $schema: _,
    $defs,
    ...described
  } = z.toJSONSchema(schema, {
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
  Object.assign(shared, $defs)
  return described
}
