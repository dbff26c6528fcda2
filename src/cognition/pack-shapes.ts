import { z } from 'zod'
import { builtInPrimitives } from '../domain/workflow.ts'
import type { Source } from './pack-source.ts'

/**
 * What stands in the files of a pack, with what each setting means: loading, `pack check` and the JSON Schemas for
 * editors read the same. Unknown keys are kept: packs carry notes and blocks for other versions.
 */

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
const target = z.string().describe('a step, or __end__')

const agentDecide = z
  .looseObject({
    prompt: z.string().trim().min(1).describe('what the model is to weigh; ${…} is filled in'),
    options: z.array(z.looseObject({ step: target, description: z.string().default('') })).min(1),
  })
  .describe('a model chooses the next step; without a valid choice the first option is taken and a person looks')

export const transitionShape = z
  .looseObject({
    when: z
      .string()
      .trim()
      .min(1)
      .optional()
      .describe("a condition: output.category == 'a' and output.confidence >= 0.8"),
    goto: target.optional(),
    agent_decide: agentDecide.optional(),
    default: target.optional(),
  })
  .refine(isOneTransition, 'a transition is either `when` with `goto`, or `agent_decide`, or `default`')
  .meta({ oneOf: [['when', 'goto'], ['agent_decide'], ['default']].map(withoutOthers) })

/** The same for editors, which know nothing of the function below. */
function withoutOthers(required: readonly string[]): object {
  const others = ['when', 'goto', 'agent_decide', 'default'].filter((key) => !required.includes(key))
  return { required, not: { anyOf: others.map((key) => ({ required: [key] })) } }
}

function isOneTransition(item: { when?: unknown; goto?: unknown; agent_decide?: unknown; default?: unknown }): boolean {
  const isWhen = item.when !== undefined && item.goto !== undefined
  const isPartOfWhen = item.when !== undefined || item.goto !== undefined
  const others = [item.agent_decide, item.default].filter((value) => value !== undefined).length
  return isPartOfWhen ? isWhen && others === 0 : others === 1
}

/** A step without its transitions, which are looked at one by one. */
export const stepShape = z.looseObject({
  name: stepName.describe('unique in the workflow'),
  primitive: name.describe(`one of ${builtInPrimitives.join(', ')}, or one that the program registers`),
  description: z.unknown().optional(),
  params: z.record(z.string(), z.unknown()).nullish().describe('texts for the primitive; ${…} is filled in'),
  model: z.string().min(1).optional().describe('default, fast, standard, strong, or a model of the provider'),
  temperature: z.number().min(0).max(2).optional(),
  max_loops: z.int().min(1).optional().describe('at this run of the step the workflow goes to loop_fallback'),
  loop_fallback: target.optional(),
  timeout_seconds: timeoutSeconds.optional().describe('how long one attempt may take; 300 unless said'),
  sla_seconds: timeoutSeconds.optional().describe('the older name of timeout_seconds'),
  retry: z
    .strictObject({
      max_attempts: z.int().min(1).max(100).optional(),
      backoff_seconds: z.number().min(0).max(86_400).optional(),
      max_backoff_seconds: z.number().min(0).max(86_400).optional(),
    })
    .optional(),
  external_effect: z.boolean().optional().describe('the step acts on the world: its intent is recorded first'),
  dry_run: z
    .boolean()
    .optional()
    .describe('of govern in older packs; work orders are proposals, so there is nothing to run dry'),
})

const governance = z
  .union([z.string(), z.looseObject({ tier: z.string() })])
  .describe('the lowest tier of its cases: auto, spot_check, gate, hold')

/** A workflow with its steps not yet looked at. */
export const workflowFrame = z.looseObject({
  name,
  description: z.unknown().optional(),
  version: z.unknown().optional(),
  mode: z.string().optional(),
  governance: governance.optional(),
  steps: z.array(z.unknown()).min(1),
})

export const workflowShape = workflowFrame.extend({
  steps: z.array(stepShape.extend({ transitions: z.array(transitionShape).nullish() })).min(1),
})

export const domainShape = z.looseObject({
  domain_name: name,
  workflow: z.string().optional().describe('the one workflow that it goes with; without it, each that it fits'),
  governance: governance.optional(),
})

