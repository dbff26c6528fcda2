import { readFile } from 'node:fs/promises'
import { delimiter, extname, resolve } from 'node:path'
import type { Environment, ModelSettings } from '../config.ts'
import { maxJsonBytes, parseJson } from '../domain/json.ts'
import { CoreError } from '../errors.ts'
import type { Model } from './model.ts'
import { Findings, objectSource, parseYaml, type Source } from './pack-source.ts'
import { scriptedModel } from './scripted-model.ts'

/** What a model is opened with beside its name. */
export interface ModelOptions extends Partial<ModelSettings> {
  /** Where the files of a script are looked for. */
  readonly dir?: string
  /** Where the keys are. */
  readonly env?: Environment
}

/**
 * The model that a setting names: `scripted:FILE` for written answers (several files are separated by the platform's
 * path delimiter and read relative to `dir`), `provider/model` for a real one. Refuses one that could not be called.
 */
export async function openModel(spec: string, options: ModelOptions = {}): Promise<Model> {
  const { dir = '.', env = process.env, aliases = {}, providers = {} } = options
  if (!spec.startsWith('scripted:')) {
    const { openProviderModels } = await import('./providers/provider-models.ts')
    return await openProviderModels(spec, { aliases, providers }, env)
  }
  const files = spec.slice('scripted:'.length).split(delimiter).filter(Boolean)
  if (files.length === 0) throw new CoreError('CC_ERR_UNKNOWN_MODEL', { spec })
  return scriptedModel(spec, await Promise.all(files.map((file) => readScript(file, dir))))
}

async function readScript(file: string, dir: string): Promise<Source> {
  let bytes: Buffer
  try {
    bytes = await readFile(resolve(dir, file))
  } catch (cause) {
    throw new CoreError('CC_ERR_SCRIPT', { where: file, problem: (cause as Error).message }, { cause })
  }
  try {
    if (extname(file) === '.json') return objectSource(file, parseJson(bytes))
    const { length } = bytes
    if (length > maxJsonBytes) throw new CoreError('CC_ERR_JSON_TOO_LARGE', { bytes: length, maxBytes: maxJsonBytes })
    const findings = new Findings()
    const text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    const source = parseYaml(file, text, findings, { uniqueKeys: true })
    findings.throwIfAny()
    return source!
  } catch (cause) {
    throw new CoreError('CC_ERR_SCRIPT', { where: file, problem: (cause as Error).message }, { cause })
  }
}
