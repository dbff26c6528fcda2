import type { Environment, ModelSettings, ProviderSettings } from '../../config.ts'
import { CoreError } from '../../errors.ts'
import type { Model } from '../model.ts'
import { askProvider, type ProviderModel } from './provider-model.ts'
import { type Provider, providers } from './providers.ts'
import { Turnstile } from './turnstile.ts'

/** Calls under way at one provider, and calls that may wait for one of them to end, in this process. */
const defaultConcurrency = 16
const maxWaiting = 1000

/** Words of packs for a model that the configuration chooses. */
const aliases = ['default', 'fast', 'standard', 'strong'] as const

/**
 * Real models as one: steps that name none are answered by `spec`, the others by the model of their alias, or by the one
 * that they name themselves. What is configured is opened at once, so that a missing package or key is met at the start.
 */
export async function openProviderModels(
  spec: string,
  { aliases: mapped, providers: settings }: ModelSettings,
  env: Environment,
): Promise<Model> {
  const opened = new Map<string, Promise<ProviderModel>>()
  const turnstiles = new Map<string, Turnstile>()
  const turnstileOf = (provider: string, { concurrency = defaultConcurrency }: ProviderSettings) => {
    const known = turnstiles.get(provider) ?? new Turnstile(provider, { limit: concurrency, maxWaiting })
    turnstiles.set(provider, known)
    return known
  }
  const find = (alias: string | undefined): Promise<ProviderModel> => {
    const name = specOf(alias, spec, mapped)
    let model = opened.get(name)
    if (!model) {
      model = openProviderModel(name, settings, env, turnstileOf)
      opened.set(name, model)
      // One that could not be opened is tried again: somebody may have installed what was missing.
      model.catch(() => opened.delete(name))
    }
    return model
  }
  for (const alias of [undefined, ...Object.keys(mapped)]) await find(alias)
  return {
    name: spec,
    simulated: false,
    prepare: async (alias) => void (await find(alias)),
    answer: async (request) => await askProvider(await find(request.alias), request),
  }
}

/** An alias that nobody mapped is the model that answers everything else; a bare id is one of that model's provider. */
function specOf(alias: string | undefined, spec: string, mapped: ModelSettings['aliases']): string {
  const known = aliases.find((name) => name === alias)
  if (alias === undefined || known === 'default') return spec
  if (known) return mapped[known] ?? spec
  return alias.includes('/') ? alias : `${spec.slice(0, spec.indexOf('/'))}/${alias}`
}

async function openProviderModel(
  name: string,
  settings: ModelSettings['providers'],
  env: Environment,
  turnstileOf: (provider: string, settings: ProviderSettings) => Turnstile,
): Promise<ProviderModel> {
  const slash = name.indexOf('/')
  const [word, id] = [name.slice(0, slash), name.slice(slash + 1)]
  if (slash < 1 || !id || !Object.hasOwn(providers, word)) throw new CoreError('CC_ERR_UNKNOWN_MODEL', { spec: name })
  const provider = providers[word]!
  const own = settings[word] ?? {}
  const connection = { baseUrl: own.baseUrl, env }
  const variable = provider.missing(connection)
  if (variable !== undefined) throw new CoreError('CC_ERR_MODEL_KEY', { spec: name, variable })
  return {
    name,
    sdk: await load(provider, name, () => provider.open(id, connection)),
    turnstile: turnstileOf(word, own),
    secrets: provider.secrets.flatMap((variable) => env[variable] ?? []),
    stream: own.stream ?? false,
    maxOutputTokens: own.maxOutputTokens,
    takesSchema: own.jsonSchema ?? true,
  }
}

/** A package that is not there, and one of a generation that speaks otherwise, have the same way out. */
async function load(provider: Provider, spec: string, open: () => ReturnType<Provider['open']>) {
  const facts = { spec, package: provider.package, version: `${provider.package}@${provider.major}` }
  const refuse = (why: string, cause?: unknown) => new CoreError('CC_ERR_MODEL_PACKAGE', { ...facts, why }, { cause })
  let sdk: Awaited<ReturnType<Provider['open']>>
  try {
    sdk = await open()
  } catch (cause) {
    const isMissing = (cause as NodeJS.ErrnoException).code === 'ERR_MODULE_NOT_FOUND'
    throw refuse(isMissing ? 'is not installed' : `cannot be used: ${(cause as Error).message}`, cause)
  }
  if (sdk.specificationVersion === 'v4') return sdk
  throw refuse(`speaks another interface (${String((sdk as { specificationVersion: unknown }).specificationVersion)})`)
}
