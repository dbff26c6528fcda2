import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { z } from 'zod'
import { access } from '../../src/api/access.ts'
import {
  briefDocument,
  caseDocument,
  decidedDocument,
  eventDocument,
  pageOf,
  stepDocument,
  taskDocument,
  verifyDocument,
} from '../../src/api/documents.ts'
import {
  auditEvent,
  caseView,
  decidedView,
  pageView,
  stepView,
  taskOf,
  taskView,
  verifyReport,
} from '../../src/api/views.ts'
import { type AuditEvent, auditEventTypes } from '../../src/domain/audit.ts'
import { faults } from '../../src/domain/chain.ts'
import { tiers } from '../../src/domain/governance.ts'
import { instanceStatuses, workStates } from '../../src/domain/instance.ts'
import type { Json } from '../../src/domain/json.ts'
import { decisions, type Task, taskStatuses } from '../../src/domain/task.ts'
import type { Route } from '../../src/domain/workflow.ts'
import {
  briefJson,
  caseJson,
  decidedJson,
  eventJson,
  type JsonDocument,
  pageJson,
  stepJson,
  taskJson,
  verifyJson,
} from '../../src/engine/as-json.ts'
import type { CaseView, Decided, Page, StepView, TaskView, VerifyReport } from '../../src/engine/core.ts'
import { onEachBackend } from '../storage/fixture.ts'
import { type Answer, type ApiFixture, type Asking, ask, desk, openApi } from './fixture.ts'
import { startService } from '../../src/api/service.ts'
import { silentLog } from '../../src/log.ts'

const people = { kim: 'submitter', ann: 'reviewer', bob: 'reviewer', aude: 'auditor', olga: 'operator' } as const

async function documentOf(api: ApiFixture): Promise<any> {
  return (await api.ask('GET', '/openapi.json')).body
}

interface Operation {
  readonly method: string
  readonly path: string
  readonly said: any
}

function operationsOf(document: any): readonly Operation[] {
  return Object.entries<Record<string, unknown>>(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, said]) => ({ method: method.toUpperCase(), path, said })),
  )
}

/** Every place of a document that refers to another. */
function refsIn(value: unknown): readonly string[] {
  if (typeof value !== 'object' || value === null) return []
  const own = '$ref' in value ? [String(value.$ref)] : []
  return [...own, ...Object.values(value).flatMap(refsIn)]
}

onEachBackend('the document is OpenAPI 3.1', async (open) => {
  await using api = await openApi(open, desk())
  const document = await documentOf(api)
  assert.match(document.openapi, /^3\.1\.\d+$/)
  for (const field of ['title', 'version']) assert.equal(typeof document.info[field], 'string')
  const schemes = Object.keys(document.components.securitySchemes as object)
  const tags = document.tags.map(({ name }: { name: string }) => name)
  for (const name of Object.keys(document.components.schemas as object)) assert.match(name, /^[\w.-]+$/)
  for (const { method, path, said } of operationsOf(document)) {
    const where = `${method} ${path}`
    assert.match(method, /^(GET|POST)$/)
    assert.match(path, /^\//)
    assert.ok(typeof said.summary === 'string' && said.summary.length > 5, where)
    for (const tag of said.tags) assert.ok(tags.includes(tag), where)
    for (const [status, answer] of Object.entries<any>(said.responses)) {
      assert.match(status, /^([1-5]\d\d|default)$/, where)
      assert.equal(typeof answer.description, 'string', where)
      for (const [type, content] of Object.entries<any>(answer.content ?? {})) {
        assert.match(type, /^[a-z]+\/[a-z.+-]+(; [a-z]+=[\w.-]+)*$/, where)
        assert.equal(typeof content.schema, 'object', where)
      }
    }
    const parameters = (said.parameters ?? []) as { name: string; in: string; required?: boolean; schema: object }[]
    for (const parameter of parameters) {
      assert.match(parameter.in, /^(path|query|header)$/, where)
      assert.equal(typeof parameter.schema, 'object', where)
      if (parameter.in === 'path') assert.equal(parameter.required, true, where)
    }
    const inPath = parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)
    assert.deepEqual(
      inPath,
      [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name),
      where,
    )
    assert.equal(new Set(parameters.map((one) => `${one.in} ${one.name}`)).size, parameters.length, where)
    for (const need of said.security ?? document.security) assert.ok(schemes.includes(Object.keys(need as object)[0]!))
    if (method === 'GET') assert.equal(said.requestBody, undefined, where)
  }
})

