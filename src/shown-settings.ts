import { delimiter } from 'node:path'
import { type Config, maxSqliteReplicas, maxSqliteWorkers } from './config.ts'
import { maskDsn } from './dsn.ts'
import { type Origin, type SettingName, settings } from './setting-sources.ts'

/** A setting as people and programs may see it. */
export type ShownSetting = Origin & { readonly value: string | number | null }

/** Every setting by its name, what it is and where that was found; secrets are masked, and what is unset is null. */
export function shownSettings(config: Config): Readonly<Record<string, ShownSetting>> {
  const { sources } = config
  const inForce = valuesInForce(config)
  const own = [...Object.keys(settings), 'sqlite.max_replicas', 'sqlite.max_worker_concurrency'] as SettingName[]
  const shown = own.map((name) => {
    const value = inForce[name] ?? masked(name, sources.given(name)) ?? null
    return [name, { value, ...sources.origin(name) }] as const
  })
  return Object.fromEntries([...shown, ...fromFile(config, new Set(own))])
}

/** What a value comes to with its default. Others are shown as they were given. */
function valuesInForce(config: Config): Readonly<Partial<Record<SettingName, string | number>>> {
  const { postgres, sources } = config
  const limit = (name: SettingName, most: number) => Number(sources.given(name) ?? most)
  return {
    CC_DB_BACKEND: config.backend,
    CC_DB_PATH: config.dbPath,
    ...(postgres && {
      CC_DB_SCHEMA: postgres.schema,
      CC_DB_POOL_MIN: postgres.poolMin,
      CC_DB_POOL_MAX: postgres.poolMax,
      CC_DB_AUTH: postgres.password ? 'entra' : 'password',
    }),
    CC_API_REPLICAS: config.replicas,
    CC_WORKER_CONCURRENCY: config.workerConcurrency,
    CC_MODEL: config.model,
    ...(config.packs.length > 0 && { CC_PACKS: config.packs.join(delimiter) }),
    CC_HOST: config.host,
    CC_PORT: config.port,
    'sqlite.max_replicas': limit('sqlite.max_replicas', maxSqliteReplicas),
    'sqlite.max_worker_concurrency': limit('sqlite.max_worker_concurrency', maxSqliteWorkers),
  } as Partial<Record<SettingName, string | number>>
}

/** Names of models and the like, which stand in the file alone. */
function fromFile({ sources }: Config, known: ReadonlySet<string>): (readonly [string, ShownSetting])[] {
  return sources.layers
    .filter(({ origin }) => origin.source === 'file')
    .flatMap(({ origin, values }) =>
      Object.entries(values)
        .filter(([name, value]) => value !== undefined && !known.has(name))
        .map(([name, value]) => [name, { value: value ?? null, ...origin }] as const),
    )
}

function masked(name: SettingName, value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  switch (name) {
    case 'CC_DB_DSN':
    case 'CC_DB_DIRECT_DSN':
      return maskDsn(value)
    case 'CC_APPCONFIG_CONNECTION_STRING':
      return value.replace(/(Secret=).*$/is, '$1***').replace(/(;Id=)[^;]*/i, '$1***')
    case 'CC_API_KEY':
    case 'CC_MODEL_API_KEY':
      return '***'
    default:
      return value
  }
}
