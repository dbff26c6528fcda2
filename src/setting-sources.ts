/** Where the value of a setting was found. */
export type Origin =
  | { readonly source: 'flag'; readonly flag: string }
  | { readonly source: 'environment' }
  | { readonly source: 'file'; readonly file: string }
  | { readonly source: 'app_configuration'; readonly endpoint: string; readonly label: string | null }
  | { readonly source: 'default' }

/** What one source says, by the names of the settings. */
export interface Layer {
  readonly origin: Origin
  readonly values: Readonly<Record<string, string | undefined>>
}

/**
 * Every setting that there is, and where beside flags and environment it may stand: `anywhere`, in the file alone, which
 * is read before App Configuration, or nowhere else, because it is a secret or says which file is read.
 */
export const settings = {
  CC_DB_BACKEND: 'anywhere',
  CC_DB_PATH: 'anywhere',
  CC_DB_DSN: 'anywhere',
  CC_DB_DIRECT_DSN: 'anywhere',
  CC_DB_SCHEMA: 'anywhere',
  CC_DB_POOL_MIN: 'anywhere',
  CC_DB_POOL_MAX: 'anywhere',
  CC_DB_AUTH: 'anywhere',
  CC_API_REPLICAS: 'anywhere',
  CC_WORKER_CONCURRENCY: 'anywhere',
  CC_MODEL: 'anywhere',
  CC_MODEL_BASE_URL: 'anywhere',
  CC_PACKS: 'anywhere',
  CC_HOST: 'anywhere',
  CC_PORT: 'anywhere',
  CC_API_KEYS_FILE: 'anywhere',
  CC_RATE_LIMIT: 'anywhere',
  CC_URL: 'anywhere',
  CC_LOG_LEVEL: 'anywhere',
  CC_APPCONFIG_ENDPOINT: 'file',
  CC_APPCONFIG_CONNECTION_STRING: 'file',
  CC_APPCONFIG_LABEL: 'file',
  CC_CONFIG: 'environment',
  CC_API_KEY: 'environment',
  CC_MODEL_API_KEY: 'environment',
} as const satisfies Readonly<Record<string, 'anywhere' | 'file' | 'environment'>>

/** `sqlite.…`: limits, which the file alone may tighten. */
export type SettingName = keyof typeof settings | 'sqlite.max_replicas' | 'sqlite.max_worker_concurrency'

/** Whether a source of this kind may say what the setting is. */
export function mayStandIn(source: 'file' | 'app_configuration', name: string): boolean {
  const place = Object.hasOwn(settings, name) ? settings[name as keyof typeof settings] : undefined
  return place === 'anywhere' || (place === 'file' && source === 'file')
}

/** Sources in their order: what an earlier one says counts, and an empty text says nothing. */
export class Sources {
  readonly layers: readonly Layer[]

  constructor(layers: readonly Layer[]) {
    this.layers = layers
  }

  given(name: SettingName): string | undefined {
    return this.find(name)?.values[name]
  }

  origin(name: SettingName): Origin {
    return this.find(name)?.origin ?? { source: 'default' }
  }

  /** The setting as a refusal names it, so that whoever reads it knows where to correct it. */
  nameOf(name: SettingName): string {
    const origin = this.origin(name)
    switch (origin.source) {
      case 'flag':
        return origin.flag
      case 'file':
      case 'app_configuration':
        return `${name} in ${originInWords(origin)}`
      default:
        return name
    }
  }

  /** The same sources as if none of them had said anything about it. */
  without(name: SettingName): Sources {
    return new Sources(this.layers.map((layer) => ({ ...layer, values: { ...layer.values, [name]: undefined } })))
  }

  private find(name: SettingName): Layer | undefined {
    return this.layers.find(({ values }) => values[name])
  }
}

export function originInWords(origin: Origin): string {
  switch (origin.source) {
    case 'flag':
      return origin.flag
    case 'file':
      return origin.file
    case 'app_configuration':
      return `App Configuration ${origin.endpoint}${origin.label === null ? '' : `, label ${origin.label}`}`
    default:
      return origin.source
  }
}
