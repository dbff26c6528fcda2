import { checkpointColumns } from '../domain/instance.ts'
import { eventColumns, eventValues } from './audit.ts'
import type { SqlValue } from './backend.ts'
import { checkpointValues } from './checkpoints.ts'
import { givesBack, type NextWork, type StepCommit } from './hot-path.ts'
import { endingColumns, endingValues } from './instances.ts'
import { payloadColumns, payloadValues } from './payloads.ts'
import { placed, type Statement } from './postgres-statement.ts'
import { newTaskColumns, newTaskValues } from './tasks.ts'

/**
 * The parts of a WITH that commit steps. `done` has the place of each member whose fence held, and everything that is
 * written is written for those alone.
 */
export function committing(statement: Statement, commits: readonly StepCommit[]): string[] {
  const endings = placed(commits, ({ next }) => (next.to === 'end' ? [endingValues(next.ending)] : []))
  return [
    ...(commits.length === 1 ? [movingOne(statement, commits[0]!)] : movingAll(statement, commits)),
    ...statement.insert(commits, 'payloads', payloadColumns, ({ payloads }) => payloads.map(payloadValues)),
    ...statement.insert(commits, 'checkpoints', Object.values(checkpointColumns), ({ checkpoint }) =>
      checkpoint ? [checkpointValues(checkpoint)] : [],
    ),
    ...statement.insert(
      commits,
      'audit_events',
      eventColumns,
      ({ events }) => events.map(eventValues),
      'n.place, n.seq',
    ),
    ...statement.insert(commits, 'tasks', newTaskColumns, ({ next }) =>
      next.to === 'end' ? next.tasks.map(newTaskValues) : [],
    ),
    ...(endings.length === 0 ? [] : [ending(statement, endings)]),
  ]
}

/** The fence and the move are one statement: nothing is locked that is not changed. */
function movingOne(statement: Statement, commit: StepCommit): string {
  const { instanceId, next } = commit
  const { token, stepNo, run, auditSeq } = commit.fence
  const fence = `instance_id = ${statement.bind(instanceId, 'text')} and token = ${statement.bind(token, 'text')}
      and step_no = ${statement.bind(stepNo, 'bigint')} and run = ${statement.bind(run, 'bigint')}
      and audit_seq = ${statement.bind(auditSeq, 'bigint')} and state = 'claimed'`
  if (next.to === 'end') return `done as (delete from work where ${fence} returning 0::bigint as place)`
  const { step, run: nextRun, attempt, dueMs } = goal(next)
  const changes = [
    ...(step === null ? [] : [`step = ${statement.bind(step, 'text')}`]),
    ...(nextRun === null ? [] : [`run = ${statement.bind(nextRun, 'bigint')}`]),
    ...(attempt === null ? [] : [`attempt = ${statement.bind(attempt, 'bigint')}`]),
    ...(dueMs === null ? [] : [`due_ms = ${statement.bind(dueMs, 'bigint')}`]),
    ...(givesBack(next) ? ['token = null, claimed_by = null, claimed_at_ms = null'] : []),
    ...(next.to === 'release' ? [`state = 'ready'`] : next.to === 'sleep' ? [`state = 'sleeping'`] : []),
  ]
  const { nextStepNo, nextSeq, nextHead } = headAfter(commit)
  const head = `step_no = ${statement.bind(nextStepNo, 'bigint')}, audit_seq = ${statement.bind(nextSeq, 'bigint')},
      audit_head = coalesce(${statement.bind(nextHead, 'text')}, audit_head)`
  return `done as (update work set ${[...changes, head].join(', ')} where ${fence} returning 0::bigint as place)`
}

const memberColumns = [
  ...['instance_id', 'token', 'step_no', 'run', 'audit_seq', 'goes_to'],
  ...['next_step', 'next_run', 'next_attempt', 'next_due_ms', 'next_step_no', 'next_seq', 'next_head'],
]

