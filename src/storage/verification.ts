import type { StoredEvent } from '../domain/chain.ts'
import type { StoredCheckpoint, StoredInstance, StoredPayload } from '../domain/record.ts'
import type { StoredTask } from '../domain/record-tasks.ts'
import type { Reader, SqlValue } from './backend.ts'

/** The instances that are read together: one, or those after one id up to another (to the end where `until` is unset). */
export type InstanceRange =
  { readonly only: string } | { readonly after: string | undefined; readonly until: string | undefined }

/** A whole number that no program of ours wrote: too large to be read exactly, so it is read as this. */
const unreadableNumber = Number.MIN_SAFE_INTEGER

/** A page of rows in the order of its key, each row with its instance. */
export type PageReader<R> = (reader: Reader, range: InstanceRange, after: R | undefined, limit: number) => Promise<R[]>

/** Instances in the order of their ids, with what the hot row states while there is one. */
export const pageInstances: PageReader<StoredInstance> = (reader, range, after, limit) =>
  page(reader, { table: 'instances', columns: instanceColumns, join: instanceJoin }, range, limit, keyAfter(after))

export const pageEvents: PageReader<StoredEvent> = (reader, range, after, limit) =>
  page(reader, { table: 'audit_events', columns: eventColumns, key: 'seq' }, range, limit, keyAfter(after, after?.seq))

export const pageCheckpoints: PageReader<StoredCheckpoint> = (reader, range, after, limit) =>
  page(
    reader,
    { table: 'checkpoints', columns: checkpointColumns, key: 'step_no' },
    range,
    limit,
    keyAfter(after, after?.stepNo),
  )

export const pagePayloads: PageReader<StoredPayload> = (reader, range, after, limit) =>
  page(
    reader,
    { table: 'payloads', columns: payloadColumns, key: 'payload_id' },
    range,
    limit,
    keyAfter(after, after?.payloadId),
  )

export const pageTasks: PageReader<StoredTask> = (reader, range, after, limit) =>
  page(reader, { table: 'tasks', columns: taskColumns, key: 'task_id' }, range, limit, keyAfter(after, after?.taskId))

/** How much there is to check. The number of events is that of the last one's entry, so it costs nothing to ask. */
export async function countEvents(reader: Reader): Promise<{ readonly instances: number; readonly events: number }> {
  const [row] = await reader.query<{ instances: number; events: number }>(
    `select (select count(*) from instances) as "instances",
            (select coalesce(max(entry), 0) from audit_events where entry <= ${Number.MAX_SAFE_INTEGER}) as "events"`,
  )
  return row!
}

/** The id of the instance at this place, from 0, in the order of ids. */
export async function readInstanceIdAt(reader: Reader, place: number): Promise<string | undefined> {
  const [row] = await reader.query<{ id: string }>(
    'select instance_id as "id" from instances order by instance_id limit 1 offset $1',
    [place],
  )
  return row?.id
}

/**
 * Verification reads files that anybody may have changed: a number beyond what can be read exactly must become a finding
 * and not an error. Looking at every number takes a third of the time of reading it, so a page is read plainly first.
 */
export const readable = (column: string) => `#${column}#`

const numberMark = /#([a-z_.]+)#/g
const plainly = (sql: string) => sql.replaceAll(numberMark, '$1')
const carefully = (sql: string) =>
  sql.replaceAll(
    numberMark,
    `case when $1 is null or $1 between -9007199254740991 and 9007199254740991 then $1 else ${unreadableNumber} end`,
  )

const instanceJoin = 'left join work w on w.instance_id = t.instance_id'
const instanceColumns = `
  t.instance_id as "instanceId", t.workflow as "workflow", t.domain as "domain",
  t.definition_hash as "definitionHash", t.submitted_by as "submittedBy", t.input_payload_id as "inputPayloadId",
  t.status as "status", t.tier as "tier", t.tier_contributions as "tierContributions",
  t.proposed_payload_id as "proposedPayloadId",
  t.outcome_payload_id as "outcomePayloadId", t.failure_code as "failureCode", t.resume_step as "resumeStep",
  ${readable('t.simulated')} as "simulated",
  ${readable('t.disputed')} as "disputed",
  ${readable('t.submitted_at_ms')} as "submittedAtMs",
  ${readable('t.audit_seq')} as "auditSeq", t.audit_head as "auditHead", ${readable('t.step_count')} as "stepCount",
  ${readable('w.audit_seq')} as "workAuditSeq", w.audit_head as "workAuditHead", ${readable('w.step_no')} as "workStepNo",
  w.step as "workStep", ${readable('w.run')} as "workRun", w.definition_hash as "workDefinitionHash"`

