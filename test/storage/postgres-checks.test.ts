import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test, type TestContext } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { isCoreError } from '../../src/errors.ts'
import { judgeRoom, judgeServer, type Room, type Server } from '../../src/storage/postgres-checks.ts'
import { openPostgres, openPostgresForReading } from '../../src/storage/postgres-open.ts'
import { freePort } from '../journeys/docs-pages.ts'
import { findBinaries, serverAccount } from './postgres-binaries.ts'
import { openDatabase, openOwned } from './postgres-database.ts'
import { openPostgresStore } from './postgres-store.ts'
import { readyCase } from './ready-case.ts'

/** A server with nothing to say about it. */
const good: Server = {
  version: 180_004,
  encoding: 'UTF8',
  isStandby: false,
  isReadOnly: false,
  synchronousCommit: 'on',
  role: 'core_app',
}

const judge = (about: Partial<Server>, isReader = false) => judgeServer({ ...good, ...about }, 'here', { isReader })

const refused = [
  [{ version: 140_022 }, 'CC_ERR_SERVER_OLD', /is PostgreSQL 14, and 15 is the oldest/, true],
  [{ version: 90_624 }, 'CC_ERR_SERVER_OLD', /is PostgreSQL 9/, true],
  [{ encoding: 'LATIN1' }, 'CC_ERR_SERVER_ENCODING', /keeps text as LATIN1/, true],
  [{ isStandby: true }, 'CC_ERR_SERVER_READ_ONLY', /standby/, false],
  [{ isReadOnly: true }, 'CC_ERR_SERVER_READ_ONLY', /default_transaction_read_only/, false],
] as const

