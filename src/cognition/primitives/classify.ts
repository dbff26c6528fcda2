import { z } from 'zod'
import { confidence, judgement, listOf } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

/** Puts the case into one of the given categories. */
export const classify = thinkingPrimitive({
  name: 'classify',
  requiredParams: ['categories', 'criteria'],
  optionalParams: ['confidence_threshold', 'additional_instructions'],
  defaultParams: { confidence_threshold: '0.7' },
  instructions: `You sort one case into one category.
Choose \`category\` from \`categories\`, spelled exactly as there, by applying \`criteria\` in the order they are given.
A category that the criteria exclude is excluded, however well it seems to fit. If a second category is plausible, list it
in \`alternative_categories\` with its own confidence, and let it lower yours. Below \`confidence_threshold\` say in
\`reasoning\` what would have settled the matter.`,
  answer: z.looseObject({
    ...judgement,
    category: z.string().trim().min(1),
    alternative_categories: listOf({
      category: z.string(),
      confidence: confidence.nullish(),
      reasoning: z.string().nullish(),
    }),
  }),
})