const eventColumns = `
  ${readable('t.entry')} as "entry", t.instance_id as "instanceId", ${readable('t.seq')} as "seq", t.type as "type",
  ${readable('t.at_ms')} as "atMs", t.payload_id as "payloadId", t.envelope as "envelope",
  octet_length(t.envelope) as "envelopeBytes", t.prev_hash as "prevHash", t.hash as "hash"`

const checkpointColumns = `
  ${readable('t.entry')} as "entry", t.instance_id as "instanceId", ${readable('t.step_no')} as "stepNo",
  t.step as "step", t.primitive as "primitive", ${readable('t.run')} as "run", ${readable('t.attempts')} as "attempts",
  t.status as "status", t.error_code as "errorCode", t.output_payload_id as "outputPayloadId",
  t.output_commitment as "outputCommitment", t.model as "model", ${readable('t.input_tokens')} as "inputTokens",
  ${readable('t.output_tokens')} as "outputTokens", t.route as "route",
  ${readable('t.started_at_ms')} as "startedAtMs", ${readable('t.ended_at_ms')} as "endedAtMs"`

const payloadColumns = `
  t.payload_id as "payloadId", t.instance_id as "instanceId", t.kind as "kind", t.text as "text",
  octet_length(t.text) as "textBytes", t.salt as "salt", ${readable('t.erased_at_ms')} as "erasedAtMs"`

const taskColumns = `
  t.task_id as "taskId", t.instance_id as "instanceId", t.tier as "tier", t.queue as "queue",
  t.status as "status", t.submitted_by as "submittedBy", t.barred as "barred",
  ${readable('t.opened_at_ms')} as "openedAtMs", ${readable('t.escalated_at_ms')} as "escalatedAtMs",
  t.decision as "decision", t.decided_by as "decidedBy", ${readable('t.decided_at_ms')} as "decidedAtMs",
  t.decision_payload_id as "decisionPayloadId"`

interface Source {
  readonly table: string
  readonly columns: string
  readonly join?: string
  /** What orders the rows of one instance. */
  readonly key?: string
}

type Key = readonly [instanceId: string, key?: SqlValue]

function page<R extends object>(
  reader: Reader,
  { table, columns, join = '', key }: Source,
  range: InstanceRange,
  limit: number,
  after: Key | undefined,
): Promise<R[]> {
  if (after && !isText(after[0])) return Promise.resolve([])
  const params: SqlValue[] = []
  const bind = (value: SqlValue) => `$${params.push(value)}`
  const conditions: string[] = []
  if ('only' in range) conditions.push(`t.instance_id = ${bind(range.only)}`)
  else {
    if (!after && range.after !== undefined) conditions.push(`t.instance_id > ${bind(range.after)}`)
    if (range.until !== undefined) conditions.push(`t.instance_id <= ${bind(range.until)}`)
  }
  if (after?.[1] !== undefined) conditions.push(`(t.instance_id, t.${key}) > (${bind(after[0])}, ${bind(after[1])})`)
  else if (after) conditions.push(`t.instance_id > ${bind(after[0])}`)
  const where = conditions.length === 0 ? '' : `where ${conditions.join(' and ')}`
  const order = key === undefined ? 't.instance_id' : `t.instance_id, t.${key}`
  const sql = `select ${columns} from ${table} t ${join} ${where} order by ${order} limit ${bind(limit)}`
  return queryReadable(reader, sql, params)
}

/** Runs a question whose numbers are marked as `readable`. */
export function queryReadable<R extends object>(
  reader: Reader,
  sql: string,
  params: readonly SqlValue[],
): Promise<R[]> {
  return reader.query<R>(plainly(sql), params).catch((error: unknown) => {
    if (!(error instanceof RangeError)) throw error
    return reader.query<R>(carefully(sql), params)
  })
}

/**
 * Behind a key that could not be read the next page begins with the next instance; behind an id that could not be read
 * nothing can follow in order. Either row is a finding by itself.
 */
function keyAfter(row: { readonly instanceId: string } | undefined, key?: SqlValue): Key | undefined {
  if (!row) return undefined
  const isReadable = typeof key === 'string' ? isText(key) : key !== undefined && key !== unreadableNumber
  return isReadable ? [row.instanceId, key!] : [row.instanceId]
}

/** Bytes that are not UTF-8 come as U+FFFD, which sorts elsewhere than they do. */
function isText(text: string): boolean {
  return !text.includes('\u{FFFD}')
}
