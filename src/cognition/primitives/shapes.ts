import { z } from 'zod'

/** The shapes that answers of several primitives share. Fields beyond them are kept, since packs refer to some. */

/** How sure a step is, from 0 to 1. A number, never a word for one. */
export const confidence = z.number().min(0).max(1)

/** A list that may be left out: conditions count what is in it, so nothing said is an empty list. */
export function optionalList<T extends z.ZodType>(item: T) {
  return z.preprocess((value) => value ?? [], z.array(item))
}

/** Models list things as objects or as plain lines; both are worth having. */
export function listOf<S extends z.ZodRawShape>(shape: S) {
  return optionalList(z.union([z.looseObject(shape), z.string()]))
}

const evidence = listOf({ source: z.string().nullish(), description: z.string().nullish() })

export const base = {
  confidence,
  reasoning: z.string(),
  evidence_used: evidence,
  evidence_missing: evidence,
  resource_requests: optionalList(
    z.looseObject({
      need: z.string(),
      reason: z.string(),
      contract: z.string().nullish(),
      blocking: z.boolean().default(true),
      context: z.looseObject({}).nullish(),
      urgency: z.string().nullish(),
      depends_on: optionalList(z.string()),
    }),
  ),
}

/** What every step of judgement may add to say how far to trust it. */
export const judgement = {
  ...base,
  reasoning_quality: confidence.nullish(),
  outcome_certainty: confidence.nullish(),
}
