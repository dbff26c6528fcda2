import assert from 'node:assert/strict'
import { createHmac } from 'node:crypto'
import { registerHooks } from 'node:module'
import { createServer } from 'node:net'
import { getCACertificates, setDefaultCACertificates } from 'node:tls'
import { after, before, test } from 'node:test'
import { once } from 'node:events'
import { loadConfig } from '../src/config.ts'
import { isCoreError } from '../src/errors.ts'
import { shownSettings } from '../src/shown-settings.ts'
import { type AppConfigurationServer, startAppConfiguration } from './app-configuration-server.ts'
import { makeAuthority } from './certificates.ts'

const authority = makeAuthority()
let server: AppConfigurationServer
const env = (more = {}) => ({ CC_APPCONFIG_CONNECTION_STRING: server.connectionString, ...more })

before(async () => {
  setDefaultCACertificates([...getCACertificates(), authority.cert])
  server = await startAppConfiguration(authority)
})
after(() => server[Symbol.asyncDispose]())

/** Puts the store of settings back to the two that lead to PostgreSQL. */
function refill(): void {
  server.answer = undefined
  server.requests.length = 0
  server.settings.length = 0
  server.settings.push(
    { key: 'CC_DB_BACKEND', value: 'postgres' },
    { key: 'CC_DB_DSN', value: 'postgresql://core@db.example:5432/cognitive_core' },
  )
}

test('two keys are all it takes to run on PostgreSQL', async () => {
  refill()
  const config = await loadConfig(env())
  assert.equal(config.backend, 'postgres')
  assert.equal(config.postgres?.dsn, 'postgresql://core@db.example:5432/cognitive_core')
  assert.deepEqual(config.warnings, [])
  const origin = { source: 'app_configuration', endpoint: server.endpoint, label: null }
  assert.deepEqual(shownSettings(config).CC_DB_BACKEND, { value: 'postgres', ...origin })
})

test('it is asked for our settings alone, page by page', async () => {
  refill()
  for (const key of ['CC_PORT', 'CC_HOST', 'CC_RATE_LIMIT'])
    server.settings.push({ key, value: key === 'CC_HOST' ? '::1' : '7' })
  server.settings.push({ key: 'Other', value: 'x' }, { key: 'XCC_PORT', value: '1' })
  const { port, host, rateLimit, backend } = await loadConfig(env())
  assert.deepEqual([port, host, rateLimit, backend], [7, '::1', 7, 'postgres'])
  assert.equal(server.requests.length, 3, server.requests.join('\n'))
})

test('flags, environment and file win over it, and it over the defaults; an empty value is an unset one', async () => {
  refill()
  server.settings.push(
    { key: 'CC_PORT', value: '1' },
    { key: 'CC_HOST', value: 'one' },
    { key: 'CC_DB_POOL_MAX', value: '5' },
    { key: 'CC_DB_POOL_MIN', value: '' },
  )
  const { port, host, postgres } = await loadConfig(env({ CC_HOST: 'two', CC_DB_POOL_MAX: '' }), { port: '3' })
  assert.deepEqual([port, host, postgres?.poolMax, postgres?.poolMin], [3, 'two', 5, 2])
})

test('a label chooses among settings of the same name; without one those count that have none', async () => {
  refill()
  server.settings.push(
    { key: 'CC_DB_BACKEND', value: 'sqlite', label: 'test' },
    { key: 'CC_PORT', value: '9', label: 'test*' },
    { key: 'CC_PORT', value: '8', label: 'a,b' },
  )
  const labelled = await loadConfig(env({ CC_APPCONFIG_LABEL: 'test' }))
  assert.equal(labelled.backend, 'sqlite')
  assert.deepEqual(labelled.sources.origin('CC_DB_BACKEND'), {
    source: 'app_configuration',
    endpoint: server.endpoint,
    label: 'test',
  })
  assert.equal((await loadConfig(env())).backend, 'postgres')
  assert.equal((await loadConfig(env({ CC_APPCONFIG_LABEL: 'test*' }))).port, 9, 'a star stands for itself')
  assert.equal((await loadConfig(env({ CC_APPCONFIG_LABEL: 'a,b' }))).port, 8)
})

test('a wrong value is refused by the place where it stands', async () => {
  refill()
  server.settings.push({ key: 'CC_PORT', value: 'http' })
  await assert.rejects(loadConfig(env()), {
    code: 'CC_ERR_SETTING',
    message: `CC_PORT in App Configuration ${server.endpoint} is 'http', which it cannot be.`,
  })
})

test('what may not stand there is not taken, and that is said; so is a password that all can read', async () => {
  refill()
  server.settings[1] = { key: 'CC_DB_DSN', value: 'postgresql://core:hush@db.example/cases' }
  server.settings.push(
    { key: 'CC_DB_BACKND', value: 'sqlite' },
    { key: 'CC_API_KEY', value: 'cc_k' },
    { key: 'CC_APPCONFIG_LABEL', value: 'x' },
  )
  const { warnings, apiKey } = await loadConfig(env())
  assert.equal(apiKey, undefined)
  assert.deepEqual(
    warnings.map((warning) => warning.split(' ', 1)[0]),
    ['CC_DB_DSN', 'CC_DB_BACKND', 'CC_API_KEY', 'CC_APPCONFIG_LABEL'],
  )
  assert.match(warnings[0]!, /holds a password/)
  assert.doesNotMatch(warnings.join(), /hush|cc_k/)
})