onEachBackend('everything that the document refers to stands in it', async (open) => {
  await using api = await openApi(open, desk())
  const document = await documentOf(api)

  const refs = refsIn(document)

  assert.ok(refs.length > 20)
  for (const ref of refs) {
    assert.match(ref, /^#\/components\/schemas\//)
    assert.ok(
      ref
        .split('/')
        .slice(1)
        .reduce((at, name) => at?.[name], document),
      ref,
    )
  }
  assert.ok(!JSON.stringify(document).includes('$defs'))
})

onEachBackend('the document has every route of the table, and says which need a key', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const document = await documentOf(api)

  const said = operationsOf(document).map(({ method, path, said }) => [
    `${method} ${path.replace(/\{(\w+)\}/g, ':$1')}`,
    said.security === undefined ? 'a key' : said.security.length === 0 ? 'open' : said.security,
  ])

  const expected = Object.entries(access).map(([route, who]) => [route, who === 'open' ? 'open' : 'a key'])
  assert.deepEqual(Object.fromEntries(said), Object.fromEntries(expected))
})

/** What a document says of a value, as a check of values: no field more and none less. */
function checkOf(document: any, schema: object): z.ZodType {
  const here = (json: unknown) =>
    JSON.parse(JSON.stringify(json).replaceAll('"#/components/schemas/', '"#/$defs/')) as Record<string, unknown>
  return z.fromJSONSchema({ ...here(schema), $defs: here(document.components.schemas) as never })
}

