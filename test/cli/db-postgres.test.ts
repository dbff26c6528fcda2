import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openOwned } from '../storage/postgres-database.ts'
import { openDesk } from './cli.ts'

const deskAs = (dsn: string) =>
  openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: dsn, CC_DB_SCHEMA: 'cases', CC_DB_POOL_MIN: '0' })

test('db init makes the store as its owner, gives the role of the service its rights, and says both', async () => {
  await using database = await openOwned()
  const { owner, app } = database
  await using desk = await deskAs(owner.dsn)

  const { code, stdout } = await desk.run('db', 'init', '--app-role', app.name)

  assert.equal(code, 0)
  assert.match(stdout, /^Made the store postgres:\/\/owner_\w+:\*\*\*@/)
  assert.match(stdout, new RegExp(`The role ${app.name} has the rights that the service needs, and no others\\.`))
  await using served = await deskAs(app.dsn)
  assert.equal((await served.run('db', 'migrate')).code, 0)
  assert.equal((await served.run('cases')).code, 0)

  const again = await desk.json('db', 'init', '--app-role', app.name)
  assert.deepEqual(
    [again.created, again.grants.role, again.grants.applied, again.grants.granting],
    [false, app.name, true, 'applied'],
  )
  assert.ok(again.grants.statements.includes(`grant select, insert, update, delete on cases.work to ${app.name}`))
})

test('db init --print only says what would give the rights, and psql could run it', async () => {
  await using database = await openOwned()
  const { owner, app } = database
  await using desk = await deskAs(owner.dsn)

  const { code, stdout } = await desk.run('db', 'init', '--app-role', app.name, '--print')

  assert.equal(code, 0)
  assert.match(stdout, /^begin;\n(?:[^\n]*;\n)+commit;\n$/)
  assert.deepEqual(await database.sql(`select 1 from pg_namespace where nspname = 'cases'`), [], 'nothing was made')
  await desk.run('db', 'init')
  await using served = await deskAs(app.dsn)
  assert.equal((await served.json('cases')).code, 'CC_ERR_SERVER_RIGHTS')
  await owner.sql(stdout)
  assert.deepEqual((await served.json('cases')).items, [])
  const json = await desk.json('db', 'init', '--app-role', app.name, '--print')
  assert.equal(json.grants.applied, false)
  assert.equal(stdout, ['begin', ...json.grants.statements, 'commit'].map((text) => `${text};\n`).join(''))
})

test('db init prints the rights where there is no such role, or where somebody else owns the tables', async () => {
  await using database = await openOwned()
  const { owner, app } = database
  await using desk = await deskAs(owner.dsn)

  const { code, stdout } = await desk.run('db', 'init', '--app-role', 'core_app')

  assert.equal(code, 0)
  assert.match(
    stdout,
    /There is no role core_app\. Nothing was given; this would:\nbegin;\n[^]*to core_app;\ncommit;\n$/,
  )
  await desk.run('db', 'init', '--app-role', app.name)
  await using served = await deskAs(app.dsn)
  const asked = await served.run('db', 'init', '--app-role', app.name)
  assert.equal(asked.code, 0)
  assert.match(asked.stdout, /Only the owner of the tables may give rights\. Nothing was given; this would:\nbegin;/)
})

test('db init refuses a role that is no role, and --print without one', async () => {
  await using database = await openOwned()
  await using desk = await deskAs(database.owner.dsn)
  for (const role of ['public', 'none', database.owner.name]) {
    const { code, stdout } = await desk.run('db', 'init', '--app-role', role, '--json')
    assert.deepEqual([code, JSON.parse(stdout).code], [2, 'CC_ERR_APP_ROLE'], role)
  }
  assert.equal((await desk.json('db', 'init', '--app-role', 'public', '--print')).code, 'CC_ERR_APP_ROLE')
  assert.equal((await desk.json('db', 'init', '--print')).code, 'CC_ERR_USAGE')
})

test('a service that finds a migration to be made is told who makes it', async () => {
  await using database = await openOwned()
  const { owner, app } = database
  await using desk = await deskAs(owner.dsn)
  await desk.run('db', 'init', '--app-role', app.name)
  await owner.sql('drop index cases.work_claimed; delete from cases.schema_migrations where number > 2')
  await using served = await deskAs(app.dsn)

  const { code, stderr } = await served.run('serve', '--port', '0')

  assert.equal(code, 3)
  assert.match(stderr, new RegExp(`its tables changed for this version, and the role ${app.name} may not do that`))
  assert.match(stderr, new RegExp(`hint: {2}Run as ${owner.name}: .*db migrate \\(CC_ERR_MIGRATION_RIGHTS\\)`))
  assert.match((await desk.run('db', 'migrate')).stdout, /up to date with migration 3, 4, 5, 6\./)
  assert.deepEqual((await served.json('db', 'migrate')).applied, [])
})