test('a value that only refers to a Key Vault is refused', async () => {
  refill()
  server.settings[1] = {
    key: 'CC_DB_DSN',
    value: '{"uri":"https://vault.example/secrets/dsn"}',
    contentType: 'application/vnd.microsoft.appconfig.keyvaultref+json;charset=utf-8',
  }
  await assert.rejects(loadConfig(env()), { code: 'CC_ERR_APPCONFIG_REFERENCE' })
})

test('a store without our settings, or without those of the label, is refused', async () => {
  refill()
  await assert.rejects(loadConfig(env({ CC_APPCONFIG_LABEL: 'prud' })), {
    code: 'CC_ERR_APPCONFIG_EMPTY',
    message: /has no setting with the label prud/,
  })
  server.settings.length = 0
  await assert.rejects(loadConfig(env()), { code: 'CC_ERR_APPCONFIG_EMPTY', message: /without a label/ })
})

test('the server checks signatures: another secret, another id and another clock are refused with 401', async () => {
  refill()
  const secret = Buffer.from('another secret').toString('base64')
  const wrong = [
    server.connectionString.replace(/Secret=.*/, `Secret=${secret}`),
    server.connectionString.replace('Id=key-1', 'Id=key-2'),
  ]
  for (const text of wrong) {
    await assert.rejects(loadConfig({ CC_APPCONFIG_CONNECTION_STRING: text }), (error) => {
      assert.ok(isCoreError(error, 'CC_ERR_APPCONFIG_LOGIN'))
      assert.equal(error.exit, 1)
      assert.match(error.message, /HTTP 401/)
      assert.doesNotMatch(`${error.message} ${error.remedy}`, new RegExp(secret))
      return true
    })
  }
  const date = new Date(Date.now() - 20 * 60_000).toUTCString()
  const [, right] = /Secret=(.*)/.exec(server.connectionString)!
  const digest = '47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='
  const signed = (text: string) => createHmac('sha256', Buffer.from(right!, 'base64')).update(text).digest('base64')
  const signature = signed(`GET\n/kv\n${date};${new URL(server.endpoint).host};${digest}`)
  const authorization = `HMAC-SHA256 Credential=key-1&SignedHeaders=x-ms-date;host;x-ms-content-sha256&Signature=${signature}`
  const headers = { 'x-ms-date': date, 'x-ms-content-sha256': digest, authorization }
  assert.equal((await fetch(`${server.endpoint}/kv`, { headers })).status, 401)
})

for (const [status, code] of [
  [403, 'CC_ERR_APPCONFIG_LOGIN'],
  [500, 'CC_ERR_APPCONFIG_AWAY'],
  [404, 'CC_ERR_APPCONFIG_AWAY'],
] as const) {
  test(`HTTP ${status} ends the start with ${code}`, async () => {
    refill()
    server.answer = { status }
    await assert.rejects(loadConfig(env()), { code, message: new RegExp(`HTTP ${status}`), exit: 1 })
  })
}

test('a store that asks for patience without end is not waited for', { timeout: 40_000 }, async () => {
  refill()
  server.answer = { status: 429, headers: { 'retry-after': '3600' } }
  const startedAt = performance.now()
  await assert.rejects(loadConfig(env()), { code: 'CC_ERR_APPCONFIG_AWAY', exit: 1 })
  assert.ok(performance.now() - startedAt < 20_000)
})

test('a store that says nothing is not waited for', { timeout: 40_000 }, async () => {
  refill()
  server.answer = 'silence'
  const startedAt = performance.now()
  await assert.rejects(loadConfig(env()), {
    code: 'CC_ERR_APPCONFIG_AWAY',
    message: /nothing came whole within 15000 ms/,
  })
  assert.ok(performance.now() - startedAt < 20_000)
})

test('a store that cannot be reached, and one that is not who it says, are refused', async () => {
  const door = createServer().listen(0, '127.0.0.1')
  await once(door, 'listening')
  const { port } = door.address() as { port: number }
  door.close()
  await once(door, 'close')
  const away = server.connectionString.replace(/127\.0\.0\.1:\d+/, `127.0.0.1:${port}`)
  await assert.rejects(loadConfig({ CC_APPCONFIG_CONNECTION_STRING: away }), { code: 'CC_ERR_APPCONFIG_AWAY' })

  await using impostor = await startAppConfiguration(makeAuthority('Somebody else'))
  await assert.rejects(loadConfig({ CC_APPCONFIG_CONNECTION_STRING: impostor.connectionString }), {
    code: 'CC_ERR_APPCONFIG_AWAY',
    message: /certificate/,
  })
  assert.deepEqual(impostor.requests, [])
})

for (const [name, setting] of [
  ['@azure/app-configuration', 'CC_APPCONFIG_CONNECTION_STRING'],
  ['@azure/identity', 'CC_APPCONFIG_ENDPOINT'],
] as const) {
  test(`without the package ${name} the refusal says what to install`, async () => {
    const hooks = registerHooks({
      resolve(specifier, context, next) {
        if (specifier !== name) return next(specifier, context)
        throw Object.assign(new Error(`Cannot find package '${name}'`), { code: 'ERR_MODULE_NOT_FOUND' })
      },
    })
    try {
      const value = setting === 'CC_APPCONFIG_ENDPOINT' ? server.endpoint : server.connectionString
      await assert.rejects(loadConfig({ [setting]: value }), (error) => {
        assert.ok(isCoreError(error, 'CC_ERR_AZURE_PACKAGE'))
        assert.match(error.message, new RegExp(`^${setting} needs the package ${name}, which is not installed`))
        assert.match(error.remedy, new RegExp(`npm install ${name}@\\d$`))
        return true
      })
    } finally {
      hooks.deregister()
    }
  })
}
