import assert from 'node:assert/strict'
import { request as send } from 'node:http'
import { test } from 'node:test'
import { readEventStream } from '../../src/api/event-stream.ts'
import { openPostgresDesk, type PostgresDesk } from '../cli/cli.ts'
import { holdStep } from './held-steps.ts'
import { ask, claimRequest, eventually, rested, serve, type Serving, type Started, work } from './serving.ts'

const clients = 6

/** What stands in front of the replicas: it sends to those that were ready when it last heard of them. */
class Balancer {
  /** Everything but success and a replica that is gone. */
  readonly failed: string[] = []
  /** How often a connection was refused, and how often one was reset that a leaving replica had not taken yet. */
  readonly gone = { ECONNREFUSED: 0, ECONNRESET: 0 }
  private readonly urls = new Set<string>()
  private turn = 0

  add(url: string): void {
    this.urls.add(url)
  }

  /** Asks one replica after another until one lets it in; each request has a connection of its own, and may be sent twice. */
  async ask(method: 'GET' | 'POST', path: string, body?: unknown, key?: string): Promise<any> {
    for (let tries = 0; tries < 100; tries++) {
      const url = [...this.urls][this.turn++ % this.urls.size]!
      try {
        const { status, text } = await once(url, { method, path, body, key })
        if (status >= 300) this.failed.push(`${method} ${path}: ${status} ${text}`)
        return JSON.parse(text)
      } catch (error) {
        const { code = String(error) } = error as NodeJS.ErrnoException
        if (code === 'ECONNREFUSED' || code === 'ECONNRESET') this.gone[code] += 1
        else this.failed.push(`${method} ${path}: ${code}`)
        this.urls.delete(url)
      }
    }
    throw new Error(`nobody answers ${method} ${path}`)
  }
}

interface Asked {
  readonly method: string
  readonly path: string
  readonly body: unknown
  readonly key: string | undefined
}

async function once(url: string, { method, path, body, key }: Asked): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>()
  const headers = {
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...(key !== undefined && { 'idempotency-key': key }),
  }
  const sent = send(`${url}${path}`, { method, headers, agent: false }, (answer) => {
    let text = ''
    answer.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
    answer.on('end', () => resolve({ status: answer.statusCode!, text }))
    answer.on('error', reject)
  })
  sent.once('error', reject)
  sent.end(body === undefined ? undefined : JSON.stringify(body))
  return await promise
}

/** Programs that submit case after case and wait for the end of each, until they are told to stop. */
function load(balancer: Balancer) {
  const ended = new Map<string, string>()
  const stopping = new AbortController()
  const client = async (name: number) => {
    for (let number = 0; !stopping.signal.aborted; number++) {
      const { instance_id: id } = await balancer.ask('POST', '/v1/cases', claimRequest('TC-101'), `${name}-${number}`)
      let view: any
      do view = await balancer.ask('GET', `/v1/cases/${id}?wait=10`)
      while (view.status === 'running')
      ended.set(id as string, view.status as string)
    }
  }
  const everybody = Promise.all(Array.from({ length: clients }, (_, name) => client(name)))
  everybody.catch(() => {})
  return {
    ended,
    stop: async () => {
      stopping.abort()
      await everybody
    },
  }
}

/** One after another leaves and comes back, on its own port where it has one. */
async function replace<P extends Started>(running: P, start: () => Promise<P>): Promise<P> {
  assert.deepEqual(await running.stop(), { code: 0, signal: null }, running.texts().stderr)
  return await start()
}

test('replicas and workers are replaced one after another under load: nothing fails, is lost, or done twice', async (t) => {
  await using desk = await openPostgresDesk()
  await using stack = new AsyncDisposableStack()
  const replica = async (port = '0') => stack.use(await serve(desk, ['--workers', '0', '--port', port]))
  const worker = async () => stack.use(await work(desk, ['--concurrency', '4']))
  const replicas: Serving[] = [await replica(), await replica()]
  const workers: Started[] = [await worker(), await worker()]
  const balancer = new Balancer()
  for (const { url } of replicas) balancer.add(url)
  const clients = load(balancer)
  const hasEnded = async (more: number) => {
    const enough = clients.ended.size + more
    await eventually(() => clients.ended.size >= enough, `${more} more cases`)
  }
  await hasEnded(10)

  for (const [place, one] of replicas.entries()) {
    replicas[place] = await replace(one, () => replica(one.port))
    balancer.add(one.url)
    await hasEnded(5)
  }
  for (const [place, one] of workers.entries()) {
    workers[place] = await replace(one, worker)
    await hasEnded(5)
  }
  await clients.stop()

  t.diagnostic(JSON.stringify({ cases: clients.ended.size, ...balancer.gone }))
  assert.deepEqual(balancer.failed, [])
  const { ECONNREFUSED: refused, ECONNRESET: reset } = balancer.gone
  assert.ok(refused + reset >= 2 && reset <= 4, 'somebody came to each of the replicas while it was away')
  assert.deepEqual(new Set(clients.ended.values()), new Set(['completed']))
  await checkOnce(desk, [...clients.ended.keys()])
})

