import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../src/config.ts'
import { isCoreError } from '../src/errors.ts'

test('an empty environment gives the defaults, and so do empty variables', () => {
  const defaults = {
    backend: 'sqlite',
    postgres: undefined,
    dbPath: 'data/coordinator.db',
    isDbPathSet: false,
    model: undefined,
    models: { aliases: {}, providers: {} },
    packs: [],
    workerConcurrency: 4,
    host: '127.0.0.1',
    port: 8080,
    apiKeysFile: undefined,
    rateLimit: undefined,
    url: undefined,
    apiKey: undefined,
    logLevel: undefined,
  }
  assert.deepEqual(readConfig({}), defaults)
  const names = [
    'DB_BACKEND',
    'DB_PATH',
    'MODEL',
    'MODEL_BASE_URL',
    'CONFIG',
    'PACKS',
    'WORKER_CONCURRENCY',
    'URL',
    'API_KEY',
    'API_KEYS_FILE',
  ]
  const empty = [...names, 'HOST', 'PORT', 'RATE_LIMIT', 'LOG_LEVEL'].map((name) => [`CC_${name}`, ''])
  assert.deepEqual(readConfig(Object.fromEntries(empty) as Record<string, string>, { db: '' }), defaults)
})

test('flags win over the environment', () => {
  const env = { CC_DB_PATH: 'env.db', CC_PACKS: `one${delimiter}two${delimiter}`, CC_WORKER_CONCURRENCY: '2' }
  assert.deepEqual(readConfig(env).packs, ['one', 'two'])
  const config = readConfig(env, { db: 'flag.db', packs: ['three'] })
  assert.equal(config.dbPath, 'flag.db')
  assert.deepEqual(config.packs, ['three'])
  assert.equal(config.workerConcurrency, 2)
})

test('the service and the address of another one are settings like others', () => {
  const env = {
    CC_HOST: '0.0.0.0',
    CC_PORT: '80',
    CC_API_KEYS_FILE: 'keys.json',
    CC_RATE_LIMIT: '0',
    CC_API_KEY: 'cc_a',
  }
  const { host, port, apiKeysFile, rateLimit, url, apiKey } = readConfig({ ...env, CC_URL: 'https://cases.example/' })
  assert.deepEqual([host, port, apiKeysFile, rateLimit, apiKey], ['0.0.0.0', 80, 'keys.json', 0, 'cc_a'])
  assert.equal(url, 'https://cases.example', 'without a slash at its end')
  const flags = { host: '::1', port: '0', url: 'http://[::1]:8080/core', apiKey: 'cc_b', workers: '0' }
  const config = readConfig(env, flags)
  assert.deepEqual([config.host, config.port, config.url], ['::1', 0, 'http://[::1]:8080/core'])
  assert.deepEqual([config.apiKey, config.workerConcurrency], ['cc_b', 0])
  assert.throws(() => readConfig({}, { workers: '5' }), { code: 'CC_ERR_SETTING', message: /--workers is '5'/ })
  assert.throws(() => readConfig({ CC_WORKER_CONCURRENCY: '0' }), { code: 'CC_ERR_SETTING' })
})

const onPostgres = { CC_DB_BACKEND: 'postgres', CC_DB_DSN: 'postgres://core@db.example/cases' }

test('PostgreSQL is two settings away, and has defaults of its own', () => {
  const { backend, postgres, workerConcurrency } = readConfig(onPostgres)
  assert.equal(backend, 'postgres')
  const { CC_DB_DSN: dsn } = onPostgres
  assert.deepEqual(postgres, { dsn, directDsn: undefined, schema: 'public', poolMin: 2, poolMax: 10, replicas: 1 })
  assert.equal(workerConcurrency, availableParallelism())
  const env = {
    ...onPostgres,
    CC_DB_BACKEND: 'postgresql',
    CC_DB_SCHEMA: 'cases',
    CC_DB_DIRECT_DSN: 'postgres://direct',
  }
  const pool = { CC_DB_POOL_MIN: '0', CC_DB_POOL_MAX: '3', CC_API_REPLICAS: '3', CC_WORKER_CONCURRENCY: '64' }
  const config = readConfig({ ...env, ...pool })
  const expected = { dsn, directDsn: 'postgres://direct', schema: 'cases', poolMin: 0, poolMax: 3, replicas: 3 }
  assert.deepEqual([config.backend, config.postgres, config.workerConcurrency], ['postgres', expected, 64])
})

test('a DSN beside SQLite is legal: it is where the store may move one day', () => {
  const { backend, postgres, workerConcurrency } = readConfig({ CC_DB_DSN: onPostgres.CC_DB_DSN })
  assert.deepEqual([backend, postgres, workerConcurrency], ['sqlite', undefined, 4])
})

