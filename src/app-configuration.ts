import type { AppConfigurationPlace } from './app-configuration-place.ts'
import { loadAzure } from './azure-packages.ts'
import { hasPassword } from './dsn.ts'
import { openEntra } from './entra.ts'
import { CoreError, isCoreError } from './errors.ts'
import { type Layer, mayStandIn } from './setting-sources.ts'

/** What a store of Azure App Configuration said, and what an operator should know about it. */
export interface AppConfiguration {
  readonly layer: Layer
  readonly warnings: readonly string[]
}

/** How long all of it may take, and how often one request is tried again within that time. */
const readMs = 15_000
const retries = { maxRetries: 2, retryDelayInMs: 200, maxRetryDelayInMs: 1000 }

/** More than there are settings, by far. */
const maxSettings = 1000

/** A value that stands in a Key Vault, and here only by its address. */
const referenceType = /^application\/vnd\.microsoft\.appconfig\.keyvaultref\+json/

/** Reads the settings of a store, within a bounded time; a store that cannot be read, or has none, is refused. */
export async function readAppConfiguration(place: AppConfigurationPlace): Promise<AppConfiguration> {
  const { endpoint, label = null } = place
  const found = await fetchSettings(place)
  const where = label === null ? 'without a label' : `with the label ${label}`
  const values: Record<string, string> = {}
  const warnings: string[] = []
  for (const { key, value, contentType } of found) {
    if (!mayStandIn('app_configuration', key)) {
      warnings.push(`${key} in App Configuration ${endpoint} is not read: it is no setting that may stand there.`)
    } else if (referenceType.test(contentType ?? '')) {
      throw new CoreError('CC_ERR_APPCONFIG_REFERENCE', { name: key, endpoint })
    } else if (value) {
      values[key] = value
    }
    if (hasPassword(values[key]) && /_DSN$/.test(key)) {
      warnings.push(`${key} in App Configuration ${endpoint} holds a password, which all its readers can see.`)
    }
  }
  if (Object.keys(values).length === 0) throw new CoreError('CC_ERR_APPCONFIG_EMPTY', { endpoint, where })
  return { layer: { origin: { source: 'app_configuration', endpoint, label }, values }, warnings }
}

interface Setting {
  readonly key: string
  readonly value?: string | undefined
  readonly contentType?: string | undefined
}

async function fetchSettings(place: AppConfigurationPlace): Promise<readonly Setting[]> {
  const abortSignal = AbortSignal.timeout(readMs)
  const client = await openClient(place)
  const found: Setting[] = []
  try {
    const filters = { keyFilter: 'CC_*', labelFilter: labelFilter(place.label), abortSignal }
    for await (const { key, value, contentType } of client.listConfigurationSettings(filters)) {
      found.push({ key, value, contentType })
      if (found.length >= maxSettings) throw new Error(`it has more than ${maxSettings} settings that begin with CC_`)
    }
    return found
  } catch (error) {
    throw refusalOf(error, place.endpoint, abortSignal.aborted)
  }
}

async function openClient({ endpoint, connectionString }: AppConfigurationPlace) {
  const setting = connectionString === undefined ? 'CC_APPCONFIG_ENDPOINT' : 'CC_APPCONFIG_CONNECTION_STRING'
  const load = () => import('@azure/app-configuration')
  const { AppConfigurationClient } = await loadAzure('@azure/app-configuration', setting, load)
  const options = { retryOptions: retries }
  if (connectionString !== undefined) return new AppConfigurationClient(connectionString, options)
  return new AppConfigurationClient(endpoint, await openEntra(setting), options)
}

/** One label and no pattern; `\0` stands for none. */
function labelFilter(label: string | undefined): string {
  return label === undefined ? '\0' : label.replace(/[\\*,]/g, '\\$&')
}

function refusalOf(error: unknown, endpoint: string, isLate: boolean): CoreError {
  if (isCoreError(error)) return error
  const { statusCode, message } = error as { readonly statusCode?: number; readonly message: string }
  const code = statusCode === 401 || statusCode === 403 ? 'CC_ERR_APPCONFIG_LOGIN' : 'CC_ERR_APPCONFIG_AWAY'
  const [first = ''] = message.split('\n')
  const late = isLate ? `nothing came whole within ${readMs} ms` : undefined
  const why = late ?? (statusCode === undefined ? first.replace(/[.\s]+$/, '') : `it answered with HTTP ${statusCode}`)
  return new CoreError(code, { endpoint, why }, { cause: error })
}