/**
 * The fence holds for what is in `held`, and nobody else can change those rows before this statement is through. They are
 * locked in the order of their instances, so that two batches never wait for each other in a circle.
 */
function movingAll(statement: Statement, commits: readonly StepCommit[]): string[] {
  const members = placed(commits, (commit) => [memberValues(commit)])
  const isEnd = ({ next }: StepCommit) => next.to === 'end'
  const moved = `moved as (update work w
      set state = case h.goes_to when 'release' then 'ready' when 'sleep' then 'sleeping' else w.state end,
          token = case when h.goes_to in ('release', 'sleep') then null else w.token end,
          claimed_by = case when h.goes_to in ('release', 'sleep') then null else w.claimed_by end,
          claimed_at_ms = case when h.goes_to in ('release', 'sleep') then null else w.claimed_at_ms end,
          due_ms = h.next_due_ms, step = coalesce(h.next_step, w.step), run = coalesce(h.next_run, w.run),
          attempt = coalesce(h.next_attempt, w.attempt), step_no = h.next_step_no, audit_seq = h.next_seq,
          audit_head = coalesce(h.next_head, w.audit_head)
     from held h where w.instance_id = h.instance_id and w.token = h.token and h.goes_to <> 'end'
     returning h.place, h.goes_to)`
  const gone = `gone as (delete from work w using held h
      where w.instance_id = h.instance_id and w.token = h.token and h.goes_to = 'end' returning h.place, h.goes_to)`
  const areEnds = commits.length > 0 && commits.every(isEnd)
  const ways = [...(areEnds ? [] : ['moved']), ...(commits.some(isEnd) ? ['gone'] : [])]
  return [
    `held as (select m.* from ${statement.table('m', memberColumns, members)}
      join work w on w.instance_id = m.instance_id and w.token = m.token and w.step_no = m.step_no and w.run = m.run
        and w.audit_seq = m.audit_seq and w.state = 'claimed'
      order by w.instance_id for update of w)`,
    ...ways.map((way) => (way === 'moved' ? moved : gone)),
    `done as (${ways.map((way) => `select * from ${way}`).join(' union all ')})`,
  ]
}

function ending(statement: Statement, rows: ReturnType<typeof placed>): string {
  const [key, ...columns] = endingColumns
  const changes = columns.map((column) => `${column} = n.${column}`).join(', ')
  return `ended as (update instances i set ${changes}
     from ${statement.table('n', endingColumns, rows)} join done using (place) where i.${key} = n.${key})`
}

function memberValues(commit: StepCommit): SqlValue[] {
  const { instanceId, fence, next } = commit
  const { step, run, attempt, dueMs } = goal(next)
  const { nextStepNo, nextSeq, nextHead } = headAfter(commit)
  return [
    ...[instanceId, fence.token, fence.stepNo, fence.run, fence.auditSeq, next.to],
    ...[step, run, attempt, dueMs, nextStepNo, nextSeq, nextHead],
  ]
}

function headAfter({ fence, checkpoint, events }: StepCommit) {
  const last = events.at(-1)
  return {
    nextStepNo: fence.stepNo + (checkpoint ? 1 : 0),
    nextSeq: last?.seq ?? fence.auditSeq,
    nextHead: last?.hash ?? null,
  }
}

/** Where the row goes; null where it stays as it is. */
interface Goal {
  readonly step: string | null
  readonly run: number | null
  readonly attempt: number | null
  readonly dueMs: number | null
}

const unmoved: Goal = { step: null, run: null, attempt: null, dueMs: null }

function goal(next: NextWork): Goal {
  switch (next.to) {
    case 'step':
      return { ...unmoved, step: next.step, run: next.run, attempt: 0 }
    case 'release':
      return { ...unmoved, step: next.step, run: next.run, attempt: next.attempt }
    case 'sleep':
      return { ...unmoved, attempt: next.attempt, dueMs: next.dueMs }
    case 'stay':
    case 'end':
      return unmoved
  }
}
