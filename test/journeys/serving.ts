import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { setTimeout as delay } from 'node:timers/promises'
import { lockPath } from '../../src/storage/lock.ts'
import { type Answer, claims, type Desk, root } from '../cli/cli.ts'

/** Nothing in a story takes so long unless it hangs. */
const patienceMs = 30_000

/** Resolves once the condition holds, which somebody else brings about. */
export async function eventually(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const startedAt = performance.now()
  while (!(await condition())) {
    if (performance.now() - startedAt > patienceMs) throw new Error(`${what} did not happen within ${patienceMs} ms`)
    await delay(10)
  }
}

/** How a process ended. */
export interface Ended {
  readonly code: number | null
  readonly signal: string | null
}

/** Twenty seconds pass: a process of a fleet that is gone without a word is known to be gone, and what it had is free. */
export async function letTimePass({ place }: Desk): Promise<void> {
  await place?.sql('update workers set beat_at_ms = 0')
}

/** A process that serves, whatever started it. */
export interface Serving extends Started {
  readonly url: string
  readonly port: string
}

/** A process that runs until it is told to leave. */
export interface Started extends AsyncDisposable {
  readonly child: ChildProcess
  /** What it said on standard output when it was ready: its one document. */
  readonly about: any
  readonly ended: Promise<Ended>
  /** What it has written so far. */
  texts(): { readonly stdout: string; readonly stderr: string }
  /** Sends the signal and waits for the end. */
  stop(signal?: NodeJS.Signals): Promise<Ended>
}

/** Starts the service of a desk as a process of its own, on a port that is free unless one is named. */
export async function serve(desk: Desk, args: readonly string[] = [], env: object = {}): Promise<Serving> {
  const port = args.includes('--port') ? [] : ['--port', '0']
  return await served(desk.start(['serve', ...port, ...args, '--json'], env).child)
}

/** Starts workers of a desk as a process of their own. */
export async function work(desk: Desk, args: readonly string[] = [], env: object = {}): Promise<Started> {
  return await started(desk.start(['worker', ...args, '--json'], env).child)
}

/** Follows a process that was told to serve until it says that it does. */
export async function served(child: ChildProcess): Promise<Serving> {
  const process = await started(child)
  const { url = process.about.service?.url as string } = process.about as { url?: string }
  return { ...process, url, port: new URL(url).port }
}

async function started(child: ChildProcess): Promise<Started> {
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]!.setEncoding('utf8').on('data', (text: string) => (texts[name] += text))
  }
  const { promise: ended, resolve } = Promise.withResolvers<Ended>()
  let isEnded = false
  child.once('close', (code, signal) => {
    isEnded = true
    resolve({ code, signal })
  })
  const stop = async (signal: NodeJS.Signals = 'SIGTERM') => {
    child.kill(signal)
    return await ended
  }
  let about: any
  try {
    await eventually(() => isEnded || (about = documentIn(texts.stdout)) !== undefined, 'the start of the process')
    const isServing = !isEnded && about.code === undefined
    assert.ok(isServing, `it did not start: ${texts.stdout}${texts.stderr}`)
  } catch (error) {
    await stop('SIGKILL')
    throw error
  }
  return {
    child,
    about,
    ended,
    texts: () => texts,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop('SIGKILL')),
  }
}

/** The document that stands at the end of a text, once all of it is there; npm says something before it. */
function documentIn(text: string): unknown {
  const start = text.startsWith('{') ? 0 : text.indexOf('\n{') + 1
  try {
    return JSON.parse(text.slice(start))
  } catch {
    return undefined
  }
}

/** One request as a program would send it. */
export async function ask(
  url: string,
  { method = 'GET', body, headers = {}, signal }: Asked = {},
): Promise<{ readonly status: number; readonly body: any; readonly headers: Headers }> {
  const answer = await fetch(url, {
    method: body === undefined ? method : 'POST',
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    ...(signal && { signal }),
  })
  const text = await answer.text()
  const isJson = answer.headers.get('content-type')?.includes('json')
  return { status: answer.status, body: isJson ? JSON.parse(text) : text, headers: answer.headers }
}

