import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { test } from 'node:test'
import type { ModelSettings } from '../../src/config.ts'
import { openModel } from '../../src/cognition/models.ts'
import type { CoreError } from '../../src/errors.ts'
import { completing, modelServer } from './model-server.ts'

const unusable = [
  ['openai/gpt', {}, 'OPENAI_API_KEY'],
  ['anthropic/claude', { OPENAI_API_KEY: 'k' }, 'ANTHROPIC_API_KEY'],
  ['azure/deployment', {}, 'AZURE_API_KEY'],
  ['azure/deployment', { AZURE_API_KEY: 'k' }, 'AZURE_RESOURCE_NAME'],
  ['google/gemini', {}, 'GOOGLE_GENERATIVE_AI_API_KEY'],
  ['bedrock/nova', { AWS_BEARER_TOKEN_BEDROCK: 'k' }, 'AWS_REGION'],
  ['bedrock/nova', { AWS_REGION: 'r' }, 'AWS_ACCESS_KEY_ID'],
  ['bedrock/nova', { AWS_REGION: 'r', AWS_ACCESS_KEY_ID: 'i' }, 'AWS_SECRET_ACCESS_KEY'],
  ['compatible/llama', {}, 'CC_MODEL_BASE_URL'],
  ['compatible/llama', { CC_MODEL_API_KEY: 'k' }, 'CC_MODEL_BASE_URL'],
] as const

for (const [spec, env, variable] of unusable) {
  test(`${spec} with ${JSON.stringify(env)} is refused when it is opened, and ${variable} is named`, async () => {
    await assert.rejects(openModel(spec, { env }), (error: CoreError) => {
      assert.deepEqual([error.code, error.exit], ['CC_ERR_MODEL_KEY', 1])
      assert.ok(error.message.includes(variable) && error.remedy.includes(variable))
      return true
    })
  })
}

const usable = [
  ['openai/gpt', { OPENAI_API_KEY: 'k' }],
  ['azure/deployment', { AZURE_API_KEY: 'k', AZURE_RESOURCE_NAME: 'r' }],
  ['bedrock/nova', { AWS_REGION: 'r', AWS_BEARER_TOKEN_BEDROCK: 'k' }],
] as const

for (const [spec, env] of usable) {
  test(`${spec} with ${Object.keys(env).join(' and ')} is opened`, async () => {
    const model = await openModel(spec, { env })
    assert.deepEqual([model.name, model.simulated], [spec, false])
  })
}

for (const spec of ['', 'openai', 'openai/', '/gpt', 'opnai/gpt', 'constructor/x', 'scripted:']) {
  test(`${JSON.stringify(spec)} names no model`, async () => {
    await assert.rejects(openModel(spec, { env: { OPENAI_API_KEY: 'k' } }), { code: 'CC_ERR_UNKNOWN_MODEL' })
  })
}

const packages = {
  openai: ['@ai-sdk/openai', 'npm install @ai-sdk/openai@4', { OPENAI_API_KEY: 'k' }],
  bedrock: [
    '@ai-sdk/amazon-bedrock',
    'npm install @ai-sdk/amazon-bedrock@5',
    { AWS_REGION: 'r', AWS_BEARER_TOKEN_BEDROCK: 'k' },
  ],
} as const

for (const [provider, [name, command, env]] of Object.entries(packages)) {
  test(`a provider whose package is not installed is refused with what to install: ${name}`, async () => {
    const hooks = registerHooks({
      resolve: (specifier, context, next) => {
        if (specifier !== name) return next(specifier, context)
        throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' })
      },
    })
    try {
      await assert.rejects(openModel(`${provider}/m`, { env }), (error: CoreError) => {
        assert.deepEqual([error.code, error.exit], ['CC_ERR_MODEL_PACKAGE', 1])
        assert.ok(error.message.includes('is not installed') && error.remedy.includes(command))
        return true
      })
    } finally {
      hooks.deregister()
    }
    assert.equal((await openModel(`${provider}/m`, { env })).name, `${provider}/m`)
  })
}

test('a package of another generation is refused before it is called', async () => {
  const hooks = registerHooks({
    load: (url, context, next) =>
      url.includes('/@ai-sdk/google/')
        ? {
            format: 'module',
            shortCircuit: true,
            source: 'export const createGoogleGenerativeAI = () => () => ({ specificationVersion: "v9" })',
          }
        : next(url, context),
  })
  try {
    const opened = openModel('google/gemini', { env: { GOOGLE_GENERATIVE_AI_API_KEY: 'k' } })
    await assert.rejects(opened, { code: 'CC_ERR_MODEL_PACKAGE', message: /speaks another interface \(v9\)/ })
  } finally {
    hooks.deregister()
  }
})

test('each step is answered by the model that it names, by alias, by id, or not at all', async () => {
  await using server = await modelServer(completing('{}'))
  await using other = await modelServer(completing('{}'))
  const settings: ModelSettings = {
    aliases: { fast: 'compatible/small', strong: 'openai/large' },
    providers: { compatible: { baseUrl: server.url }, openai: { baseUrl: other.url } },
  }
  const model = await openModel('compatible/meta/llama', { ...settings, env: { OPENAI_API_KEY: 'k' } })
  const ask = (alias: string | undefined) =>
    model.answer({
      address: { case: 'A', step: 's', primitive: 'classify', call: 'main', run: 1, attempt: 1 },
      alias,
      temperature: undefined,
      instructions: '',
      prompt: '',
      schema: { type: 'object' },
      signal: AbortSignal.timeout(10_000),
    })

  for (const alias of [undefined, 'default', 'fast', 'standard', 'compatible/own', 'bare']) await ask(alias)
  // The other server does not speak the protocol that it is asked in here; which model it was asked for counts.
  await ask('strong').catch(() => {})

  const asked = server.calls.map(({ body }) => body.model)
  assert.deepEqual(asked, ['meta/llama', 'meta/llama', 'small', 'meta/llama', 'own', 'bare'])
  assert.deepEqual(
    other.calls.map(({ body }) => body.model),
    ['large'],
  )
})

test('what a model of a step lacks is said before a case needs it, and is looked for again later', async () => {
  const env: Record<string, string> = { OPENAI_API_KEY: 'k' }
  const model = await openModel('openai/gpt', { env })

  await assert.rejects(model.prepare!('anthropic/claude'), { code: 'CC_ERR_MODEL_KEY' })
  await assert.rejects(model.prepare!('nobody/nothing'), { code: 'CC_ERR_UNKNOWN_MODEL' })
  await model.prepare!('strong')
  env.ANTHROPIC_API_KEY = 'k'
  await model.prepare!('anthropic/claude')
})

test('an alias of the configuration that cannot be called is refused with the model that can', async () => {
  const aliases = { strong: 'anthropic/claude' }
  await assert.rejects(openModel('openai/gpt', { aliases, env: { OPENAI_API_KEY: 'k' } }), {
    code: 'CC_ERR_MODEL_KEY',
    message: /ANTHROPIC_API_KEY/,
  })
})
