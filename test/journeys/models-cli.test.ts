import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../../src/config.ts'
import { openDesk, root } from '../cli/cli.ts'
import { completing, modelServer, type Play, replying } from '../cognition/model-server.ts'
import { packFolder } from '../cognition/pack-folder.ts'

/** What a person sees who configures a real model. */

/** Answers each primitive of the sound pack by the schema that it is asked for. */
const sensible: Play = (response, received) => {
  const isGovern = JSON.stringify(received.body).includes('tier_applied')
  const base = { confidence: 0.9, reasoning: 'plain' }
  const governed = { ...base, tier_applied: 'auto', tier_rationale: 'plain', disposition: 'proceed' }
  return completing(JSON.stringify(isGovern ? governed : { ...base, category: 'even' }))(response, received)
}

const key = 'sk-never-to-be-read'

test('a pack runs on a real model, which stands on every step, and its key nowhere', async () => {
  await using server = await modelServer(sensible)
  await using pack = await packFolder({ 'cases/one.json': '{"case_id": "A-1"}' })
  await using desk = await openDesk({
    CC_MODEL: 'compatible/test',
    CC_MODEL_BASE_URL: server.url,
    CC_MODEL_API_KEY: key,
  })
  const args = ['run', pack.dir, '--case', join(pack.dir, 'cases/one.json'), '--json']

  const { code, stdout, stderr } = await desk.spawn(args, { env: { CC_LOG_LEVEL: 'debug' } })

  assert.equal(code, 0, stderr)
  const story = JSON.parse(stdout) as { simulated: boolean; steps: { model: string; input_tokens: number }[] }
  assert.equal(story.simulated, false)
  assert.deepEqual(
    story.steps.map(({ model, input_tokens: tokens }) => [model, tokens]),
    [
      ['compatible/test-model-2026-01-05', 120],
      ['compatible/test-model-2026-01-05', 120],
    ],
  )
  assert.ok(!stdout.includes(key) && !stderr.includes(key))
  assert.equal(server.calls[0]!.headers.authorization, `Bearer ${key}`)
})

test('a key that a provider repeats in its refusal is not shown', async () => {
  await using server = await modelServer(replying({ error: { message: `the key ${key} is not known` } }, 401))
  await using pack = await packFolder({ 'cases/one.json': '{"case_id": "A-1"}' })
  await using desk = await openDesk({
    CC_MODEL: 'compatible/test',
    CC_MODEL_BASE_URL: server.url,
    CC_MODEL_API_KEY: key,
  })

  const { code, stdout, stderr } = await desk.spawn(['run', pack.dir, '--case', join(pack.dir, 'cases/one.json')])

  assert.equal(code, 1)
  assert.match(stdout, /rejected/)
  assert.ok(!stdout.includes(key) && !stderr.includes(key))
  assert.equal(server.calls.length, 1)
})

const unusable = [
  ['openai/gpt', 'CC_ERR_MODEL_KEY', 'OPENAI_API_KEY'],
  ['compatible/test', 'CC_ERR_MODEL_KEY', 'CC_MODEL_BASE_URL'],
  ['nobody/nothing', 'CC_ERR_UNKNOWN_MODEL', 'compatible'],
] as const

for (const [spec, code, way] of unusable) {
  test(`CC_MODEL=${spec} ends every start with 1, names the way out, and touches no store`, async () => {
    await using desk = await openDesk({ CC_MODEL: spec })
    for (const args of [
      ['serve', '--port', '0'],
      ['submit', 'w', '--domain', 'd', '--input', '-'],
    ]) {
      const answer = await desk.spawn([...args, '--json'], { input: '{}' })

      assert.equal(answer.code, 1, answer.stderr)
      const refusal = JSON.parse(answer.stdout || answer.stderr) as { code: string; remedy: string }
      assert.equal(refusal.code, code)
      assert.ok(refusal.remedy.includes(way), refusal.remedy)
    }
    assert.ok(!existsSync(desk.env.CC_DB_PATH!))
  })
}

test('the configuration file chooses models, and the environment wins over it', async () => {
  await using server = await modelServer(sensible)
  await using desk = await openDesk()
  const file = join(desk.folder, 'core.yaml')
  await writeFile(
    file,
    `models: { default: compatible/filed }\nproviders: { compatible: { base_url: '${server.url}' } }\n`,
  )
  await using pack = await packFolder({ 'cases/one.json': '{"case_id": "A-1"}' })
  const args = ['run', pack.dir, '--case', join(pack.dir, 'cases/one.json')]

  const filed = await desk.spawn(args, { env: { CC_CONFIG: file, CC_MODEL: '' } })
  const chosen = await desk.spawn(args, { env: { CC_CONFIG: file, CC_MODEL: 'compatible/chosen' } })

  assert.deepEqual([filed.code, chosen.code], [0, 0], filed.stderr + chosen.stderr)
  assert.match(filed.stdout, /model +compatible\/filed/)
  assert.deepEqual(
    server.calls.map(({ body }) => body.model),
    ['filed', 'filed', 'chosen', 'chosen'],
  )
})

const page = await readFile(join(root, 'docs/models.md'), 'utf8')

test('the configuration of docs/models.md is read as it stands there', async () => {
  await using desk = await openDesk()
  const file = join(desk.folder, 'core.yaml')
  await writeFile(file, /```yaml\n([^]*?)```/.exec(page)![1]!)

  const { model, models } = readConfig({ CC_CONFIG: file })

  assert.equal(model, 'openai/gpt-5.1')
  assert.deepEqual(models.aliases, { fast: 'openai/gpt-5-mini', strong: 'anthropic/claude-opus-4-5' })
  assert.deepEqual(models.providers, {
    openai: { concurrency: 8, maxOutputTokens: 8000 },
    anthropic: { stream: true },
    compatible: { baseUrl: 'http://127.0.0.1:11434/v1', jsonSchema: false },
  })
})

test('docs/models.md knows every provider with its package and variables, and every kind of failure', async () => {
  const { providers } = await import('../../src/cognition/providers/providers.ts')
  const { stepFailureCodes } = await import('../../src/cognition/primitive.ts')
  for (const [word, { package: name, major, secrets }] of Object.entries(providers)) {
    const row = page.split('\n').find((line) => line.startsWith(`| \`${word}/`)) ?? ''
    assert.ok(row.includes(`\`${name}@${major}\``), word)
    for (const secret of secrets.filter((variable) => variable !== 'AWS_SESSION_TOKEN'))
      assert.ok(row.includes(secret), secret)
  }
  const ofModels = stepFailureCodes.filter((code) => code !== 'missing_params' && code !== 'primitive_error')
  for (const code of ofModels) assert.match(page, new RegExp(`^\\| \`${code}\` `, 'm'))
})
