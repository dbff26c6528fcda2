import assert from 'node:assert/strict'
import { test } from 'node:test'
import { parseDsn, parseDsnForTokens } from '../../src/storage/postgres-address.ts'

const whole = 'postgres://kim:p%40ss@db.example:5433/cases'

test('a DSN is taken apart, and shown without its password', () => {
  const { host, port, user, password, database, masked } = parseDsn(whole)
  assert.deepEqual([host, port, user, password, database], ['db.example', 5433, 'kim', 'p@ss', 'cases'])
  assert.equal(masked, 'postgres://kim:***@db.example:5433/cases')
  assert.equal(parseDsn('postgresql://kim@[::1]/cases').masked, 'postgres://kim@[::1]:5432/cases')
})

test('a DSN may name the folder of a Unix socket', () => {
  for (const dsn of ['postgres:///cases?host=/run/pg&user=kim', 'postgres://kim@/cases?host=/run/pg']) {
    const { host, user, database, ssl, masked } = parseDsn(dsn)
    assert.deepEqual([host, user, database, ssl], ['/run/pg', 'kim', 'cases', false])
    assert.equal(masked, 'postgres://kim@/cases?host=/run/pg')
  }
})

const encrypted = [
  ['', true, 0],
  ['?sslmode=verify-full', true, 0],
  ['?sslmode=verify-ca', true, 1],
  ['?sslmode=require', false, 1],
  ['?sslmode=no-verify', false, 1],
] as const

for (const [mode, isVerified, warnings] of encrypted) {
  test(`a connection to another machine is encrypted with ${mode || 'no word about it'}`, () => {
    const address = parseDsn(whole + mode)
    assert.ok(address.ssl)
    assert.equal(address.ssl.rejectUnauthorized ?? true, isVerified)
    assert.equal(address.warnings.length, warnings)
  })
}

test('plain text is for this machine, and elsewhere only when the DSN says so, with a warning', () => {
  for (const host of ['localhost', '127.0.0.1', '127.8.0.1', '[::1]']) {
    const { ssl, warnings } = parseDsn(`postgres://kim@${host}/cases`)
    assert.deepEqual([ssl, warnings], [false, []])
  }
  const { ssl, warnings } = parseDsn(`${whole}?sslmode=disable`)
  assert.deepEqual([ssl, warnings], [false, ['The connection to db.example is not encrypted.']])
})

const refused = [
  'host=db dbname=cases',
  'mysql://kim@db/cases',
  'postgres://kim:se%cret@db/cases',
  'postgres://db:99999/cases',
  'postgres://db/cases?sslmode=prefer',
  'postgres://db/cases?options=-c%20x',
  'postgres://db/cases?sslrootcert=/nowhere/ca.pem',
] as const

for (const dsn of refused) {
  test(`${dsn} is refused, and not repeated`, () => {
    assert.throws(
      () => parseDsn(dsn),
      (error: Error & { code: string }) => error.code === 'CC_ERR_DSN' && !error.message.includes('se%cret'),
    )
  })
}

test('a token is sent as it is, so it goes only where nobody can overhear it', () => {
  const name = 'postgres://kim@db.example/cases'
  for (const dsn of [
    name,
    `${name}?sslmode=verify-ca`,
    'postgres://kim@127.0.0.1/cases',
    'postgres:///cases?host=/run/pg',
  ]) {
    assert.equal(parseDsnForTokens(dsn).isExposed, false, dsn)
  }
  for (const mode of ['disable', 'require', 'no-verify']) {
    const parse = () => parseDsnForTokens(`${name}?sslmode=${mode}`, 'CC_DB_DIRECT_DSN')
    assert.throws(parse, {
      code: 'CC_ERR_DSN',
      message: /^CC_DB_DIRECT_DSN cannot be used: with CC_DB_AUTH=entra .*verify-full/,
    })
  }
})
