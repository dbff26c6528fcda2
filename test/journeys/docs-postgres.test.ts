import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import pg from 'pg'
import { configOfSettings } from '../../src/config.ts'
import { randomHex } from '../../src/domain/identity.ts'
import { judgeRoom } from '../../src/storage/postgres-checks.ts'
import { openDesk } from '../cli/cli.ts'
import { catalogOf } from '../storage/postgres-catalog.ts'
import { withoutDebian } from '../storage/postgres-binaries.ts'
import { postgresServer } from '../storage/postgres-server.ts'
import { startServer } from '../storage/private-server.ts'
import { blocksOf, paste, readPage, root, tableOf } from './docs-pages.ts'
import { eventually } from './serving.ts'

const page = 'docs/postgres.md'

/** The server of the tests has other databases and roles, so those of the page get names of their own. */
const mark = randomHex(6)
/** Debian's where there is one: its tools take dumps of its own version, and not of newer ones. */
const debian = withoutDebian ? undefined : await startServer({ binaries: 'debian', password: 'sesame' })
const server = new URL(debian?.dsn ?? (await postgresServer()))

/** The same text for this server in place of the page's. */
function here(text: string): string {
  return text
    .replaceAll(/\bcore_(owner|app|reader)\b/g, `core_$1_${mark}`)
    .replaceAll(/\b(database|on database|datname = ')( ?)cases(_old)?\b/g, `$1$2cases$3_${mark}`)
    .replaceAll(/@db\.example:5432\/cases\b/g, `@${server.host}/cases_${mark}`)
}

const folder = await mkdtemp(join(tmpdir(), 'cc-docs-postgres-'))
const shells = new Map<string, pg.Client>()

function dsnOf(role: string | undefined, database: string): string {
  const who = role === undefined ? {} : { username: `core_${role}_${mark}`, password: passwords[role] ?? '' }
  return Object.assign(new URL(server), { pathname: `/${database}`, ...who }).href
}

const passwords: Readonly<Record<string, string>> = { owner: 'PASSWORD', app: 'ANOTHER', reader: 'A THIRD' }

/** Runs the statements of a block one after the other, as psql does. */
async function sql(text: string, role?: string, database = role === undefined ? 'postgres' : `cases_${mark}`) {
  const dsn = dsnOf(role, database)
  let shell = shells.get(dsn)
  if (!shell) {
    shell = new pg.Client(dsn)
    shell.on('error', () => {})
    await shell.connect()
    shells.set(dsn, shell)
  }
  let rows: Record<string, unknown>[] = []
  for (const statement of text.split(/;\s*(?:--[^\n]*)?\n/).filter((part) => part.trim() !== '')) {
    rows = (await shell.query(statement)).rows as typeof rows
  }
  return rows
}

/** Types a block, with the program under its own name. */
async function type(block: string, env: Readonly<Record<string, string>> = {}) {
  const typed = await paste(here(block), { cwd: folder, env: { ...env, PATH: `${folder}:${process.env.PATH}` } })
  assert.equal(typed.code, 0, `${block}\n${typed.stdout}\n${typed.stderr}`)
  return typed
}

async function only(fence: string): Promise<string> {
  const [block, ...others] = await blocksOf(page, fence)
  assert.ok(block !== undefined && others.length === 0, fence)
  return block
}

before(async () => {
  const program = `#!/bin/sh\nexec '${process.execPath}' '${join(root, 'src/main.ts')}' "$@"\n`
  await writeFile(join(folder, 'cognitive-core'), program)
  await chmod(join(folder, 'cognitive-core'), 0o755)
  await sql(here(await only('sql admin')))
  await type(await only('sh owner'))
})

after(async () => {
  for (const shell of shells.values()) await shell.end().catch(() => {})
  shells.clear()
  const { rows } = await (
    await admin()
  ).query<{ datname: string }>('select datname from pg_database where datname like $1', [`%${mark}`])
  for (const { datname } of rows) await sql(`drop database ${datname} with (force);\n`)
  for (const role of ['app', 'reader', 'owner']) await sql(`drop role core_${role}_${mark};\n`)
  for (const shell of shells.values()) await shell.end()
  await rm(folder, { recursive: true, force: true })
  await debian?.[Symbol.asyncDispose]()
})

async function admin(): Promise<pg.Client> {
  await sql('select 1;\n')
  return shells.get(dsnOf(undefined, 'postgres'))!
}

const packs = {
  CC_PACKS: join(root, 'packs/travel-claims'),
  CC_MODEL: `scripted:${join(root, 'packs/travel-claims/scripted.yaml')}`,
}

/** Settings under which the service runs, as the page has them. */
async function serviceEnv(): Promise<Record<string, string>> {
  const block = here(await only('sh settings')).replace('PASSWORD', 'ANOTHER')
  return {
    ...packs,
    ...Object.fromEntries([...block.matchAll(/export (\w+)='?([^'\n]+)/g)].map(([, name, value]) => [name!, value!])),
  }
}

