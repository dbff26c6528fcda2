import type { ChainHead } from '../domain/audit.ts'
import type { Work } from '../domain/instance.ts'
import type { Reader, Transaction } from './backend.ts'
import { aliased, insertInto, type Nullable, withoutNulls } from './rows.ts'

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

export type NewWork = Pick<
  Work,
  'instanceId' | 'priority' | 'definitionHash' | 'step' | 'run' | 'stepNo' | 'auditSeq' | 'auditHead'
>

const insertSql = insertInto('work', [
  'instance_id',
  'priority',
  'definition_hash',
  'step',
  'run',
  'step_no',
  'audit_seq',
  'audit_head',
  'state',
  'attempt',
  'cancel_requested',
])

/** Puts an instance in line for a worker. */
export async function insertWork(tx: Transaction, work: NewWork): Promise<void> {
  const { instanceId, priority, definitionHash, step, run, stepNo, auditSeq, auditHead } = work
  const values = [instanceId, priority, definitionHash, step, run, stepNo, auditSeq, auditHead]
  await tx.execute(insertSql, [...values, 'ready', 0, 0])
}

/** Sets the flag that the claim's next commit reads, and moves the head to the event that says so. */
export async function requestCancel(tx: Transaction, instanceId: string, head: ChainHead): Promise<void> {
  await tx.execute(`update work set cancel_requested = 1, audit_seq = $2, audit_head = $3 where instance_id = $1`, [
    instanceId,
    head.seq,
    head.hash,
  ])
}

/** Takes an instance out of line; whoever has claimed it finds its fence broken. */
export async function deleteWork(tx: Transaction, instanceId: string): Promise<void> {
  await tx.execute('delete from work where instance_id = $1', [instanceId])
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
