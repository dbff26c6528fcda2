import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import type { ModelSettings, ProviderSettings } from './config.ts'
import { CoreError } from './errors.ts'

/** Read where it is there and no file is named. */
const defaultFile = 'cognitive-core.yaml'

interface ConfigFile {
  /** `models.default`. */
  readonly model: string | undefined
  readonly models: ModelSettings
}

/** What the configuration file says. What it may say in versions to come is refused: passed over, it would mislead. */
export function readConfigFile(named: string | undefined): ConfigFile {
  const file = named ?? defaultFile
  if (named === undefined && !existsSync(file)) return { model: undefined, models: { aliases: {}, providers: {} } }
  const top = new Part(file, [], parseFile(file))
  const unread = top.keys.find((key) => key !== 'models' && key !== 'providers')
  if (unread !== undefined) {
    throw new CoreError('CC_ERR_NOT_YET', {
      what: `The setting ${unread} of ${file}`,
      remedy: 'Take it out; docs/models.md shows what the file may hold.',
    })
  }
  const { default: model, ...aliases } = readAliases(top.part('models'))
  const providers = top.part('providers')
  const settings = providers.keys.map((name) => [name, readProvider(providers.part(name))] as const)
  return { model, models: { aliases, providers: Object.fromEntries(settings) } }
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

/** A map in the file, and where it stands. */
class Part {
  private readonly file: string
  private readonly path: readonly string[]
  private readonly data: Readonly<Record<string, unknown>>

  constructor(file: string, path: readonly string[], data: unknown) {
    this.file = file
    this.path = path
    if (typeof (data ?? {}) !== 'object' || Array.isArray(data)) throw this.wrong([], data, 'a map of names to values')
    this.data = { ...(data as object) }
  }

  get keys(): readonly string[] {
    return Object.keys(this.data)
  }

  part(key: string): Part {
    return new Part(this.file, [...this.path, key], this.data[key])
  }

  /** The value if there is one; of another kind than is right it is refused. */
  take(key: string, right: string, isRight: (value: unknown) => boolean): unknown {
    const value = this.data[key] ?? undefined
    if (value === undefined || isRight(value)) return value
    throw this.wrong([key], value, right)
  }

  refuseOthers(known: readonly string[]): void {
    const other = this.keys.find((key) => !known.includes(key))
    if (other !== undefined) throw this.wrong([], other, `a map with any of ${known.join(', ')}`)
  }

  private wrong(below: readonly string[], value: unknown, right: string): CoreError {
    const name = [...this.path, ...below].join('.') || 'all'
    return new CoreError('CC_ERR_SETTING', { name: `${name} in ${this.file}`, value: String(value), right })
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isFlag(value: unknown): boolean {
  return typeof value === 'boolean'
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 1
}

/** An address that paths can be put behind, and that has nobody's password in it. */
export function isPlainAddress(value: unknown): value is string {
  if (!isText(value) || !URL.canParse(value)) return false
  const { protocol, search, hash, username, password } = new URL(value)
  return /^https?:$/.test(protocol) && !search && !hash && !username && !password
}

/** Without what is not there. */
function present(parts: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(parts).filter(([, value]) => value !== undefined))
}