interface Asked {
  readonly method?: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

/** The sample claim of this id. */
export function claim(caseId: string): Record<string, unknown> {
  const all = JSON.parse(readFileSync(join(root, claims), 'utf8')) as Record<string, unknown>[]
  return all.find((one) => one.case_id === caseId)!
}

/** What is sent to have the sample claim of this id decided. */
export function claimRequest(caseId: string) {
  return { workflow: 'travel_claim_settlement', domain: 'travel_insurance', input: claim(caseId) }
}

/** A file with a case, or a list of them, to be submitted. */
export function caseFile(desk: Desk, content: unknown, name = 'case.json'): string {
  const path = join(desk.folder, name)
  writeFileSync(path, JSON.stringify(content))
  return path
}

/** The next task of the queue, once there is one. */
export async function nextTask(desk: Desk, queue: string): Promise<any> {
  let task: any
  await eventually(
    async () => (task = (await desk.json('tasks', '--queue', queue)).items[0]) !== undefined,
    `a task for ${queue}`,
  )
  return task
}

/** The case as it stands once it does not run any more. */
export async function rested(url: string, instanceId: string, headers = {}): Promise<any> {
  let view: any
  await eventually(async () => {
    const { body } = await ask(`${url}/v1/cases/${instanceId}?wait=20`, { headers })
    view = body
    return view.status !== 'running'
  }, `the end of ${instanceId}`)
  return view
}

/** Programs that submit one case after the other, until they are told to stop. */
export function submitting(url: string, count = 4) {
  const stored: string[] = []
  const stopping = new AbortController()
  const client = async () => {
    for (let number = 0; !stopping.signal.aborted; number++) {
      const { status, body } = await ask(`${url}/v1/cases`, { body: claimRequest('TC-101') })
      assert.equal(status, 202)
      stored.push(body.instance_id)
    }
  }
  const clients = Promise.all(Array.from({ length: count }, client))
  return {
    stored: stored as readonly string[],
    stop: async () => {
      stopping.abort()
      await clients
    },
  }
}

/** Why the journeys that type curl are not run, or false. */
export const withoutCurl = spawnSync('curl', ['--version']).error ? 'not run: needs curl (apt-get install curl)' : false

/** Runs curl as it would be typed, silent but for what it is answered; exit 22 when that is a refusal. */
export async function curl(...args: readonly string[]): Promise<Answer> {
  const { promise, resolve } = Promise.withResolvers<Answer>()
  execFile('curl', ['-sS', '--max-time', '30', ...args], { cwd: root }, (error, stdout, stderr) =>
    resolve({ code: typeof error?.code === 'number' ? error.code : error ? -1 : 0, stdout, stderr }),
  )
  return await promise
}

/** The same for an answer that is a document, with its status. */
export async function curlJson(...args: readonly string[]): Promise<{ readonly status: number; readonly body: any }> {
  const { code, stdout, stderr } = await curl('-w', '\n%{http_code}', ...args)
  assert.equal(code, 0, stderr)
  const end = stdout.lastIndexOf('\n')
  return { status: Number(stdout.slice(end + 1)), body: JSON.parse(stdout.slice(0, end)) }
}

/** One event of a stream, as curl has printed it. */
export interface Told {
  readonly id: number | undefined
  readonly event: string
  readonly data: any
}

/** curl that follows a stream until the stream ends. */
export function curlStream(url: string, ...args: readonly string[]) {
  const child = spawn('curl', ['-sSN', '--max-time', '60', ...args, url])
  let text = ''
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => (text += chunk))
  const { promise: ended, resolve } = Promise.withResolvers<Ended>()
  child.once('close', (code, signal) => resolve({ code, signal }))
  return { told: () => toldIn(text), ended, [Symbol.dispose]: () => void child.kill('SIGKILL') }
}

function toldIn(text: string): Told[] {
  const field = (block: string, name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1]
  return text.split('\n\n').flatMap((block) => {
    const [id, event, data] = [field(block, 'id'), field(block, 'event'), field(block, 'data')]
    if (event === undefined || data === undefined || !text.includes(`${block}\n\n`)) return []
    return [{ id: id === undefined ? undefined : Number(id), event, data: JSON.parse(data) }]
  })
}

/** Takes the lock of a store, as a process that means to write there: refused while anybody else has it. */
export function takeLock(path: string): Disposable {
  const database = new DatabaseSync(lockPath(path), { timeout: 0 })
  try {
    database.exec('begin exclusive')
  } catch (error) {
    database.close()
    throw error
  }
  return { [Symbol.dispose]: () => database.close() }
}