/** Every case is there, each step of it is recorded once, and the record is whole. */
async function checkOnce({ place, json }: PostgresDesk, ids: readonly string[]): Promise<void> {
  const stored = await place.sql<{ instance_id: string }>('select instance_id from instances')
  assert.deepEqual(new Set(stored.map(({ instance_id: id }) => id)), new Set(ids))
  assert.deepEqual(await place.sql('select instance_id from work'), [])
  const twice = `select instance_id, step from checkpoints group by instance_id, step having count(*) > 1`
  assert.deepEqual(await place.sql(twice), [])
  assert.equal((await json('audit', 'verify')).valid, true)
}

/** What a stream has told until it ended. */
async function follow(
  url: string,
  after: number,
  told: { id: number; event: string; lateMs: number }[],
): Promise<boolean> {
  const headers = { 'last-event-id': String(after) }
  const answer = await fetch(url, { headers })
  assert.equal(answer.status, 200)
  for await (const { id, event, data } of readEventStream(answer.body!)) {
    if (event === 'end') return true
    if (id === undefined) continue
    const { at_ms: atMs } = JSON.parse(data) as { at_ms: number }
    told.push({ id: Number(id), event, lateMs: Date.now() - atMs })
  }
  return false
}

test('a stream that a replica ends when it leaves goes on at another one, without gap and without repeat', async () => {
  await using desk = await openPostgresDesk()
  const held = holdStep(desk, 'check_terms')
  await using first = await serve(desk, ['--workers', '0'])
  await using second = await serve(desk, ['--workers', '0'])
  await using worker = await work(desk, [], held.env)
  const { body } = await ask(`${first.url}/v1/cases`, { body: claimRequest('TC-101') })
  const path = `/v1/cases/${body.instance_id}/stream`
  const told: { id: number; event: string; lateMs: number }[] = []
  const before = follow(`${first.url}${path}`, 0, told)
  const waiting = ask(`${first.url}/v1/cases/${body.instance_id}?wait=30`)
  await held.reached()
  await eventually(() => told.length >= 3, 'what happens before the step')

  assert.deepEqual(await first.stop(), { code: 0, signal: null })
  assert.equal(await before, false, 'it is ended in order, and the case goes on')
  assert.deepEqual([(await waiting).status, (await waiting).body.status], [200, 'running'])
  held.release()
  assert.equal(await follow(`${second.url}${path}`, told.at(-1)!.id, told), true)

  const { items } = (await ask(`${second.url}/v1/cases/${body.instance_id}/audit`)).body
  assert.deepEqual(
    told.map(({ id, event }) => [id, event]),
    items.map(({ seq, type }: any) => [seq, type]),
  )
  assert.deepEqual(await worker.stop(), { code: 0, signal: null })
})

test('what a worker commits is heard at a replica at once, by those who follow and by those who wait', async (t) => {
  await using desk = await openPostgresDesk()
  await using replica = await serve(desk, ['--workers', '0'])
  await using worker = await work(desk)
  // The first case finds everything cold.
  const { body: cold } = await ask(`${replica.url}/v1/cases`, { body: claimRequest('TC-101') })
  await rested(replica.url, cold.instance_id)
  const told: { id: number; event: string; lateMs: number }[] = []
  const waited: number[] = []
  for (let number = 0; number < 15; number++) {
    const { body } = await ask(`${replica.url}/v1/cases`, { body: claimRequest('TC-101') })
    const following = follow(`${replica.url}/v1/cases/${body.instance_id}/stream`, 0, told)
    const { body: view } = await ask(`${replica.url}/v1/cases/${body.instance_id}?wait=30`)
    waited.push(Date.now() - view.ended_at_ms)
    await following
  }

  const late = told.map(({ lateMs }) => lateMs)
  t.diagnostic(JSON.stringify({ streamMs: spread(late), waitMs: spread(waited) }))
  // Tens of milliseconds on a machine that is idle; a beat would be a second at the least.
  assert.ok(spread(late).p50 < 300, `${spread(late).p50} ms`)
  assert.ok(spread(waited).p50 < 300, `${spread(waited).p50} ms`)
  assert.deepEqual(await worker.stop(), { code: 0, signal: null })
})

function spread(values: readonly number[]) {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]!
  return { p50: at(0.5), p90: at(0.9), max: sorted.at(-1)! }
}
