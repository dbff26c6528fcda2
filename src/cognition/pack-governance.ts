import { tiers, type Tier, type TierPolicy } from '../domain/governance.ts'
import { type Definition, olderNames, type QualityGates } from '../domain/workflow.ts'
import { meaning } from './nearest.ts'
import type { Checked, ConfigText, DomainText, WorkflowText } from './pack-shapes.ts'
import type { Findings, Place, Source } from './pack-source.ts'
import { tierNamed } from './tier-name.ts'

/**
 * The domain's `governance`; a workflow's own counts where its domain has none, since leaving it out would lower the
 * tier that its author asked for. Then the coordinator's override, by name before `*`.
 */
export function tierFloor(
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
  if (!tier) {
    const right = meaning(written, tiers)
    findings.warn(source.locate(path), `there is no tier '${written}': it counts as gate`, right)
  }
  return tier ?? 'gate'
}

const tierDefaults: Readonly<Record<Tier, Omit<TierPolicy, 'escalationQueue'>>> = {
  auto: { queue: '', slaSeconds: 0, sampleRate: 0 },
  spot_check: { queue: 'qa_review', slaSeconds: 7200, sampleRate: 0.1 },
  gate: { queue: 'specialist_review', slaSeconds: 14_400, sampleRate: 0 },
  hold: { queue: 'compliance_review', slaSeconds: 172_800, sampleRate: 0 },
}

/** A tier without an `escalation_queue` of its own escalates to where held cases go. */
export function tierPolicies(config: Checked<ConfigText>, findings: Findings): Definition['tiers'] {
  const blocks = config.text.governance_tiers ?? {}
  for (const key of Object.keys(blocks)) {
    if (tierNamed(key)) continue
    const place = config.source.locateKey(['governance_tiers', key])
    const right = meaning(key, tiers)
    findings.warn(place, `there is no tier '${key}': its block has no effect`, right)
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
export function qualityGates(
  config: Checked<ConfigText>,
  domain: string,
  findings: Findings,
): QualityGates | undefined {
  const block = config.text.quality_gates
  if (!block || Object.keys(block).length === 0) return undefined
  const written = block.escalation_tier ?? 'gate'
  return {
    minConfidence: block.min_confidence ?? 0.5,
    primitiveFloors: presentFloors(block.primitive_floors ?? {}),
    escalationTier: readTier(written, config.source, ['quality_gates', 'escalation_tier'], findings),
    escalationQueue: block.escalation_queue,
    exempt: (block.exempt_domains ?? []).includes(domain),
  }
}

function presentFloors(floors: Readonly<Record<string, number>>): Readonly<Record<string, number>> {
  return Object.fromEntries(Object.entries(floors).map(([name, floor]) => [olderNames[name] ?? name, floor]))
}

/** What the configuration says of domains and primitives that the pack does not have. */
export function checkConfig(
  { source, text }: Checked<ConfigText>,
  domains: readonly Checked<DomainText>[],
  primitives: ReadonlySet<string>,
  findings: Findings,
): void {
  const names = domains.map((domain) => domain.text.domain_name)
  const absent = (name: string, place: Place) => {
    if (name === '*' || names.includes(name)) return
    findings.warn(place, `there is no domain '${name}' in this pack`, meaning(name, names))
  }
  for (const name of Object.keys(text.overrides ?? {})) absent(name, source.locateKey(['overrides', name]))
  for (const [index, name] of (text.quality_gates?.exempt_domains ?? []).entries()) {
    absent(name, source.locate(['quality_gates', 'exempt_domains', index]))
  }
  for (const name of Object.keys(text.quality_gates?.primitive_floors ?? {})) {
    if (primitives.has(olderNames[name] ?? name)) continue
    const place = source.locateKey(['quality_gates', 'primitive_floors', name])
    const right = meaning(name, primitives)
    findings.warn(place, `there is no primitive '${name}': its floor has no effect`, right)
  }
}
