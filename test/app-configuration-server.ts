import { createHash, createHmac, timingSafeEqual } from 'node:crypto'
import { once } from 'node:events'
import type { IncomingMessage } from 'node:http'
import { createServer } from 'node:https'
import type { Authority } from './certificates.ts'

/** One key and value; without a label unless one is said. */
export interface StoredSetting {
  readonly key: string
  readonly value: string
  readonly label?: string
  readonly contentType?: string
}

export interface AppConfigurationServer extends AsyncDisposable {
  readonly endpoint: string
  readonly connectionString: string
  readonly settings: StoredSetting[]
  /** Answered in place of what was asked for, as long as it is set. */
  answer: { readonly status: number; readonly headers?: Readonly<Record<string, string>> } | 'silence' | undefined
  /** Tokens that are let in beside the signatures of the key. */
  readonly tokens: Set<string>
  /** Every request that came, as `GET /kv?…`. */
  readonly requests: string[]
}

const credential = { id: 'key-1', secret: Buffer.from('a secret of the test').toString('base64') }

/** Settings on one page; the next one is found by `@nextLink`. */
const pageSize = 2

/** How far the clock of a client may be off. */
const maxSkewMs = 15 * 60_000

/**
 * A store of settings that speaks as Azure App Configuration does over HTTPS: it checks the signature of every request
 * (HMAC-SHA256 over method, path with query, date, host and digest of the body) or a token, filters by key and label, and
 * answers page by page.
 */
export async function startAppConfiguration(authority: Authority): Promise<AppConfigurationServer> {
  const server = createServer(authority.vouchFor('127.0.0.1'), (request, response) => {
    const { requests, answer, tokens, settings } = self
    requests.push(`${request.method} ${request.url}`)
    if (answer === 'silence') return
    if (answer) return void response.writeHead(answer.status, answer.headers).end()
    if (!isSigned(request, '') && !isLetIn(request, tokens)) {
      return void response.writeHead(401, { 'www-authenticate': 'HMAC-SHA256, Bearer' }).end()
    }
    const url = new URL(request.url!, self.endpoint)
    if (request.method !== 'GET' || url.pathname !== '/kv') return void response.writeHead(404).end()
    const type = 'application/vnd.microsoft.appconfig.kvset+json; charset=utf-8'
    response.writeHead(200, { 'content-type': type }).end(JSON.stringify(page(url, settings)))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const endpoint = `https://127.0.0.1:${(server.address() as { port: number }).port}`
  const self: AppConfigurationServer = {
    endpoint,
    connectionString: `Endpoint=${endpoint};Id=${credential.id};Secret=${credential.secret}`,
    settings: [],
    answer: undefined,
    tokens: new Set(),
    requests: [],
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return self
}

function isSigned({ method, url, headers }: IncomingMessage, body: string): boolean {
  const [, id, names, signature] =
    /^HMAC-SHA256 Credential=([^&]+)&SignedHeaders=([^&]+)&Signature=(.+)$/.exec(headers.authorization ?? '') ?? []
  const date = String(headers['x-ms-date'])
  const digest = createHash('sha256').update(body).digest('base64')
  if (id !== credential.id || names?.toLowerCase() !== 'x-ms-date;host;x-ms-content-sha256') return false
  if (headers['x-ms-content-sha256'] !== digest || !(Math.abs(Date.now() - Date.parse(date)) < maxSkewMs)) return false
  const text = `${method}\n${url}\n${date};${headers.host};${digest}`
  const right = createHmac('sha256', Buffer.from(credential.secret, 'base64')).update(text).digest()
  const given = Buffer.from(signature!, 'base64')
  return given.length === right.length && timingSafeEqual(given, right)
}

function isLetIn({ headers }: IncomingMessage, tokens: ReadonlySet<string>): boolean {
  return tokens.has(/^Bearer (.+)$/.exec(headers.authorization ?? '')?.[1] ?? '')
}

function page(url: URL, settings: readonly StoredSetting[]) {
  const [key, label] = [matcher(url.searchParams.get('key') ?? '*'), matcher(url.searchParams.get('label') ?? '*')]
  const found = settings.filter((one) => key.test(one.key) && label.test(one.label ?? '\0'))
  const start = Number(url.searchParams.get('after') ?? 0)
  const items = found.slice(start, start + pageSize).map(({ key: name, value, label: of = null, contentType = '' }) => {
    return { key: name, value, label: of, content_type: contentType, etag: 'e', tags: {}, locked: false }
  })
  if (start + pageSize >= found.length) return { items }
  const next = new URL(url)
  // As Azure does: behind everything else.
  next.searchParams.delete('after')
  next.searchParams.append('after', String(start + pageSize))
  return { items, '@nextLink': `${next.pathname}${next.search}` }
}

/** A filter of keys or labels: `*` at its end stands for anything, a backslash takes the meaning from what follows. */
function matcher(filter: string): RegExp {
  const parts = [...filter.matchAll(/\\(.)|(.)/gs)].map(([, escaped, plain]) =>
    plain === '*' ? '.*' : (escaped ?? plain)!.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'),
  )
  return new RegExp(`^${parts.join('')}$`, 's')
}
