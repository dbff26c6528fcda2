import { z } from 'zod'
import { tiers } from '../../domain/governance.ts'
import { tierNamed } from '../tier-name.ts'
import { base, listOf } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

const lowerCased = (value: unknown) => (typeof value === 'string' ? value.trim().toLowerCase() : value)

/** Says how much human attention the case needs. What it says can raise the tier of a case and never lower it. */
export const govern = thinkingPrimitive({
  name: 'govern',
  requiredParams: ['workflow_state', 'governance_context'],
  optionalParams: ['tier_override', 'epistemic_context', 'authorization_level', 'mode', 'additional_instructions'],
  instructions: `You say how much human attention a finished case needs before its outcome takes effect.
Tiers, from least to most: auto (nobody looks), spot_check (a sample is looked at afterwards), gate (a person approves
first), hold (stopped until compliance releases it). Hold \`workflow_state\` against the conditions in \`governance_context\` and
apply the highest tier of which any condition is met. A step that did not run, a value that is missing, a doubt about which
tier applies: take the higher. \`tier_rationale\` names the conditions that decided. \`disposition\` is proceed for auto and
spot_check, otherwise escalate, suspend or hold. Where a person must act, \`work_order\` tells them what to look at and what
to decide. You judge the need for attention, not the case.`,
  answer: z.looseObject({
    ...base,
    tier_applied: z.preprocess(
      (value) => (typeof value === 'string' ? (tierNamed(value) ?? value) : value),
      z.enum(tiers),
    ),
    tier_rationale: z.string().min(1),
    disposition: z.preprocess(lowerCased, z.enum(['proceed', 'escalate', 'suspend', 'hold'])),
    work_order: z
      .looseObject({
        work_type: z.string().nullish(),
        target: z.string().nullish(),
        instructions: z.string().nullish(),
        inputs: z.looseObject({}).nullish(),
        governance_tier: z.string().nullish(),
        sla: z.unknown().optional(),
        versioned_contract: z.unknown().optional(),
      })
      .nullish(),
    escalation_target: z.string().nullish(),
    resumption_condition: z.string().nullish(),
    accountability_chain: listOf({}),
  }),
})