/** One request for every answer that the document promises, and for refusals of every route. */
async function everyAnswer(api: ApiFixture): Promise<readonly (readonly [route: string, answer: Answer])[]> {
  const { engine } = api
  const answers: (readonly [string, Answer])[] = []
  const asks = async (route: string, path: string, as: string, asking: Asking = {}) => {
    const [method = ''] = route.split(' ')
    answers.push([route, await api.ask(method, path, { as, ...asking })])
  }
  // Before the first case nobody knows yet whether the store is a simulation.
  for (const path of ['/v1/me', '/health/ready']) await asks(`GET ${path}`, path, 'kim')
  const [ended, failed, held, checked] = [
    await engine.run({ actor: 'kim' }),
    await engine.run({ actor: 'kim', input: { fails: 1 } }),
    await engine.run({ actor: 'kim', domain: 'gated', input: { deep: [{ a: null }, 1.5, 'text', true] } }),
    await engine.run({ actor: 'kim', domain: 'checked' }),
  ]
  const stuck = await engine.submit({ actor: 'kim', input: { waits: true } })
  await engine.reach(stuck.instanceId, { work: 'claimed' })
  const ids = [ended, failed, held, checked, stuck].map(({ instanceId }) => instanceId)

  await asks('GET /v1/me', '/v1/me', 'kim')
  const good = { workflow: 'review', domain: 'plain', input: { amount: 7 } }
  const key = { headers: { 'idempotency-key': '1' } }
  await asks('POST /v1/cases', '/v1/cases', 'kim', { body: good, ...key })
  await asks('POST /v1/cases', '/v1/cases', 'kim', { body: good, ...key })
  await asks('POST /v1/cases', '/v1/cases', 'kim', { body: { ...good, input: {} }, ...key })
  for (const as of ['kim', 'ann']) await asks('GET /v1/cases', '/v1/cases?limit=2', as)
  for (const id of [...ids, 'none']) {
    await asks('GET /v1/cases/{id}', `/v1/cases/${id}`, 'kim')
    for (const part of ['steps', 'audit', 'verify', 'export']) {
      await asks(`GET /v1/cases/{id}/${part}`, `/v1/cases/${id}/${part}`, 'aude')
    }
    await asks('GET /v1/cases/{id}/stream', `/v1/cases/${id}/stream?after=99`, 'kim')
  }
  await asks('GET /v1/stream', '/v1/stream', 'ann')
  await asks('GET /v1/tasks', '/v1/tasks', 'ann')
  for (const task of [held.openTasks[0]!, checked.openTasks[0]!, 'none']) {
    await asks('GET /v1/tasks/{id}', `/v1/tasks/${task}`, 'ann')
    await asks('POST /v1/tasks/{id}/claim', `/v1/tasks/${task}/claim`, 'ann', { body: { seconds: 60 } })
    await asks('POST /v1/tasks/{id}/claim', `/v1/tasks/${task}/claim`, 'bob')
    const decision = { decision: task === held.openTasks[0] ? 'refer' : 'object', reason: 'seen' }
    const path = `/v1/tasks/${task}/decision`
    for (const as of ['bob', 'ann', 'ann', 'bob']) {
      await asks('POST /v1/tasks/{id}/decision', path, as, { body: decision })
    }
    await asks('GET /v1/tasks/{id}', `/v1/tasks/${task}`, 'ann')
  }
  for (const id of [stuck.instanceId, held.instanceId, ended.instanceId]) {
    await asks('POST /v1/cases/{id}/cancel', `/v1/cases/${id}/cancel`, 'olga', { body: { reason: 'twice' } })
  }
  for (const id of [failed.instanceId, held.instanceId]) {
    await asks('POST /v1/cases/{id}/retry', `/v1/cases/${id}/retry`, 'olga')
  }
  const [submitted] = await engine.envelopes(ended.instanceId, 'case.submitted')
  const erasing = { body: { payload_id: submitted!.payload!.id, reason: 'asked for' } }
  await asks('POST /v1/cases/{id}/erase', `/v1/cases/${ended.instanceId}/erase`, 'olga', erasing)
  await asks('POST /v1/cases/{id}/erase', `/v1/cases/${stuck.instanceId}/erase`, 'olga', erasing)
  await asks('GET /v1/cases/{id}/audit', `/v1/cases/${ended.instanceId}/audit`, 'aude')
  for (const route of ['GET /v1/workflows', 'GET /v1/me', 'GET /v1/limits', 'GET /v1/graduation', 'GET /metrics']) {
    await asks(route, route.replace('GET ', ''), 'olga')
    await asks(route, `${route.replace('GET ', '')}?x=1`, 'olga')
  }
  for (const route of ['GET /health/live', 'GET /health/ready', 'GET /openapi.json', 'GET /']) {
    await asks(route, route.replace('GET ', ''), 'olga')
    await asks(route, `${route.replace('GET ', '')}?x=1`, 'olga')
  }
  for (const route of Object.keys(access)) {
    const [method = '', path = ''] = route.split(' ')
    if (access[route as keyof typeof access] === 'open') continue
    answers.push([`${method} ${path.replace(':id', '{id}')}`, await api.ask(method, path)])
  }
  return answers
}

