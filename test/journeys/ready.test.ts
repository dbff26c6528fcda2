import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { test } from 'node:test'
import { openDesk } from '../cli/cli.ts'
import { type PrivateServer, startServer } from '../storage/private-server.ts'
import { ask, eventually, serve } from './serving.ts'

/** A probe is answered within two seconds; the rest is for a machine that has much else to do. */
const promptMs = 4_000

/** The server and all its processes, none of which says anything more after SIGSTOP. */
function signalAll({ pid }: PrivateServer, signal: 'SIGSTOP' | 'SIGCONT'): void {
  const lines = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n')
  const children = lines.map((line) => line.trim().split(/\s+/).map(Number)).filter(([, parent]) => parent === pid)
  for (const one of [pid!, ...children.map(([child]) => child!)]) process.kill(one, signal)
}

const troubles: Readonly<
  Record<string, (server: PrivateServer) => Promise<{ readonly end: () => void | Promise<void> }>>
> = {
  'is not there': async (server) => {
    await server.stop('fast')
    return { end: () => server.start() }
  },
  'does not answer': (server) => {
    signalAll(server, 'SIGSTOP')
    return Promise.resolve({ end: () => signalAll(server, 'SIGCONT') })
  },
}

for (const [what, begin] of Object.entries(troubles)) {
  test(`while the server ${what} the service soon says that it is not ready, and then is again by itself`, async () => {
    await using server = await startServer()
    await using desk = await openDesk({ CC_DB_BACKEND: 'postgres', CC_DB_DSN: server.dsn, CC_DB_PATH: '' })
    await using service = await serve(desk)
    const probe = () => ask(`${service.url}/health/ready`)
    assert.equal((await probe()).body.status, 'ready')

    const { end } = await begin(server)
    for (const time of ['at first', 'again']) {
      const startedAt = performance.now()
      const { status, body, headers } = await probe()
      const tookMs = performance.now() - startedAt
      assert.deepEqual([status, body.status, headers.get('retry-after')], [503, 'unavailable', '1'], time)
      assert.ok(tookMs < promptMs, `${time}: ${tookMs} ms`)
    }
    assert.equal((await ask(`${service.url}/health/live`)).status, 200)
    assert.match(service.texts().stderr, /the store cannot be read/)
    await end()

    await eventually(async () => (await probe()).status === 200, 'its return')
    assert.deepEqual(await service.stop(), { code: 0, signal: null })
  })
}
