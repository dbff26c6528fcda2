import { z } from 'zod'
import { judgement, listOf } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

/** Weighs the options of a case and recommends one, with its warrant. */
export const deliberate = thinkingPrimitive({
  name: 'deliberate',
  requiredParams: ['instruction'],
  optionalParams: ['focus', 'question', 'constraints', 'additional_instructions'],
  instructions: `You weigh the options of a case and recommend one.
Sum up the situation as the material shows it, fix the criteria before you compare, and hold every option that
\`instruction\` allows against them, including the one you would rather not take. \`recommended_action\` is one of those
options, spelled exactly as there. \`warrant\` connects the facts to the recommendation so that a reviewer who disagrees
can see where; \`confidence_basis\` says what your confidence rests on. You propose: whether it takes effect is not
yours to say.`,
  answer: z.looseObject({
    ...judgement,
    situation_summary: z.string().min(1),
    evaluation_criteria: z.unknown().optional(),
    options_considered: listOf({
      action: z.string().nullish(),
      viable: z.boolean().nullish(),
      rationale: z.string().nullish(),
    }),
    recommended_action: z.string().nullish(),
    warrant: z.string().nullish(),
    confidence_basis: z.string().nullish(),
  }),
})
