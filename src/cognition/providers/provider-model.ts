import type { JSONSchema7, LanguageModelV4, LanguageModelV4CallOptions, LanguageModelV4Usage } from '@ai-sdk/provider'
import { isStorableText } from '../../domain/json.ts'
import type { ModelAnswer, ModelRequest } from '../model.ts'
import { StepFailure, type Spent } from '../primitive.ts'
import { isObject } from '../tools.ts'
import { type Callee, failure, failureOf, streamFailure } from './failures.ts'
import type { Turnstile } from './turnstile.ts'

/** One model of one provider, and how it is to be called. */
export interface ProviderModel extends Callee {
  readonly sdk: LanguageModelV4
  readonly turnstile: Turnstile
  /** Whether the answer is taken in as it is written: for providers or proxies that let nobody wait for a whole one. */
  readonly stream: boolean
  readonly maxOutputTokens: number | undefined
  /** Whether the provider can be told to keep to a schema; otherwise the model is asked to. */
  readonly takesSchema: boolean
}

/** Unless the step says otherwise: the same case should get the same answer, as far as models go. */
const defaultTemperature = 0.1

/**
 * Puts one question to the model, once: whether it is asked again is the engine's to say, and nobody else's. Rejects with
 * a `StepFailure` for everything that is not an answer.
 */
export async function askProvider(model: ProviderModel, request: ModelRequest): Promise<ModelAnswer> {
  try {
    return await model.turnstile.pass(request.signal, async () => {
      const options = optionsOf(model, request)
      return judge(await (model.stream ? listen(model, options) : generate(model, options)), model)
    })
  } catch (error) {
    throw failureOf(error, model)
  }
}

function optionsOf(model: ProviderModel, request: ModelRequest): LanguageModelV4CallOptions {
  const { maxOutputTokens, takesSchema } = model
  const { instructions, prompt, schema, signal, temperature = defaultTemperature } = request
  return {
    prompt: [
      { role: 'system', content: takesSchema ? instructions : `${instructions}\n\nSchema: ${JSON.stringify(schema)}` },
      { role: 'user', content: [{ type: 'text', text: prompt }] },
    ],
    temperature,
    ...(maxOutputTokens !== undefined && { maxOutputTokens }),
    responseFormat: { type: 'json', ...(takesSchema && { name: 'answer', schema: schema as JSONSchema7 }) },
    // Our schemas leave room for more fields, which the strict form of these providers does not know; the answer is held
    // against them here in any case. OpenAI would otherwise keep what it is sent for a month.
    providerOptions: {
      openai: { strictJsonSchema: false, store: false },
      azure: { strictJsonSchema: false, store: false },
      compatible: { strictJsonSchema: false },
    },
    abortSignal: signal,
  }
}

/** What came back, before anybody has judged it. */
interface Heard {
  readonly text: string
  readonly finish: string
  readonly modelId: string | undefined
  readonly usage: LanguageModelV4Usage | undefined
}

async function generate({ sdk }: ProviderModel, options: LanguageModelV4CallOptions): Promise<Heard> {
  const { content, finishReason, response, usage } = await sdk.doGenerate(options)
  const text = content.map((part) => (part.type === 'text' ? part.text : '')).join('')
  return { text, finish: finishReason.unified, modelId: response?.modelId ?? versionIn(response?.body), usage }
}

/** Google names the version that answered where its package does not look. */
function versionIn(body: unknown): string | undefined {
  return isObject(body) && typeof body.modelVersion === 'string' ? body.modelVersion : undefined
}

async function listen(model: ProviderModel, options: LanguageModelV4CallOptions): Promise<Heard> {
  const { stream } = await model.sdk.doStream(options)
  const texts: string[] = []
  let finish = 'error'
  let modelId: string | undefined
  let usage: LanguageModelV4Usage | undefined
  for await (const part of stream) {
    if (part.type === 'error') throw streamFailure(part.error, model)
    if (part.type === 'text-delta') texts.push(part.delta)
    if (part.type === 'response-metadata') modelId = part.modelId ?? modelId
    if (part.type === 'finish') {
      finish = part.finishReason.unified
      usage = part.usage
    }
  }
  return { text: texts.join(''), finish, modelId, usage }
}

/** Only an answer that the model has ended of its own accord is one. */
function judge({ text, finish, modelId, usage }: Heard, model: ProviderModel): ModelAnswer {
  const spent = {
    model: answeredBy(model, modelId),
    ...tokens('inputTokens', usage?.inputTokens.total),
    ...tokens('outputTokens', usage?.outputTokens.total),
  }
  switch (finish) {
    case 'content-filter':
      throw withSpent(failure('refusal', 'refused to answer', text, model), spent)
    case 'length':
      throw withSpent(failure('truncation', 'ran out of tokens before its answer ended', undefined, model), spent)
    case 'error':
      throw withSpent(failure('outage', 'broke off its answer', undefined, model), spent)
    case 'tool-calls':
      throw withSpent(failure('unparseable', 'called a tool in place of an answer', undefined, model), spent)
    default:
      return { text, ...spent }
  }
}

function withSpent({ code, message, retryable }: StepFailure, spent: Spent): StepFailure {
  return new StepFailure(code, message, { retryable, spent })
}

const maxNameCharacters = 200

/** The version that answered, in the provider's words, where these can be recorded; otherwise the name that was asked for. */
function answeredBy({ name }: ProviderModel, modelId: string | undefined): string {
  if (!modelId || modelId.length > maxNameCharacters || !isStorableText(modelId)) return name
  return `${name.slice(0, name.indexOf('/'))}/${modelId}`
}

/** A count that is none is left out: what a model costs must not keep its answer from being recorded. */
function tokens(key: 'inputTokens' | 'outputTokens', count: number | undefined): Spent {
  return count !== undefined && Number.isSafeInteger(count) && count >= 0 ? { [key]: count } : {}
}
