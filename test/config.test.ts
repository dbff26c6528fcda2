import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import { type Config, loadConfig, readConfig } from '../src/config.ts'
import { isCoreError } from '../src/errors.ts'
import { shownSettings } from '../src/shown-settings.ts'

test('an empty environment gives the defaults, and so do empty variables', () => {
  const defaults = {
    warnings: [],
    backend: 'sqlite',
    postgres: undefined,
    dbPath: 'data/coordinator.db',
    isDbPathSet: false,
    model: undefined,
    models: { aliases: {}, providers: {} },
    packs: [],
    replicas: 1,
    workerConcurrency: 4,
    host: '127.0.0.1',
    port: 8080,
    apiKeysFile: undefined,
    rateLimit: undefined,
    url: undefined,
    apiKey: undefined,
    logLevel: undefined,
  }
  const settingsOf = ({ sources, ...settings }: Config) => settings
  assert.deepEqual(settingsOf(readConfig({})), defaults)
  const names = [
    'DB_BACKEND',
    'DB_PATH',
    'DB_AUTH',
    'API_REPLICAS',
    'APPCONFIG_ENDPOINT',
    'APPCONFIG_CONNECTION_STRING',
    'APPCONFIG_LABEL',
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
  const config = readConfig(Object.fromEntries(empty) as Record<string, string>, { db: '' })
  assert.deepEqual(settingsOf(config), defaults)
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

const withPassword = { CC_DB_BACKEND: 'postgres', CC_DB_DSN: 'postgres://core:secret@db.example/cases' }

test('PostgreSQL is two settings away, and has defaults of its own', () => {
  const { backend, postgres, workerConcurrency } = readConfig(onPostgres)
  assert.equal(backend, 'postgres')
  const { CC_DB_DSN: dsn } = onPostgres
  const defaults = { schema: 'public', poolMin: 2, poolMax: 10, replicas: 1, password: undefined }
  assert.deepEqual(postgres, { dsn, directDsn: undefined, ...defaults })
  assert.equal(workerConcurrency, availableParallelism())
  const env = {
    ...onPostgres,
    CC_DB_BACKEND: 'postgresql',
    CC_DB_SCHEMA: 'cases',
    CC_DB_DIRECT_DSN: 'postgres://direct',
    CC_API_REPLICAS: '3',
  }
  const pool = { CC_DB_POOL_MIN: '0', CC_DB_POOL_MAX: '3', CC_WORKER_CONCURRENCY: '64' }
  const config = readConfig({ ...env, ...pool })
  const given = { dsn, directDsn: 'postgres://direct', schema: 'cases', poolMin: 0, poolMax: 3 }
  const expected = { ...given, replicas: 3, password: undefined }
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
  [{ ...onPostgres, CC_DB_AUTH: 'token' }, 'CC_ERR_SETTING', /CC_DB_AUTH is 'token'/],
  [{ ...withPassword, CC_DB_AUTH: 'entra' }, 'CC_ERR_DSN_PASSWORD', /CC_DB_DSN holds a password/],
  [
    { ...onPostgres, CC_DB_DIRECT_DSN: 'postgres://a/b?password=c', CC_DB_AUTH: 'entra' },
    'CC_ERR_DSN_PASSWORD',
    /DIRECT/,
  ],
  [{ CC_API_REPLICAS: '2' }, 'CC_ERR_SETTING', /CC_API_REPLICAS is '2'/],
  [{ ...onPostgres, CC_DB_SCHEMA: 'Cases' }, 'CC_ERR_SETTING', /CC_DB_SCHEMA is 'Cases'/],
  [{ ...onPostgres, CC_DB_SCHEMA: 'a; drop table work' }, 'CC_ERR_SETTING', /CC_DB_SCHEMA/],
  [{ ...onPostgres, CC_DB_POOL_MAX: '1' }, 'CC_ERR_SETTING', /CC_DB_POOL_MAX is '1'/],
  [{ ...onPostgres, CC_DB_POOL_MIN: '5', CC_DB_POOL_MAX: '4' }, 'CC_ERR_SETTING', /CC_DB_POOL_MIN is '5'/],
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

const wrongPlaces = [
  [{ CC_APPCONFIG_ENDPOINT: 'http://store.example' }, /CC_APPCONFIG_ENDPOINT is 'http:\/\/store.example'/],
  [{ CC_APPCONFIG_ENDPOINT: 'store.example' }, /CC_APPCONFIG_ENDPOINT/],
  [{ CC_APPCONFIG_ENDPOINT: 'https://store.example/kv' }, /CC_APPCONFIG_ENDPOINT/],
  [{ CC_APPCONFIG_CONNECTION_STRING: 'Endpoint=https://store.example;Id=a' }, /CONNECTION_STRING is '\*\*\*'/],
  [{ CC_APPCONFIG_CONNECTION_STRING: 'Endpoint=http://store.example;Id=a;Secret=c2VjcmV0' }, /CONNECTION_STRING/],
  [
    {
      CC_APPCONFIG_ENDPOINT: 'https://store.example',
      CC_APPCONFIG_CONNECTION_STRING: 'Endpoint=https://store.example;Id=a;Secret=c2VjcmV0',
    },
    /CC_APPCONFIG_ENDPOINT/,
  ],
] as const

for (const [env, says] of wrongPlaces) {
  test(`${JSON.stringify(env)} names no store of App Configuration`, async () => {
    await assert.rejects(loadConfig(env), (error) => {
      assert.ok(isCoreError(error, 'CC_ERR_SETTING'))
      assert.match(error.message, says)
      assert.doesNotMatch(`${error.message} ${error.remedy}`, /c2VjcmV0/)
      return true
    })
  })
}

/** Reads the settings with this text as the configuration file. */
function readWith(text: string, env: Readonly<Record<string, string>> = {}, flags = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'config-'))
  try {
    writeFileSync(join(folder, 'core.yaml'), text)
    return readConfig({ CC_CONFIG: join(folder, 'core.yaml'), ...env }, flags)
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

test('any setting may stand in the file; flags win over the environment, and that over the file', () => {
  const text = `
CC_DB_BACKEND: postgres
CC_DB_DSN: postgres://file@db.example/cases
CC_PORT: 8081
CC_HOST: '::1'
CC_PACKS: [one, two]
CC_MODEL: scripted:file.yaml
CC_DB_POOL_MAX:
CC_RATE_LIMIT: ''`
  const config = readWith(
    text,
    { CC_HOST: 'localhost', CC_DB_DSN: 'postgres://env@db.example/cases' },
    { port: '8082' },
  )
  assert.equal(config.backend, 'postgres')
  assert.deepEqual([config.postgres?.dsn, config.postgres?.poolMax], ['postgres://env@db.example/cases', 10])
  assert.deepEqual([config.host, config.port, config.rateLimit], ['localhost', 8082, undefined])
  assert.deepEqual([config.packs, config.model], [['one', 'two'], 'scripted:file.yaml'])
  assert.equal(readWith(text, { CC_HOST: '' }).host, '::1', 'an empty variable is an unset one')
})

test('every value knows where it was found, and no secret is shown', () => {
  const text = `
CC_HOST: '::1'
CC_PORT: 8081
models: { default: openai/a, fast: openai/b }
providers: { openai: { stream: true } }
sqlite: { max_worker_concurrency: 3 }`
  const env = { ...withPassword, CC_API_KEY: 'cc_k', CC_DB_DIRECT_DSN: 'postgres:///a?host=/run/pg&password=secret' }
  const config = readWith(text, env, { port: '8082' })
  const shown = shownSettings(config)
  const file = config.sources.origin('CC_HOST')
  assert.ok(file.source === 'file' && file.file.endsWith('core.yaml'))
  assert.deepEqual(shown.CC_PORT, { value: 8082, source: 'flag', flag: '--port' })
  assert.deepEqual(shown.CC_HOST, { value: '::1', ...file })
  assert.deepEqual(shown.CC_DB_BACKEND, { value: 'postgres', source: 'environment' })
  assert.deepEqual(shown.CC_DB_DSN, { value: 'postgres://core:***@db.example/cases', source: 'environment' })
  assert.equal(shown.CC_DB_DIRECT_DSN?.value, 'postgres:///a?host=/run/pg&password=***')
  assert.deepEqual(shown.CC_API_KEY, { value: '***', source: 'environment' })
  assert.deepEqual(shown.CC_DB_POOL_MAX, { value: 10, source: 'default' })
  assert.deepEqual(shown.CC_RATE_LIMIT, { value: null, source: 'default' })
  assert.deepEqual(shown.CC_MODEL, { value: 'openai/a', ...file })
  assert.deepEqual(shown['models.fast'], { value: 'openai/b', ...file })
  assert.deepEqual(shown['providers.openai.stream'], { value: 'true', ...file })
  assert.deepEqual(shown['sqlite.max_worker_concurrency'], { value: 3, ...file })
  assert.deepEqual(shown['sqlite.max_replicas'], { value: 1, source: 'default' })
  assert.doesNotMatch(JSON.stringify(shown), /secret|cc_k/)
})

test('a refusal says where the wrong value stands', () => {
  assert.throws(() => readWith('CC_PORT: http'), { message: /^CC_PORT in .*core\.yaml is 'http'/ })
  assert.throws(() => readWith('', {}, { port: 'http' }), { message: /^--port is 'http'/ })
})

test('the file may tighten the limits of SQLite, in either way of writing them', () => {
  for (const text of ['sqlite: { max_worker_concurrency: 2 }', 'sqlite.max_worker_concurrency: 2']) {
    assert.equal(readWith(text).workerConcurrency, 2)
    assert.equal(readWith(text, { CC_WORKER_CONCURRENCY: '1' }).workerConcurrency, 1)
    assert.throws(() => readWith(text, { CC_WORKER_CONCURRENCY: '3' }), { code: 'CC_ERR_SETTING', message: /is '3'/ })
    assert.equal(readWith(text, { ...onPostgres, CC_WORKER_CONCURRENCY: '64' }).workerConcurrency, 64)
  }
  assert.equal(readWith('sqlite: { max_replicas: 1 }').replicas, 1)
})

const wrongFiles = [
  ['sqlite: { max_replicas: 2 }', 'CC_ERR_SETTING', /sqlite\.max_replicas in .* is '2'/],
  ['sqlite: { max_worker_concurrency: 5 }', 'CC_ERR_SETTING', /sqlite\.max_worker_concurrency in .* is '5'/],
  ['sqlite.max_worker_concurrency: 0', 'CC_ERR_SETTING', /is '0'/],
  ['sqlite: { max_replicas: many }', 'CC_ERR_SETTING', /is 'many'/],
  ['sqlite: { max_cases_per_day: 500 }', 'CC_ERR_NOT_YET', /limit sqlite\.max_cases_per_day in .*core\.yaml/],
  ['sqlite.max_cases_per_day: 500', 'CC_ERR_NOT_YET', /limit sqlite\.max_cases_per_day/],
  ['{ sqlite: { max_replicas: 1 }, sqlite.max_replicas: 1 }', 'CC_ERR_SETTING', /max_replicas/],
  ['CC_DB_BACKND: postgres', 'CC_ERR_UNKNOWN_SETTING', /CC_DB_BACKND in .*core\.yaml is no setting/],
  ['limits: {}', 'CC_ERR_UNKNOWN_SETTING', /limits in /],
  ['CC_CONFIG: other.yaml', 'CC_ERR_UNKNOWN_SETTING', /from the environment alone/],
  ['CC_API_KEY: cc_k', 'CC_ERR_UNKNOWN_SETTING', /from the environment alone/],
  ['CC_PORT: [1]', 'CC_ERR_SETTING', /CC_PORT in .* is 'a list'/],
  ['CC_DB_DSN: { password: hush }', 'CC_ERR_SETTING', /CC_DB_DSN in .* is 'a map'/],
  ['CC_DB_BACKEND: mysql', 'CC_ERR_BACKEND', /^CC_DB_BACKEND in .*core\.yaml is 'mysql'/],
  ['CC_PACKS: [1]', 'CC_ERR_SETTING', /CC_PACKS in /],
  ['{ CC_MODEL: openai/a, models: { default: openai/b } }', 'CC_ERR_SETTING', /models\.default in .* is 'openai\/b'/],
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

test('the file and the limits of docs/configuration.md are as they are written there', () => {
  const page = readFileSync(join(import.meta.dirname, '../docs/configuration.md'), 'utf8')
  const { backend, port, packs, model } = readWith(/^```yaml\n([^]*?)^```/m.exec(page)![1]!)
  assert.deepEqual([backend, port, packs.length, model], ['postgres', 8081, 2, 'openai/gpt-5.1'])
  const rows = [...page.matchAll(/^\| `(sqlite\.\w+)` +\| (\d+) /gm)]
  assert.equal(rows.length, 2)
  for (const [, name, most] of rows) {
    readWith(`${name}: ${most}`)
    assert.throws(() => readWith(`${name}: ${Number(most) + 1}`), { code: 'CC_ERR_SETTING' })
  }
})

test('a configuration file that is named and not there is refused', () => {
  assert.throws(() => readConfig({ CC_CONFIG: 'nowhere.yaml' }), { code: 'CC_ERR_FILE' })
})
