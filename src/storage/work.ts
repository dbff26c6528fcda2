import type { ChainHead } from '../domain/audit.ts'
import type { Work } from '../domain/instance.ts'
import type { Reader, SqlValue, Transaction } from './backend.ts'
import { aliased, insertInto, type Nullable, placeholders, withoutNulls } from './rows.ts'

const columns = {
  instanceId: 'instance_id',
  state: 'state',
  priority: 'priority',
  dueMs: 'due_ms',
  token: 'token',
  claimedBy: 'claimed_by',
  claimedAtMs: 'claimed_at_ms',
  definitionHash: 'definition_hash',
  step: 'step',
  run: 'run',
  attempt: 'attempt',
  stepNo: 'step_no',
  auditSeq: 'audit_seq',
  auditHead: 'audit_head',
  cancelRequested: 'cancel_requested',
} as const satisfies Record<keyof Work, string>

export const workColumns = aliased(columns)

export type WorkRow = Nullable<Omit<Work, 'cancelRequested'>> & { readonly cancelRequested: number }

export function toWork(row: WorkRow): Work {
  return { ...withoutNulls<Omit<Work, 'cancelRequested'>>(row), cancelRequested: row.cancelRequested === 1 }
}

export async function readWork(reader: Reader, instanceId: string): Promise<Work | undefined> {
  const [row] = await reader.query<WorkRow>(`select ${workColumns} from work where instance_id = $1`, [instanceId])
  return row && toWork(row)
}

/** Those of these instances that are in line, under way or asleep. */
export async function listWork(reader: Reader, instanceIds: readonly string[]): Promise<Work[]> {
  const rows = await reader.query<WorkRow>(
    `select ${workColumns} from work where instance_id in (${placeholders(instanceIds.length)})`,
    instanceIds,
  )
  return rows.map(toWork)
}

export type NewWork = Pick<
  Work,
  'instanceId' | 'priority' | 'definitionHash' | 'step' | 'run' | 'stepNo' | 'auditSeq' | 'auditHead'
>

/** In the order of `newWorkValues`. */
export const newWorkColumns: readonly string[] = [
  ...['instance_id', 'priority', 'definition_hash', 'step', 'run', 'step_no', 'audit_seq', 'audit_head'],
  ...['state', 'attempt', 'cancel_requested'],
]

export function newWorkValues(work: NewWork): SqlValue[] {
  const { instanceId, priority, definitionHash, step, run, stepNo, auditSeq, auditHead } = work
  return [instanceId, priority, definitionHash, step, run, stepNo, auditSeq, auditHead, 'ready', 0, 0]
}

const insertSql = insertInto('work', newWorkColumns)

/** Puts an instance in line for a worker. */
export async function insertWork(tx: Transaction, work: NewWork): Promise<void> {
  await tx.execute(insertSql, newWorkValues(work))
}

/** Where the row must still stand for somebody other than its claim to change it: nothing came in between. */
const unmoved = `instance_id = $1 and state = $2 and audit_seq = $3 and audit_head = $4`

function place({ instanceId, state, auditSeq, auditHead }: Work): SqlValue[] {
  return [instanceId, state, auditSeq, auditHead]
}

/**
 * Sets the flag that the claim's next commit reads, and moves the head to the event that says so. False when the row was
 * moved since it was read.
 */
export async function requestCancel(tx: Transaction, work: Work, head: ChainHead): Promise<boolean> {
  const changed = await tx.execute(
    `update work set cancel_requested = 1, audit_seq = $5, audit_head = $6 where ${unmoved}`,
    [...place(work), head.seq, head.hash],
  )
  return changed === 1
}

/** Takes an instance out of line. False when the row was moved since it was read. */
export async function deleteWork(tx: Transaction, work: Work): Promise<boolean> {
  return (await tx.execute(`delete from work where ${unmoved}`, place(work))) === 1
}

/** Gives a claim back that this token still proves. */
export async function releaseClaim(tx: Transaction, instanceId: string, token: string): Promise<void> {
  await tx.execute(
    `update work set state = 'ready', token = null, claimed_by = null, claimed_at_ms = null
      where instance_id = $1 and token = $2`,
    [instanceId, token],
  )
}

/** Gives back what was claimed under this name: of a claim whose answer was lost nobody knows the tokens. */
export async function releaseClaimsOf(tx: Transaction, claimedBy: string): Promise<void> {
  await tx.execute(
    `update work set state = 'ready', token = null, claimed_by = null, claimed_at_ms = null
      where state = 'claimed' and claimed_by = $1`,
    [claimedBy],
  )
}

/** Puts sleepers that are due back in line, the longest due first. Returns how many. */
export async function wakeDue(tx: Transaction, nowMs: number, limit: number): Promise<number> {
  return await tx.execute(
    `update work set state = 'ready', due_ms = null where instance_id in
       (select instance_id from work where state = 'sleeping' and due_ms <= $1 order by due_ms, instance_id limit $2)`,
    [nowMs, limit],
  )
}

/** When the next sleeper is due; undefined when nothing sleeps. */
export async function earliestSleeperMs(reader: Reader): Promise<number | undefined> {
  const [row] = await reader.query<{ dueMs: number }>(
    `select due_ms as "dueMs" from work where state = 'sleeping' order by due_ms limit 1`,
  )
  return row?.dueMs
}
