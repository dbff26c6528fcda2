import assert from 'node:assert/strict'
import { delimiter } from 'node:path'
import { test } from 'node:test'
import { readConfig } from '../src/config.ts'
import { isCoreError } from '../src/errors.ts'

test('an empty environment gives the defaults, and so do empty variables', () => {
  const defaults = {
    backend: 'sqlite',
    dbPath: 'data/coordinator.db',
    isDbPathSet: false,
    model: undefined,
    packs: [],
    workerConcurrency: 4,
    logLevel: undefined,
  }
  assert.deepEqual(readConfig({}), defaults)
  const empty = { CC_DB_BACKEND: '', CC_DB_PATH: '', CC_MODEL: '', CC_PACKS: '', CC_WORKER_CONCURRENCY: '', CC_URL: '' }
  assert.deepEqual(readConfig({ ...empty, CC_LOG_LEVEL: '' }, { db: '' }), defaults)
})

test('flags win over the environment', () => {
  const env = { CC_DB_PATH: 'env.db', CC_PACKS: `one${delimiter}two${delimiter}`, CC_WORKER_CONCURRENCY: '2' }
  assert.deepEqual(readConfig(env).packs, ['one', 'two'])
  const config = readConfig(env, { db: 'flag.db', packs: ['three'] })
  assert.equal(config.dbPath, 'flag.db')
  assert.deepEqual(config.packs, ['three'])
  assert.equal(config.workerConcurrency, 2)
})

const refused = [
  [{ CC_DB_BACKEND: 'mysql' }, 'CC_ERR_BACKEND', /'mysql'/],
  [{ CC_DB_BACKEND: 'postgres' }, 'CC_ERR_NOT_YET', /PostgreSQL/],
  [{ CC_DB_BACKEND: 'postgresql' }, 'CC_ERR_NOT_YET', /PostgreSQL/],
  [{ CC_URL: 'https://cases.example' }, 'CC_ERR_NOT_YET', /CC_URL/],
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

for (const name of ['CC_CONFIG', 'CC_APPCONFIG_ENDPOINT', 'CC_APPCONFIG_CONNECTION_STRING', 'CC_API_KEYS_FILE']) {
  test(`${name} is not passed over in silence`, () => {
    assert.throws(() => readConfig({ [name]: 'x' }), { code: 'CC_ERR_NOT_YET', message: new RegExp(name) })
    assert.equal(readConfig({ [name]: '' }).backend, 'sqlite')
  })
}
