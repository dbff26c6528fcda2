import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openModel } from '../../src/cognition/models.ts'
import type { StepFailure } from '../../src/cognition/primitive.ts'
import { event, modelServer, type Play, replying } from './model-server.ts'

/**
 * One question and one answer in the words of each provider, through its own package: what is sent is what the provider
 * documents, and what it answers is read. No provider is called; whether one has changed its mind is not seen here.
 */
interface Wire {
  readonly spec: string
  readonly env: Readonly<Record<string, string>>
  /** Where the API begins on the server, and the path that is called. */
  readonly base: string
  readonly path: string
  readonly key: readonly [header: string, value: RegExp]
  /** Where the request carries what the model is told, what it is shown, and the schema. */
  readonly instructions: string
  readonly prompt: string
  readonly schema: string
  readonly answer: Play
  readonly refusal: Play
  readonly truncation: Play
  readonly answeredBy: string
}

const text = '{"category":"a"}'

function responses(content: object, ending: object = {}): Play {
  const message = { type: 'message', id: 'm-1', role: 'assistant', status: 'completed', content: [content] }
  const usage = { input_tokens: 120, output_tokens: 30 }
  const about = { id: 'r-1', object: 'response', created_at: 1_767_600_000, model: 'gpt-2026-01-05' }
  return replying({ ...about, status: 'completed', output: [message], usage, ...ending })
}

const inResponses = {
  answer: responses({ type: 'output_text', text, annotations: [] }),
  refusal: responses({ type: 'refusal', refusal: 'I will not.' }),
  truncation: responses(
    { type: 'output_text', text: '{"cat', annotations: [] },
    { status: 'incomplete', incomplete_details: { reason: 'max_output_tokens' } },
  ),
  instructions: 'input.0.content',
  prompt: 'input.1.content.0.text',
  schema: 'text.format.schema',
}

function messages(stop_reason: string): Play {
  const about = { id: 'm-1', type: 'message', role: 'assistant', model: 'claude-2026-01-05' }
  const usage = { input_tokens: 120, output_tokens: 30 }
  return replying({ ...about, content: [{ type: 'text', text }], stop_reason, stop_sequence: null, usage })
}

function candidates(finishReason: string): Play {
  const usageMetadata = { promptTokenCount: 120, candidatesTokenCount: 30, totalTokenCount: 150 }
  const content = { role: 'model', parts: [{ text }] }
  return replying({ candidates: [{ content, finishReason, index: 0 }], usageMetadata, modelVersion: 'gemini-001' })
}

function converse(stopReason: string): Play {
  const usage = { inputTokens: 120, outputTokens: 30, totalTokens: 150 }
  const message = { role: 'assistant', content: [{ text }] }
  return replying({ output: { message }, stopReason, usage, metrics: { latencyMs: 1 } })
}

const wires: readonly Wire[] = [
  {
    spec: 'openai/gpt',
    env: { OPENAI_API_KEY: 'key-1' },
    base: '/v1',
    path: '/v1/responses',
    key: ['authorization', /^Bearer key-1$/],
    answeredBy: 'openai/gpt-2026-01-05',
    ...inResponses,
  },
  {
    spec: 'azure/deployment',
    env: { AZURE_API_KEY: 'key-1' },
    base: '/openai/v1',
    path: '/openai/v1/responses',
    key: ['api-key', /^key-1$/],
    answeredBy: 'azure/gpt-2026-01-05',
    ...inResponses,
  },
  {
    spec: 'anthropic/claude',
    env: { ANTHROPIC_API_KEY: 'key-1' },
    base: '/v1',
    path: '/v1/messages',
    key: ['x-api-key', /^key-1$/],
    instructions: 'system.0.text',
    prompt: 'messages.0.content.0.text',
    schema: 'tools.0.input_schema',
    answer: messages('end_turn'),
    refusal: messages('refusal'),
    truncation: messages('max_tokens'),
    answeredBy: 'anthropic/claude-2026-01-05',
  },
  {
    spec: 'google/gemini',
    env: { GOOGLE_GENERATIVE_AI_API_KEY: 'key-1' },
    base: '/v1beta',
    path: '/v1beta/models/gemini:generateContent',
    key: ['x-goog-api-key', /^key-1$/],
    instructions: 'systemInstruction.parts.0.text',
    prompt: 'contents.0.parts.0.text',
    schema: 'generationConfig.responseJsonSchema',
    answer: candidates('STOP'),
    refusal: candidates('SAFETY'),
    truncation: candidates('MAX_TOKENS'),
    answeredBy: 'google/gemini-001',
  },
  {
    spec: 'bedrock/nova',
    env: { AWS_REGION: 'eu-central-1', AWS_ACCESS_KEY_ID: 'id-1', AWS_SECRET_ACCESS_KEY: 'key-1' },
    base: '',
    path: '/model/nova/converse',
    key: ['authorization', /^AWS4-HMAC-SHA256 Credential=id-1\/\d{8}\/eu-central-1\/bedrock\/aws4_request/],
    instructions: 'system.0.text',
    prompt: 'messages.0.content.0.text',
    schema: 'toolConfig.tools.0.toolSpec.inputSchema.json',
    answer: converse('end_turn'),
    refusal: converse('guardrail_intervened'),
    truncation: converse('max_tokens'),
    answeredBy: 'bedrock/nova',
  },
]

