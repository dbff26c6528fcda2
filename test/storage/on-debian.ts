/**
 * A program that runs a command beside Debian's PostgreSQL, which the tests find by CC_TEST_DSN, and ends as it does:
 * `node test/storage/on-debian.ts node --test 'test/storage/*.test.ts'`
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { startServer } from './private-server.ts'

const [command, ...args] = process.argv.slice(2)
await using server = await startServer({ binaries: 'debian', settings: { max_connections: 200 } })
const child = spawn(command!, args, { stdio: 'inherit', env: { ...process.env, CC_TEST_DSN: server.dsn } })
const [code] = (await once(child, 'exit')) as [number | null]
process.exitCode = code ?? 1
