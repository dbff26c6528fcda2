import { basename } from 'node:path'
import { canonicalJson } from '../domain/json.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { type PinnedDefinition, pin } from './definition.ts'
import { fillDomain } from './interpolation.ts'
import { checkDistinct, checkShape, checkWorkflow, primitivesOf } from './pack-check.ts'
import { type CaseFile, type PackFiles, readPackFiles } from './pack-files.ts'
import { mergeDefinition } from './pack-merge.ts'
import { refuseNotYet } from './pack-not-yet.ts'
import {
  type Checked,
  configShape,
  type DomainText,
  domainShape,
  type WorkflowText,
  workflowShape,
} from './pack-shapes.ts'
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
  return assemble(basename(files.dir), files, findings, options)
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
  const files: Parts = {
    config: source(`${name} config`, config),
    workflows: sources('workflows', workflows),
    domains: sources('domains', domains),
    fixtures: [],
    cases: [],
  }
  return assemble(name, files, findings, options)
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

type Parts = Omit<PackFiles, 'dir' | 'scriptedFile'> & Partial<Pick<PackFiles, 'dir' | 'scriptedFile'>>

function assemble(name: string, parts: Parts, findings: Findings, options: PackOptions): Pack {
  findings.throwIfAny()
  refuseNotYet(parts.config, parts.workflows, parts.domains)

  const registered = primitivesOf(options.primitives)
  const config = checkShape(parts.config, configShape, findings)
  const workflows = parts.workflows
    .map((source) => checkShape(source, workflowShape, findings))
    .filter((workflow) => workflow !== undefined)
    .map((workflow) => checkWorkflow(workflow, registered, findings))
  const domains = parts.domains
    .map((source) => checkShape(source, domainShape, findings))
    .filter((domain) => domain !== undefined)
  checkDistinct(workflows, 'name', findings)
  checkDistinct(domains, 'domain_name', findings)
  findings.throwIfAny()

  const texts = { name, config: config!, fixtures: parts.fixtures }
  const pairs = pairUp(workflows, domains, findings)
  const definitions = pairs.map(([workflow, domain]) => mergeDefinition(texts, workflow, domain, findings))
  if (definitions.length === 0) {
    findings.refuse({ file: name }, 'no workflow with a domain', 'add `workflows/*.yaml` and a domain file')
  }
  findings.throwIfAny()
  const { dir, cases, scriptedFile } = parts
  return { name, dir, definitions: definitions.map(pin), cases, scriptedFile, warnings: findings.warnings }
}

type WorkflowAndDomain = readonly [Checked<WorkflowText>, Checked<DomainText>]

/** Which domain goes with which workflow: as the domain says by `workflow:`, else wherever it fits. */
function pairUp(
  workflows: readonly Checked<WorkflowText>[],
  domains: readonly Checked<DomainText>[],
  findings: Findings,
): WorkflowAndDomain[] {
  for (const { source, text } of domains) {
    if (text.workflow === undefined || workflows.some((workflow) => workflow.text.name === text.workflow)) continue
    findings.warn(source.locate(['workflow']), `there is no workflow '${text.workflow}' in this pack`)
  }
  const onlyPair = workflows.length === 1 && domains.length === 1
  return workflows.flatMap((workflow) => {
    const fitting = domains.filter((domain) =>
      domain.text.workflow === undefined
        ? onlyPair || fits(workflow, domain)
        : domain.text.workflow === workflow.text.name,
    )
    if (fitting.length === 0) findings.warn(workflow.source.locate(['name']), 'no domain of this pack goes with it')
    return fitting.map((domain): WorkflowAndDomain => [workflow, domain])
  })
}

/** A domain fits a workflow when it has every text that routing reads, and any of those that the prompts ask for. */
function fits({ text: workflow }: Checked<WorkflowText>, { text: domain }: Checked<DomainText>): boolean {
  let asked = 0
  let missing = 0
  for (const { name, params, transitions, loop_fallback } of workflow.steps) {
    if (fillDomain([transitions ?? [], loop_fallback ?? ''], domain, name).unresolved.length > 0) return false
    asked += new Set(JSON.stringify(params ?? {}).match(/\$\{domain\.[^}]+\}/g)).size
    missing += new Set(fillDomain(params ?? {}, domain, name).unresolved).size
  }
  return asked === 0 || missing < asked
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