const refused = [
  [{ CC_DB_BACKEND: 'mysql' }, 'CC_ERR_BACKEND', /'mysql'/],
  [{ CC_DB_BACKEND: 'postgres' }, 'CC_ERR_NO_DSN', /CC_DB_DSN is not set/],
  [{ CC_DB_BACKEND: 'postgresql' }, 'CC_ERR_NO_DSN', /CC_DB_DSN is not set/],
  [{ ...onPostgres, CC_DB_SCHEMA: 'Cases' }, 'CC_ERR_SETTING', /CC_DB_SCHEMA is 'Cases'/],
  [{ ...onPostgres, CC_DB_SCHEMA: 'a; drop table work' }, 'CC_ERR_SETTING', /CC_DB_SCHEMA/],
  [{ ...onPostgres, CC_DB_POOL_MAX: '1' }, 'CC_ERR_SETTING', /CC_DB_POOL_MAX is '1'/],
  [{ ...onPostgres, CC_DB_POOL_MIN: '5', CC_DB_POOL_MAX: '4' }, 'CC_ERR_SETTING', /CC_DB_POOL_MIN is '5'/],
  [{ ...onPostgres, CC_API_REPLICAS: '0' }, 'CC_ERR_SETTING', /CC_API_REPLICAS is '0'/],
  [{ ...onPostgres, CC_WORKER_CONCURRENCY: '1001' }, 'CC_ERR_SETTING', /CC_WORKER_CONCURRENCY/],
  [{ CC_URL: 'cases.example' }, 'CC_ERR_SETTING', /CC_URL is 'cases.example'/],
  [{ CC_URL: 'ftp://cases.example' }, 'CC_ERR_SETTING', /ftp/],
  [{ CC_URL: 'https://ann:secret@cases.example' }, 'CC_ERR_SETTING', /CC_URL/],
  [{ CC_URL: 'https://cases.example/?a=1' }, 'CC_ERR_SETTING', /CC_URL/],
  [{ CC_PORT: '65536' }, 'CC_ERR_SETTING', /CC_PORT is '65536'/],
  [{ CC_PORT: 'http' }, 'CC_ERR_SETTING', /'http'/],
  [{ CC_RATE_LIMIT: '-1' }, 'CC_ERR_SETTING', /CC_RATE_LIMIT/],
  [{ CC_WORKER_CONCURRENCY: '0' }, 'CC_ERR_SETTING', /CC_WORKER_CONCURRENCY is '0'/],
  [{ CC_WORKER_CONCURRENCY: '5' }, 'CC_ERR_SETTING', /'5'/],
  [{ CC_WORKER_CONCURRENCY: '2.5' }, 'CC_ERR_SETTING', /'2.5'/],
  [{ CC_WORKER_CONCURRENCY: 'many' }, 'CC_ERR_SETTING', /'many'/],
  [{ CC_LOG_LEVEL: 'loud' }, 'CC_ERR_SETTING', /'loud'/],
] as const

for (const [env, code, says] of refused) {
  test(`${JSON.stringify(env)} is refused with ${code}`, () => {
    assert.throws(
      () => readConfig(env),
      (error) => isCoreError(error, code) && says.test(error.message) && error.exit === 2 && error.remedy !== '',
    )
  })
}

for (const name of ['CC_APPCONFIG_ENDPOINT', 'CC_APPCONFIG_CONNECTION_STRING']) {
  test(`${name} is not passed over in silence`, () => {
    assert.throws(() => readConfig({ [name]: 'x' }), { code: 'CC_ERR_NOT_YET', message: new RegExp(name) })
    assert.equal(readConfig({ [name]: '' }).backend, 'sqlite')
  })
}

/** Reads the settings with this text as the configuration file. */
function readWith(text: string, env: Readonly<Record<string, string>> = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  try {
    writeFileSync(join(folder, 'core.yaml'), text)
    return readConfig({ CC_CONFIG: join(folder, 'core.yaml'), ...env })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

test('the configuration file says which models there are; the environment wins, for the provider that it names', () => {
  const text = `
models: { default: openai/a, fast: openai/b }
providers: { openai: { base_url: 'https://one.example/v1', stream: true } }`
  const { model, models } = readWith(text)
  assert.equal(model, 'openai/a')
  assert.deepEqual(models, {
    aliases: { fast: 'openai/b' },
    providers: { openai: { baseUrl: 'https://one.example/v1', stream: true } },
  })
  const address = { CC_MODEL_BASE_URL: 'https://two.example/v1/' }
  const moved = readWith(text, address)
  assert.deepEqual(moved.models.providers.openai, { baseUrl: 'https://two.example/v1', stream: true })
  const other = readWith(text, { ...address, CC_MODEL: 'compatible/c' })
  assert.equal(other.model, 'compatible/c')
  assert.deepEqual(other.models.providers, {
    openai: { baseUrl: 'https://one.example/v1', stream: true },
    compatible: { baseUrl: 'https://two.example/v1' },
  })
  for (const empty of ['', 'models:', 'providers: {}', '{}']) assert.equal(readWith(empty).model, undefined)
})

const wrongFiles = [
  ['sqlite: { max_replicas: 1 }', 'CC_ERR_NOT_YET', /setting sqlite of .*core\.yaml/],
  ['- models', 'CC_ERR_SETTING', /all in .*core\.yaml/],
  ['models: openai/a', 'CC_ERR_SETTING', /models in /],
  ['models: { default: gpt }', 'CC_ERR_SETTING', /models\.default in .* is 'gpt'/],
  ["models: { default: 'scripted:a.yaml' }", 'CC_ERR_SETTING', /models\.default in /],
  ['models: { quick: openai/a }', 'CC_ERR_SETTING', /models in .* is 'quick'/],
  ['providers: { openai: { concurrency: 0 } }', 'CC_ERR_SETTING', /providers\.openai\.concurrency in .* is '0'/],
  ['providers: { openai: { base_url: ftp://a } }', 'CC_ERR_SETTING', /providers\.openai\.base_url/],
  ['providers: { openai: { api_key: k } }', 'CC_ERR_SETTING', /providers\.openai in .* is 'api_key'/],
  ['models: { default: openai/a, default: openai/b }', 'CC_ERR_FILE', /unique/],
  ['models: {', 'CC_ERR_FILE', /core\.yaml cannot be read/],
] as const

for (const [text, code, says] of wrongFiles) {
  test(`a configuration file that says ${text} is refused with ${code}`, () => {
    assert.throws(() => readWith(text), { code, message: says })
  })
}

test('a configuration file that is named and not there is refused', () => {
  assert.throws(() => readConfig({ CC_CONFIG: 'nowhere.yaml' }), { code: 'CC_ERR_FILE' })
})
