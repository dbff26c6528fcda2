import type { Decision, Task, TaskStatus } from '../domain/task.ts'
import type { Reader, SqlValue, Transaction } from './backend.ts'
import { aliased, insertInto, type Nullable, orNull, placeholders, withoutNulls } from './rows.ts'

/** A task as it is opened: nobody has claimed, decided or escalated it. */
export type NewTask = Pick<
  Task,
  | 'taskId'
  | 'instanceId'
  | 'tier'
  | 'queue'
  | 'escalationQueue'
  | 'because'
  | 'submittedBy'
  | 'barred'
  | 'openedAtMs'
  | 'dueMs'
>

/** In the order of `newTaskValues`. */
export const newTaskColumns = [
  'task_id',
  'instance_id',
  'tier',
  'queue',
  'escalation_queue',
  'because',
  'submitted_by',
  'barred',
  'opened_at_ms',
  'due_ms',
  'status',
]

export const insertTaskSql = insertInto('tasks', newTaskColumns)

export function newTaskValues(task: NewTask): SqlValue[] {
  const { taskId, instanceId, tier, queue, escalationQueue, because, submittedBy, barred, openedAtMs, dueMs } = task
  const names = JSON.stringify(barred)
  return [taskId, instanceId, tier, queue, escalationQueue, because, submittedBy, names, openedAtMs, dueMs, 'open']
}

export async function insertTask(tx: Transaction, task: NewTask): Promise<void> {
  await tx.execute(insertTaskSql, newTaskValues(task))
}

const taskColumns = aliased({
  taskId: 'task_id',
  instanceId: 'instance_id',
  tier: 'tier',
  queue: 'queue',
  escalationQueue: 'escalation_queue',
  status: 'status',
  because: 'because',
  submittedBy: 'submitted_by',
  barred: 'barred',
  openedAtMs: 'opened_at_ms',
  dueMs: 'due_ms',
  escalatedAtMs: 'escalated_at_ms',
  claimedBy: 'claimed_by',
  claimedUntilMs: 'claimed_until_ms',
  decision: 'decision',
  decidedBy: 'decided_by',
  decidedAtMs: 'decided_at_ms',
  decisionDigest: 'decision_digest',
  decisionPayloadId: 'decision_payload_id',
} satisfies Record<keyof Task, string>)

type TaskRow = Nullable<Omit<Task, 'barred'>> & { readonly barred: string }

function toTask(row: TaskRow): Task {
  return { ...withoutNulls<Omit<Task, 'barred'>>(row), barred: JSON.parse(row.barred) as string[] }
}

export async function readTask(reader: Reader, taskId: string): Promise<Task | undefined> {
  const [row] = await reader.query<TaskRow>(`select ${taskColumns} from tasks where task_id = $1`, [taskId])
  return row && toTask(row)
}

/** The tasks of one instance, in the order in which they were opened. */
export async function readTasksOf(reader: Reader, instanceId: string): Promise<Task[]> {
  const rows = await reader.query<TaskRow>(`select ${taskColumns} from tasks where instance_id = $1 order by task_id`, [
    instanceId,
  ])
  return rows.map(toTask)
}

/** The tasks of these instances on which a decision is awaited, in the order in which they were opened. */
export async function listOpenTasks(
  reader: Reader,
  instanceIds: readonly string[],
): Promise<Pick<Task, 'taskId' | 'instanceId'>[]> {
  return await reader.query(
    `select task_id as "taskId", instance_id as "instanceId" from tasks
      where status = 'open' and instance_id in (${placeholders(instanceIds.length)}) order by instance_id, task_id`,
    instanceIds,
  )
}

export interface TaskQuery {
  readonly queue?: string | undefined
  readonly status: TaskStatus
  /** Only tasks behind this one in the order of the list. */
  readonly after?: { readonly dueMs: number; readonly taskId: string } | undefined
  readonly limit: number
}

/** What is due first comes first. */
export async function listTasks(reader: Reader, { queue, status, after, limit }: TaskQuery): Promise<Task[]> {
  const params: SqlValue[] = [status]
  const conditions = ['status = $1']
  if (queue !== undefined) conditions.push(`queue = $${params.push(queue)}`)
  if (after) {
    conditions.push(`(due_ms, task_id) > ($${params.push(after.dueMs)}, $${params.push(after.taskId)})`)
  }
  const rows = await reader.query<TaskRow>(
    `select ${taskColumns} from tasks where ${conditions.join(' and ')}
      order by due_ms, task_id limit $${params.push(limit)}`,
    params,
  )
  return rows.map(toTask)
}

/** Gives one person an open task for a while. False when it is not any more as the caller has read it. */
export async function claimTask(
  tx: Transaction,
  { task, actor, untilMs }: { task: Task; actor: string; untilMs: number },
): Promise<boolean> {
  const changed = await tx.execute(
    `update tasks set claimed_by = $2, claimed_until_ms = $3
      where task_id = $1 and status = 'open'
        and claimed_by is not distinct from $4 and claimed_until_ms is not distinct from $5`,
    [task.taskId, actor, untilMs, orNull(task.claimedBy), orNull(task.claimedUntilMs)],
  )
  return changed === 1
}

export interface TaskDecision {
  readonly taskId: string
  readonly decision: Decision
  readonly decidedBy: string
  readonly decidedAtMs: number
  readonly digest: string
  readonly payloadId: string
}

/** Closes an open task with a decision. False when it was not open any more. */
export async function decideTask(tx: Transaction, decision: TaskDecision): Promise<boolean> {
  const changed = await tx.execute(
    `update tasks
        set status = 'decided', decision = $2, decided_by = $3, decided_at_ms = $4, decision_digest = $5,
            decision_payload_id = $6
      where task_id = $1 and status = 'open'`,
    [decision.taskId, decision.decision, decision.decidedBy, decision.decidedAtMs, decision.digest, decision.payloadId],
  )
  return changed === 1
}

/** Nobody needs to decide about this instance any more. */
export async function withdrawTasks(tx: Transaction, instanceId: string): Promise<void> {
  await tx.execute(`update tasks set status = 'withdrawn' where instance_id = $1 and status = 'open'`, [instanceId])
}

/** Open tasks whose time has passed and that were not moved yet, the longest due first. */
export async function readOverdueTasks(reader: Reader, nowMs: number, limit: number): Promise<Task[]> {
  const rows = await reader.query<TaskRow>(
    `select ${taskColumns} from tasks where status = 'open' and escalated_at_ms is null and due_ms <= $1
      order by due_ms, task_id limit $2`,
    [nowMs, limit],
  )
  return rows.map(toTask)
}

/** Moves a task to its escalation queue. Its claim ends, since the queue's people did not ask for it. */
export async function escalateTask(tx: Transaction, taskId: string, nowMs: number): Promise<boolean> {
  const changed = await tx.execute(
    `update tasks set queue = escalation_queue, escalated_at_ms = $2, claimed_by = null, claimed_until_ms = null
      where task_id = $1 and status = 'open' and escalated_at_ms is null`,
    [taskId, nowMs],
  )
  return changed === 1
}

/** When the next open task passes its SLA; undefined when none can. */
export async function earliestTaskDueMs(reader: Reader): Promise<number | undefined> {
  const [row] = await reader.query<{ dueMs: number }>(
    `select due_ms as "dueMs" from tasks where status = 'open' and escalated_at_ms is null order by due_ms limit 1`,
  )
  return row?.dueMs
}