onEachBackend('whatever is answered is what the document says, with no field more and none less', async (open) => {
  const gate = Promise.withResolvers<void>()
  await using api = await openApi(open, { ...desk({ gate: gate.promise }), people })
  const document = await documentOf(api)
  const starting = await startService({ host: '127.0.0.1', port: 0, defaultActor: 'olga', log: silentLog })
  const answers = [
    ...(await everyAnswer(api)),
    ['GET /health/ready', await ask(starting.url, 'GET', '/health/ready')],
  ] as const
  await starting.close()
  gate.resolve()

  const met = new Set<string>()
  for (const [route, answer] of answers) {
    const { said } = operationsOf(document).find(({ method, path }) => `${method} ${path}` === route)!
    const { status, headers, body, text } = answer
    const isSaid = status in said.responses
    met.add(`${route} ${isSaid ? status : 'default'}`)
    const content = said.responses[isSaid ? status : 'default'].content as
      Record<string, { schema: object }> | undefined
    if (content === undefined) {
      assert.deepEqual([text, headers['content-type']], ['', undefined], route)
      continue
    }
    const bare = (type = '') => type.replace(/; ?charset=utf-8$/, '')
    const [type, { schema }] = Object.entries(content)[0]!
    assert.equal(bare(headers['content-type']), bare(type), `${route} ${status}`)
    const { error } = checkOf(document, schema).safeParse(type.includes('json') ? body : text)
    assert.equal(error, undefined, `${route} ${status} ${text}`)
  }

  const promised = operationsOf(document).flatMap(({ method, path, said }) =>
    Object.keys(said.responses as object).map((status) => `${method} ${path} ${status}`),
  )
  assert.deepEqual(
    promised.filter((one) => !met.has(one)),
    [],
  )
})

onEachBackend('an answer with a field too many, or too few, is not what the document says', async (open) => {
  await using api = await openApi(open, desk())
  const document = await documentOf(api)
  const { instanceId } = await api.engine.run()
  const { body } = await api.ask('GET', `/v1/cases/${instanceId}`)
  const fits = (value: object) => checkOf(document, document.components.schemas.Case).safeParse(value).success

  assert.ok(fits(body))
  assert.ok(!fits({ ...body, more: 1 }))
  assert.ok(!fits({ ...body, ended_at: undefined }))
  assert.ok(!fits({ ...body, work: 'asleep' }))
})

onEachBackend('the document says of bodies what the service takes', async (open) => {
  await using api = await openApi(open, { ...desk(), isStarted: false })
  const document = await documentOf(api)
  const id = '019b8d62-7a80-7000-8000-000000000000'
  const bodies = fc.record(
    {
      workflow: fc.constantFrom('review', 7),
      domain: fc.constantFrom('plain', null),
      input: fc.constantFrom({}, { a: [1] }, [], 'text'),
      decision: fc.constantFrom('approve', 1),
      reason: fc.constantFrom('seen', null),
      changes: fc.constantFrom({}, null, 1),
      seconds: fc.constantFrom(0, 1, 86_400, 86_401, 1.5, '1'),
      payload_id: fc.constantFrom('a', 1),
      more: fc.constant(1),
    },
    { requiredKeys: [] },
  )
  for (const { path, said } of operationsOf(document).filter(({ said }) => said.requestBody)) {
    const fields = Object.keys(propertiesOf(said))
    const check = checkOf(document, said.requestBody.content['application/json'].schema as object)
    const seen = { taken: 0, refused: 0 }
    const property = fc.asyncProperty(bodies, fc.boolean(), async (body, isWhole) => {
      const own = Object.entries(body).filter(([name]) => fields.includes(name) || (isWhole && name === 'more'))
      const sent = Object.fromEntries(own)
      const { body: answer } = await api.ask('POST', path.replace('{id}', id), { body: sent })
      const isTaken = answer.code !== 'CC_ERR_BODY'
      seen[isTaken ? 'taken' : 'refused']++
      assert.equal(isTaken, check.safeParse(sent).success, `${path} ${JSON.stringify(sent)} ${answer.code}`)
    })
    await fc.assert(property, { numRuns: 80, seed: 20260105 })
    assert.ok(seen.taken > 0 && seen.refused > 0, `${path} ${JSON.stringify(seen)}`)
  }
})

onEachBackend('a body that the document does not require can be left out, and no other', async (open) => {
  await using api = await openApi(open, { ...desk(), isStarted: false })
  const seen = new Set<boolean>()
  for (const { path, said } of operationsOf(await documentOf(api))) {
    if (!said.requestBody) continue
    const { required } = said.requestBody
    const { body } = await api.ask('POST', path.replace('{id}', '019b8d62-7a80-7000-8000-000000000000'))
    assert.equal(body.code === 'CC_ERR_BODY', required, path)
    seen.add(required)
  }
  assert.deepEqual(seen, new Set([true, false]))
})

