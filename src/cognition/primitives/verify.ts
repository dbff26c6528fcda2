import { z } from 'zod'
import { judgement, listOf, optionalList } from './shapes.ts'
import { thinkingPrimitive } from './thinking.ts'

/** Holds a subject against rules. What it finds stands: nothing turns `conforms: false` into true. */
export const verify = thinkingPrimitive({
  name: 'verify',
  requiredParams: ['rules'],
  optionalParams: ['subject', 'additional_instructions'],
  instructions: `You check a subject against rules, one rule at a time.
List every rule you checked in \`rules_checked\`. A rule that is broken goes into \`violations\` with its number or name, what
breaks it, how severe that is (critical, major, minor) and where it shows. A rule that cannot be checked on this material
is not met. \`conforms\` is true only when every rule is met. Do not weigh whether a rule is wise, and do not excuse a
breach because the outcome seems fair.`,
  answer: z.looseObject({
    ...judgement,
    conforms: z.boolean(),
    violations: listOf({
      rule: z.union([z.string(), z.number()]).nullish(),
      description: z.string().nullish(),
      severity: z.enum(['critical', 'major', 'minor']).nullish(),
      location: z.string().nullish(),
    }),
    rules_checked: optionalList(z.unknown()),
  }),
})
