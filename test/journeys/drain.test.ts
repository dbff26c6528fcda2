import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { randomUUID } from 'node:crypto'
import { type Desk, onEachDesk, type OpenDesk, root } from '../cli/cli.ts'
import { type HeldStep, holdStep } from './held-steps.ts'
import { ask, claimRequest, eventually, letTimePass, served, type Serving, takeLock } from './serving.ts'

/** The service as people start it, through npm, and all that it has started itself. */
interface Started extends Serving {
  /** Ids of every process that came of it and is there, whoever its parent is by now. */
  processes(): number[]
  /** Ctrl-C reaches every process of the terminal at once. */
  interruptFromTerminal(): void
}

async function npmStart(desk: Desk, held: HeldStep): Promise<Started> {
  const mark = randomUUID()
  const env = {
    PATH: process.env.PATH ?? '',
    HOME: desk.folder,
    npm_config_update_notifier: 'false',
    ...desk.env,
    ...held.npmEnv,
    STARTED_BY: mark,
  }
  // As a terminal does it, npm and what it starts are a process group.
  const child = spawn('npm', ['start', '--', '--port', '0', '--json'], { cwd: root, env, detached: true })
  const serving = await served(child)
  return {
    ...serving,
    processes: () => processesWith(`STARTED_BY=${mark}`),
    interruptFromTerminal: () => process.kill(-child.pid!, 'SIGINT'),
    [Symbol.asyncDispose]: async () => {
      for (const pid of processesWith(`STARTED_BY=${mark}`)) process.kill(pid, 'SIGKILL')
      await serving.ended
    },
  }
}

function processesWith(setting: string): number[] {
  return readdirSync('/proc').flatMap((name) => {
    if (!/^\d+$/.test(name)) return []
    try {
      return readFileSync(`/proc/${name}/environ`, 'utf8').split('\0').includes(setting) ? [Number(name)] : []
    } catch {
      // It ended while it was looked at, or is another user's.
      return []
    }
  })
}

/** A service in the middle of everything: a step under way, somebody who waits, somebody who follows, others who submit. */
async function openBusy(open: OpenDesk) {
  const desk = await open()
  const held = holdStep(desk, 'check_terms')
  const service = await npmStart(desk, held)
  const { url } = service
  const { body } = await ask(`${url}/v1/cases`, { body: claimRequest('TC-101') })
  const id: string = body.instance_id
  await held.reached()

  const waiting = ask(`${url}/v1/cases/${id}?wait=60`)
  const stream = await fetch(`${url}/v1/cases/${id}/stream`)
  const following = stream.text()
  const clients = submitUntilRefused(url)
  await eventually(() => clients.stored.length > 20, 'cases to be submitted')
  const close = async () => {
    await service[Symbol.asyncDispose]()
    await Promise.allSettled([waiting, following, clients.refused])
    await desk[Symbol.asyncDispose]()
  }
  return { desk, held, service, id, waiting, following, clients, [Symbol.asyncDispose]: close }
}

/** Four programs that submit without a pause, each until it is refused or nobody answers any more. */
function submitUntilRefused(url: string) {
  const stored: string[] = []
  const client = async () => {
    for (;;) {
      const answer = await ask(`${url}/v1/cases`, { body: claimRequest('TC-105') }).catch(() => undefined)
      if (answer?.status !== 202) return answer
      stored.push(answer.body.instance_id)
    }
  }
  return { stored: stored as readonly string[], refused: Promise.all([client(), client(), client(), client()]) }
}

type Busy = Awaited<ReturnType<typeof openBusy>>

/** Nothing of it is left: no process, no lock, and its port can be had at once. */
async function assertGone({ desk, service }: Busy): Promise<void> {
  assert.deepEqual(service.processes(), [])
  if (desk.env.CC_DB_PATH) takeLock(desk.env.CC_DB_PATH)[Symbol.dispose]()
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(Number(service.port), '127.0.0.1', resolve)
  })
  await new Promise((resolve) => server.close(resolve))
}