for (const [about, code, says, alsoReaders] of refused) {
  test(`a server with ${JSON.stringify(about)} is refused with ${code}, ${alsoReaders ? 'by readers too' : 'and read'}`, () => {
    const isRefusal = (error: unknown) =>
      isCoreError(error, code) && says.test(error.message) && !/\{/.test(error.remedy)
    assert.throws(() => judge(about), isRefusal)
    if (alsoReaders) assert.throws(() => judge(about, true), isRefusal)
    else assert.deepEqual(judge(about, true), [])
  })
}

test('versions from 15 to 18 are taken in silence, and a newer one is noted', () => {
  for (const version of [150_000, 150_018, 160_004, 170_001, 180_004]) assert.deepEqual(judge({ version }), [])
  assert.deepEqual(judge({ version: 190_000 }), ['PostgreSQL 19 is newer than 18, the newest that was tried.'])
})

test('a server that answers before it keeps is told of, with what to run', () => {
  const [sentence, ...others] = judge({ synchronousCommit: 'off' })
  assert.match(sentence!, /^synchronous_commit is off: .* alter role core_app set synchronous_commit = on$/)
  assert.deepEqual(others, [])
  for (const synchronousCommit of ['on', 'local', 'remote_write', 'remote_apply']) {
    assert.deepEqual(judge({ synchronousCommit }), [])
  }
})

const room: Room = { maxConnections: 100, reserved: 3, roleLimit: -1, databaseLimit: -1, others: 0 }

const rooms = [
  [{}, { replicas: 1, poolMax: 10 }, undefined],
  [{}, { replicas: 8, poolMax: 10 }, undefined],
  [
    {},
    { replicas: 9, poolMax: 10 },
    'This store may take 9 × (10 + 1) + 5 = 104 connections, and 97 are to be had: set CC_DB_POOL_MAX to 9 at the most, or raise max_connections to 107.',
  ],
  [
    { others: 11 },
    { replicas: 2, poolMax: 10 },
    'This store may take 12 × (10 + 1) + 5 = 137 connections, and 97 are to be had: set CC_DB_POOL_MAX to 6 at the most, or raise max_connections to 140.',
  ],
  [
    { roleLimit: 20 },
    { replicas: 2, poolMax: 10 },
    'This store may take 2 × (10 + 1) + 5 = 27 connections, and 20 are to be had: set CC_DB_POOL_MAX to 6 at the most, or raise the connection limit of the role to 27.',
  ],
  [
    { databaseLimit: 10 },
    { replicas: 3, poolMax: 10 },
    'This store may take 3 × (10 + 1) + 5 = 38 connections, and 10 are to be had: raise the connection limit of the database to 38.',
  ],
] as const

for (const [about, asked, sentence] of rooms) {
  test(`${JSON.stringify({ ...about, ...asked })}: ${sentence ?? 'there is room'}`, () => {
    assert.equal(judgeRoom({ ...room, ...about }, asked), sentence)
  })
}

test('no advice about the pool is one that still does not fit', () => {
  for (let replicas = 1; replicas <= 60; replicas++) {
    for (const poolMax of [2, 10, 50]) {
      const advised = /CC_DB_POOL_MAX to (\d+)/.exec(judgeRoom(room, { replicas, poolMax }) ?? '')?.[1]
      if (advised === undefined) continue
      assert.equal(judgeRoom(room, { replicas, poolMax: Number(advised) }), undefined)
      assert.notEqual(judgeRoom(room, { replicas, poolMax: Number(advised) + 1 }), undefined)
    }
  }
})

test('postgres: the declared processes and those that live are held against the connections of the server', async () => {
  await using store = await openPostgresStore()
  const heard = async (options: object) => {
    const sentences: string[] = []
    const warn = (sentence: string) => void sentences.push(sentence)
    const backend = await store.join({ poolMin: 0, warn, ...options })
    await backend.close()
    return sentences
  }
  assert.deepEqual(await heard({ replicas: 2 }), [])
  const [sentence, ...others] = await heard({ replicas: 100 })
  assert.match(sentence!, /^This store may take 100 × \(10 \+ 1\) \+ 5 = 1105 connections, and \d+ are to be had: /)
  assert.deepEqual(others, [])

  await store.sql(
    `insert into workers select g::text, 'host', 1, 4, 1, (extract(epoch from clock_timestamp()) * 1000)::bigint
       from generate_series(1, 99) g`,
  )
  assert.match((await heard({ replicas: 1 }))[0]!, /take 100 × /)
  await store.sql('update workers set beat_at_ms = 1')
  assert.deepEqual(await heard({ replicas: 1 }), [])
})

test('postgres: a database in another encoding is refused, and nothing is made in it', async () => {
  await using database = await openDatabase(`encoding 'SQL_ASCII' lc_collate 'C' lc_ctype 'C' template template0`)
  const options = { dsn: database.dsn, nowMs: 1 }

  const refusal = { code: 'CC_ERR_SERVER_ENCODING', message: /keeps text as SQL_ASCII/ }
  await assert.rejects(openPostgres(options), refusal)
  await assert.rejects(openPostgresForReading(options), refusal)

  assert.deepEqual(await database.sql(`select 1 from pg_class where relnamespace = 'public'::regnamespace`), [])
})

test('postgres: settings of the role that would lose or refuse what is written are found', async () => {
  await using database = await openOwned()
  const { owner } = database
  const options = { dsn: owner.dsn, nowMs: 1 }
  await database.sql(`alter role ${owner.name} set default_transaction_read_only = on`)
  await assert.rejects(openPostgres(options), {
    code: 'CC_ERR_SERVER_READ_ONLY',
    remedy: new RegExp(`alter role ${owner.name} set default_transaction_read_only = off`),
  })
  await database.sql(`alter role ${owner.name} reset default_transaction_read_only`)
  await database.sql(`alter role ${owner.name} set synchronous_commit = off`)
  const sentences: string[] = []

  const { backend } = await openPostgres({ ...options, warn: (sentence) => void sentences.push(sentence) })

  assert.match(sentences.join('\n'), /^synchronous_commit is off: [^\n]*$/)
  await backend.close()
})

test('postgres: tables of another program are left alone, whatever they are called', async () => {
  await using database = await openOwned()
  const { owner } = database
  const others = [
    ['create table notes (id int)', 'notes'],
    ['create table schema_migrations (version text); create table tasks (id int)', 'schema_migrations, tasks'],
    ['create table meta (key text); create table work (id int) partition by list (id)', 'meta, work'],
    [
      'create table a (); create table b (); create table c (); create table d (); create table e (); create table f ()',
      'a, b, c, d, e',
    ],
  ] as const
  for (const [place, [make, named]] of others.entries()) {
    const schema = `other_${place}`
    await owner.sql(`create schema ${schema}; set search_path = ${schema}; ${make}`)
    const tables = () =>
      owner.sql(`select relname from pg_class where relnamespace = '${schema}'::regnamespace order by 1`)
    const before = await tables()
    const refusal = { code: 'CC_ERR_SCHEMA_TAKEN', message: new RegExp(`another program: ${named}\\.$`) }
    const options = { dsn: owner.dsn, schema, nowMs: 1 }

    await assert.rejects(openPostgres(options), refusal)
    await assert.rejects(openPostgresForReading(options), refusal)

    assert.deepEqual(await tables(), before)
  }
})

test('postgres: a schema that only an extension uses is an empty one', async () => {
  await using database = await openDatabase()
  await database.sql('create table spatial_ref_sys (id int); alter extension plpgsql add table spatial_ref_sys')

  const { backend, created } = await openPostgres({ dsn: database.dsn, nowMs: 1 })

  assert.equal(created, true)
  await backend.close()
})

test('postgres: a schema that is not there is made by who may, and who may not is told to have it made', async () => {
  await using database = await openOwned()
  const { owner, app } = database
  const options = { schema: 'cases', nowMs: 1 }
  await assert.rejects(openPostgres({ ...options, dsn: app.dsn }), {
    code: 'CC_ERR_NO_SCHEMA',
    remedy: `Run as the owner of the database: create schema cases authorization ${app.name}`,
  })
  await assert.rejects(openPostgres({ dsn: app.dsn, nowMs: 1 }), {
    code: 'CC_ERR_MIGRATION_RIGHTS',
    message: /its tables in the schema public/,
  })

  const { backend, created } = await openPostgres({ ...options, dsn: owner.dsn })

  assert.equal(created, true)
  await backend.close()
})

test('postgres: a schema may have a name that is a word of SQL', async () => {
  await using database = await openDatabase()
  for (const schema of ['order', 'user', '_1']) {
    const { backend, created } = await openPostgres({ dsn: database.dsn, schema, nowMs: 1 })
    assert.equal(created, true)
    await readyCase(backend)
    await backend.close()
  }
})

/** A server of the test's own, which may be stopped and started with other files in its folder. */
async function openServer(t: TestContext) {
  const account = serverAccount()
  const dir = mkdtempSync(join(tmpdir(), 'cc-standby-'))
  t.after(() => rmSync(dir, { recursive: true, force: true }))
  const data = join(dir, 'data')
  chmodSync(dir, 0o755)
  mkdirSync(data, { mode: 0o700 })
  if (account) chownSync(data, account.uid, account.gid)
  const bin = findBinaries(account, join(dir, 'native'))
  const cluster = ['-D', data, '-U', 'core', '--auth=trust', '--encoding=UTF8', '--locale=C', '--no-sync']
  execFileSync(join(bin, 'initdb'), cluster, { ...account, cwd: data, stdio: 'pipe' })
  const port = await freePort()
  const dsn = `postgres://core@127.0.0.1:${port}/postgres`
  const start = async () => {
    const flags = ['-c', `port=${port}`, '-c', 'listen_addresses=127.0.0.1', '-c', `unix_socket_directories=${data}`]
    const server = spawn(join(bin, 'postgres'), ['-D', data, ...flags], { ...account, cwd: data, stdio: 'ignore' })
    t.after(() => void server.kill('SIGKILL'))
    for (let tries = 1; ; tries++) {
      const client = new pg.Client(dsn)
      try {
        await client.connect()
        await client.end()
        break
      } catch (error) {
        if (tries > 200) throw error
        await delay(50)
      }
    }
    return async () => {
      server.kill('SIGINT')
      await once(server, 'exit')
    }
  }
  return { dsn, data, start }
}

test('postgres: a standby is not written to, and is read', async (t) => {
  const { dsn, data, start } = await openServer(t)
  let stop = await start()
  const { backend } = await openPostgres({ dsn, nowMs: 1 })
  await readyCase(backend)
  await backend.close()
  await stop()
  writeFileSync(join(data, 'standby.signal'), '')
  stop = await start()

  await assert.rejects(openPostgres({ dsn, nowMs: 1 }), {
    code: 'CC_ERR_SERVER_READ_ONLY',
    message: /it is a standby of another server/,
    remedy: /Name the primary in CC_DB_DSN/,
  })
  const reader = await openPostgresForReading({ dsn, nowMs: 1 })

  assert.equal((await reader.read((tx) => tx.query('select 1 from instances'))).length, 1)
  await reader.close()
  await stop()
})
