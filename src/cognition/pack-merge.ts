import { type Definition, endOfWorkflow, type Fixture, type Step, type Transition } from '../domain/workflow.ts'
import { conditionReferences, parseCondition } from './conditions.ts'
import { fillDomain } from './interpolation.ts'
import { qualityGates, tierFloor, tierPolicies } from './pack-governance.ts'
import type { Checked, ConfigText, DomainText, StepText, TransitionText, WorkflowText } from './pack-shapes.ts'
import type { Findings } from './pack-source.ts'

export interface PackTexts {
  readonly name: string
  readonly config: Checked<ConfigText>
  readonly fixtures: readonly Fixture[]
}

const defaultTimeoutMs = 300_000
const defaultRetry = { maxAttempts: 3, backoffMs: 1000, maxBackoffMs: 60_000 }

/** Merges one workflow with one domain into the definition that cases will run by. */
export function mergeDefinition(
  pack: PackTexts,
  workflow: Checked<WorkflowText>,
  domain: Checked<DomainText>,
  findings: Findings,
): Definition {
  return {
    format: 1,
    pack: pack.name,
    workflow: workflow.text.name,
    domain: domain.text.domain_name,
    steps: workflow.text.steps.map((_, index) => new StepMerge(workflow, index, domain, findings).merge()),
    floor: tierFloor(pack.config, workflow, domain, findings),
    tiers: tierPolicies(pack.config, findings),
    qualityGates: qualityGates(pack.config, domain.text.domain_name, findings),
    fixtures: pack.fixtures,
  }
}

class StepMerge {
  private readonly workflow: Checked<WorkflowText>
  private readonly index: number
  private readonly step: StepText
  private readonly domain: Checked<DomainText>
  private readonly findings: Findings

  constructor(workflow: Checked<WorkflowText>, index: number, domain: Checked<DomainText>, findings: Findings) {
    this.workflow = workflow
    this.index = index
    this.step = workflow.text.steps[index]!
    this.domain = domain
    this.findings = findings
  }

  merge(): Step {
    const { step } = this
    const transitions = (step.transitions ?? []).map((item, index) => this.transition(item, index))
    if (step.max_loops !== undefined && !transitions.some((item) => 'when' in item)) {
      this.warn(['max_loops'], '`max_loops` has no effect without a `when`')
    }
    return {
      name: step.name,
      primitive: step.primitive,
      params: this.params(),
      model: step.model,
      temperature: step.temperature,
      transitions,
      maxLoops: step.max_loops,
      loopFallback: step.loop_fallback === undefined ? undefined : this.target(step.loop_fallback, ['loop_fallback']),
      timeoutMs: milliseconds(step.timeout_seconds ?? step.sla_seconds) ?? defaultTimeoutMs,
      retry: {
        maxAttempts: step.retry?.max_attempts ?? defaultRetry.maxAttempts,
        backoffMs: milliseconds(step.retry?.backoff_seconds) ?? defaultRetry.backoffMs,
        maxBackoffMs: milliseconds(step.retry?.max_backoff_seconds) ?? defaultRetry.maxBackoffMs,
      },
      externalEffect: step.external_effect ?? false,
    }
  }

  /** A text that the domain lacks is a gap in the prompt, which published packs have: it is warned of, not refused. */
  private params(): Step['params'] {
    const { value, unresolved } = fillDomain(this.step.params ?? {}, this.domain.text, this.step.name)
    for (const reference of unresolved) {
      this.warn(['params'], `the domain '${this.domain.text.domain_name}' has no '${reference}'`)
    }
    for (const head of unknownHeads(value, this.workflow.text)) {
      this.warn(['params'], `'\${${head}…}' names no step of this workflow`)
    }
    return value as Step['params']
  }

  private transition(item: TransitionText, index: number): Transition {
    const path = ['transitions', index]
    if (item.default !== undefined) return { default: this.target(item.default, [...path, 'default']) }
    return { when: this.condition(item.when!, [...path, 'when']), goto: this.target(item.goto!, [...path, 'goto']) }
  }

  private condition(text: string, path: readonly PropertyKey[]): string {
    const filled = this.fillText(text, path)
    if (filled === undefined) return text
    try {
      const known = this.workflow.text.steps.map(({ name }) => name)
      for (const name of conditionReferences(parseCondition(filled))) {
        if (!known.includes(name))
          this.warn(path, `'${name}' names no step of this workflow: what reads it never holds`)
      }
    } catch (error) {
      const domainText = filled === text ? '' : ` (from the domain '${this.domain.text.domain_name}')`
      this.refuse(
        path,
        `${(error as Error).message}${domainText}`,
        'compare, as in "output.category == \'a\' and output.confidence >= 0.8"',
      )
    }
    return filled
  }

  private target(text: string, path: readonly PropertyKey[]): string {
    const filled = this.fillText(text, path)?.trim()
    if (filled === undefined || filled === endOfWorkflow) return filled ?? text
    const names = this.workflow.text.steps.map(({ name }) => name)
    if (!names.includes(filled)) {
      this.refuse(path, `there is no step '${filled}'`, `name one of ${names.join(', ')}, or ${endOfWorkflow}`)
    }
    return filled
  }

  /** What routing reads must be whole: a gap there would send cases somewhere by accident. */
  private fillText(text: string, path: readonly PropertyKey[]): string | undefined {
    const { value, unresolved } = fillDomain(text, this.domain.text, this.step.name)
    if (unresolved.length === 0) return value as string
    const { domain_name } = this.domain.text
    this.refuse(
      path,
      `the domain '${domain_name}' has no '${unresolved.join("', '")}'`,
      `write it in ${this.domain.source.file}`,
    )
    return undefined
  }

  private refuse(path: readonly PropertyKey[], what: string, right: string): void {
    this.findings.refuse(this.workflow.source.locate(['steps', this.index, ...path]), what, right)
  }

  private warn(path: readonly PropertyKey[], what: string): void {
    this.findings.warn(this.workflow.source.locate(['steps', this.index, ...path]), what)
  }
}

/** First parts of references that are neither a step nor one of the names every step knows. */
function unknownHeads(params: unknown, { steps }: WorkflowText): Set<string> {
  const known = new Set(['input', 'previous', 'accumulated', '_loop_count', ...steps.map(({ name }) => name)])
  const heads = [...JSON.stringify(params).matchAll(/\$\{([^}.]+)[^}]*\}/g)].map((match) => match[1]!.trim())
  return new Set(heads.filter((head) => !known.has(head) && !head.startsWith('_last_')))
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000)
}