const schema = { type: 'object', properties: { category: { type: 'string' } }, required: ['category'] }
const request = {
  address: { case: 'A-1', step: 'sort', primitive: 'classify', call: 'main', run: 1, attempt: 1 },
  alias: undefined,
  temperature: undefined,
  instructions: 'Sort it.',
  prompt: 'the case',
  schema,
} as const

for (const { spec, env, base, path, key, answeredBy, ...wire } of wires) {
  test(`${spec} is asked in its provider's words, and its answer is read`, async () => {
    await using server = await modelServer(wire.answer, wire.refusal, wire.truncation)
    const baseUrl = server.url.replace(/\/v1$/, base)
    const model = await openModel(spec, { env, providers: { [spec.split('/')[0]!]: { baseUrl } } })
    const ask = () => model.answer({ ...request, signal: AbortSignal.timeout(10_000) })

    assert.deepEqual(await ask(), { text, model: answeredBy, inputTokens: 120, outputTokens: 30 })

    const [{ path: called, headers, body }] = server.calls as [(typeof server.calls)[number]]
    assert.equal(called, path)
    assert.match(String(headers[key[0]]), key[1])
    assert.equal(partAt(body, wire.instructions), 'Sort it.')
    assert.equal(partAt(body, wire.prompt), 'the case')
    const sent = partAt(body, wire.schema) as typeof schema
    assert.deepEqual([sent.properties, sent.required], [schema.properties, schema.required])
    await assert.rejects(ask(), (error: StepFailure) => error.code === 'refusal' && !error.retryable)
    await assert.rejects(ask(), (error: StepFailure) => error.code === 'truncation' && !error.retryable)
    assert.equal(server.calls.length, 3)
  })
}

test('OpenAI is asked to keep nothing, and not to hold loose schemas to its strict form', async () => {
  await using server = await modelServer(inResponses.answer)
  for (const [spec, env] of [
    ['openai/gpt', { OPENAI_API_KEY: 'k' }],
    ['azure/deployment', { AZURE_API_KEY: 'k' }],
  ] as const) {
    const model = await openModel(spec, { env, providers: { [spec.split('/')[0]!]: { baseUrl: server.url } } })
    await model.answer({ ...request, signal: AbortSignal.timeout(10_000) })
    const { body } = server.calls.at(-1)!
    assert.deepEqual([body.store, partAt(body, 'text.format.strict')], [false, false])
  }
})

test('the streams of OpenAI and Anthropic are read as their answers are', async () => {
  const streaming = (...events: readonly object[]): Play => {
    return (response) =>
      void response.writeHead(200, { 'content-type': 'text/event-stream' }).end(events.map(event).join(''))
  }
  const usage = { input_tokens: 120, output_tokens: 30 }
  const about = { id: 'r', created_at: 1_767_600_000, model: 'gpt-2026-01-05' }
  const message = { type: 'message', id: 'm-1' }
  const pieces = ['{"category"', ':"a"}']
  const plays = {
    openai: streaming(
      { type: 'response.created', response: about },
      { type: 'response.output_item.added', output_index: 0, item: message },
      ...pieces.map((delta) => ({ type: 'response.output_text.delta', item_id: 'm-1', delta })),
      { type: 'response.output_item.done', output_index: 0, item: message },
      { type: 'response.completed', response: { ...about, usage } },
    ),
    anthropic: streaming(
      {
        type: 'message_start',
        message: { id: 'm', model: 'claude-2026-01-05', role: 'assistant', content: [], usage },
      },
      { type: 'content_block_start', index: 0, content_block: { type: 'tool_use', id: 't', name: 'json', input: {} } },
      ...pieces.map((partial_json) => ({
        type: 'content_block_delta',
        index: 0,
        delta: { type: 'input_json_delta', partial_json },
      })),
      { type: 'content_block_stop', index: 0 },
      { type: 'message_delta', delta: { stop_reason: 'tool_use', stop_sequence: null }, usage: { output_tokens: 30 } },
      { type: 'message_stop' },
    ),
  }
  for (const { spec, env, answeredBy } of wires) {
    const [provider] = spec.split('/') as [keyof typeof plays]
    if (!plays[provider]) continue
    await using server = await modelServer(plays[provider])
    const model = await openModel(spec, { env, providers: { [provider]: { baseUrl: server.url, stream: true } } })
    const answer = await model.answer({ ...request, signal: AbortSignal.timeout(10_000) })
    assert.deepEqual(answer, { text, model: answeredBy, inputTokens: 120, outputTokens: 30 })
    assert.equal(server.calls[0]!.body.stream, true)
  }
})

function partAt(body: unknown, path: string): unknown {
  return path.split('.').reduce((part, key) => (part as Record<string, unknown>)[key], body)
}
