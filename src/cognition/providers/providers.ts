import type { LanguageModelV4 } from '@ai-sdk/provider'
import type { Environment } from '../../config.ts'
import { guardedFetch } from './guarded-fetch.ts'

/** Where a provider is reached, and the variables that hold its keys. */
export interface Connection {
  readonly baseUrl: string | undefined
  readonly env: Environment
}

export interface Provider {
  /** The package of the Vercel AI SDK that speaks to it, in the major version whose interface this program knows. */
  readonly package: string
  readonly major: number
  /** What has to be set before it can be called, in words; unset when nothing is missing. */
  readonly missing: (connection: Connection) => string | undefined
  /** Variables whose values must stand in no message. */
  readonly secrets: readonly string[]
  /** Loads the package. Rejects when it is not installed. */
  readonly open: (id: string, connection: Connection) => Promise<LanguageModelV4>
}

/** The providers, by the word before the slash. Nothing of theirs is loaded before a model of theirs is configured. */
export const providers: Readonly<Record<string, Provider>> = {
  openai: {
    package: '@ai-sdk/openai',
    major: 4,
    missing: ({ env }) => firstUnset(env, 'OPENAI_API_KEY'),
    secrets: ['OPENAI_API_KEY'],
    async open(id, { baseUrl, env }) {
      const { createOpenAI } = await import('@ai-sdk/openai')
      return createOpenAI({ ...given({ baseURL: baseUrl, apiKey: env.OPENAI_API_KEY }), fetch: guardedFetch })(id)
    },
  },
  anthropic: {
    package: '@ai-sdk/anthropic',
    major: 4,
    missing: ({ env }) => firstUnset(env, 'ANTHROPIC_API_KEY'),
    secrets: ['ANTHROPIC_API_KEY'],
    async open(id, { baseUrl, env }) {
      const { createAnthropic } = await import('@ai-sdk/anthropic')
      return createAnthropic({ ...given({ baseURL: baseUrl, apiKey: env.ANTHROPIC_API_KEY }), fetch: guardedFetch })(id)
    },
  },
  azure: {
    package: '@ai-sdk/azure',
    major: 4,
    missing: ({ env, baseUrl }) =>
      firstUnset(env, 'AZURE_API_KEY') ?? (baseUrl ? undefined : firstUnset(env, 'AZURE_RESOURCE_NAME')),
    secrets: ['AZURE_API_KEY'],
    async open(id, { baseUrl, env }) {
      const { createAzure } = await import('@ai-sdk/azure')
      const { AZURE_API_KEY: apiKey, AZURE_RESOURCE_NAME: resourceName } = env
      return createAzure({ ...given({ baseURL: baseUrl, apiKey, resourceName }), fetch: guardedFetch })(id)
    },
  },
  google: {
    package: '@ai-sdk/google',
    major: 4,
    missing: ({ env }) => firstUnset(env, 'GOOGLE_GENERATIVE_AI_API_KEY'),
    secrets: ['GOOGLE_GENERATIVE_AI_API_KEY'],
    async open(id, { baseUrl, env }) {
      const { createGoogleGenerativeAI } = await import('@ai-sdk/google')
      const settings = given({ baseURL: baseUrl, apiKey: env.GOOGLE_GENERATIVE_AI_API_KEY })
      return createGoogleGenerativeAI({ ...settings, fetch: guardedFetch })(id)
    },
  },
  bedrock: {
    package: '@ai-sdk/amazon-bedrock',
    major: 5,
    missing: ({ env }) =>
      firstUnset(env, 'AWS_REGION') ??
      (env.AWS_BEARER_TOKEN_BEDROCK ? undefined : firstUnset(env, 'AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY')),
    secrets: ['AWS_BEARER_TOKEN_BEDROCK', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'],
    async open(id, { baseUrl, env }) {
      const { createAmazonBedrock } = await import('@ai-sdk/amazon-bedrock')
      const settings = given({
        baseURL: baseUrl,
        region: env.AWS_REGION,
        apiKey: env.AWS_BEARER_TOKEN_BEDROCK,
        accessKeyId: env.AWS_ACCESS_KEY_ID,
        secretAccessKey: env.AWS_SECRET_ACCESS_KEY,
        sessionToken: env.AWS_SESSION_TOKEN,
      })
      return createAmazonBedrock({ ...settings, fetch: guardedFetch })(id)
    },
  },
  compatible: {
    package: '@ai-sdk/openai-compatible',
    major: 3,
    missing: ({ baseUrl }) => (baseUrl ? undefined : 'CC_MODEL_BASE_URL'),
    secrets: ['CC_MODEL_API_KEY'],
    async open(id, { baseUrl, env }) {
      const { createOpenAICompatible } = await import('@ai-sdk/openai-compatible')
      const settings = { name: 'compatible', baseURL: baseUrl!, includeUsage: true, supportsStructuredOutputs: true }
      return createOpenAICompatible({ ...settings, ...given({ apiKey: env.CC_MODEL_API_KEY }), fetch: guardedFetch })(
        id,
      )
    },
  },
}

function firstUnset(env: Environment, ...names: readonly string[]): string | undefined {
  return names.find((name) => !env[name])
}

/** Without the settings that are not there: an SDK looks for its own only where a key is absent. */
function given<T extends Readonly<Record<string, string | undefined>>>(settings: T): { [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(settings).filter(([, value]) => value)) as { [K in keyof T]?: string }
}
