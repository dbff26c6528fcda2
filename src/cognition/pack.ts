import { basename } from 'node:path'
import { canonicalJson } from '../domain/json.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { type PinnedDefinition, pin } from './definition.ts'
import { assemble, type PackParts } from './pack-assembly.ts'
import { type CaseFile, readPackFiles } from './pack-files.ts'
import { Findings, objectSource } from './pack-source.ts'

export type { CaseFile } from './pack-files.ts'
export { parseDefinition, pin, type PinnedDefinition } from './definition.ts'

/** A use case as configuration: its workflows merged with its domains, each pinned by a hash. */
export interface Pack {
  readonly name: string
  /** Unset when a program defined it. */
  readonly dir: string | undefined
  readonly definitions: readonly PinnedDefinition[]
  /** The cases it brings along to be tried. */
  readonly cases: readonly CaseFile[]
  /** Scripted answers for those cases. */
  readonly scriptedFile: string | undefined
  /** What is odd in it and does not stop it. */
  readonly warnings: readonly string[]
}

export interface PackOptions {
  /** Names of primitives that the program registered beside the built-in ones. */
  readonly primitives?: Iterable<string>
}

/** Reads a pack's folder. A pack that is wrong is refused with CC_ERR_PACK: file, line, what is wrong, what would be right. */
export async function loadPack(dir: string, options: PackOptions = {}): Promise<Pack> {
  const findings = new Findings()
  const files = await readPackFiles(dir, findings)
  return finish(basename(files.dir), files, findings, options)
}

export interface PackObjects {
  readonly name: string
  readonly workflows: readonly object[]
  readonly domains: readonly object[]
  /** What would stand in coordinator_config.yaml. */
  readonly config?: object
}

/** The same pack from a program's own objects instead of files. */
export function definePack({ name, workflows, domains, config = {} }: PackObjects, options: PackOptions = {}): Pack {
  const findings = new Findings()
  const source = (file: string, text: object) => objectSource(file, plainCopy(file, text, findings))
  const sources = (kind: string, texts: readonly object[]) =>
    texts.map((text, index) => source(`${name} ${kind}[${index}]`, text))
  const parts = {
    config: source(`${name} config`, config),
    workflows: sources('workflows', workflows),
    domains: sources('domains', domains),
    fixtures: [],
    documents: [],
    cases: [],
  }
  return finish(name, parts, findings, options)
}

/** What canonical JSON can carry of a program's object: the same that a file could have said. */
function plainCopy(file: string, text: object, findings: Findings): unknown {
  try {
    return JSON.parse(canonicalJson(text))
  } catch (error) {
    findings.refuse({ file }, (error as Error).message, 'use plain JSON values')
    return undefined
  }
}

/** The pack, once nothing in it is wrong. */
function finish(name: string, parts: PackParts, findings: Findings, options: PackOptions): Pack {
  const definitions = assemble(name, parts, findings, options)
  findings.throwIfAny()
  const { dir, cases, scriptedFile } = parts
  return { name, dir, definitions: definitions.map(pin), cases, scriptedFile, warnings: findings.warnings }
}

/**
 * The definition by which a new case of this workflow and domain runs. Two packs with one workflow name are refused,
 * since nobody could tell which of them decided a case.
 */
export function findDefinition(packs: readonly Pack[], workflow: string, domain: string): PinnedDefinition {
  refuseDuplicateWorkflows(packs)
  const all = packs.flatMap(({ definitions }) => definitions)
  const ofWorkflow = all.filter(({ definition }) => definition.workflow === workflow)
  if (ofWorkflow.length === 0) {
    throw new CoreError('CC_ERR_UNKNOWN_WORKFLOW', { workflow, known: listNames(all, 'workflow') })
  }
  const found = ofWorkflow.find(({ definition }) => definition.domain === domain)
  if (found) return found
  throw new CoreError('CC_ERR_UNKNOWN_DOMAIN', { workflow, domain, known: listNames(ofWorkflow, 'domain') })
}

/** Refuses packs of which two bring a workflow of one name. */
export function refuseDuplicateWorkflows(packs: readonly Pack[]): void {
  const owners = new Map<string, Pack>()
  for (const pack of packs) {
    for (const { definition } of pack.definitions) {
      const owner = owners.get(definition.workflow)
      owners.set(definition.workflow, pack)
      if (owner === undefined || owner === pack) continue
      const { workflow } = definition
      throw new CoreError('CC_ERR_DUPLICATE_WORKFLOW', { workflow, first: placeOf(owner), second: placeOf(pack) })
    }
  }
}

function placeOf({ dir, name }: Pack): string {
  return dir ?? name
}

function listNames(
  definitions: readonly PinnedDefinition[],
  key: keyof Pick<Definition, 'workflow' | 'domain'>,
): string {
  const names = new Set(definitions.map(({ definition }) => definition[key]))
  return names.size === 0
    ? '(none: no pack is loaded; name folders of packs in CC_PACKS)'
    : [...names].sort().join(', ')
}