test('the roles that the page makes are those of an owner, of the service and of a reader', async () => {
  const env = await serviceEnv()
  const desk = await openDesk(env)
  const { stdout } = await desk.run(
    'submit',
    'travel_claim_settlement',
    '--domain',
    'travel_insurance',
    '--input',
    'packs/travel-claims/cases/claims.json',
    '--wait',
  )
  assert.match(stdout, /completed/)
  assert.match((await desk.run('audit', 'verify')).stdout, /The record is valid\./)
  await assert.rejects(sql('delete from audit_events;\n', 'app'), { code: '42501' })
  const reading = { ...env, CC_DB_DSN: dsnOf('reader', `cases_${mark}`) }
  await using reader = await openDesk(reading)
  assert.equal((await reader.json('cases')).code, 'CC_ERR_SERVER_RIGHTS')

  await sql(here(await only('sql reader')), 'owner')

  assert.ok((await reader.json('cases')).items.length > 0)
  assert.equal((await reader.json('serve', '--port', '0')).code, 'CC_ERR_SERVER_RIGHTS')
  await desk[Symbol.asyncDispose]()
})

test('a role of the server that nobody has let in does not come in', async () => {
  const stranger = `core_stranger_${mark}`
  await sql(`create role ${stranger} login password 'x';\n`)
  const dsn = Object.assign(new URL(server), { username: stranger, password: 'x', pathname: `/cases_${mark}` }).href
  await using desk = await openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsn })
  const { code, detail } = await desk.json('cases')
  assert.equal(code, 'CC_ERR_SERVER_LOGIN')
  assert.match(detail, /permission denied for database/)
  await sql(`drop role ${stranger};\n`)
})

test('the rights that the page shows are those that are printed, and they are as good by hand', async () => {
  await using desk = await openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: 'postgres://core_owner@127.0.0.1/cases' })
  const { stdout } = await desk.run('db', 'init', '--app-role', 'core_app', '--print')
  assert.equal(await only('sql grants'), stdout)
  await sql(here(stdout), 'owner')
  await using served = await openDesk(await serviceEnv())
  assert.equal((await served.run('db', 'migrate')).code, 0)
})

test('the examples of connections are reckoned as the program reckons', async () => {
  const rows = await tableOf(page, 'processes', 'pool max')
  assert.ok(rows.length >= 5)
  const room = { maxConnections: 100, reserved: 3, roleLimit: -1, databaseLimit: -1, others: 0 }
  for (const [processes, poolMax, connections, fits] of rows) {
    const [replicas, max] = [Number(processes), Number(poolMax)]
    assert.equal(Number(connections), replicas * (max + 1) + 5)
    assert.equal(judgeRoom(room, { replicas, poolMax: max }) === undefined ? 'yes' : 'no', fits)
  }
})

test('every question that stands for an alarm has no answer while all is well', async () => {
  const questions = await blocksOf(page, 'sql watch')
  assert.ok(questions.length >= 10)
  for (const question of questions) assert.deepEqual(await inPublic(question), [], question)
  const looks = await blocksOf(page, 'sql look')
  assert.ok((await inPublic(looks[0]!)).some(({ relname, rows }) => relname === 'audit_events' && Number(rows) >= 0))
  await sql(`insert into workers values ('01', 'host', 7, 4, 1, extract(epoch from now())::bigint * 1000);\n`, 'owner')
  assert.deepEqual(
    (await inPublic(looks[1]!)).map(({ pid, seconds_since_beat }) => [
      Number(pid),
      Math.abs(Number(seconds_since_beat)) < 5,
    ]),
    [[7, true]],
  )
  await sql(`delete from workers;\n`, 'owner')
})

