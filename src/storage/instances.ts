import type { ChainHead } from '../domain/audit.ts'
import type { TierContribution } from '../domain/governance.ts'
import type { Instance, InstanceStatus } from '../domain/instance.ts'
import type { Reader, Row, SqlValue, Transaction } from './backend.ts'
import { aliased, type Nullable, orNull, placeholders, withoutNulls } from './rows.ts'
import { queryReadable, readable } from './verification.ts'

/** What the instance row keeps once no work row stands beside it: the end of its workflow, or its suspension. */
export interface InstanceEnding extends Pick<
  Instance,
  | 'instanceId'
  | 'status'
  | 'tier'
  | 'tierContributions'
  | 'proposedPayloadId'
  | 'outcomePayloadId'
  | 'failureCode'
  | 'resumeStep'
  | 'disputed'
  | 'auditSeq'
  | 'auditHead'
  | 'stepCount'
> {
  readonly atMs: number
}

const columns = {
  instanceId: 'instance_id',
  correlationId: 'correlation_id',
  workflow: 'workflow',
  domain: 'domain',
  definitionHash: 'definition_hash',
  submittedBy: 'submitted_by',
  inputPayloadId: 'input_payload_id',
  status: 'status',
  tier: 'tier',
  tierContributions: 'tier_contributions',
  proposedPayloadId: 'proposed_payload_id',
  outcomePayloadId: 'outcome_payload_id',
  failureCode: 'failure_code',
  resumeStep: 'resume_step',
  simulated: 'simulated',
  disputed: 'disputed',
  auditSeq: 'audit_seq',
  auditHead: 'audit_head',
  stepCount: 'step_count',
  submittedAtMs: 'submitted_at_ms',
  updatedAtMs: 'updated_at_ms',
  endedAtMs: 'ended_at_ms',
} as const satisfies Record<keyof Instance, string>

const fields = Object.keys(columns) as (keyof Instance)[]
const instanceColumns = aliased(columns)
/** In the order of `instanceValues`. */
export const newInstanceColumns: readonly string[] = Object.values(columns)

type Stored = 'tierContributions' | 'simulated' | 'disputed'
type InstanceRow = Nullable<Omit<Instance, Stored>> & {
  readonly tierContributions: string
  readonly simulated: number
  readonly disputed: number
}

function toInstance(row: InstanceRow): Instance {
  return {
    ...withoutNulls<Omit<Instance, Stored>>(row),
    tierContributions: JSON.parse(row.tierContributions) as TierContribution[],
    simulated: row.simulated === 1,
    disputed: row.disputed === 1,
  }
}

function toColumn(value: Instance[keyof Instance]): SqlValue {
  if (typeof value === 'boolean') return value ? 1 : 0
  return typeof value === 'object' ? JSON.stringify(value) : orNull(value)
}

export function instanceValues(instance: Instance): SqlValue[] {
  return fields.map((field) => toColumn(instance[field]))
}

export async function readInstance(reader: Reader, instanceId: string): Promise<Instance | undefined> {
  const [row] = await reader.query<InstanceRow>(`select ${instanceColumns} from instances where instance_id = $1`, [
    instanceId,
  ])
  return row && toInstance(row)
}

/** Every column of one instance by its name in the table, as an export shows it. */
export async function readInstanceColumns(
  reader: Reader,
  instanceId: string,
): Promise<Readonly<Record<string, SqlValue>> | undefined> {
  const names = Object.values(columns).map((name) => (numbers.has(name) ? `${readable(name)} as ${name}` : name))
  const sql = `select ${names.join(', ')} from instances where instance_id = $1`
  const [row] = await queryReadable<Row>(reader, sql, [instanceId])
  return row
}

const numbers: ReadonlySet<string> = new Set([
  columns.simulated,
  columns.disputed,
  columns.auditSeq,
  columns.stepCount,
  columns.submittedAtMs,
  columns.updatedAtMs,
  columns.endedAtMs,
])

