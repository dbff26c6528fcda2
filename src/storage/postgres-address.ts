import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import type { ConnectionOptions } from 'node:tls'
import { CoreError } from '../errors.ts'

/** A DSN, taken apart. */
export interface PostgresAddress {
  /** A name, an address, or the folder of a Unix socket. */
  readonly host: string
  readonly port: number
  readonly user: string
  readonly password: string | undefined
  readonly database: string
  /** False: in plain text. */
  readonly ssl: false | ConnectionOptions
  /** Whoever stands in between could read a password that is sent as it is. */
  readonly isExposed: boolean
  /** The DSN as people may see it. */
  readonly masked: string
  /** What an operator should know about it, in sentences. */
  readonly warnings: readonly string[]
}

const defaultPort = 5432

/** A DSN for connections that show a token, which is sent as it is: it must not be overheard. */
export function parseDsnForTokens(dsn: string, name?: string): PostgresAddress {
  const address = parseDsn(dsn, name)
  if (!address.isExposed) return address
  const why = 'with CC_DB_AUTH=entra its sslmode must be verify-full, or whoever stands in between could take the token'
  throw new CoreError('CC_ERR_DSN', { name: name ?? 'CC_DB_DSN', why })
}

/** Reads `postgres://user:password@host:port/database?sslmode=…`; refuses what would be taken for something else. */
export function parseDsn(dsn: string, name = 'CC_DB_DSN'): PostgresAddress {
  const refuse = (why: string): never => {
    throw new CoreError('CC_ERR_DSN', { name, why })
  }
  // An empty host is legal in a DSN and not in a URL: `postgres:///db?host=/run/postgresql`.
  const text = dsn.replace(/^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)(?=[/?#]|$)/, '$1-')
  if (!/^postgres(ql)?:\/\//.test(dsn) || !URL.canParse(text)) {
    return refuse('it must look like postgres://user:password@host:5432/database')
  }
  const url = new URL(text)
  const params = new Map(url.searchParams)
  for (const key of params.keys()) if (!known.has(key)) refuse(`it does not take the parameter ${key}`)
  const decoded = (part: string) => {
    try {
      return decodeURIComponent(part)
    } catch {
      return refuse('a percent sign in it must be written as %25')
    }
  }
  const urlHost = url.hostname === '-' ? '' : decoded(url.hostname.replace(/^\[(.*)\]$/, '$1'))
  const host = params.get('host') || urlHost || 'localhost'
  const user = decoded(url.username) || params.get('user') || userInfo().username
  const database = decoded(url.pathname.slice(1)) || params.get('dbname') || user
  const port = Number(url.port || params.get('port') || defaultPort)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) refuse('its port is no port')
  const { ssl, warnings } = readTls(host, params, refuse)
  const where = host.startsWith('/') ? `/${database}?host=${host}` : `${hostText(host)}:${port}/${database}`
  const password = decoded(url.password) || params.get('password') || undefined
  const masked = `postgres://${user}${password === undefined ? '' : ':***'}@${where}`
  const isExposed = ssl === false ? !isLocal(host) : ssl.rejectUnauthorized === false
  return { host, port, user, password, database, ssl, isExposed, masked, warnings }
}

const known: ReadonlySet<string> = new Set([
  ...['host', 'port', 'user', 'password', 'dbname'],
  ...['sslmode', 'sslrootcert', 'sslcert', 'sslkey'],
])

function hostText(host: string): string {
  return host.includes(':') ? `[${host}]` : host
}

/** Whether nothing between here and there can listen. */
function isLocal(host: string): boolean {
  return host.startsWith('/') || host === 'localhost' || host === '::1' || /^127(\.\d+){3}$/.test(host)
}

/** Unless the DSN says otherwise: the certificate must be good and be that of this host. */
function readTls(
  host: string,
  params: ReadonlyMap<string, string>,
  refuse: (why: string) => never,
): Pick<PostgresAddress, 'ssl' | 'warnings'> {
  const file = (name: string) => {
    const path = params.get(name)
    if (path === undefined) return undefined
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      return refuse(`its ${name} cannot be read: ${(error as Error).message}`)
    }
  }
  const named = { ca: file('sslrootcert'), cert: file('sslcert'), key: file('sslkey') }
  const files = Object.fromEntries(Object.entries(named).filter(([, text]) => text !== undefined))
  const mode = params.get('sslmode') ?? (isLocal(host) ? 'disable' : 'verify-full')
  switch (mode) {
    case 'disable':
      return { ssl: false, warnings: isLocal(host) ? [] : [`The connection to ${host} is not encrypted.`] }
    case 'require':
    case 'no-verify': {
      const warning = `The certificate of ${host} is not verified (sslmode=${mode}): anybody in between could take its place.`
      return { ssl: { ...files, rejectUnauthorized: false }, warnings: [warning] }
    }
    case 'verify-ca': {
      const warning = `The certificate of ${host} may be that of another host (sslmode=verify-ca).`
      return { ssl: { ...files, checkServerIdentity: () => undefined }, warnings: [warning] }
    }
    case 'verify-full':
      return { ssl: files, warnings: [] }
    default:
      return refuse(`its sslmode=${mode} would fall back to plain text; use verify-full, verify-ca, require or disable`)
  }
}
