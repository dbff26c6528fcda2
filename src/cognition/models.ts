import { readFile } from 'node:fs/promises'
import { delimiter, extname, resolve } from 'node:path'
import { maxJsonBytes, parseJson } from '../domain/json.ts'
import { CoreError } from '../errors.ts'
import type { Model } from './model.ts'
import { Findings, objectSource, parseYaml, type Source } from './pack-source.ts'
import { scriptedModel } from './scripted-model.ts'

const providers = ['openai', 'anthropic', 'azure', 'google', 'bedrock', 'compatible']

/**
 * The model that a setting names: `scripted:FILE` for written answers (several files are separated by the platform's
 * path delimiter and read relative to `dir`), `provider/model` for a real one.
 */
export async function openModel(spec: string, { dir = '.' }: { readonly dir?: string } = {}): Promise<Model> {
  if (spec.startsWith('scripted:')) {
    const files = spec.slice('scripted:'.length).split(delimiter).filter(Boolean)
    if (files.length === 0) throw new CoreError('CC_ERR_UNKNOWN_MODEL', { spec })
    return scriptedModel(spec, await Promise.all(files.map((file) => readScript(file, dir))))
  }
  const [provider, model] = spec.split('/', 2)
  if (!providers.includes(provider!) || !model) throw new CoreError('CC_ERR_UNKNOWN_MODEL', { spec })
  throw new CoreError('CC_ERR_NOT_YET', {
    what: `The provider ${provider}`,
    remedy: 'Use scripted:FILE for now; the store is then marked as a simulation.',
  })
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
