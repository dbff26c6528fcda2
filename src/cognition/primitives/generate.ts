import { z } from 'zod'
import { judgement, listOf } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

/** Writes the text or document that the case calls for. */
export const generate = thinkingPrimitive({
  name: 'generate',
  requiredParams: ['requirements', 'format', 'constraints'],
  optionalParams: ['additional_instructions'],
  defaultParams: { format: 'text' },
  instructions: `You write one document for a case.
\`artifact\` is the whole document in the given \`format\`, ready to be used: nothing left out, no placeholders, no remarks about
it. It meets \`requirements\`, and every statement in it is borne out by the material. Go through \`constraints\` one by one
afterwards and record in \`constraints_checked\` whether each is satisfied; one that is not stays marked so, with the reason.`,
  answer: z.looseObject({
    ...judgement,
    artifact: z.union([z.string().min(1), z.looseObject({}), z.array(z.unknown())]),
    format: z.string().nullish(),
    constraints_checked: listOf({
      constraint: z.string().nullish(),
      satisfied: z.boolean().nullish(),
      notes: z.string().nullish(),
    }),
  }),
})
