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

export interface TierPolicy {
  readonly queue: string
  readonly slaSeconds: number
  /** Share of completed cases that a reviewer looks at afterwards, 0..1; only spot_check uses it. */
  readonly sampleRate: number
  /** Where a task goes whose SLA has passed. */
  readonly escalationQueue: string
}
