import type { JsonObject } from '../../src/domain/json.ts'

/** What a case of the crash test asks for. It decides which way the case must go, so the checker can tell without the engine. */
export interface Errand extends JsonObject {
  readonly number: number
  /** Takes the branch through `survey`. */
  readonly long: boolean
  /** How often `measure` wants to be repeated; the loop ends by itself before the third repetition is through. */
  readonly repeats: number
  /** The last step is not sure of itself, which holds the case. */
  readonly doubt: boolean
  /** The first attempt of the first `adjust` fails. */
  readonly flaky: boolean
  /** The last step fails for good. */
  readonly broken: boolean
}

/** Every combination comes up: the numbers are drawn apart by different divisors. */
export function errandOf(number: number): Errand {
  return {
    number,
    long: number % 2 === 0,
    repeats: number % 4,
    doubt: number % 5 === 0,
    flaky: number % 3 === 0,
    broken: number % 7 === 3,
  }
}

export const workflow = 'errand'
export const domain = 'errands'
export const submitter = 'crash-client'
export const reviewer = 'crash-reviewer'
/** At this run of `measure` the loop is over, whatever it says. */
export const maxMeasures = 4

/** A branch, a loop with a bound, a step that may be tried twice, and one that acts on the world. */
export const errandPack = {
  name: 'errands',
  workflows: [
    {
      name: workflow,
      steps: [
        {
          name: 'open',
          primitive: 'logged',
          transitions: [{ when: 'output.long == true', goto: 'survey' }, { default: 'measure' }],
        },
        { name: 'survey', primitive: 'logged' },
        {
          name: 'measure',
          primitive: 'logged',
          max_loops: maxMeasures,
          loop_fallback: 'settle',
          transitions: [{ when: 'output.again == true', goto: 'adjust' }, { default: 'settle' }],
        },
        {
          name: 'adjust',
          primitive: 'logged',
          retry: { max_attempts: 2, backoff_seconds: 0.01 },
          transitions: [{ default: 'measure' }],
        },
        { name: 'settle', primitive: 'logged', external_effect: true },
      ],
    },
  ],
  domains: [{ domain_name: domain, governance: 'auto' }],
  config: { quality_gates: { min_confidence: 0.5, escalation_tier: 'hold' } },
}
