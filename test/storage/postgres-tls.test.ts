import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { isCoreError } from '../../src/errors.ts'
import { openPostgres } from '../../src/storage/postgres-open.ts'
import { makeAuthority } from '../certificates.ts'
import { type PrivateServer, startServer } from './private-server.ts'

const folder = mkdtempSync(join(tmpdir(), 'tls-'))
const authority = makeAuthority()
const stranger = makeAuthority('Somebody else')
/** Names by which the system finds this machine and which are not taken for it: what holds for others holds for it. */
const [elsewhere, other] = ['LOCALHOST', '127.1']
let server: PrivateServer
let plain: PrivateServer

before(async () => {
  const { key, cert } = authority.vouchFor('localhost', '127.0.0.1')
  // TLS alone, whoever comes over TCP.
  const access = 'hostssl all all 127.0.0.1/32 trust\nlocal all all trust\n'
  const files = { 'server.key': key, 'server.crt': cert }
  ;[server, plain] = await Promise.all([startServer({ files, settings: { ssl: 'on' } }), startServer()])
  writeFileSync(join(server.dataDir, 'pg_hba.conf'), access)
  await askAsOwner(server, 'select pg_reload_conf()')
  writeFileSync(join(folder, 'right.pem'), authority.cert)
  writeFileSync(join(folder, 'wrong.pem'), stranger.cert)
})
after(async () => {
  rmSync(folder, { recursive: true })
  await Promise.all([server[Symbol.asyncDispose](), plain[Symbol.asyncDispose]()])
})

async function askAsOwner({ dataDir, port }: PrivateServer, sql: string): Promise<pg.QueryResult> {
  const client = new pg.Client({ host: dataDir, port, user: 'core', database: 'postgres' })
  await client.connect()
  try {
    return await client.query(sql)
  } finally {
    await client.end()
  }
}

interface Opened {
  readonly warnings: readonly string[]
  /** The versions of TLS that the sessions have; null in plain text. */
  readonly sessions: readonly (string | null)[]
}

async function open(host: string, query: string, { port }: PrivateServer = server): Promise<Opened> {
  const warnings: string[] = []
  const dsn = `postgres://core@${host}:${port}/postgres${query}`
  const { backend } = await openPostgres({ dsn, nowMs: 1000, poolMin: 1, warn: (sentence) => warnings.push(sentence) })
  try {
    const leave = await backend.fleet.listen(() => {})
    const sql = `select version from pg_stat_ssl join pg_stat_activity using (pid) where application_name = 'cognitive-core'`
    const { rows } = await backend.read(async (reader) => ({
      rows: await reader.query<{ version: string | null }>(sql),
    }))
    await leave()
    return { warnings, sessions: rows.map(({ version }) => version) }
  } finally {
    await backend.close()
  }
}

function untrusted(why: RegExp) {
  return (error: unknown) => {
    assert.ok(isCoreError(error, 'CC_ERR_SERVER_TLS'), String(error))
    assert.match(error.message, why)
    assert.match(error.remedy, /sslrootcert=FILE.*sslmode=/)
    return true
  }
}

const right = `sslrootcert=${join(folder, 'right.pem')}`
const wrong = `sslrootcert=${join(folder, 'wrong.pem')}`

test('without a word in the DSN a server elsewhere has to show a certificate of its name, and then all is encrypted', async () => {
  assert.equal((await lookup(elsewhere)).address, '127.0.0.1')
  const { warnings, sessions } = await open(elsewhere, `?${right}`)
  assert.deepEqual(warnings, [])
  assert.ok(sessions.length >= 2, 'that of the listener too')
  for (const version of sessions) assert.match(version ?? 'plain text', /^TLSv1\.[23]$/)
})

test('a name and an address are held to the certificate alike', async () => {
  for (const host of ['localhost', '127.0.0.1']) {
    const { warnings, sessions } = await open(host, `?sslmode=verify-full&${right}`)
    assert.deepEqual(warnings, [])
    assert.ok(sessions.every((version) => version?.startsWith('TLS')))
  }
})

test('a certificate of an authority that is not known is refused', async () => {
  await assert.rejects(open(elsewhere, ''), untrusted(/self.signed|unable to/))
  await assert.rejects(open(elsewhere, `?${wrong}`), untrusted(/certificate/))
  await assert.rejects(open(elsewhere, `?sslmode=verify-ca&${wrong}`), untrusted(/certificate/))
})

test('a certificate of another host is refused, by its name and by its address, unless the DSN says otherwise', async () => {
  assert.equal((await lookup(other)).address, '127.0.0.1')
  await assert.rejects(open(other, `?${right}`), untrusted(/altnames|does not match/))
  const { warnings } = await open(other, `?sslmode=verify-ca&${right}`)
  assert.match(warnings.join(), /may be that of another host/)

  const { key, cert } = authority.vouchFor('localhost')
  await using nameless = await startServer({
    files: { 'server.key': key, 'server.crt': cert },
    settings: { ssl: 'on' },
  })
  await assert.rejects(
    open('127.0.0.1', `?sslmode=verify-full&${right}`, nameless),
    untrusted(/IP: 127\.0\.0\.1|altnames/),
  )
})

test('a server without TLS is refused with what to do, unless the DSN says otherwise', async () => {
  await assert.rejects(open(elsewhere, `?${right}`, plain), untrusted(/does not support SSL/))
  const { warnings, sessions } = await open(elsewhere, '?sslmode=disable', plain)
  assert.match(warnings.join(), /is not encrypted/)
  assert.ok(sessions.every((version) => version === null))
})

test('what the DSN lets pass is told: encrypted and not verified', async () => {
  const { warnings, sessions } = await open(elsewhere, '?sslmode=require')
  assert.match(warnings.join(), /is not verified \(sslmode=require\)/)
  assert.ok(sessions.every((version) => version?.startsWith('TLS')))
})

test('a server that takes no plain text refuses loopback without TLS, which is its default there', async () => {
  await assert.rejects(open('127.0.0.1', ''), untrusted(/no encryption/))
})

test('on this machine, by address and by socket, plain text is the default and no warning', async () => {
  for (const host of ['127.0.0.1', 'localhost']) {
    const { warnings, sessions } = await open(host, '', plain)
    assert.deepEqual(warnings, [])
    assert.ok(sessions.every((version) => version === null))
  }
  const dsn = `postgres://core@/postgres?host=${plain.dataDir}&port=${plain.port}`
  const { backend } = await openPostgres({ dsn, nowMs: 1000 })
  await backend.close()
})

test('an encrypted connection may show a certificate of its own', async () => {
  const client = authority.vouchFor('core')
  writeFileSync(join(folder, 'client.pem'), client.cert)
  writeFileSync(join(folder, 'client.key'), client.key)
  const { key, cert } = authority.vouchFor('localhost')
  const files = { 'server.key': key, 'server.crt': cert, 'root.crt': authority.cert }
  await using strict = await startServer({ files, settings: { ssl: 'on', ssl_ca_file: 'root.crt' } })
  writeFileSync(join(strict.dataDir, 'pg_hba.conf'), 'hostssl all all 127.0.0.1/32 cert\nlocal all all trust\n')
  await askAsOwner(strict, 'select pg_reload_conf()')
  const own = `sslcert=${join(folder, 'client.pem')}&sslkey=${join(folder, 'client.key')}`
  const { sessions } = await open(elsewhere, `?${right}&${own}`, strict)
  assert.ok(sessions.every((version) => version?.startsWith('TLS')))
  await assert.rejects(open(elsewhere, `?${right}`, strict), (error) => isCoreError(error))
})
