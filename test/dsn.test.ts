import assert from 'node:assert/strict'
import { test } from 'node:test'
import { hasPassword, maskDsn } from '../src/dsn.ts'

const masked = [
  [
    'postgres://core:hush@db.example:5433/cases?sslmode=require',
    'postgres://core:***@db.example:5433/cases?sslmode=require',
  ],
  ['postgresql://core@db.example/cases', 'postgresql://core@db.example/cases'],
  ['postgres://db.example/cases?user=core&password=hush', 'postgres://db.example/cases?user=core&password=***'],
  ['postgres:///cases?host=/run/pg&password=hush', 'postgres:///cases?host=/run/pg&password=***'],
  ['postgres://core:hush@/cases?host=/run/pg', 'postgres://core:***@/cases?host=/run/pg'],
  ['postgres://core:h%75sh@[::1]/cases', 'postgres://core:***@[::1]/cases'],
] as const

for (const [dsn, shown] of masked) {
  test(`${dsn} is shown as ${shown}`, () => {
    assert.equal(maskDsn(dsn), shown)
    assert.equal(hasPassword(dsn), shown.includes('***'))
  })
}

/** Passwords whose characters end the name of a host, and texts that are no DSN at all. */
const broken = [
  'postgres://core:hu/sh@db.example/cases',
  'postgres://core:12/hush@db.example/cases',
  'postgres://core:12?hush@db.example/cases',
  'postgres://core:12#hush@db.example/cases',
  'host=db password=hush',
  'hush',
] as const

for (const dsn of broken) {
  test(`of ${dsn} nothing is shown`, () => assert.equal(maskDsn(dsn), '***'))
}
