import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { type AppConfigurationServer, startAppConfiguration } from '../app-configuration-server.ts'
import { makeAuthority } from '../certificates.ts'
import { type Desk, openDesk } from '../cli/cli.ts'
import { type IdentityServer, startIdentity } from '../identity-server.ts'
import { type PrivateServer, startServer } from '../storage/private-server.ts'
import { ask, serve } from './serving.ts'

const authority = makeAuthority()
let desk: Desk
let settings: AppConfigurationServer
let identity: IdentityServer
let database: PrivateServer
let trust: Record<string, string>

before(async () => {
  desk = await openDesk({ CC_DB_PATH: '' })
  ;[settings, identity, database] = await Promise.all([
    startAppConfiguration(authority),
    startIdentity(),
    startServer({ password: 'token-of-the-service' }),
  ])
  trust = { NODE_EXTRA_CA_CERTS: join(desk.folder, 'ca.pem') }
  writeFileSync(trust.NODE_EXTRA_CA_CERTS!, authority.cert)
  settings.tokens.add('token-of-the-service')
  identity.token = 'token-of-the-service'
})
after(async () => {
  for (const one of [settings, identity, database, desk]) await one[Symbol.asyncDispose]()
})

test('settings in App Configuration start the service on PostgreSQL, and no password stands anywhere', async () => {
  const dsn = `postgresql://core@127.0.0.1:${database.port}/postgres`
  settings.settings.push(
    { key: 'CC_DB_BACKEND', value: 'postgres', label: 'prod' },
    { key: 'CC_DB_DSN', value: dsn, label: 'prod' },
    { key: 'CC_DB_AUTH', value: 'entra', label: 'prod' },
    { key: 'CC_DB_POOL_MAX', value: '5', label: 'prod' },
  )
  const place = { CC_APPCONFIG_ENDPOINT: settings.endpoint, CC_APPCONFIG_LABEL: 'prod', CC_DB_POOL_MAX: '4' }
  const env = { ...trust, ...identity.env, ...place }
  const child = { ...desk, start: (args: readonly string[]) => desk.start(args, env) }
  await using service = await serve(child)
  assert.equal((await ask(`${service.url}/health/ready`)).status, 200)
  for (const resource of ['https://appconfig.azure.com', 'https://ossrdbms-aad.database.windows.net']) {
    assert.ok(identity.asked.includes(resource), identity.asked.join())
  }

  const { backend, settings: shown } = service.about
  assert.equal(backend, 'postgres')
  const origin = { source: 'app_configuration', endpoint: settings.endpoint, label: 'prod' }
  assert.deepEqual(shown.CC_DB_BACKEND, { value: 'postgres', ...origin })
  assert.deepEqual(shown.CC_DB_DSN, { value: dsn, ...origin })
  assert.deepEqual(shown.CC_DB_AUTH, { value: 'entra', ...origin })
  assert.deepEqual(shown.CC_DB_POOL_MAX, { value: 4, source: 'environment' })
  assert.deepEqual(shown.CC_DB_POOL_MIN, { value: 2, source: 'default' })
  assert.deepEqual(shown.CC_PORT, { value: 0, source: 'flag', flag: '--port' })
  const said = JSON.stringify(service.texts())
  assert.doesNotMatch(said, /token-of-the-service/)
  assert.deepEqual(await service.stop(), { code: 0, signal: null })
})

test('the block at the start says of every setting that somebody chose where it stands', async () => {
  settings.settings.push({ key: 'CC_LOG_LEVEL', value: 'error' }, { key: 'CC_RATE_LIMIT', value: '50' })
  const env = { ...trust, CC_APPCONFIG_CONNECTION_STRING: settings.connectionString, CC_API_KEY: 'cc_hidden' }
  const { child, answer } = desk.start(['serve', '--port', '0', '--db', join(desk.folder, 'cases.db')], env)
  child.stdout!.on('data', (text: string) => /next/.test(text) && child.kill('SIGTERM'))
  const { code, stdout } = await answer
  assert.equal(code, 0, stdout)
  const flat = stdout.replace(/\s+/g, ' ')
  assert.match(flat, /chosen CC_DB_PATH=\S*cases\.db \(--db\)/)
  assert.ok(flat.includes(`CC_RATE_LIMIT=50 (App Configuration ${settings.endpoint})`), stdout)
  assert.match(flat, /CC_PORT=0 \(--port\)/)
  assert.match(flat, /CC_API_KEY=\*\*\* \(environment\)/)
  const secret = /Secret=(.*)/.exec(settings.connectionString)![1]!
  assert.ok(!stdout.includes(secret) && !stdout.includes('cc_hidden') && !stdout.includes('CC_DB_POOL_MIN'), stdout)
})

test('a store of settings that cannot be read ends every command that needs one with exit 1, and no other', async () => {
  const env = { ...trust, CC_APPCONFIG_CONNECTION_STRING: settings.connectionString.replace(/Secret=./, 'Secret=X') }
  for (const command of [['serve', '--port', '0'], ['cases']]) {
    const { code, stdout } = await desk.start([...command, '--json'], env).answer
    assert.deepEqual([code, JSON.parse(stdout).code], [1, 'CC_ERR_APPCONFIG_LOGIN'])
  }
  const before = settings.requests.length
  for (const command of [
    ['db', 'schema'],
    ['pack', 'check', 'packs/travel-claims'],
    ['provision', 'azure'],
  ]) {
    const { code, stderr } = await desk.start(command, env).answer
    assert.equal(code, 0, stderr)
  }
  assert.equal(settings.requests.length, before)
})

test('an identity that App Configuration does not know, and one without a token, end the start with exit 1', async () => {
  const env = { ...trust, ...identity.env, CC_APPCONFIG_ENDPOINT: settings.endpoint, CC_APPCONFIG_LABEL: 'prod' }
  const codeOf = async () => {
    const { code, stdout } = await desk.start(['cases', '--json'], env).answer
    return [code, JSON.parse(stdout).code]
  }
  identity.token = 'token-of-somebody-else'
  assert.deepEqual(await codeOf(), [1, 'CC_ERR_APPCONFIG_LOGIN'])
  identity.token = undefined
  assert.deepEqual(await codeOf(), [1, 'CC_ERR_ENTRA_TOKEN'])
})
