import type { Tier, TierPolicy } from './governance.ts'

/** The primitives of the pack language. Programs that embed the engine may register more. */
export const builtInPrimitives = [
  'retrieve',
  'classify',
  'investigate',
  'verify',
  'deliberate',
  'generate',
  'challenge',
  'govern',
] as const

/** Older packs' names for primitives. */
export const olderNames: Readonly<Record<string, string>> = { think: 'deliberate', act: 'govern' }

/** Where a workflow goes to stop. */
export const endOfWorkflow = '__end__'

export type Transition =
  | { readonly when: string; readonly goto: string }
  | { readonly agentDecide: AgentDecide }
  | { readonly default: string }

/** A choice that is left to the model. Without a valid answer the first option is taken, and governance is told. */
export interface AgentDecide {
  readonly prompt: string
  readonly options: readonly { readonly step: string; readonly description: string }[]
}

/** One step as merged with its domain: every `${domain.…}` is filled in, every runtime `${…}` still stands. */
export interface Step {
  readonly name: string
  readonly primitive: string
  /** Texts and lists as the pack wrote them; values other than strings are kept. */
  readonly params: Readonly<Record<string, unknown>>
  readonly model: string | undefined
  readonly temperature: number | undefined
  readonly transitions: readonly Transition[]
  readonly maxLoops: number | undefined
  readonly loopFallback: string | undefined
  /** How long one attempt may take. */
  readonly timeoutMs: number
  readonly retry: RetryPolicy
  /** The step acts on the world: its intent is recorded first, and the effect gets an idempotency key. */
  readonly externalEffect: boolean
}

export interface RetryPolicy {
  /** Attempts of one run in all, from 1. */
  readonly maxAttempts: number
  /** Pause before the second attempt; doubles with each further one. */
  readonly backoffMs: number
  readonly maxBackoffMs: number
}

export interface QualityGates {
  /** Below this confidence any step raises the tier. */
  readonly minConfidence: number | undefined
  readonly primitiveFloors: Readonly<Record<string, number>>
  readonly escalationTier: Tier
  readonly escalationQueue: string | undefined
  readonly exempt: boolean
}

/**
 * Everything that decides how a case runs, as one value: workflow and domain merged, tiers, gates. Its canonical JSON is
 * stored once under its SHA-256 (`definitions`), and an instance keeps running by it whatever happens to the pack.
 */
export interface Definition {
  readonly format: 1
  readonly pack: string
  readonly workflow: string
  readonly domain: string
  readonly steps: readonly Step[]
  /** The tier's floor: the domain's `governance`, else the coordinator's override; unset where neither exists. */
  readonly floor: { readonly tier: Tier; readonly source: 'domain' | 'override' } | undefined
  readonly tiers: Readonly<Record<Tier, TierPolicy>>
  readonly qualityGates: QualityGates | undefined
  /** Fixture data that retrieve may use beside the case's own, as the pack had it when this was pinned. */
  readonly fixtures: readonly Fixture[]
  /** Texts of the pack's document folder, which every case may retrieve; unset where there is none. */
  readonly documents?: readonly PackDocument[]
}

export interface Fixture {
  readonly caseId: string
  readonly tools: Readonly<Record<string, unknown>>
}

/** A text that a pack brings along, by the name under which it is retrieved. */
export interface PackDocument {
  readonly name: string
  readonly text: string
}

/** How the next step was chosen; recorded with the checkpoint. */
export interface Route {
  /** The next step's name, or `__end__`. */
  readonly to: string
  readonly by: 'sequence' | 'when' | 'agent' | 'default' | RouteFallback | 'failure'
  /** The condition that held, as parsed after `${domain.…}`. */
  readonly condition?: string
  /** Operands that were missing, whose comparisons therefore were false. */
  readonly missing?: readonly string[]
  /** What sent an earlier run of this step on in place of its conditions; it counts for governance still. */
  readonly earlier?: RouteFallback
}

/** Ways that were taken because the one that was meant could not be found. */
export const routeFallbacks = ['loop_fallback', 'agent_fallback'] as const
export type RouteFallback = (typeof routeFallbacks)[number]
