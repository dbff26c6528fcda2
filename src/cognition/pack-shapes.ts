import { z } from 'zod'
import type { Source } from './pack-source.ts'

/** What stands in the files of a pack. Unknown keys are kept: packs carry notes and blocks for other versions. */

/** Names travel in addresses, file names and references, so they are plain. */
const name = z
  .string()
  .max(100)
  .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]*$/, 'letters, digits, `_`, `-` and `.` only')
const stepName = z
  .string()
  .max(100)
  .regex(/^[A-Za-z][A-Za-z0-9_-]*$/, 'letters, digits, `_` and `-`, beginning with a letter')
const seconds = z.number().positive().max(31_536_000)
/** As long as a timer can be set. */
const timeoutSeconds = z.number().positive().max(2_073_600)

const transition = z
  .looseObject({
    when: z.string().optional(),
    goto: z.string().optional(),
    default: z.string().optional(),
    agent_decide: z.unknown().optional(),
  })
  .refine(
    (item) =>
      item.agent_decide !== undefined ||
      (item.default !== undefined
        ? item.when === undefined && item.goto === undefined
        : item.when !== undefined && item.goto !== undefined),
    'a transition is either `when` with `goto`, or `default`',
  )

const step = z.looseObject({
  name: stepName,
  primitive: name,
  description: z.unknown().optional(),
  params: z.record(z.string(), z.unknown()).nullish(),
  model: z.string().optional(),
  temperature: z.number().min(0).max(2).optional(),
  transitions: z.array(transition).nullish(),
  max_loops: z.int().min(1).optional(),
  loop_fallback: z.string().optional(),
  timeout_seconds: timeoutSeconds.optional(),
  sla_seconds: timeoutSeconds.optional(),
  retry: z
    .strictObject({
      max_attempts: z.int().min(1).max(100).optional(),
      backoff_seconds: z.number().min(0).max(86_400).optional(),
      max_backoff_seconds: z.number().min(0).max(86_400).optional(),
    })
    .optional(),
  external_effect: z.boolean().optional(),
  /** Of govern steps in older packs; work orders are proposals here, so there is nothing to run dry. */
  dry_run: z.boolean().optional(),
})

/** Keys a step may have; any other is taken for a slip and warned of. */
export const stepKeys: ReadonlySet<string> = new Set(Object.keys(step.shape))

const governance = z.union([z.string(), z.looseObject({ tier: z.string() })])

export const workflowShape = z.looseObject({
  name,
  mode: z.string().optional(),
  governance: governance.optional(),
  steps: z.array(step).min(1),
})

export const domainShape = z.looseObject({
  domain_name: name,
  workflow: z.string().optional(),
  governance: governance.optional(),
})

/** Queues are named in events and lists. */
const queue = z.string().min(1).max(200)
const share = z.number().min(0).max(1)
const tierBlock = z.looseObject({
  queue: queue.optional(),
  sla: seconds.optional(),
  sample_rate: share.optional(),
  escalation_queue: queue.optional(),
})

export const configShape = z.looseObject({
  governance_tiers: z.record(z.string(), tierBlock.nullable()).nullish(),
  overrides: z.record(z.string(), z.string()).nullish(),
  quality_gates: z
    .looseObject({
      min_confidence: share.optional(),
      primitive_floors: z.record(z.string(), share).nullish(),
      escalation_tier: z.string().optional(),
      escalation_queue: queue.optional(),
      exempt_domains: z.array(z.string()).nullish(),
    })
    .nullish(),
})

export type WorkflowText = z.infer<typeof workflowShape>
export type StepText = z.infer<typeof step>
export type TransitionText = z.infer<typeof transition>
export type DomainText = z.infer<typeof domainShape>
export type ConfigText = z.infer<typeof configShape>

/** A text of a pack whose shape has been checked, with the place it came from. */
export interface Checked<T> {
  readonly source: Source
  readonly text: T
}

/** What would be right, by the key that is wrong. */
export const rightWay: Readonly<Record<string, string>> = {
  name: 'give a name of letters, digits, `_` and `-`, such as `check_terms`',
  primitive: 'name a primitive, such as `classify`',
  params: 'write a map of parameters',
  steps: 'list at least one step with `name` and `primitive`',
  transitions: 'list items such as `when: "output.category == \'a\'"` with `goto: step`, and `default: step`',
  when: 'write a condition as text, such as "output.category == \'a\'"',
  goto: 'name a step, or `__end__`',
  default: 'name a step, or `__end__`',
  max_loops: 'give a whole number from 1',
  retry: 'give `max_attempts`, `backoff_seconds`, `max_backoff_seconds`',
  domain_name: 'give the domain a name of letters, digits, `_` and `-`',
  governance: 'name a tier: auto, spot_check, gate or hold',
  sample_rate: 'give a share between 0 and 1',
  min_confidence: 'give a share between 0 and 1',
}