/** As a monitor asks: an administrator of the server, in the database of the store. */
const inPublic = (question: string) => sql(question, undefined, `cases_${mark}`)

async function watch(word: string): Promise<Record<string, unknown>[]> {
  const question = (await blocksOf(page, 'sql watch')).find((block) => block.startsWith(`-- ${word}`))
  assert.ok(question, word)
  return await inPublic(question)
}

const long = `clock_timestamp() - interval '2 days'`
const longMs = `(extract(epoch from ${long}) * 1000)::bigint`

/** A case as it stands in the two tables, without a record: nothing but a monitor looks at it. */
const waitingCase = `insert into instances (instance_id, correlation_id, workflow, domain, definition_hash, submitted_by, input_payload_id,
    status, tier_contributions, simulated, disputed, audit_seq, audit_head, step_count, submitted_at_ms, updated_at_ms)
  values ('w', 'w', 'a', 'b', 'h', 'kim', 'p', 'running', '[]', 1, 0, 1, 'x', 0, ${longMs}, ${longMs});
insert into work (instance_id, state, priority, definition_hash, step, run, attempt, step_no, audit_seq, audit_head, cancel_requested)
  values ('w', 'ready', 0, 'h', 'first', 1, 0, 0, 1, 'x', 0);
`
const claimedCase = `update work set state = 'claimed', token = 't', claimed_by = 'gone.1', claimed_at_ms = ${longMs} where instance_id = 'w';\n`
const overdueTask = `insert into tasks (task_id, instance_id, tier, queue, escalation_queue, status, because, submitted_by, barred, opened_at_ms, due_ms)
  values ('t', 'w', 'gate', 'q', 'e', 'open', 'x', 'kim', '[]', ${longMs}, ${longMs});
`

test('cases that nobody begins, claims of the dead and tasks that nobody decides are alarms', async () => {
  await sql(waitingCase, 'owner')
  assert.deepEqual(
    (await watch('Cases that nobody')).map(({ waiting }) => Number(waiting)),
    [1],
  )
  await sql(claimedCase, 'owner')
  assert.deepEqual(await watch('Cases that nobody'), [])
  assert.deepEqual(
    (await watch('Claims of')).map(({ claimed_by: who }) => who),
    ['gone.1'],
  )
  await sql(overdueTask, 'owner')
  assert.deepEqual(
    (await watch('Tasks that')).map(({ queue }) => queue),
    ['q'],
  )
  await sql(
    `delete from work where instance_id = 'w'; \ndelete from instances where instance_id = 'w';\ndelete from tasks where task_id = 't';\n`,
    'owner',
  )
})

/** The question with its patience cut to nothing, since no test waits for minutes. */
async function watchAtOnce(word: string): Promise<Record<string, unknown>[]> {
  const question = (await blocksOf(page, 'sql watch')).find((block) => block.startsWith(`-- ${word}`))!
  const impatient = question.replaceAll(/interval '\d+ \w+'/g, `interval '0'`)
  assert.notEqual(impatient, question)
  return await inPublic(impatient)
}

test('transactions that stay open, slots that nobody reads and sessions that wait are alarms', async () => {
  const dsn = dsnOf('owner', `cases_${mark}`)
  const [holder, waiter] = [new pg.Client({ connectionString: dsn, application_name: 'holder' }), new pg.Client(dsn)]
  await holder.connect()
  await waiter.connect()
  await holder.query('begin')
  await holder.query('lock table work')
  assert.ok((await watchAtOnce('Transactions that are open')).some(({ application_name: name }) => name === 'holder'))
  const waiting = waiter.query('select 1 from work')
  await eventually(async () => (await watchAtOnce('Sessions that wait')).length > 0, 'the wait')
  const [{ pid }] = (await holder.query<{ pid: number }>('select pg_backend_pid() as pid')).rows as [{ pid: number }]
  assert.deepEqual((await watchAtOnce('Sessions that wait'))[0]!.blocked_by, [pid])
  await holder.query('rollback')
  await waiting
  await holder.end()
  await waiter.end()
  await sql(`select pg_create_physical_replication_slot('slot_${mark}');\n`)
  assert.ok((await watch('The same by')).some(({ name }) => name === `slot_${mark}`))
  await sql(`select pg_drop_replication_slot('slot_${mark}');\n`)
})

