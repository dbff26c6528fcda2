import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { isIP } from 'node:net'
import { type ApiKey, type Role, roles } from '../domain/role.ts'
import { checkActor } from '../engine/actor.ts'
import { CoreError } from '../errors.ts'

/** Who may see cases; a submitter only those that are their own. */
const readers = ['submitter', 'reviewer', 'auditor'] as const
const keepers = ['auditor', 'operator'] as const

/**
 * Every route and who may take it. A route that is not in here cannot be written, and one whose row is `open` shows
 * nothing of any case.
 */
export const access = {
  'POST /v1/cases': ['submitter'],
  'GET /v1/cases': readers,
  'GET /v1/cases/:id': readers,
  'GET /v1/cases/:id/steps': readers,
  'GET /v1/cases/:id/audit': readers,
  'GET /v1/cases/:id/export': readers,
  'GET /v1/cases/:id/verify': readers,
  'GET /v1/cases/:id/stream': readers,
  'POST /v1/cases/:id/cancel': ['operator'],
  'POST /v1/cases/:id/retry': ['operator'],
  'POST /v1/cases/:id/erase': ['operator'],
  'GET /v1/stream': ['reviewer', 'auditor'],
  'GET /v1/tasks': ['reviewer', 'auditor'],
  'GET /v1/tasks/:id': ['reviewer', 'auditor'],
  'POST /v1/tasks/:id/claim': ['reviewer'],
  'POST /v1/tasks/:id/decision': ['reviewer'],
  'GET /v1/workflows': roles,
  'GET /v1/me': roles,
  'GET /v1/limits': keepers,
  'GET /v1/graduation': keepers,
  'GET /metrics': keepers,
  'GET /health/live': 'open',
  'GET /health/ready': 'open',
  'GET /openapi.json': 'open',
  'GET /': 'open',
} as const satisfies Record<string, readonly Role[] | 'open'>

/** A method and a path of the API, as the table of access names it. */
export type RouteId = keyof typeof access

/** Who asks, and as what. */
export interface Caller {
  /** As it is recorded. */
  readonly actor: string
  readonly roles: readonly Role[]
}

/** How callers are known: by the keys of a file, or, where there is none, by the name that they give. */
export interface Door {
  readonly keys: { find(secret: string): ApiKey | undefined } | undefined
  /** Who acts where nobody says so. */
  readonly defaultActor: string
}

/** Tells who asks. Refuses a key that is missing or unknown, and a name that cannot be recorded. */
export function callerOf({ keys, defaultActor }: Door, headers: IncomingHttpHeaders): Caller {
  if (keys === undefined) return { actor: unverified(headers['x-actor'], defaultActor), roles }
  const [, secret] = /^Bearer +(\S+)$/i.exec(headers.authorization ?? '') ?? []
  if (secret === undefined) throw new CoreError('CC_ERR_KEY_MISSING')
  const key = keys.find(secret)
  if (key === undefined) throw new CoreError('CC_ERR_KEY_UNKNOWN')
  return { actor: key.name, roles: [key.role] }
}

/** A name that nobody has vouched for, marked as such. */
export function unverified(given: string | string[] | undefined, defaultActor: string): string {
  const name = given === undefined || given === '' ? defaultActor : decodeActor(String(given))
  const actor = `unverified:${name.replace(/^(unverified:\s*)+/, '')}`
  checkActor(actor.slice('unverified:'.length))
  checkActor(actor)
  return actor
}

/** A header holds ASCII alone, so other characters come percent-encoded. */
function decodeActor(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}

/** Refuses a caller whose roles do not open this route. */
export function checkRole(id: RouteId, caller: Caller): void {
  const allowed: readonly Role[] | 'open' = access[id]
  if (allowed === 'open' || caller.roles.some((role) => allowed.includes(role))) return
  throw new CoreError('CC_ERR_ROLE', {
    actor: caller.actor,
    role: caller.roles.join(', '),
    allowed: allowed.join(', '),
  })
}

/** Set where the caller may see no cases but their own. */
export function ownCasesOf({ actor, roles: held }: Caller): string | undefined {
  return held.some((role) => role === 'reviewer' || role === 'auditor') ? undefined : actor
}

/** Addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  const name = host.replace(/^\[(.*)\]$/, '$1').toLowerCase()
  return name === 'localhost' || name === '::1' || (isIP(name) === 4 && name.startsWith('127.'))
}

/**
 * Refuses a request that a page of another site has made the browser send: a name that leads here although it is not ours
 * (DNS rebinding), where no key protects the service, and a foreign origin in any case.
 */
export function checkOrigin(headers: IncomingHttpHeaders, { isKeyless }: { readonly isKeyless: boolean }): void {
  const { host = '', origin } = headers
  const here = readHost(host)
  if (isKeyless && !(here && isLoopback(here.name))) throw new CoreError('CC_ERR_HOST', { host })
  if (origin === undefined) return
  const there = URL.canParse(origin) ? new URL(origin).host : undefined
  if (there === undefined || there !== here?.host) throw new CoreError('CC_ERR_ORIGIN', { origin })
}

/** A name or an address and perhaps a port: a Host that is anything else is no place that a browser was sent to. */
function readHost(text: string): { readonly name: string; readonly host: string } | undefined {
  const [, name] = /^(\[[\d:a-f.]+\]|[\w.-]+)(?::\d{1,5})?$/i.exec(text) ?? []
  if (name === undefined || !URL.canParse(`http://${text}`)) return undefined
  return { name, host: new URL(`http://${text}`).host }
}

/** Headers that name somebody or something: said twice, or in bytes that nobody reads alike, they would name another. */
const namingHeaders = ['host', 'authorization', 'x-actor', 'idempotency-key', 'last-event-id'] as const

/** Refuses a request whose headers can be understood in two ways. */
export function checkHeaders({ headersDistinct }: Pick<IncomingMessage, 'headersDistinct'>): void {
  for (const name of namingHeaders) {
    const [value = '', ...others] = headersDistinct[name] ?? []
    const refuse = (why: string) => new CoreError('CC_ERR_REQUEST', { problem: `header.${name}: ${why}` })
    if (others.length > 0) throw refuse('it is there more than once')
    if (!/^[ -~]*$/.test(value)) throw refuse('it takes ASCII alone; percent-encode a name with other characters')
  }
}
