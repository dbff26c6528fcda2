import assert from 'node:assert/strict'
import { registerHooks } from 'node:module'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { type EntraCredential, entraPassword } from '../../src/entra.ts'
import { isCoreError } from '../../src/errors.ts'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { type IdentityServer, startIdentity } from '../identity-server.ts'
import { eventually } from '../journeys/serving.ts'
import { type PrivateServer, startServer } from './private-server.ts'

let server: PrivateServer
let owner: pg.Client
// One for the whole file: the package remembers the first one that it finds.
let identity: IdentityServer

before(async () => {
  identity = await startIdentity()
  server = await startServer({ password: 'root' })
  owner = new pg.Client(server.dsn)
  await owner.connect()
  await owner.query('create role app login; grant create on database postgres to app')
})
after(async () => {
  await identity[Symbol.asyncDispose]()
  await owner.end()
  await server[Symbol.asyncDispose]()
})

/** Tokens are the role's password, which is another one from one moment to the next: an old token lets nobody in. */
class Tokens implements EntraCredential {
  asked: string[] = []
  isBroken = false
  private number = 0
  private readonly name: string

  constructor(name: string) {
    this.name = name
  }

  async renew(): Promise<void> {
    this.number += 1
    await owner.query(`alter role app password '${this.name}-${this.number}'`)
  }

  getToken(scopes: string | string[]) {
    this.asked.push(String(scopes))
    if (this.isBroken) return Promise.reject(new Error('the identity endpoint is away\nmore of it'))
    return Promise.resolve({ token: `${this.name}-${this.number}`, expiresOnTimestamp: Date.now() + 60_000 })
  }
}

const dsn = () => `postgres://app@127.0.0.1:${server.port}/postgres`

async function open(tokens: EntraCredential, schema: string) {
  const password = entraPassword(() => Promise.resolve(tokens))
  return await openPostgres({ dsn: dsn(), schema, password, poolMin: 1, poolMax: 4, nowMs: 1000 })
}

async function sessions(): Promise<number> {
  const { rows } = await owner.query("select count(*)::int as count from pg_stat_activity where usename = 'app'")
  return (rows[0] as { count: number }).count
}

async function endSessions(): Promise<void> {
  await owner.query("select pg_terminate_backend(pid, 5000) from pg_stat_activity where usename = 'app'")
}

test('every connection asks for a token of its own: the first, that of migrations, the one that listens, a new one', async () => {
  const tokens = new Tokens('fresh')
  await tokens.renew()
  const { backend, created } = await open(tokens, 'fresh')
  assert.ok(created)
  assert.deepEqual(tokens.asked, Array(2).fill('https://ossrdbms-aad.database.windows.net/.default'))

  await tokens.renew()
  const leave = await backend.fleet.listen(() => {})
  assert.ok(backend.fleet.isListening)
  assert.equal(tokens.asked.length, 3)

  await tokens.renew()
  await endSessions()
  const read = () => backend.read(async (reader) => await reader.query<{ one: number }>('select 1 as one'))
  assert.deepEqual(await read(), [{ one: 1 }])
  await tokens.renew()
  await eventually(() => backend.fleet.isListening, 'listening again')
  const both = await Promise.all([read(), read(), read()])
  assert.equal(both.length, 3)
  assert.ok(tokens.asked.length >= 5 && tokens.asked.length <= 8, String(tokens.asked.length))
  await leave()
  await backend.close()
  await eventually(async () => (await sessions()) === 0, 'the end of all sessions')
})

test('a server that could be another one is not shown a token, neither directly nor past a pooler', async () => {
  const tokens = new Tokens('shy')
  const password = entraPassword(() => Promise.resolve(tokens))
  const elsewhere = 'postgres://app@db.invalid/postgres?sslmode=require'
  for (const dsns of [{ dsn: elsewhere }, { dsn: dsn(), directDsn: elsewhere }]) {
    await assert.rejects(openPostgres({ ...dsns, schema: 'shy', password, nowMs: 1000 }), { code: 'CC_ERR_DSN' })
  }
  assert.deepEqual(await sessions(), 0)
})

test('an expired token does not let in: the server is asked with what the credential says now', async () => {
  const tokens = new Tokens('old')
  await tokens.renew()
  const old = (await tokens.getToken('x')).token
  await tokens.renew()
  const { port } = server
  const client = new pg.Client({ host: '127.0.0.1', port, user: 'app', database: 'postgres', password: old })
  await assert.rejects(client.connect(), { code: '28P01' })
  const { backend } = await open(tokens, 'old')
  await backend.close()
})