/** Queues are named in events and lists. */
const queue = z.string().min(1).max(200)
const share = z.number().min(0).max(1)
const folder = z.string().min(1).describe('a folder of the pack')

const tierBlock = z.looseObject({
  hitl: z.unknown().optional(),
  queue: queue.optional(),
  sla: seconds.optional().describe('seconds until its tasks are due'),
  sample_rate: share.optional().describe('share of the spot-checked cases that a person looks at'),
  escalation_queue: queue.optional().describe('where a task goes that is overdue or escalated'),
})

const qualityGates = z.looseObject({
  min_confidence: share.optional().describe('below it any step raises the tier; 0.5 unless said'),
  primitive_floors: z.record(z.string(), share).nullish(),
  escalation_tier: z.string().optional(),
  escalation_queue: queue.optional(),
  exempt_domains: z.array(z.string()).nullish(),
})

export const configShape = z.looseObject({
  workflow_dir: folder.nullish(),
  domain_dir: folder.nullish(),
  case_dir: folder.nullish(),
  document_dir: folder.nullish(),
  governance_tiers: z.record(z.string(), tierBlock.nullable()).nullish(),
  overrides: z.record(z.string(), z.string()).nullish().describe('domain → tier; * for every other'),
  quality_gates: qualityGates.nullish(),
})

/** Keys that mean something where they stand; any other is taken for a slip and warned of. */
export const knownKeys = {
  workflow: [
    ...Object.keys(workflowFrame.shape),
    'goal',
    'available_primitives',
    'constraints',
    'orchestrator',
    'primitive_configs',
  ],
  step: [...Object.keys(stepShape.shape), 'transitions'],
  transition: Object.keys(transitionShape.shape),
  agent_decide: Object.keys(agentDecide.shape),
  option: Object.keys(agentDecide.shape.options.element.shape),
  config: [
    ...Object.keys(configShape.shape),
    ...['delegations', 'contracts', 'capabilities', 'executions', 'execution_mcp_cmd', 'data_mcp_cmd'],
  ],
  tier: Object.keys(tierBlock.shape),
  quality_gates: [...Object.keys(qualityGates.shape), 'gate_triggers'],
} as const satisfies Record<string, readonly string[]>

export type TransitionText = z.infer<typeof transitionShape> & InFile
export type DomainText = z.infer<typeof domainShape>
export type ConfigText = z.infer<typeof configShape>
export type StepText = z.infer<typeof stepShape> & InFile & { readonly transitions: readonly TransitionText[] }
export type WorkflowText = Pick<z.infer<typeof workflowFrame>, 'name' | 'governance'> & {
  readonly steps: readonly StepText[]
}

/** Where an item stands in its list in the file; those that are wrong are left out. */
interface InFile {
  readonly at: number
}

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
  agent_decide: 'give a `prompt`, and `options` with `step` and `description` each',
  prompt: 'write what the model is to weigh',
  options: 'list at least one option with `step` and `description`',
  max_loops: 'give a whole number from 1',
  loop_fallback: 'name a step, or `__end__`',
  temperature: 'give a number from 0 to 2',
  timeout_seconds: 'give a number of seconds',
  sla_seconds: 'give a number of seconds',
  sla: 'give a number of seconds',
  retry: 'give `max_attempts`, `backoff_seconds`, `max_backoff_seconds`',
  external_effect: 'write true or false',
  dry_run: 'write true or false',
  domain_name: 'give the domain a name of letters, digits, `_` and `-`',
  governance: 'name a tier: auto, spot_check, gate or hold',
  queue: 'name a queue',
  sample_rate: 'give a share between 0 and 1',
  min_confidence: 'give a share between 0 and 1',
  primitive_floors: 'give a primitive a share between 0 and 1, such as `classify: 0.7`',
  exempt_domains: 'list names of domains',
  overrides: 'write a map of domains to tiers, such as `claims: gate`',
  governance_tiers: 'write a map of tiers to blocks with `queue` and `sla`',
  workflow_dir: 'name a folder of the pack',
  domain_dir: 'name a folder of the pack',
  case_dir: 'name a folder of the pack',
  document_dir: 'name a folder of the pack',
}
