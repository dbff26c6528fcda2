import { type Definition, endOfWorkflow, type Step, type Transition } from '../domain/workflow.ts'
import { isCoreError } from '../errors.ts'
import { parseCondition } from './conditions.ts'
import { fillDomain } from './interpolation.ts'
import { meaning } from './nearest.ts'
import { qualityGates, tierFloor, tierPolicies } from './pack-governance.ts'
import type { Checked, ConfigText, DomainText, StepText, TransitionText, WorkflowText } from './pack-shapes.ts'
import { StepPlaces } from './pack-places.ts'
import type { Findings } from './pack-source.ts'

/** What of a pack goes into each of its definitions, beside workflow and domain. */
export interface PackTexts extends Pick<Definition, 'fixtures' | 'documents'> {
  readonly name: string
  readonly config: Checked<ConfigText>
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
    steps: workflow.text.steps.map((step) => new StepMerge(workflow, step, domain, findings).merge()),
    floor: tierFloor(pack.config, workflow, domain, findings),
    tiers: tierPolicies(pack.config, findings),
    qualityGates: qualityGates(pack.config, domain.text.domain_name, findings),
    fixtures: pack.fixtures,
    ...(pack.documents?.length && { documents: pack.documents }),
  }
}

class StepMerge {
  private readonly workflow: Checked<WorkflowText>
  private readonly step: StepText
  private readonly domain: Checked<DomainText>
  private readonly findings: Findings
  private readonly places: StepPlaces

  constructor(workflow: Checked<WorkflowText>, step: StepText, domain: Checked<DomainText>, findings: Findings) {
    this.workflow = workflow
    this.step = step
    this.domain = domain
    this.findings = findings
    this.places = new StepPlaces(workflow, step, domain)
  }

  merge(): Step {
    const { step } = this
    return {
      name: step.name,
      primitive: step.primitive,
      params: withOlderParams(step.primitive, this.fill(step.params ?? {}) as Step['params']),
      model: step.model,
      temperature: step.temperature,
      transitions: step.transitions.map((item) => this.transition(item)),
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

  private transition(item: TransitionText): Transition {
    const path = ['transitions', item.at]
    if (item.default !== undefined) return { default: this.target(item.default, [...path, 'default']) }
    if (!item.agent_decide) {
      return { when: this.condition(item.when!, [...path, 'when']), goto: this.target(item.goto!, [...path, 'goto']) }
    }
    const options = item.agent_decide.options.map(({ step, description }, index) => ({
      step: this.target(step, [...path, 'agent_decide', 'options', index, 'step']),
      description: this.fill(description) as string,
    }))
    return { agentDecide: { prompt: this.fill(item.agent_decide.prompt) as string, options } }
  }

  private condition(text: string, path: readonly PropertyKey[]): string {
    const filled = this.fillText(text, path)
    if (filled === undefined) return text
    try {
      parseCondition(filled)
    } catch (error) {
      if (!isCoreError(error, 'CC_ERR_CONDITION')) throw error
      const { column, problem, right } = error.facts
      const place = this.places.character(text, path, Number(column) - 1)
      this.findings.refuse(place, `the condition is wrong: ${problem}`, `write ${right}`)
    }
    return filled
  }

  private target(text: string, path: readonly PropertyKey[]): string {
    const filled = this.fillText(text, path)?.trim()
    if (filled === undefined || filled === endOfWorkflow) return filled ?? text
    const names = this.workflow.text.steps.map(({ name }) => name)
    if (!names.includes(filled)) {
      const right = meaning(filled, [...names, endOfWorkflow], `name one of ${names.join(', ')}, or ${endOfWorkflow}`)
      this.findings.refuse(this.places.character(text, path, 0), `there is no step '${filled}'`, right)
    }
    return filled
  }

  /** What is missing in a prompt is said there and warned of where references are checked. */
  private fill(value: unknown): unknown {
    return fillDomain(value, this.domain.text, this.step.name).value
  }

  /** What routing reads must be whole: a gap there would send cases somewhere by accident. */
  private fillText(text: string, path: readonly PropertyKey[]): string | undefined {
    const { value, unresolved } = fillDomain(text, this.domain.text, this.step.name)
    if (unresolved.length === 0) return value as string
    const what = `the domain '${this.domain.text.domain_name}' has no '${unresolved.join("', '")}'`
    this.findings.refuse(this.places.at(path), what, `write it in ${this.domain.source.file}`)
    return undefined
  }
}

/** Older packs gave a deliberation its `question` and `constraints` for what are `instruction` and `focus` now. */
function withOlderParams(primitive: string, params: Step['params']): Step['params'] {
  if (primitive !== 'deliberate' || params.instruction !== undefined || params.question === undefined) return params
  const { question, constraints, ...others } = params
  return { instruction: question, ...(constraints !== undefined && { focus: constraints }), ...others }
}

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000)
}