test('without a token the start is refused, and a store that is open goes on once there are tokens again', async () => {
  const tokens = new Tokens('broken')
  await tokens.renew()
  const { backend } = await open(tokens, 'broken')
  tokens.isBroken = true
  await endSessions()
  const read = () => backend.read(async (reader) => await reader.query('select 1 as one'))
  const refusal = (error: unknown) => {
    assert.ok(isCoreError(error, 'CC_ERR_ENTRA_TOKEN'))
    assert.match(
      error.message,
      /^Microsoft Entra gave no token for https:\/\/ossrdbms.*: the identity endpoint is away\.$/,
    )
    assert.deepEqual([error.exit, error.status], [1, 503])
    return true
  }
  await assert.rejects(read(), refusal)
  await assert.rejects(open(tokens, 'broken'), refusal)

  const waiting = read()
  await tokens.renew()
  tokens.isBroken = false
  assert.deepEqual(await waiting, [{ one: 1 }], 'one who waits meanwhile is served')
  await backend.close()
})

test('a credential that never answers is not waited for', { timeout: 30_000 }, async () => {
  const silent: EntraCredential = { getToken: () => new Promise(() => {}) }
  const startedAt = performance.now()
  await assert.rejects(open(silent, 'silent'), { code: 'CC_ERR_ENTRA_TOKEN', message: /no answer within 8000 ms/ })
  assert.ok(performance.now() - startedAt < 12_000)
})

test('the credentials of the machine are those of @azure/identity, which keeps no token that is about to expire', async () => {
  Object.assign(process.env, identity.env)
  try {
    const password = entraPassword()
    identity.token = 'one'
    assert.equal(await password(), 'one')
    identity.token = 'two'
    assert.equal(await password(), 'two')
    assert.deepEqual(identity.asked, Array(2).fill('https://ossrdbms-aad.database.windows.net'))
    identity.token = undefined
    await assert.rejects(password(), { code: 'CC_ERR_ENTRA_TOKEN' })
    identity.token = 'three'
    assert.equal(await password(), 'three')
  } finally {
    for (const name of Object.keys(identity.env)) delete process.env[name]
  }
})

test('where there are no credentials, each kind is named; where one was refused, it alone', async () => {
  const failing = (...errors: readonly Error[]) => ({
    getToken: () => Promise.reject(Object.assign(new Error('Chain failed.\nA: …'), { errors })),
  })
  const absent = (what: string) => Object.assign(new Error(what), { name: 'CredentialUnavailableError' })
  const none = [absent('Environment has none. See https://a.example'), absent('CLI is not there.\nInstall it.')]
  const refused = Object.assign(new Error('AADSTS700016: Application not found. Trace: 1'), {
    name: 'AuthenticationError',
  })
  for (const [errors, why] of [
    [none, 'Environment has none; CLI is not there'],
    [[...none, refused], 'AADSTS700016: Application not found'],
  ] as const) {
    const password = entraPassword(() => Promise.resolve(failing(...errors)))
    await assert.rejects(password(), { code: 'CC_ERR_ENTRA_TOKEN', message: new RegExp(`default: ${why}\\.$`) })
  }
})

test('without the package the refusal says what to install, and once it is there it is used', async () => {
  const hooks = registerHooks({
    resolve(specifier, context, next) {
      if (specifier !== '@azure/identity') return next(specifier, context)
      throw Object.assign(new Error('Cannot find package'), { code: 'ERR_MODULE_NOT_FOUND' })
    },
  })
  const password = entraPassword()
  try {
    const options = { dsn: dsn(), schema: 'absent', password, nowMs: 1000 }
    await assert.rejects(openPostgres(options), (error) => {
      assert.ok(isCoreError(error, 'CC_ERR_AZURE_PACKAGE'))
      assert.match(error.message, /^CC_DB_AUTH needs the package @azure\/identity, which is not installed/)
      assert.equal(error.remedy, 'Run: npm install @azure/identity@4')
      return true
    })
  } finally {
    hooks.deregister()
  }
  Object.assign(process.env, identity.env)
  identity.token = 'one'
  try {
    assert.equal(await password(), 'one')
  } finally {
    for (const name of Object.keys(identity.env)) delete process.env[name]
  }
})