test('a trigger of the record that is gone or at rest is an alarm', async () => {
  for (const change of [
    'disable trigger payloads_keeps_all',
    'enable trigger payloads_keeps_all',
    'enable replica trigger payloads_keeps_all',
  ]) {
    await sql(`alter table payloads ${change};\n`, 'owner')
    assert.deepEqual(await watch('Somebody has'), [{ missing: 'payloads_keeps_all' }], change)
  }
  await sql('alter table payloads enable always trigger payloads_keeps_all;\n', 'owner')
  assert.deepEqual(await watch('Somebody has'), [])
})

test('what counts is counted in the questions that no test can bring about', async () => {
  const lowered = [
    ['Connections:', /> 0\.9 \*/, '> 0.0 *'],
    ['Tables that', /where n_dead_tup > 100000 and n_dead_tup > n_live_tup/, 'where n_dead_tup >= 0'],
    ['Transaction numbers', /> 1000000000/, '> 0'],
  ] as const
  for (const [word, limit, lower] of lowered) {
    const question = (await blocksOf(page, 'sql watch')).find((block) => block.startsWith(`-- ${word}`))!
    assert.match(question, limit)
    assert.ok((await inPublic(question.replace(limit, lower))).length > 0, word)
  }
})

/** An empty database that the owner of the page has. */
async function emptyDatabase(name: string): Promise<Record<string, string>> {
  await sql(`create database ${name}_${mark} owner core_owner_${mark} encoding 'UTF8' template template0;\n`)
  return { CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsnOf('owner', `${name}_${mark}`) }
}

const withoutPsql = spawnSync('psql', ['--version']).error ? 'not run: needs psql (postgresql-client)' : false

test(
  'the statements that psql is given make the store, in public and in a schema of its own',
  { skip: withoutPsql },
  async () => {
    for (const [fence, schema] of [
      ['sh psql', 'public'],
      ['sh psql-schema', 'cases'],
    ] as const) {
      const env = await emptyDatabase(fence.replaceAll(/\W/g, '_'))
      const { stdout } = await type(await only(fence), env)
      assert.match(stdout, /The role core_app_\w+ has the rights that the service needs/)
      const database = new URL(env.CC_DB_DSN!).pathname.slice(1)
      await using served = await openDesk({ ...packs, ...env, CC_DB_DSN: dsnOf('app', database), CC_DB_SCHEMA: schema })
      assert.deepEqual((await served.json('db', 'migrate')).applied, [])
    }
  },
)

/** Why dumps are not taken, or undefined: the tool must not be older than the server. */
async function withoutDump(): Promise<string | undefined> {
  const [row] = await sql(`select current_setting('server_version_num')::int / 10000 as major;\n`)
  const needs = Number(row!.major)
  const found = spawnSync('pg_dump', ['--version'], { encoding: 'utf8' })
  const version = Number(/(\d+)/.exec(found.stdout ?? '')?.[1] ?? 0)
  return version >= needs
    ? undefined
    : `not run: needs pg_dump of PostgreSQL ${needs} or newer (postgresql-client-${needs})`
}

