import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'

/** A call as it came over the wire. */
export interface Received {
  readonly path: string
  readonly headers: IncomingHttpHeaders
  readonly body: Readonly<Record<string, unknown>>
  /** Resolves once the call is over, whoever ended it. */
  readonly closed: Promise<void>
}

/** What the server does with one call. */
export type Play = (response: ServerResponse, received: Received) => void | Promise<void>

/** A provider on this machine: real HTTP, and answers that the test writes. */
export interface ModelServer extends AsyncDisposable {
  readonly url: string
  /** Every call in the order in which they came. */
  readonly calls: readonly Received[]
  /** What is done with the calls from now on, one after the other; the last goes on for all that follow. */
  play(...plays: readonly Play[]): void
}

export async function modelServer(...plays: readonly Play[]): Promise<ModelServer> {
  const calls: Received[] = []
  let queue = [...plays]
  const server = createServer((request, response) => {
    const closed = Promise.withResolvers<void>()
    response.once('close', closed.resolve)
    void text(request).then(async (sent) => {
      const { url: path = '', headers } = request
      const received = { path, headers, body: JSON.parse(sent || '{}') as Received['body'], closed: closed.promise }
      calls.push(received)
      const play = queue.length > 1 ? queue.shift()! : queue[0]!
      await play(response, received)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  return {
    url: `http://127.0.0.1:${port}/v1`,
    calls,
    play: (...next) => void (queue = [...next]),
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}

/** Whatever JSON, under whatever status. */
export function replying(body: object | string, status = 200, headers: Readonly<Record<string, string>> = {}): Play {
  const type = typeof body === 'string' ? 'text/html' : 'application/json'
  return (response) =>
    void response
      .writeHead(status, { 'content-type': type, ...headers })
      .end(typeof body === 'string' ? body : JSON.stringify(body))
}

interface Completion {
  readonly content?: string | null
  readonly refusal?: string
  readonly tool_calls?: readonly object[]
  readonly finish?: string | null
}

const usage = { prompt_tokens: 120, completion_tokens: 30, total_tokens: 150 }

/** A whole answer in the OpenAI protocol, or the same in pieces where the call asks for a stream. */
export function completing(message: Completion | string): Play {
  const { finish = 'stop', ...said } = typeof message === 'string' ? { content: message } : message
  return (response, { body }) => {
    const about = { id: 'c-1', created: 1_767_600_000, model: 'test-model-2026-01-05' }
    if (body.stream !== true) {
      const choices = [{ index: 0, message: { role: 'assistant', ...said }, finish_reason: finish }]
      return replying({ ...about, object: 'chat.completion', choices, usage })(response, {} as Received)
    }
    const chunk = (delta: object, finish_reason: string | null = null) =>
      event({ ...about, object: 'chat.completion.chunk', choices: [{ index: 0, delta, finish_reason }] })
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(chunk({ role: 'assistant' }))
    const { content, ...others } = said
    for (const piece of content?.match(/[\s\S]{1,1000}/g) ?? []) response.write(chunk({ content: piece }))
    const calls = others.tool_calls?.map((call, index) => ({ index, ...call }))
    response.write(chunk({ ...others, ...(calls && { tool_calls: calls }) }, finish))
    response.end(`${event({ ...about, object: 'chat.completion.chunk', choices: [], usage })}data: [DONE]\n\n`)
  }
}

export function event(data: object): string {
  return `data: ${JSON.stringify(data)}\n\n`
}

/** Says nothing, and keeps the connection. */
export const hanging: Play = () => {}

/** Begins an answer and goes on as slowly as a tap drips, without end. */
export const dripping: Play = (response, { body }) => {
  response.writeHead(200, { 'content-type': body.stream === true ? 'text/event-stream' : 'application/json' })
  const drip = setInterval(() => response.write(body.stream === true ? ': still here\n\n' : ' '), 20)
  response.once('close', () => clearInterval(drip))
}

/** Begins an answer and loses the connection in the middle of it. */
export const cutting: Play = (response, { body }) => {
  const isStream = body.stream === true
  response.writeHead(200, { 'content-type': isStream ? 'text/event-stream' : 'application/json' })
  const piece = { id: 'c', model: 'm', choices: [{ index: 0, delta: { content: '{"conf' } }] }
  response.write(isStream ? event(piece) : '{"id": "c-1", "choices": [{"mess', () => response.destroy())
}

/** Loses the connection before a word is said. */
export const dropping: Play = (response) => void response.destroy()