/** The fields that a body has by the document. */
function propertiesOf({ requestBody }: { requestBody: any }): object {
  const { properties, anyOf = [] } = requestBody.content['application/json'].schema
  return properties ?? anyOf.find(({ type }: { type: string }) => type === 'object').properties
}

const maybe = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined })
const text = fc.string({ unit: 'grapheme', maxLength: 12 })
const count = fc.nat(1_000_000)
const ms = fc.integer({ min: 0, max: 4_102_444_800_000 })
const uuid = fc.uuid({ version: 7 })
/** JSON as a store gives it back: without undefined and negative zero, and never null at the top, which stands for nothing. */
const content = fc
  .jsonValue()
  .map((value) => JSON.parse(JSON.stringify(value)) as Json)
  .filter((value) => value !== null)
const tier = fc.constantFrom(...tiers)

const caseViews: fc.Arbitrary<CaseView> = fc.record({
  instanceId: uuid,
  workflow: text,
  domain: text,
  definitionHash: text,
  submittedBy: text,
  status: fc.constantFrom(...instanceStatuses),
  work: maybe(fc.constantFrom(...workStates)),
  tier: maybe(tier),
  tierContributions: fc.array(
    fc.record({
      source: fc.constantFrom('domain' as const, 'govern' as const, 'person' as const),
      tier,
      because: text,
    }),
    { maxLength: 3 },
  ),
  path: fc.array(text, { maxLength: 4 }),
  outcome: maybe(content),
  proposed: maybe(content),
  failure: maybe(fc.record({ code: text, message: text })),
  simulated: fc.boolean(),
  disputed: fc.boolean(),
  inDoubt: maybe(text),
  openTasks: fc.array(uuid, { maxLength: 2 }),
  submittedAtMs: ms,
  updatedAtMs: ms,
  endedAtMs: maybe(ms),
})

const stepViews: fc.Arbitrary<StepView> = fc.record({
  stepNo: count,
  step: text,
  primitive: text,
  run: count,
  attempts: count,
  status: fc.constantFrom('completed' as const, 'failed' as const),
  errorCode: maybe(text),
  output: maybe(content),
  model: maybe(text),
  inputTokens: maybe(count),
  outputTokens: maybe(count),
  route: fc.constantFrom<Route>(
    { by: 'order', to: 'draft' } as unknown as Route,
    { by: 'condition', to: 'draft', when: 'a', tried: [{ when: 'b', held: 'no' }] } as unknown as Route,
  ),
  startedAtMs: ms,
  endedAtMs: ms,
})

const tasks: fc.Arbitrary<Task> = fc.record({
  taskId: uuid,
  instanceId: uuid,
  tier: fc.constantFrom('spot_check' as const, 'gate' as const, 'hold' as const),
  queue: text,
  escalationQueue: text,
  status: fc.constantFrom(...taskStatuses),
  because: text,
  submittedBy: text,
  barred: fc.array(text, { maxLength: 3 }),
  openedAtMs: ms,
  dueMs: ms,
  escalatedAtMs: maybe(ms),
  claimedBy: maybe(text),
  claimedUntilMs: maybe(ms),
  decision: maybe(fc.constantFrom(...decisions)),
  decidedBy: maybe(text),
  decidedAtMs: maybe(ms),
  // The API does not show these two.
  decisionDigest: fc.constant(undefined),
  decisionPayloadId: fc.constant(undefined),
})

const taskViews: fc.Arbitrary<TaskView> = fc
  .tuple(
    tasks,
    fc.record({
      allowed: fc.subarray([...decisions]),
      reason: maybe(text),
      changes: maybe(content),
      case: caseViews,
      input: maybe(content),
      steps: fc.array(stepViews, { maxLength: 2 }),
    }),
  )
  .map(([task, more]) => ({ ...task, ...more }))

