import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { test } from 'node:test'
import pg from 'pg'
import { until } from './fixture.ts'
import { withoutDebian } from './postgres-binaries.ts'
import { startServer } from './private-server.ts'

async function ask(dsn: string, sql: string): Promise<unknown> {
  const client = new pg.Client({ connectionString: dsn, ssl: false })
  await client.connect()
  try {
    const { rows } = (await client.query({ text: sql, rowMode: 'array' })) as { rows: unknown[][] }
    return rows[0]?.[0]
  } finally {
    await client.end()
  }
}

const kinds = [
  { binaries: 'embedded', skip: false, version: /^18/ },
  { binaries: 'debian', skip: withoutDebian, version: /^\d\d/ },
] as const

for (const { binaries, skip, version } of kinds) {
  test(
    `a private server of ${binaries} binaries has its own settings, and its data survives a crash`,
    { skip },
    async () => {
      const settings = { max_connections: 17, log_statement: 'all' }
      await using server = await startServer({ binaries, settings })
      assert.match(String(await ask(server.dsn, 'show server_version')), version)
      assert.equal(await ask(server.dsn, 'show max_connections'), '17')
      await ask(server.dsn, 'create table kept as select 42 as value')
      assert.match(server.log(), /create table kept/)

      await server.stop('immediate')
      await assert.rejects(ask(server.dsn, 'select 1'), { code: 'ECONNREFUSED' })
      await server.start()

      assert.equal(await ask(server.dsn, 'select value from kept'), 42)
      assert.match(server.log(), /automatic recovery in progress/)
    },
  )
}

test('a private server that has a password asks for it, and is gone when its test is', async () => {
  const server = await startServer({ password: 'sesame' })
  const wrong = Object.assign(new URL(server.dsn), { password: 'simsalabim' }).href
  assert.equal(await ask(server.dsn, 'select 1'), 1)
  await assert.rejects(ask(wrong, 'select 1'), { code: '28P01' })

  await server[Symbol.asyncDispose]()

  await assert.rejects(ask(server.dsn, 'select 1'), { code: 'ECONNREFUSED' })
  assert.equal(existsSync(server.dir), false)
})

test('a server that does not start says why', async () => {
  await assert.rejects(startServer({ settings: { max_connections: 'many' } }), /max_connections/)
})

test('a private server goes with a test that is killed', async () => {
  const program = `import { startServer } from ${JSON.stringify(import.meta.resolve('./private-server.ts'))}
    const { dsn, dir } = await startServer()
    console.log(JSON.stringify({ dsn, dir }))
    setInterval(() => {}, 1000)`
  const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
  const { dsn, dir } = JSON.parse(line) as { dsn: string; dir: string }
  assert.equal(await ask(dsn, 'select 1'), 1)

  child.kill('SIGKILL')

  await until(() => !existsSync(dir), 'the end of its folder')
  await assert.rejects(ask(dsn, 'select 1'), { code: 'ECONNREFUSED' })
})
