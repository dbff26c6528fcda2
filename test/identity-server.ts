import { once } from 'node:events'
import { createServer } from 'node:http'

/** The endpoint by which a machine of Azure gets tokens of its managed identity. */
export interface IdentityServer extends AsyncDisposable {
  /** What a program finds in its environment there; nothing else is tried for a token. */
  readonly env: Readonly<Record<string, string>>
  /** What the next one who asks gets; it is good for a minute, so nobody keeps it. Unset: HTTP 500. */
  token: string | undefined
  /** Of every request, for what a token was asked. */
  readonly asked: string[]
}

const header = 'a header that only this machine knows'

export async function startIdentity(): Promise<IdentityServer> {
  const server = createServer((request, response) => {
    const resource = new URL(request.url!, 'http://localhost').searchParams.get('resource')
    self.asked.push(String(resource))
    const { token } = self
    if (request.headers['x-identity-header'] !== header) return void response.writeHead(401).end()
    if (token === undefined) return void response.writeHead(500).end()
    const expires_on = String(Math.floor(Date.now() / 1000) + 60)
    const answer = { access_token: token, expires_on, resource, token_type: 'Bearer' }
    response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(answer))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const self: IdentityServer = {
    env: {
      IDENTITY_ENDPOINT: `http://127.0.0.1:${(server.address() as { port: number }).port}/token`,
      IDENTITY_HEADER: header,
      AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential',
    },
    token: undefined,
    asked: [],
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
  return self
}