/** Where each of these instances is at the moment. */
export async function readPlaces(
  reader: Reader,
  instanceIds: readonly string[],
): Promise<Pick<Instance, 'instanceId' | 'status' | 'auditSeq'>[]> {
  if (instanceIds.length === 0) return []
  return await reader.query(
    `select instance_id as "instanceId", status, audit_seq as "auditSeq" from instances
      where instance_id in (${placeholders(instanceIds.length)})`,
    instanceIds,
  )
}

export interface InstanceFilter {
  readonly status?: InstanceStatus | undefined
  readonly workflow?: string | undefined
  readonly submittedBy?: string | undefined
  /** Only instances submitted before this one. */
  readonly before?: string | undefined
  readonly limit: number
}

/** The newest first: ids are in the order of submission. */
export async function listInstances(reader: Reader, filter: InstanceFilter): Promise<Instance[]> {
  const params: SqlValue[] = []
  const conditions = [
    ['status =', filter.status],
    ['workflow =', filter.workflow],
    ['submitted_by =', filter.submittedBy],
    ['instance_id <', filter.before],
  ].flatMap(([condition, value]) => (value === undefined ? [] : [`${condition} $${params.push(value)}`]))
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const rows = await reader.query<InstanceRow>(
    `select ${instanceColumns} from instances ${where} order by instance_id desc limit $${params.push(filter.limit)}`,
    params,
  )
  return rows.map(toInstance)
}

/** In the order of `endingValues`: the key, and what the end of an instance changes. */
export const endingColumns = [
  ...['instance_id', 'status', 'tier', 'tier_contributions', 'proposed_payload_id', 'outcome_payload_id'],
  ...['failure_code', 'resume_step', 'disputed', 'audit_seq', 'audit_head', 'step_count'],
  ...['updated_at_ms', 'ended_at_ms'],
]

const endingChanges = endingColumns.slice(1).map((column, index) => `${column} = $${index + 2}`)
export const endInstanceSql = `update instances set ${endingChanges.join(', ')} where instance_id = $1`

export function endingValues(ending: InstanceEnding): SqlValue[] {
  return [
    ending.instanceId,
    ending.status,
    orNull(ending.tier),
    JSON.stringify(ending.tierContributions),
    orNull(ending.proposedPayloadId),
    orNull(ending.outcomePayloadId),
    orNull(ending.failureCode),
    orNull(ending.resumeStep),
    ending.disputed ? 1 : 0,
    ending.auditSeq,
    ending.auditHead,
    ending.stepCount,
    ending.atMs,
    ending.status === 'suspended' ? null : ending.atMs,
  ]
}

export async function endInstance(tx: Transaction, ending: InstanceEnding): Promise<void> {
  await tx.execute(endInstanceSql, endingValues(ending))
}

/** What changes with a person's or the clock's act on an instance without a work row. */
export type InstanceChange = Partial<
  Pick<
    Instance,
    | 'status'
    | 'tier'
    | 'tierContributions'
    | 'outcomePayloadId'
    | 'disputed'
    | 'failureCode'
    | 'resumeStep'
    | 'endedAtMs'
  >
> & { readonly head: ChainHead; readonly atMs: number }

/**
 * Changes an instance whose chain still ends where `from` says; its new head comes with the change. False when somebody
 * was faster, and then nothing was changed.
 */
export async function changeInstance(
  tx: Transaction,
  instanceId: string,
  from: ChainHead,
  { head, atMs, ...change }: InstanceChange,
): Promise<boolean> {
  const params: SqlValue[] = [instanceId, from.seq, from.hash, head.seq, head.hash, atMs]
  const set = ['audit_seq = $4', 'audit_head = $5', 'updated_at_ms = $6']
  for (const [field, value] of Object.entries(change)) {
    set.push(`${columns[field as keyof typeof change]} = $${params.push(toColumn(value))}`)
  }
  const changed = await tx.execute(
    `update instances set ${set.join(', ')} where instance_id = $1 and audit_seq = $2 and audit_head = $3`,
    params,
  )
  return changed === 1
}
