import assert from 'node:assert/strict'
import { test } from 'node:test'
import pg from 'pg'
import { randomHex } from '../../src/domain/identity.ts'
import { openDesk } from '../cli/cli.ts'
import { postgresServer } from '../storage/postgres-server.ts'
import { startPooler, withoutPooler } from '../storage/private-pooler.ts'
import { ask, claimRequest, eventually, serve } from './serving.ts'

test(
  'a case that one process takes behind a pooler is run by another, and every command finds it',
  { skip: withoutPooler },
  async () => {
    const server = await postgresServer()
    await using pooler = await startPooler({ server })
    const schema = `t_${randomHex(8)}`
    const way = { CC_DB_BACKEND: 'postgres', CC_DB_DSN: pooler.dsn, CC_DB_DIRECT_DSN: server, CC_DB_SCHEMA: schema }
    await using desk = await openDesk({ ...way, CC_DB_PATH: '', CC_DB_POOL_MAX: '8' })
    await desk.json('db', 'init')
    await using taking = await serve(desk, ['--workers', '0'])
    await using running = await serve(desk)

    const { body, status } = await ask(`${taking.url}/v1/cases`, { body: claimRequest('TC-101') })
    assert.equal(status, 202, JSON.stringify(body))
    const id = body.instance_id as string
    await eventually(
      async () => (await ask(`${taking.url}/v1/cases/${id}?wait=5`)).body.status !== 'running',
      'the end of the case',
    )

    const { items } = await desk.json('cases')
    assert.deepEqual(
      items.map((item: { instance_id: string }) => item.instance_id),
      [id],
    )
    assert.equal((await desk.json('audit', 'verify')).valid, true)
    assert.equal((await running.stop()).code, 0)
    assert.equal((await taking.stop()).code, 0)
    const client = new pg.Client({ connectionString: server, ssl: false })
    await client.connect()
    await client.query(`drop schema ${schema} cascade`)
    await client.end()
  },
)
