/**
 * A program that runs a command beside Debian's PostgreSQL and its PgBouncer, which the tests find by CC_TEST_DSN and
 * CC_TEST_POOLER, and ends as it does: `node test/storage/on-debian.ts node --test 'test/storage/*.test.ts'`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startPooler } from './private-pooler.ts'
import { startServer } from './private-server.ts'

const [command, ...args] = process.argv.slice(2)
await using server = await startServer({ binaries: 'debian', settings: { max_connections: 300 } })
await using pooler = await startPooler({ server: server.dsn })
const places = { CC_TEST_DSN: server.dsn, CC_TEST_POOLER: pooler.dsn }
const child = spawn(command!, args, { stdio: 'inherit', env: { ...process.env, ...places } })
const [code] = (await once(child, 'exit')) as [number | null]
process.exitCode = code ?? 1
