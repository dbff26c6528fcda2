import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { delimiter } from 'node:path'
import type { ModelSettings, ProviderSettings } from './config.ts'
import { CoreError } from './errors.ts'
import { type Layer, mayStandIn, settings } from './setting-sources.ts'
import { isPlainAddress } from './setting-values.ts'

/** Read where it is there and no file is named. */
const defaultFile = 'cognitive-core.yaml'

interface ConfigFile {
  /** Undefined where there is no file. */
  readonly layer: Layer | undefined
  readonly models: ModelSettings
}

/** What the configuration file says. A key that nothing reads is refused: passed over, it would mislead. */
export function readConfigFile(named: string | undefined): ConfigFile {
  const file = named ?? defaultFile
  if (named === undefined && !existsSync(file)) return { layer: undefined, models: { aliases: {}, providers: {} } }
  const top = new Part({ file, values: {} }, [], parseFile(file))
  for (const key of top.keys) if (!sections.includes(key)) readSetting(top, key)
  readLimits(top.part('sqlite'))
  const { default: model, ...aliases } = readAliases(top.part('models'))
  const providers = top.part('providers')
  const read = providers.keys.map((name) => [name, readProvider(providers.part(name))] as const)
  const { values } = top.place
  if (model !== undefined && values.CC_MODEL !== undefined && values.CC_MODEL !== model) {
    throw top.wrong(['models', 'default'], model, 'what CC_MODEL is there')
  }
  return {
    layer: { origin: { source: 'file', file }, values: { ...values, CC_MODEL: values.CC_MODEL ?? model } },
    models: { aliases, providers: Object.fromEntries(read) },
  }
}

const sections: readonly string[] = ['models', 'providers', 'sqlite']

/** A setting under the name that it has in the environment, or a limit with its section before a dot. */
function readSetting(top: Part, key: string): void {
  if (key.startsWith('sqlite.')) return readLimit(top, key)
  if (mayStandIn('file', key)) {
    const isList = key === 'CC_PACKS'
    const right = isList ? 'a list of folders' : 'a text or a number'
    top.take(key, right, (value) => isScalar(value) || (isList && Array.isArray(value) && value.every(isText)))
    return
  }
  const why = Object.hasOwn(settings, key) ? 'read from the environment alone' : 'no setting of this program'
  throw new CoreError('CC_ERR_UNKNOWN_SETTING', { name: key, where: top.place.file, why })
}

function readLimits(sqlite: Part): void {
  for (const key of sqlite.keys) readLimit(sqlite, key)
}

/** How far SQLite may be pushed. What they are held to stands where they are read. */
const limits: readonly string[] = ['sqlite.max_replicas', 'sqlite.max_worker_concurrency']

function readLimit(part: Part, key: string): void {
  const name = part.nameOf(key)
  if (limits.includes(name)) return void part.take(key, 'a whole number from 1', isCount)
  throw new CoreError('CC_ERR_NOT_YET', {
    what: `The limit ${name} in ${part.place.file}`,
    remedy: `Take it out; the limits that can be set are ${limits.join(' and ')}.`,
  })
}

function parseFile(file: string): unknown {
  // Loaded here: few installations have the file, and every command would wait for its parser.
  const yaml = createRequire(import.meta.url)('yaml') as typeof import('yaml')
  try {
    return yaml.parse(readFileSync(file, 'utf8'))
  } catch (cause) {
    const [why] = (cause as Error).message.split('\n')
    throw new CoreError('CC_ERR_FILE', { file, verb: 'read', why }, { cause })
  }
}

function readAliases(models: Part) {
  models.refuseOthers(['default', 'fast', 'standard', 'strong'])
  const right = 'the name of a model, provider/model'
  const read = (alias: string) => models.take(alias, right, (value) => isText(value) && /^[a-z]+\/./.test(value))
  return present({
    default: read('default'),
    fast: read('fast'),
    standard: read('standard'),
    strong: read('strong'),
  }) as Readonly<Partial<Record<'default' | 'fast' | 'standard' | 'strong', string>>>
}

function readProvider(provider: Part): ProviderSettings {
  provider.refuseOthers(['base_url', 'stream', 'concurrency', 'max_output_tokens', 'json_schema'])
  return present({
    baseUrl: provider.take('base_url', 'an address such as https://models.example/v1', isPlainAddress),
    stream: provider.take('stream', 'true or false', isFlag),
    concurrency: provider.take('concurrency', 'a whole number from 1', isCount),
    maxOutputTokens: provider.take('max_output_tokens', 'a whole number from 1', isCount),
    jsonSchema: provider.take('json_schema', 'true or false', isFlag),
  }) as ProviderSettings
}

/** What all parts of one file have in common. */
interface Place {
  readonly file: string
  /** What has been read, as text, by the full name of its key. */
  readonly values: Record<string, string>
}

/** A map in the file, and where it stands. */
class Part {
  readonly place: Place
  private readonly path: readonly string[]
  private readonly data: Readonly<Record<string, unknown>>

  constructor(place: Place, path: readonly string[], data: unknown) {
    this.place = place
    this.path = path
    if (typeof (data ?? {}) !== 'object' || Array.isArray(data)) throw this.wrong([], data, 'a map of names to values')
    this.data = { ...(data as object) }
  }

  get keys(): readonly string[] {
    return Object.keys(this.data)
  }

  nameOf(key: string): string {
    return [...this.path, key].join('.')
  }

  part(key: string): Part {
    return new Part(this.place, [...this.path, key], this.data[key])
  }

  /** The value if there is one; of another kind than is right it is refused. */
  take(key: string, right: string, isRight: (value: unknown) => boolean): unknown {
    const value = this.data[key] ?? undefined
    if (value === undefined) return undefined
    if (!isRight(value)) throw this.wrong([key], value, right)
    const name = this.nameOf(key)
    if (name in this.place.values) throw this.wrong([key], value, 'one value: it is there twice')
    this.place.values[name] = Array.isArray(value) ? value.join(delimiter) : String(value)
    return value
  }

  refuseOthers(known: readonly string[]): void {
    const other = this.keys.find((key) => !known.includes(key))
    if (other !== undefined) throw this.wrong([], other, `a map with any of ${known.join(', ')}`)
  }

  wrong(below: readonly string[], value: unknown, right: string): CoreError {
    const name = [...this.path, ...below].join('.') || 'all'
    return new CoreError('CC_ERR_SETTING', { name: `${name} in ${this.place.file}`, value: shown(value), right })
  }
}

/** A value of the wrong kind. What stands in a list or a map may be a secret. */
function shown(value: unknown): string {
  if (Array.isArray(value)) return 'a list'
  return typeof value === 'object' ? 'a map' : String(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isScalar(value: unknown): boolean {
  return ['string', 'number', 'boolean'].includes(typeof value)
}

function isFlag(value: unknown): boolean {
  return typeof value === 'boolean'
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

/** Without what is not there. */
function present(parts: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined))
}
