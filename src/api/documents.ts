import { z } from 'zod'
import { auditEventTypes } from '../domain/audit.ts'
import { faults } from '../domain/chain.ts'
import { tiers } from '../domain/governance.ts'
import { instanceStatuses, workStates } from '../domain/instance.ts'
import { roles } from '../domain/role.ts'
import { decisions, taskStatuses } from '../domain/task.ts'

/**
 * What the API answers, field by field: for the OpenAPI document, and for the client, which checks every answer. The
 * documents themselves are made by `engine/as-json.ts`; a test holds the two together.
 */

const id = z.string().meta({ description: 'a UUID (version 7)' })
const text = z.string()
const count = z.int().min(0)
const content = z.json()
const tier = z.enum(tiers)

const ms = z.int().meta({ description: 'milliseconds since 1970, UTC' })
const iso = z.string().meta({ description: 'the same, ISO 8601' })

/** A time stands in every document twice. */
function time<Name extends string, Ms extends z.ZodType, Iso extends z.ZodType>(name: Name, ms: Ms, iso: Iso) {
  return { [`${name}_ms`]: ms, [name]: iso } as Record<`${Name}_ms`, Ms> & Record<Name, Iso>
}

const set = <Name extends string>(name: Name) => time(name, ms, iso)
const unset = <Name extends string>(name: Name) => time(name, ms.nullable(), iso.nullable())

export const caseDocument = z
  .object({
    instance_id: id,
    workflow: text,
    domain: text,
    status: z.enum(instanceStatuses),
    work: z.enum(workStates).nullable(),
    tier: tier.nullable(),
    tier_contributions: z.array(
      z.object({
        source: z.enum(['domain', 'override', 'govern', 'quality_gate', 'fallback', 'policy', 'person']),
        tier,
        because: text,
      }),
    ),
    path: z.array(text),
    outcome: content,
    proposed: content,
    failure: z.object({ code: text, message: text }).nullable(),
    disputed: z.boolean(),
    in_doubt: text.nullable(),
    simulated: z.boolean(),
    open_tasks: z.array(id),
    submitted_by: text,
    definition_hash: text,
    ...set('submitted_at'),
    ...set('updated_at'),
    ...unset('ended_at'),
  })
  .meta({ id: 'Case' })

export const stepDocument = z
  .object({
    step_no: z.int(),
    step: text,
    primitive: text,
    run: z.int(),
    attempts: z.int(),
    status: z.enum(['completed', 'failed']),
    error_code: text.nullable(),
    output: content,
    model: text.nullable(),
    input_tokens: z.int().nullable(),
    output_tokens: z.int().nullable(),
    route: z.looseObject({ by: text, to: text }),
    ...set('started_at'),
    ...set('ended_at'),
  })
  .meta({ id: 'Step' })

const taskShape = {
  task_id: id,
  instance_id: id,
  tier: z.enum(['spot_check', 'gate', 'hold']),
  queue: text,
  escalation_queue: text,
  status: z.enum(taskStatuses),
  because: text,
  submitted_by: text,
  barred: z.array(text),
  claimed_by: text.nullable(),
  ...unset('claimed_until'),
  decision: z.enum(decisions).nullable(),
  decided_by: text.nullable(),
  ...unset('decided_at'),
  ...set('opened_at'),
  ...set('due_at'),
  ...unset('escalated_at'),
}

export const taskDocument = z.object(taskShape).meta({ id: 'Task' })

export const briefDocument = z
  .object({
    ...taskShape,
    allowed: z.array(z.enum(decisions)),
    reason: text.nullable(),
    changes: content,
    input: content,
    case: caseDocument,
    steps: z.array(stepDocument),
  })
  .meta({ id: 'Brief' })

export const eventDocument = z
  .object({
    seq: z.int(),
    type: z.enum(auditEventTypes),
    ...set('at'),
    actor: text.nullable(),
    step: text.nullable(),
    tier: text.nullable(),
    facts: z.record(text, content).nullable(),
    payload_id: id.nullable(),
    prev_hash: text,
    hash: text,
    envelope: text,
  })
  .meta({ id: 'AuditEvent' })

const finding = z.object({
  instance_id: id,
  seq: z.int().nullable(),
  what: z.enum(faults),
  where: text,
  detail: text,
})

export const verifyDocument = z
  .object({
    valid: z.boolean(),
    simulated: z.boolean(),
    instances: count,
    events: count,
    checkpoints: count,
    payloads: count,
    erased_payloads: count,
    elapsed_ms: count,
    head: z.object({ seq: z.int(), hash: text }).nullable(),
    first_invalid: finding.nullable(),
    findings: z.array(finding),
    cannot_show: z.array(text),
  })
  .meta({ id: 'Verification' })

export const submittedDocument = z
  .object({
    instance_id: id,
    status: z.enum(instanceStatuses),
    simulated: z.boolean(),
    links: z.record(text, text),
  })
  .meta({ id: 'Submitted' })

export const decidedDocument = z
  .object({
    task_id: id,
    instance_id: id,
    decision: z.enum(decisions),
    decided_by: text,
    status: z.enum(instanceStatuses),
    repeated: z.boolean(),
    opened_task_id: id.nullable(),
  })
  .meta({ id: 'Decided' })

export const erasedDocument = z
  .object({ instance_id: id, payload_id: id, erased: z.literal(true) })
  .meta({ id: 'Erased' })

export const callerDocument = z
  .object({ actor: text, roles: z.array(z.enum(roles)), simulated: z.boolean().nullable(), version: text })
  .meta({ id: 'Caller' })

export const workflowDocument = z
  .object({ workflow: text, domain: text, definition_hash: text, pack: text })
  .meta({ id: 'Workflow' })

export const healthDocument = z
  .object({
    status: z.enum(['live', 'ready', 'starting', 'draining', 'unavailable']),
    backend: text.optional(),
    database_id: text.optional(),
    simulated: z.boolean().nullable().optional(),
    version: text,
  })
  .meta({ id: 'Health' })

/** A list with the cursor of its next page. */
export function pageOf<T extends z.ZodType>(item: T) {
  return z.object({ items: z.array(item), next_cursor: text.nullable() })
}

export const problem = z
  .looseObject({
    type: text,
    title: text,
    status: z.int(),
    code: text,
    detail: text,
    remedy: text,
    facts: z.record(text, z.union([text, z.number()])).optional(),
    request_id: text,
  })
  .meta({ id: 'Problem', description: 'RFC 9457; the codes are explained in docs/errors.md' })
