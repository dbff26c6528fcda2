/** One event of a stream, as its sender wrote it. */
export interface ServerEvent {
  readonly id: string | undefined
  readonly event: string
  readonly data: string
}

/** Reads server-sent events as they arrive, until the stream ends. Rejects when the connection is lost. */
export async function* readEventStream(body: AsyncIterable<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of body) {
    text += decoder.decode(chunk, { stream: true })
    const blocks = text.split('\n\n')
    text = blocks.pop()!
    for (const block of blocks) {
      const event = parseBlock(block)
      if (event) yield event
    }
  }
}

/** Our own service writes one line a field; comments keep the connection open. */
function parseBlock(block: string): ServerEvent | undefined {
  const fields = new Map(
    block.split('\n').flatMap((line) => {
      const [, name, value] = /^(\w+): (.*)$/.exec(line) ?? []
      return name === undefined ? [] : [[name, value!] as const]
    }),
  )
  const [event, data] = [fields.get('event'), fields.get('data')]
  return event === undefined || data === undefined ? undefined : { id: fields.get('id'), event, data }
}
