/** A DSN as people may see it: without its password, and hidden altogether where it cannot be taken apart. */
export function maskDsn(dsn: string): string {
  const url = parse(dsn)
  // A password with a slash or a question mark in it ends the name of the host, and the rest of it stands behind.
  if (!url || `${url.pathname}${url.search}${url.hash}`.includes('@')) return hidden
  if (url.password !== '') url.password = hidden
  if (url.searchParams.has('password')) url.searchParams.set('password', hidden)
  return url.href.replace(emptyHost, '$1').replaceAll('%2F', '/')
}

/** Whether a password stands in a DSN; one that cannot be taken apart is refused further on. */
export function hasPassword(dsn = ''): boolean {
  const url = parse(dsn)
  return url !== undefined && Boolean(url.password || url.searchParams.get('password'))
}

const hidden = '***'

/** An empty host is legal in a DSN and not in a URL; this name takes its place. */
const emptyHost = /^([a-z]+:\/\/(?:[^/?#]*@)?)-(?=[/?#]|$)/

function parse(dsn: string): URL | undefined {
  const text = dsn.replace(/^(postgres(?:ql)?:\/\/(?:[^/?#]*@)?)(?=[/?#]|$)/, '$1-')
  return URL.canParse(text) ? new URL(text) : undefined
}
