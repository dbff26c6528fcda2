import { hash } from 'node:crypto'

/** How much a person has to do with a case, from nothing to everything. Raising is the only way to move. */
export const tiers = ['auto', 'spot_check', 'gate', 'hold'] as const
export type Tier = (typeof tiers)[number]

/** One voice in the choice of the tier. Every one is kept. */
export interface TierContribution {
  /** Who spoke. */
  readonly source: 'domain' | 'override' | 'govern' | 'quality_gate' | 'fallback' | 'policy' | 'person'
  readonly tier: Tier
  /** A short fact, never content of the case: `govern_decision`, `classify_risk confidence 0.41 < 0.60`. */
  readonly because: string
}

/** True when `a` asks for more of a person than `b`. */
export function isAbove(a: Tier, b: Tier): boolean {
  return tiers.indexOf(a) > tiers.indexOf(b)
}

/**
 * The tier of a case: the highest that any voice asked for. There is no other way to a tier, so it can only rise.
 * Nobody spoke: gate, since a case that nothing governs needs a person.
 */
export function highestTier(contributions: readonly TierContribution[]): Tier {
  let highest: Tier | undefined
  for (const { tier } of contributions) {
    if (highest === undefined || isAbove(tier, highest)) highest = tier
  }
  return highest ?? 'gate'
}

/**
 * Whether this completed case is one of those that a reviewer looks at: decided by a hash of its id, so that anybody can
 * repeat the draw years later. `rate` is a share, 0..1.
 */
export function isSampled(instanceId: string, rate: number): boolean {
  const draw = Number.parseInt(hash('sha256', `cc/sample/v1\n${instanceId}`).slice(0, 12), 16)
  return draw / 2 ** 48 < rate
}

export interface TierPolicy {
  readonly queue: string
  readonly slaSeconds: number
  /** Share of completed cases that a reviewer looks at afterwards, 0..1; only spot_check uses it. */
  readonly sampleRate: number
  /** Where a task goes whose SLA has passed. */
  readonly escalationQueue: string
}