/** Every case that a client was told of is there, and nothing is claimed by anybody. */
async function assertKept({ desk, id, clients }: Busy): Promise<void> {
  const stored = new Set<string>()
  let cursor: string[] = []
  do {
    const { items, next_cursor: next } = await desk.json('cases', '--limit', '500', ...cursor)
    for (const { instance_id: instanceId, work } of items) {
      stored.add(instanceId)
      assert.notEqual(work, 'claimed')
    }
    cursor = next === null ? [] : ['--cursor', next]
  } while (cursor.length > 0)
  for (const known of [id, ...clients.stored]) assert.ok(stored.has(known), `${known} was answered with 202`)
  assert.equal((await desk.json('audit', 'verify')).valid, true)
}

const ends = {
  'SIGTERM to npm': ({ child }: Started) => void child.kill('SIGTERM'),
  'SIGINT to npm': ({ child }: Started) => void child.kill('SIGINT'),
  // npm passes the signal on, so that the service is told twice what was typed once.
  'Ctrl-C at its terminal': (service: Started) => service.interruptFromTerminal(),
}

for (const [how, end] of Object.entries(ends)) {
  onEachDesk(
    `npm start drains after ${how}: everything under way is answered and recorded, and nothing is left behind`,
    async (open) => {
      await using busy = await openBusy(open)
      const { desk, held, service, id, waiting, following, clients } = busy
      assert.ok(service.processes().length >= 2, 'npm and the service')

      end(service)
      const waited = await waiting
      assert.deepEqual([waited.status, waited.body.status], [200, 'running'], 'who waits is answered as things stand')
      const events = [...(await following).matchAll(/^event: (.*)$/gm)].map(([, type]) => type)
      assert.deepEqual(events, ['case.submitted', 'step.completed', 'step.completed'])
      for (const refused of await clients.refused) assert.ok(refused === undefined || refused.status === 503)
      assert.notDeepEqual(service.processes(), [], 'the step is still under way')
      held.release()
      assert.deepEqual(await service.ended, { code: 0, signal: null }, service.texts().stderr)

      await assertGone(busy)
      await assertKept(busy)
      const view = await desk.json('case', id)
      assert.deepEqual([view.status, view.work, view.path.at(-1)], ['running', 'ready', 'check_terms'])
    },
  )
}

onEachDesk(
  'a second signal stops npm start at once; the step that was under way runs again with the next start',
  async (open) => {
    await using busy = await openBusy(open)
    const { desk, held, service, id, waiting, following, clients } = busy
    service.child.kill('SIGTERM')
    // Only once the first one has been heard.
    await Promise.all([waiting, following, clients.refused])
    assert.notDeepEqual(service.processes(), [])
    // Two that come together are one: npm passes on what its terminal has sent to everybody.
    const heardAt = performance.now()
    await eventually(() => performance.now() - heardAt > 550, 'the time after which it is asked again')
    service.child.kill('SIGTERM')
    assert.deepEqual(await service.ended, { code: 130, signal: null })

    await assertGone(busy)
    assert.equal((await desk.json('case', id)).path.at(-1), 'sort_claim')
    held.release()
    await letTimePass(desk)
    await using next = await npmStart(desk, held)
    await eventually(
      async () => (await desk.json('cases', '--status', 'running')).items.length === 0,
      'the end of all cases',
    )
    await assertKept(busy)
    assert.equal((await desk.json('case', id)).status, 'completed')
    assert.deepEqual(await next.stop(), { code: 0, signal: null })
    assert.deepEqual(next.processes(), [])
  },
)

onEachDesk(
  'a client that keeps its connection open without a word does not keep the service from ending',
  async (open) => {
    await using desk = await open()
    const held = holdStep(desk, 'none')
    await using service = await npmStart(desk, held)
    const socket = connect(Number(service.port), '127.0.0.1')
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    assert.deepEqual(await service.stop(), { code: 0, signal: null })
    socket.destroy()
  },
)
