import { z } from 'zod'
import { judgement, listOf } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

/** Attacks a conclusion from a given point of view, to see whether it stands. */
export const challenge = thinkingPrimitive({
  name: 'challenge',
  requiredParams: ['perspective', 'threat_model'],
  optionalParams: ['subject', 'additional_instructions'],
  instructions: `You try to break a conclusion before the world does.
Take the \`perspective\` in earnest and press on each point of the \`threat_model\`: what was overlooked, which evidence would
overturn it, who is harmed if it is wrong. Each weakness you can show goes into \`vulnerabilities\` with its severity, how it
would be exploited or come to light, and what would mend it; a weakness you merely imagine does not. \`survives\` is true only
when none of them would change the outcome. Name real strengths too: an attack that finds everything wanting tells nobody
anything.`,
  answer: z.looseObject({
    ...judgement,
    survives: z.boolean(),
    vulnerabilities: listOf({
      description: z.string().nullish(),
      severity: z.string().nullish(),
      attack_vector: z.string().nullish(),
      recommendation: z.string().nullish(),
    }),
    strengths: listOf({}),
    overall_assessment: z.string().min(1),
  }),
})
