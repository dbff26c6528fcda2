import { setTimeout as delay } from 'node:timers/promises'
import { loadAzure } from './azure-packages.ts'
import { CoreError } from './errors.ts'

/** What gives tokens; it keeps one for as long as it is good. */
export interface EntraCredential {
  getToken(
    scopes: string | string[],
    options?: { readonly abortSignal?: AbortSignal },
  ): Promise<{ readonly token: string; readonly expiresOnTimestamp: number } | null>
}

/** What a token for Azure Database for PostgreSQL is asked for. */
const databaseScope = 'https://ossrdbms-aad.database.windows.net/.default'

/** How long a token may take: less than a connection may, so that the refusal says what was waited for. */
const tokenMs = 8000

/**
 * The password of a connection is a token that is asked for when the connection is made, so one that has expired is never
 * used. What is missing is met with the first connection.
 */
export function entraPassword(open = () => openEntra('CC_DB_AUTH')): () => Promise<string> {
  let credential: Promise<EntraCredential> | undefined
  return async () => {
    credential ??= open()
    // A package may be installed while a service waits for it.
    credential.catch(() => (credential = undefined))
    return (await fetchToken(await credential, databaseScope)).token
  }
}

/** What the machine, its environment or whoever is logged in has to show Microsoft Entra. */
export async function openEntra(setting: string): Promise<EntraCredential> {
  const { DefaultAzureCredential } = await loadAzure('@azure/identity', setting, () => import('@azure/identity'))
  const credential = new DefaultAzureCredential()
  return { getToken: (scopes, options = {}) => fetchToken(credential, scopes, options.abortSignal) }
}

/** A token, or a refusal within a bounded time. */
async function fetchToken(credential: EntraCredential, scopes: string | string[], abortSignal?: AbortSignal) {
  const late = new AbortController()
  const signals = AbortSignal.any([late.signal, ...(abortSignal ? [abortSignal] : [])])
  try {
    const token = await Promise.race([credential.getToken(scopes, { abortSignal: signals }), overdue(late.signal)])
    if (token) return token
    throw new Error('there is none')
  } catch (cause) {
    if (cause instanceof CoreError) throw cause
    throw new CoreError('CC_ERR_ENTRA_TOKEN', { scope: [scopes].flat().join(' '), why: whyNot(cause) }, { cause })
  } finally {
    late.abort()
  }
}

async function overdue(signal: AbortSignal): Promise<never> {
  await delay(tokenMs, undefined, { signal }).catch(() => {})
  throw new Error(`there was no answer within ${tokenMs} ms`)
}

/** Each kind of credentials has said why it has none; one that has some and was refused says more. */
function whyNot(error: unknown): string {
  const { errors = [] } = error as { readonly errors?: readonly Error[] }
  const refused = errors.find(({ name }) => name !== 'CredentialUnavailableError')
  const told = refused || errors.length === 0 ? [refused ?? (error as Error)] : errors
  return told.map(firstSentence).join('; ')
}

function firstSentence({ message }: Error): string {
  return message.trim().split(/[.\s]*(?:\n|[.] |$)/, 1)[0]!
}
