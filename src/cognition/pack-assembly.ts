import type { JsonObject } from '../domain/json.ts'
import { builtInPrimitives, type Definition, type Step } from '../domain/workflow.ts'
import { checkCases } from './pack-cases.ts'
import { checkDistinct, checkWorkflow } from './pack-check.ts'
import { oddComparisons } from './pack-conditions.ts'
import type { PackFiles } from './pack-files.ts'
import { oddBound, oddWays } from './pack-flow.ts'
import { checkConfig } from './pack-governance.ts'
import { Known } from './pack-known.ts'
import { mergeDefinition } from './pack-merge.ts'
import { NotYet } from './pack-not-yet.ts'
import { checkParams } from './pack-params.ts'
import { pairUp } from './pack-pairs.ts'
import { StepPlaces } from './pack-places.ts'
import { ReferenceCheck } from './pack-references.ts'
import { checkScript } from './pack-script.ts'
import type { Checked, DomainText, StepText, WorkflowText } from './pack-shapes.ts'
import type { Findings, Source } from './pack-source.ts'
import { TextReader } from './pack-texts.ts'
import { builtIn } from './primitives/index.ts'

/** What a pack is made of, from a folder or from a program. */
export type PackParts = Omit<PackFiles, 'dir' | 'scriptedFile' | 'script'> &
  Partial<Pick<PackFiles, 'dir' | 'scriptedFile' | 'script'>>

/**
 * Makes the definitions of a pack, and finds everything that can be known of it before a case runs. Definitions of a pack
 * with errors are of use for finding more of them, and for nothing else.
 */
export function assemble(
  name: string,
  parts: PackParts,
  findings: Findings,
  { primitives = [] }: { readonly primitives?: Iterable<string> },
): readonly Definition[] {
  const notYet = new NotYet(findings)
  const reader = new TextReader(findings)
  const isReadable = findings.clean
  notYet.config(parts.config)
  for (const domain of parts.domains) notYet.domain(domain)
  const sequential = parts.workflows.filter((workflow) => !notYet.workflow(workflow))
  // What goes with nothing because its counterpart cannot be read is not blamed for it.
  const isWhole = isReadable && sequential.length === parts.workflows.length

  const config = reader.config(parts.config)
  const workflows = readAll(sequential, (source) => reader.workflow(source))
  const domains = readAll(parts.domains, (source) => reader.domain(source))
  const registered = new Set([...builtInPrimitives, ...primitives])
  for (const workflow of workflows) checkWorkflow(workflow, registered, findings)
  checkDistinct(workflows, 'name', findings)
  checkDistinct(domains, 'domain_name', findings)
  checkConfig(config, domains, registered, findings)

  const cases = parts.cases.flatMap(({ cases }) => cases)
  const { fixtures, documents } = parts
  const pairs = pairUp(workflows, domains, isWhole ? findings : undefined)
  const definitions = pairs.map(([workflow, domain]) => {
    const definition = mergeDefinition({ name, config, fixtures, documents }, workflow, domain, findings)
    checkDefinition(definition, workflow, domain, cases, findings)
    return definition
  })
  if (pairs.length === 0 && findings.clean) {
    findings.refuse({ file: name }, 'no workflow with a domain', 'add `workflows/*.yaml` and a domain file')
  }
  checkCases(parts.cases, findings)
  if (parts.script) checkScript(parts.script, definitions, cases, findings)
  return definitions
}

function readAll<T>(sources: readonly Source[], read: (source: Source) => T | undefined): T[] {
  return sources.map(read).filter((text) => text !== undefined)
}

/** Everything that workflow and domain say together. */
function checkDefinition(
  definition: Definition,
  workflow: Checked<WorkflowText>,
  domain: Checked<DomainText>,
  cases: readonly JsonObject[],
  findings: Findings,
): void {
  const known = new Known(definition, builtIn, cases)
  for (const [index, text] of workflow.text.steps.entries()) {
    const step = definition.steps[index]!
    const primitive = builtIn.get(step.primitive)
    if (primitive) checkParams(workflow, text, step, primitive, findings)
    new ReferenceCheck(workflow, text, domain, known, findings).check()
    checkRouting(new StepPlaces(workflow, text, domain), text, step, known, findings)
  }
  for (const { step, what, right } of oddWays(known.flow, [...known.steps.keys()])) {
    const { at } = workflow.text.steps.find(({ name }) => name === step)!
    findings.warn(workflow.source.locate(['steps', at, 'name']), what, right)
  }
}

function checkRouting(places: StepPlaces, text: StepText, step: Step, known: Known, findings: Findings): void {
  const bound = oddBound(step, known.flow)
  if (bound) findings.warn(places.key([bound.key]), bound.what, bound.right)
  for (const [index, { when, at }] of text.transitions.entries()) {
    const transition = step.transitions[index]!
    if (when === undefined || !('when' in transition)) continue
    for (const { shows, what, right } of oddComparisons(transition.when, step, known)) {
      const place = places.character(when, ['transitions', at, 'when'], transition.when.indexOf(shows))
      findings.warn(place, what, right)
    }
  }
}
