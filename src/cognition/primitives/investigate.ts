import { z } from 'zod'
import { judgement, listOf, optionalList } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

const statements = optionalList(z.string())

/** Answers a question about the case by testing explanations against the evidence. */
export const investigate = thinkingPrimitive({
  name: 'investigate',
  requiredParams: ['question', 'scope'],
  optionalParams: ['available_evidence', 'effort_level', 'additional_instructions'],
  defaultParams: { effort_level: 'moderate' },
  instructions: `You investigate one question about a case.
Work within \`scope\`. Set up the explanations that could account for the evidence, the harmless ones too, and test each:
what speaks for it, what against it, and whether it stands as supported, rejected or inconclusive. Spend as much care as
\`effort_level\` asks for. \`finding\` answers the question in plain words and says what remains open; name anything that a
later reader must not miss in \`evidence_flags\`. You establish facts: the decision is somebody else's.`,
  answer: z.looseObject({
    ...judgement,
    finding: z.string().min(1),
    hypotheses_tested: listOf({
      hypothesis: z.string(),
      status: z.enum(['supported', 'rejected', 'inconclusive']),
      evidence_for: statements,
      evidence_against: statements,
      reasoning: z.string().nullish(),
    }),
    recommended_actions: listOf({}),
    evidence_flags: listOf({}),
  }),
})
