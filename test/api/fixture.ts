import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { STATUS_CODES, Agent, type IncomingHttpHeaders, type IncomingMessage, request } from 'node:http'
import { readEventStream, type ServerEvent } from '../../src/api/event-stream.ts'
import { type Service, type ServiceSettings, startService } from '../../src/api/service.ts'
import type { ApiKey, Role } from '../../src/domain/role.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Core } from '../../src/engine/core.ts'
import type { Log } from '../../src/log.ts'
import { draftStep, type EngineFixture, type EngineOptions, openEngine, writing } from '../engine/fixture.ts'
import { type OpenStore } from '../storage/fixture.ts'

/** What a service answered. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** The text as JSON; undefined where it is none. */
  readonly body: any
}

export interface Asking {
  /** Who asks: with the key of that name, or, where the service has none, as X-Actor. */
  readonly as?: string
  /** The secret of a key, as it is sent. */
  readonly key?: string
  /** An object or a list is sent as JSON, text and bytes as they are; JSON unless `headers` say otherwise. */
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal
}

export type Ask = (method: string, path: string, asking?: Asking) => Promise<Answer>

/** One line of the log. */
export interface Line {
  readonly level: keyof Log
  readonly message: string
  readonly fields: Readonly<Record<string, unknown>>
}

export interface ApiOptions extends EngineOptions {
  /** Whose keys there are. Unset: none, and everybody has every role. */
  readonly people?: Readonly<Record<string, Role>>
  readonly settings?: Partial<ServiceSettings>
  /** What stands between the service and the engine. */
  readonly wrap?: (core: Core) => Core
}

/** A service on an engine, with time that the test moves. */
export interface ApiFixture extends AsyncDisposable {
  readonly engine: EngineFixture
  readonly service: Service
  readonly url: string
  readonly ask: Ask
  /** Everything that the service has logged. */
  readonly lines: readonly Line[]
  /** Opens a stream of events; resolves once its head is there. Any other answer is an error. */
  watch(path: string, asking?: Asking): Promise<Watching>
}

/** A stream of events as somebody follows it. */
export interface Watching {
  readonly headers: IncomingHttpHeaders
  readonly events: readonly ServerEvent[]
  /** All that has arrived, comments included. */
  readonly text: () => string
  /** Whether the service has ended it, in order or not. */
  readonly isOver: () => boolean
  /** Stops reading, as somebody whose line is stuck. */
  pause(): void
  resume(): void
  /** Goes away. */
  leave(): void
}

const agent = new Agent({ keepAlive: true, maxSockets: Infinity })

export async function openApi(open: OpenStore, options: ApiOptions = {}): Promise<ApiFixture> {
  const engine = await openEngine(open, options)
  const api = await serviceOn(engine, options)
  return {
    ...api,
    async [Symbol.asyncDispose]() {
      // A test that failed half-way may leave somebody whom the service waits for.
      const closing = api[Symbol.asyncDispose]()
      await engine.clock.advance(60_000)
      await closing
      await engine[Symbol.asyncDispose]()
    },
  }
}

/** A service on an engine that is there already, and stays when the service has ended. */
export async function serviceOn(engine: EngineFixture, options: ApiOptions = {}): Promise<ApiFixture> {
  const { people, settings, wrap = (core) => core } = options
  const lines: Line[] = []
  const service = await startService({
    host: '127.0.0.1',
    port: 0,
    keys: people && keysOf(people),
    defaultActor: 'olga',
    log: logInto(lines),
    clock: engine.clock,
    ...settings,
  })
  service.serve(wrap(engine.core))
  const { url } = service
  const hasKeys = settings?.keys !== undefined || people !== undefined
  return {
    engine,
    service,
    url,
    lines,
    ask: (method, path, asking) => ask(url, method, path, asking, hasKeys),
    watch: (path, asking) => watch(url, path, asking, hasKeys),
    [Symbol.asyncDispose]: () => service.close(),
  }
}

/** What a case of the desk does, by its input. */
interface DeskInput extends JsonObject {
  /** So many runs of its first step fail. */
  readonly fails?: number
  /** It waits for the gate. */
  readonly waits?: boolean
}

/** What every case of the desk proposes, unless a test has another artifact. */
export const artifact = { amount: 100, currency: 'EUR', lines: [{ item: 'hotel', price: 100 }], note: 'as claimed' }

/** A workflow `review` that drafts a document, and a domain for each tier: plain, checked, gated, held. */
export function desk(
  options: { readonly gate?: Promise<unknown>; readonly artifact?: JsonObject } = {},
): EngineOptions {
  const tiers = { plain: 'auto', checked: 'spot_check', gated: 'gate', held: 'hold' }
  const first = { name: 'first', primitive: 'play', retry: { max_attempts: 1 } }
  return {
    packs: [
      {
        name: 'test',
        workflows: [{ name: 'review', steps: [first, draftStep] }],
        domains: Object.entries(tiers).map(([domain_name, governance]) => ({ domain_name, governance })),
        config: {
          governance_tiers: {
            spot_check: { sample_rate: 1, queue: 'quality', sla: 600 },
            gate: { queue: 'handlers', sla: 600, escalation_queue: 'leads' },
            hold: { queue: 'compliance', sla: 1200, escalation_queue: 'directors' },
          },
        },
      },
    ],
    plays: {
      async first({ run, context }) {
        const { fails = 0, waits = false } = context.input as DeskInput
        if (waits) await options.gate
        if (run <= fails) throw new Error('broken')
        return { seen: true }
      },
    },
    answers: { draft: writing(options.artifact ?? artifact) },
  }
}