test('a dump is restored into a store that is in everything the same, and verifies', async (t) => {
  const why = await withoutDump()
  if (why !== undefined) return t.skip(why)
  const catalog = (database: string) =>
    catalogOf(
      { sql: async (text, ...params) => (await clientOf(database)).query(text, params).then(({ rows }) => rows) },
      'public',
    )
  const from = { ...(await serviceEnv()), CC_DB_DSN: dsnOf('owner', `cases_${mark}`) }
  await type(await only('sh backup'), from)
  const env = await emptyDatabase('restored')

  const { stdout } = await type(await only('sh restore'), { ...packs, ...env })

  assert.match(stdout, /has the rights that the service needs[^]*The record is valid\./)
  assert.deepEqual(await catalog(`restored_${mark}`), await catalog(`cases_${mark}`))
  await using served = await openDesk({ ...packs, ...env, CC_DB_DSN: dsnOf('app', `restored_${mark}`) })
  const { stdout: more } = await served.run(
    'submit',
    'travel_claim_settlement',
    '--domain',
    'travel_insurance',
    '--input',
    'packs/travel-claims/cases/claims.json',
    '--wait',
  )
  assert.match(more, /completed/)
})

async function clientOf(database: string): Promise<pg.Client> {
  await sql('select 1;\n', undefined, database)
  return shells.get(dsnOf(undefined, database))!
}

test('a database that was closed lets nobody in, and nobody stays', async () => {
  await sql(`create database cases_old_${mark} owner core_owner_${mark};\n`)
  const staying = new pg.Client(dsnOf('owner', `cases_old_${mark}`))
  let isOver = false
  staying.on('error', () => {})
  staying.on('end', () => (isOver = true))
  await staying.connect()

  await sql(here(await only('sql close')))

  await eventually(() => isOver, 'the end of the session')
  await assert.rejects(
    new pg.Client(dsnOf('owner', `cases_old_${mark}`)).connect(),
    /not currently accepting connections/,
  )
})

test('the settings of tables are those that they have', async () => {
  const rows = await inPublic(
    `select relname::text as name, array_to_string(reloptions, ' ') as options from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r';\n`,
  )
  const options = new Map(rows.map(({ name, options: set }) => [name, String(set ?? '')]))
  const written = (await tableOf(page, 'tables', 'settings')).flatMap(([names]) => names!.split(', '))
  assert.deepEqual(
    written.toSorted(),
    [...options]
      .filter(([, set]) => set !== '')
      .map(([name]) => name)
      .toSorted(),
  )
  assert.match(options.get('work')!, /fillfactor=60.*autovacuum_vacuum_cost_delay=0/)
  assert.match(options.get('tasks')!, /vacuum_scale_factor=0\.02 autovacuum_vacuum_threshold=500/)
  for (const name of ['audit_events', 'payloads', 'checkpoints']) {
    assert.match(
      options.get(name)!,
      /insert_scale_factor=0\.02 autovacuum_vacuum_insert_threshold=10000 autovacuum_freeze_min_age=0/,
    )
  }
})

test('what a session behind a pooler needs is set by statements that run', async () => {
  for (const block of await blocksOf(page, 'sql')) await sql(here(block))
  const settings = await sql(
    here("select rolconfig from pg_roles where rolname = 'core_app';\n").replace("'core_app'", `'core_app_${mark}'`),
  )
  assert.ok(String(settings[0]!.rolconfig).includes('lock_timeout=10s'))
})

test('the command that prints those of Azure does so, and the settings for tokens are ones that are read', async () => {
  const { code, stdout } = await paste(await only('sh provision'), { cwd: root })
  assert.equal(code, 0)
  assert.match(stdout, /^az /m)
  const settings = [...(await only('sh')).matchAll(/^export (\w+)='?([^'\n]+)/gm)].map(([, name, value]) => [
    name,
    value,
  ])
  const { postgres } = configOfSettings({ CC_DB_BACKEND: 'postgres', ...Object.fromEntries(settings) })
  assert.equal(typeof postgres!.password, 'function')
})

test('no block of the page is one that nothing runs', async () => {
  const fences = [...(await readPage(page)).matchAll(/^```(\S.*)$/gm)].map(([, fence]) => fence!)
  const run = [
    'sh settings',
    'sql admin',
    'sh owner',
    'sql reader',
    'sql grants',
    'sh psql',
    'sh psql-schema',
    'sql',
    'sh backup',
    'sh restore',
    'sql close',
    'sql watch',
    'sql look',
    'sh provision',
    'sh',
  ]
  assert.deepEqual([...new Set(fences)].toSorted(), run.toSorted())
})
