import type { RunContext } from '../cognition/run-context.ts'
import { highestTier, isAbove, type Tier, type TierContribution, tiers } from '../domain/governance.ts'
import type { JsonObject } from '../domain/json.ts'
import { type Definition, type Route, type RouteFallback, routeFallbacks } from '../domain/workflow.ts'

/** What the workflow has to say about the tier, gathered when it has ended. */
export interface Governed {
  readonly tier: Tier
  readonly contributions: readonly TierContribution[]
  /** Those that asked for the tier that applies, for the person who will read why the case was held. */
  readonly because: string
  /** Set when a quality gate sends the case to a queue of its own. */
  readonly queue: string | undefined
}

/** What routing noticed along the way: steps that fell back or failed without ending the case. */
export interface Mishap {
  readonly step: string
  readonly what: RouteFallback | 'failed'
}

/** How this route, or an earlier one from the same step, fell back. */
export function fallbackIn({ by, earlier }: Route): RouteFallback | undefined {
  return routeFallbacks.find((fallback) => fallback === by) ?? earlier
}

const mishapWords: Readonly<Record<Mishap['what'], string>> = {
  failed: 'failed',
  loop_fallback: 'ran out of loops',
  agent_fallback: 'had no valid choice of the next step',
}

/**
 * Gathers every voice and takes the highest. The floor is the domain's or the coordinator's; without one the govern
 * step's word is the floor, and without that (none ran, or it failed) it is gate.
 */
export function govern(definition: Definition, context: RunContext, mishaps: readonly Mishap[]): Governed {
  const contributions: TierContribution[] = []
  const { floor } = definition
  if (floor) contributions.push({ source: floor.source, tier: floor.tier, because: `floor of ${definition.domain}` })

  const governed = governVoices(context)
  contributions.push(...governed)
  if (!floor && governed.length === 0) {
    contributions.push({ source: 'fallback', tier: 'gate', because: 'no govern step gave a tier' })
  }
  for (const { step, what } of mishaps) {
    contributions.push({ source: 'fallback', tier: 'gate', because: `${step} ${mishapWords[what]}` })
  }
  const gate = qualityVoice(definition, context)
  if (gate) contributions.push(gate)

  const tier = highestTier(contributions)
  const decisive = contributions.filter((contribution) => contribution.tier === tier)
  return {
    tier,
    contributions,
    because: decisive.map(({ source, because }) => `${source}: ${because}`).join('; '),
    queue: gate?.tier === tier ? definition.qualityGates?.escalationQueue : undefined,
  }
}

/** A disposition other than proceed asks for a person, whatever tier the same step named beside it. */
const dispositionTier: Readonly<Record<string, Tier>> = { escalate: 'gate', suspend: 'gate', hold: 'hold' }

function governVoices(context: RunContext): TierContribution[] {
  const voices: TierContribution[] = []
  for (const { step, primitive, output } of context.outputs.values()) {
    if (primitive !== 'govern') continue
    const applied = tiers.find((tier) => tier === output.tier_applied)
    // The primitive's schema admits the four tiers only; anything else here is somebody's own primitive.
    voices.push({ source: 'govern', tier: applied ?? 'gate', because: `${step} applied ${applied ?? 'no known tier'}` })
    const asked = dispositionTier[String(output.disposition)]
    if (asked && isAbove(asked, applied ?? 'gate')) {
      voices.push({ source: 'govern', tier: asked, because: `${step} disposition ${String(output.disposition)}` })
    }
  }
  return voices
}

/** The first step, in the order of their latest runs, whose confidence is below its floor. */
function qualityVoice(definition: Definition, context: RunContext): TierContribution | undefined {
  const gates = definition.qualityGates
  if (!gates || gates.exempt) return undefined
  for (const { step, primitive, output } of context.outputs.values()) {
    const floor = gates.primitiveFloors[primitive] ?? gates.minConfidence
    const { confidence } = output
    if (floor === undefined || typeof confidence !== 'number' || confidence >= floor) continue
    return {
      source: 'quality_gate',
      tier: gates.escalationTier,
      because: `${step} confidence ${confidence} < ${floor}`,
    }
  }
  return undefined
}

/** What the case comes to: the proposal that a tier lets through or a person decides upon. Absent parts are left out. */
export function composeOutcome(context: RunContext): JsonObject {
  const latest = new Map<string, JsonObject>()
  for (const { primitive, output } of context.outputs.values()) latest.set(primitive, output)
  const parts = {
    disposition: latest.get('govern')?.disposition,
    recommendation: latest.get('deliberate')?.recommended_action,
    category: latest.get('classify')?.category,
    conforms: latest.get('verify')?.conforms,
    artifact: latest.get('generate')?.artifact,
    work_order: latest.get('govern')?.work_order,
  }
  return Object.fromEntries(Object.entries(parts).filter((part) => part[1] !== undefined)) as JsonObject
}