/** The secret of somebody's key. */
export function secretOf(name: string): string {
  return `cc_${Buffer.from(name).toString('hex').padEnd(43, '0')}`
}

export function keysOf(people: Readonly<Record<string, Role>>): { find(secret: string): ApiKey | undefined } {
  const keys = new Map(
    Object.entries(people).map(([name, role]) => [
      secretOf(name),
      { name, role, sha256: '0'.repeat(64), created: '2026-01-05T09:00:00Z' },
    ]),
  )
  return { find: (secret) => keys.get(secret) }
}

export function logInto(lines: Line[]): Log {
  const at = (level: keyof Log) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: JSON.parse(JSON.stringify(fields)) as Line['fields'] })
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') }
}

function headersOf({ as, key, body, headers }: Asking, hasKeys: boolean): Record<string, string> {
  const secret = key ?? (as !== undefined && hasKeys ? secretOf(as) : undefined)
  return {
    ...(secret !== undefined && { authorization: `Bearer ${secret}` }),
    ...(as !== undefined && !hasKeys && { 'x-actor': encodeURIComponent(as) }),
    ...(body !== undefined && { 'content-type': 'application/json' }),
    ...headers,
  }
}

function bytesOf(body: unknown): string | Uint8Array | undefined {
  if (body === undefined || typeof body === 'string' || body instanceof Uint8Array) return body
  return JSON.stringify(body)
}

function send(url: string, method: string, path: string, asking: Asking, hasKeys: boolean): Promise<IncomingMessage> {
  const { hostname, port } = new URL(url)
  const headers = headersOf(asking, hasKeys)
  const body = bytesOf(asking.body)
  const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>()
  const options = { agent, hostname, port, method, path, signal: asking.signal }
  // The path goes as it is written, with everything that a URL would put right.
  const sent = request({ ...options, headers: { ...lengthOf(body, headers), ...headers } }, resolve)
  sent.once('error', reject)
  sent.end(body)
  return promise
}

function lengthOf(body: string | Uint8Array | undefined, headers: object): Record<string, string> {
  if (body === undefined || 'transfer-encoding' in headers) return {}
  return { 'content-length': String(Buffer.byteLength(body)) }
}

/** Asks one service, without a fixture. */
export async function ask(
  url: string,
  method: string,
  path: string,
  asking: Asking = {},
  hasKeys = false,
): Promise<Answer> {
  const answer = await send(url, method, path, asking, hasKeys)
  const { headers } = answer
  if (headers['content-type']?.startsWith('text/event-stream')) {
    // Who wants to read it asks `watch`.
    answer.destroy()
    return { status: answer.statusCode!, headers, text: '', body: undefined }
  }
  let text = ''
  for await (const chunk of answer.setEncoding('utf8')) text += chunk as string
  return { status: answer.statusCode!, headers, text, body: jsonOf(text) }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

async function watch(url: string, path: string, asking: Asking = {}, hasKeys = false): Promise<Watching> {
  const answer = await send(url, 'GET', path, asking, hasKeys)
  if (answer.statusCode !== 200) {
    answer.resume()
    throw new Error(`the stream was answered with ${answer.statusCode}`)
  }
  const events: ServerEvent[] = []
  const chunks: Buffer[] = []
  let isOver = false
  let going = Promise.withResolvers<void>()
  going.resolve()
  async function* taken(): AsyncGenerator<Buffer> {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      chunks.push(chunk)
      yield chunk
      await going.promise
    }
  }
  const read = async () => {
    for await (const event of readEventStream(taken())) events.push(event)
  }
  void read()
    .catch(() => {})
    .finally(() => (isOver = true))
  return {
    headers: answer.headers,
    events,
    text: () => Buffer.concat(chunks).toString(),
    isOver: () => isOver,
    pause: () => void (going = Promise.withResolvers()),
    resume: () => going.resolve(),
    leave: () => void answer.destroy(),
  }
}

/** Says this on a connection of its own, and returns all that comes back until the other side hangs up. */
export async function speak(url: string, text: string | Uint8Array): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  socket.write(text)
  let heard = ''
  for await (const chunk of socket.setEncoding('utf8')) heard += chunk as string
  return heard
}

/** Holds a refusal to its form: every one says what is wrong, what to do, and by which name the log knows it. */
export function checkProblem(
  { status, headers, body }: Answer,
  expected?: readonly [status: number, code: string],
): void {
  assert.equal(headers['content-type'], 'application/problem+json; charset=utf-8')
  if (expected) assert.deepEqual([status, body.code], expected)
  assert.equal(body.status, status)
  assert.equal(body.title, STATUS_CODES[status])
  assert.equal(body.type, 'about:blank')
  assert.equal(body.request_id, headers['x-request-id'])
  assert.match(body.code, /^CC_ERR_[A-Z0-9_]+$/)
  for (const field of ['detail', 'remedy']) {
    assert.match(body[field], /[.:!?)\w]$/)
    assert.doesNotMatch(body[field], /\{[a-z]\w*\}/i, 'a fact is missing')
  }
}

/** Does the same with each, and says with which one it went wrong. */
export async function withEach<T>(
  items: Readonly<Record<string, T>>,
  act: (item: T, name: string) => Promise<void>,
): Promise<void> {
  for (const [name, item] of Object.entries(items)) {
    await act(item, name).catch((cause: Error) => {
      throw new Error(`with ${name}: ${cause.message}`, { cause })
    })
  }
}
