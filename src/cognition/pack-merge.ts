import { tiers, type Tier, type TierPolicy } from '../domain/governance.ts'
import {
  type Definition,
  endOfWorkflow,
  type Fixture,
  type QualityGates,
  type Step,
  type Transition,
} from '../domain/workflow.ts'
import { parseCondition } from './conditions.ts'
import { fillDomain } from './interpolation.ts'
import type { ConfigText, DomainText, StepText, TransitionText, WorkflowText } from './pack-shapes.ts'
import type { Findings, Source } from './pack-source.ts'
import { tierNamed } from './tier-name.ts'

/** A text of a pack whose shape has been checked, with the place it came from. */
export interface Checked<T> {
  readonly source: Source
  readonly text: T
}

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
  const policies = tierPolicies(pack.config, findings)
  return {
    format: 1,
    pack: pack.name,
    workflow: workflow.text.name,
    domain: domain.text.domain_name,
    steps: workflow.text.steps.map((_, index) => new StepMerge(workflow, index, domain, findings).merge()),
    floor: tierFloor(pack.config, workflow, domain, findings),
    tiers: policies,
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
      parseCondition(filled)
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

function milliseconds(seconds: number | undefined): number | undefined {
  return seconds === undefined ? undefined : Math.round(seconds * 1000)
}

/**
 * The domain's `governance`; a workflow's own counts where its domain has none, since leaving it out would lower the
 * tier that its author asked for. Then the coordinator's override, by name before `*`.
 */
function tierFloor(
  config: Checked<ConfigText>,
  workflow: Checked<WorkflowText>,
  domain: Checked<DomainText>,
  findings: Findings,
): Definition['floor'] {
  for (const { source, text } of [domain, workflow]) {
    if (text.governance === undefined) continue
    const written = typeof text.governance === 'string' ? text.governance : text.governance.tier
    return { tier: readTier(written, source, ['governance'], findings), source: 'domain' }
  }
  const overrides = config.text.overrides ?? {}
  const key = [domain.text.domain_name, '*'].find((name) => Object.hasOwn(overrides, name))
  if (key === undefined) return undefined
  return { tier: readTier(overrides[key]!, config.source, ['overrides', key], findings), source: 'override' }
}

/** A tier nobody knows is gate: a person looks at the case, and the pack's author at the warning. */
function readTier(written: string, source: Source, path: readonly PropertyKey[], findings: Findings): Tier {
  const tier = tierNamed(written)
  if (!tier) findings.warn(source.locate(path), `there is no tier '${written}': it counts as gate`)
  return tier ?? 'gate'
}

const tierDefaults: Readonly<Record<Tier, Omit<TierPolicy, 'escalationQueue'>>> = {
  auto: { queue: '', slaSeconds: 0, sampleRate: 0 },
  spot_check: { queue: 'qa_review', slaSeconds: 7200, sampleRate: 0.1 },
  gate: { queue: 'specialist_review', slaSeconds: 14_400, sampleRate: 0 },
  hold: { queue: 'compliance_review', slaSeconds: 172_800, sampleRate: 0 },
}

/** A tier without an `escalation_queue` of its own escalates to where held cases go. */
function tierPolicies(config: Checked<ConfigText>, findings: Findings): Definition['tiers'] {
  const blocks = config.text.governance_tiers ?? {}
  for (const key of Object.keys(blocks)) {
    if (tierNamed(key)) continue
    findings.warn(config.source.locate(['governance_tiers', key]), `there is no tier '${key}': its block has no effect`)
  }
  const blockOf = (tier: Tier) => Object.entries(blocks).find(([key]) => tierNamed(key) === tier)?.[1]
  const holdQueue = blockOf('hold')?.queue ?? tierDefaults.hold.queue
  const policy = (tier: Tier): TierPolicy => {
    const block = blockOf(tier)
    const byDefault = tierDefaults[tier]
    return {
      queue: block?.queue ?? byDefault.queue,
      slaSeconds: block?.sla ?? byDefault.slaSeconds,
      sampleRate: block?.sample_rate ?? byDefault.sampleRate,
      escalationQueue: block?.escalation_queue ?? holdQueue,
    }
  }
  return Object.fromEntries(tiers.map((tier) => [tier, policy(tier)])) as Definition['tiers']
}

/** A block that is absent or empty switches the gates off. */
function qualityGates(config: Checked<ConfigText>, domain: string, findings: Findings): QualityGates | undefined {
  const block = config.text.quality_gates
  if (!block || Object.keys(block).length === 0) return undefined
  const written = block.escalation_tier ?? 'gate'
  return {
    minConfidence: block.min_confidence ?? 0.5,
    primitiveFloors: block.primitive_floors ?? {},
    escalationTier: readTier(written, config.source, ['quality_gates', 'escalation_tier'], findings),
    escalationQueue: block.escalation_queue,
    exempt: (block.exempt_domains ?? []).includes(domain),
  }
}
