import { CoreError } from './errors.ts'
import { type Sources, type SettingName } from './setting-sources.ts'
import { wrongSetting } from './setting-values.ts'

/** Which store of Azure App Configuration is read, and how it lets us in. */
export interface AppConfigurationPlace {
  readonly endpoint: string
  /** Unset: credentials of Microsoft Entra are used. */
  readonly connectionString: string | undefined
  /** Unset: settings without a label. */
  readonly label: string | undefined
}

/** The store that flags, environment and file name, if they name one. */
export function readAppConfigurationPlace(sources: Sources): AppConfigurationPlace | undefined {
  const connectionString = sources.given('CC_APPCONFIG_CONNECTION_STRING')
  const address = sources.given('CC_APPCONFIG_ENDPOINT')
  const label = sources.given('CC_APPCONFIG_LABEL')
  if (connectionString !== undefined && address !== undefined) {
    throw wrongSetting(sources, 'CC_APPCONFIG_ENDPOINT', 'nothing, since CC_APPCONFIG_CONNECTION_STRING names a store')
  }
  if (connectionString !== undefined) {
    const endpoint = originOf(/^Endpoint=([^;]+);Id=[^;]+;Secret=[A-Za-z0-9+/=]+$/.exec(connectionString)?.[1])
    if (endpoint === undefined) throw refuseConnectionString(sources)
    return { endpoint, connectionString, label }
  }
  if (address === undefined) return undefined
  const endpoint = originOf(address)
  if (endpoint === undefined) {
    throw wrongSetting(sources, 'CC_APPCONFIG_ENDPOINT', 'an address such as https://cc-app-config.azconfig.io')
  }
  return { endpoint, connectionString: undefined, label }
}

/** An https address without anything behind it, without a slash at its end. */
function originOf(address: string | undefined): string | undefined {
  if (address === undefined || !URL.canParse(address)) return undefined
  const { protocol, origin, href } = new URL(address)
  return protocol === 'https:' && (href === origin || href === `${origin}/`) ? origin : undefined
}

/** It holds a secret, so it is not repeated. */
function refuseConnectionString(sources: Sources): CoreError {
  const name: SettingName = 'CC_APPCONFIG_CONNECTION_STRING'
  const right = 'what `az appconfig credential list` shows: Endpoint=https://…;Id=…;Secret=…'
  return new CoreError('CC_ERR_SETTING', { name: sources.nameOf(name), value: '***', right })
}