const decidedViews: fc.Arbitrary<Decided> = fc.record({
  taskId: uuid,
  instanceId: uuid,
  decision: fc.constantFrom(...decisions),
  decidedBy: text,
  status: fc.constantFrom(...instanceStatuses),
  repeated: fc.boolean(),
  openedTaskId: maybe(uuid),
})

const envelopes = fc.oneof(
  fc
    .record(
      { actor: text, step: text, tier, facts: fc.dictionary(text, content, { maxKeys: 3 }), seq: count },
      { requiredKeys: [] },
    )
    .map((envelope) => JSON.stringify(envelope)),
  fc.constant('{"broken'),
)
const auditEvents: fc.Arbitrary<AuditEvent> = fc.record({
  instanceId: fc.constant('019b8d62-7a80-7000-8000-000000000000'),
  seq: count,
  type: fc.constantFrom(...auditEventTypes),
  atMs: ms,
  payloadId: maybe(uuid),
  envelope: envelopes,
  prevHash: text,
  hash: text,
})

const reports: fc.Arbitrary<VerifyReport> = fc.record({
  valid: fc.boolean(),
  simulated: fc.boolean(),
  instances: count,
  events: count,
  checkpoints: count,
  payloads: count,
  erasedPayloads: count,
  elapsedMs: count,
  head: maybe(fc.record({ seq: count, hash: text })),
  findings: fc.array(
    fc.record({
      instanceId: uuid,
      seq: maybe(count),
      what: fc.constantFrom(...faults),
      where: text,
      detail: text,
    }),
    { maxLength: 3 },
  ),
  cannotShow: fc.array(text, { maxLength: 2 }),
})

/** A view goes out as a document, over the wire, through the check, and comes back as the view that it was. */
function comesBack<V, S extends z.ZodType>(
  views: fc.Arbitrary<V>,
  { out, shape, back }: { out: (view: V) => JsonDocument; shape: S; back: (document: z.output<S>) => V },
): void {
  const exact = z.fromJSONSchema(z.toJSONSchema(shape, { io: 'output' }) as never)
  const property = fc.property(views, (made) => {
    // As an ordinary object, with the prototype that goes with it.
    const view = structuredClone(made)
    const document = JSON.parse(JSON.stringify(out(view))) as unknown
    assert.equal(exact.safeParse(document).error, undefined, 'no key more and none less')
    assert.deepEqual(back(shape.parse(document)), view)
  })
  fc.assert(property, { numRuns: 200, seed: 20260105 })
}

test('a case comes back from the wire as it was', () => {
  comesBack(caseViews, { out: caseJson, shape: caseDocument, back: caseView })
})

test('a step comes back from the wire as it was', () => {
  comesBack(stepViews, { out: stepJson, shape: stepDocument, back: stepView })
})

test('a task comes back from the wire as it was', () => {
  comesBack(tasks, { out: taskJson, shape: taskDocument, back: taskOf })
})

test('a brief comes back from the wire as it was', () => {
  comesBack(taskViews, { out: briefJson, shape: briefDocument, back: taskView })
})

test('what was decided comes back from the wire as it was', () => {
  comesBack(decidedViews, { out: decidedJson, shape: decidedDocument, back: decidedView })
})

test('an event comes back from the wire as it was, also when somebody broke it', () => {
  const back = (document: z.output<typeof eventDocument>) =>
    auditEvent('019b8d62-7a80-7000-8000-000000000000', document)
  comesBack(auditEvents, { out: eventJson, shape: eventDocument, back })
})

test('a verdict comes back from the wire as it was', () => {
  comesBack(reports, { out: verifyJson, shape: verifyDocument, back: verifyReport })
})

test('a page comes back from the wire as it was', () => {
  const pages: fc.Arbitrary<Page<Task>> = fc.record({
    items: fc.array(tasks, { maxLength: 3 }),
    nextCursor: maybe(text),
  })
  comesBack(pages, {
    out: (page) => pageJson(page, taskJson),
    shape: pageOf(taskDocument),
    back: (document) => pageView(document, taskOf),
  })
})
