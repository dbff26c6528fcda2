import { randomHex } from '../domain/identity.ts'
import { checkpointColumns } from '../domain/instance.ts'
import { eventColumns, eventValues } from './audit.ts'
import { type CommitProbe, CommitUnknownError, type SqlValue } from './backend.ts'
import { checkpointValues } from './checkpoints.ts'
import { type Claimed, type SubmittedRow, toSubmittedCase } from './claimed.ts'
import { definitionColumns } from './definitions.ts'
import {
  type Beginnings,
  type ClaimRequest,
  givesBack,
  type HotPath,
  type NextWork,
  type Refill,
  type StepCommit,
  type StepCommitResult,
  type Submission,
  type SubmissionResult,
} from './hot-path.ts'
import { endingColumns, endingValues, instanceValues, newInstanceColumns } from './instances.ts'
import { payloadColumns, payloadValues } from './payloads.ts'
import type { Lend, SqlParam } from './postgres-connections.ts'
import { isAnswered, isRefusedData } from './postgres-errors.ts'
import { submissionKeyColumns, submissionKeyValues } from './submission-keys.ts'
import { newTaskColumns, newTaskValues } from './tasks.ts'
import { newWorkColumns, newWorkValues, toWork, workColumns, type WorkRow } from './work.ts'

/**
 * Submission, claim and step commit on PostgreSQL: one statement each, which is a transaction by itself and one way to the server and
 * back. Rows are locked in the order of their instances, so that two batches never wait for each other in a circle.
 */
export class PostgresHotPath implements HotPath {
  readonly isEmptyClaimFree = true
  private readonly probe: CommitProbe
  private readonly lend: Lend

  constructor(probe: CommitProbe, lend: Lend) {
    this.probe = probe
    this.lend = lend
  }

  async submit(submissions: readonly Submission[], beginnings: Beginnings): Promise<SubmissionResult[]> {
    try {
      return await this.submitTogether(submissions, beginnings)
    } catch (error) {
      if (!isRefusedData(error)) throw error
      if (submissions.length === 1) return [{ kind: 'poisoned', error: error as Error }]
      return await inHalves(submissions, (some) => this.submit(some, beginnings))
    }
  }

  private async submitTogether(
    submissions: readonly Submission[],
    beginnings: Beginnings,
  ): Promise<SubmissionResult[]> {
    const statement = new Statement()
    const sql = `with ${submitting(statement, submissions, beginnings).join(', ')}
      select (select count(*) from settled) as "settled", (select string_agg(place::text, ',') from done) as "done"`
    const [row] = await this.send<{ settled: number; done: string | null }>(sql, statement.params)
    if (row!.settled === 0) return submissions.map(() => ({ kind: 'otherwise_settled' }))
    const done = places(row!.done)
    return submissions.map((_, place) => ({ kind: done.has(place) ? 'submitted' : 'key_taken' }))
  }

  async anyReady(except: readonly string[] = []): Promise<boolean> {
    const sql = `select 1 from work where state = 'ready' and definition_hash <> all($1::text[]) limit 1`
    return await this.lend(async (connection) => (await connection.run(sql, [except])).rows.length > 0)
  }

  async claim({ limit, ...request }: ClaimRequest): Promise<Claimed[]> {
    const statement = new Statement()
    const sql = `with ${claiming(statement, request, limit, statement.bind(limit, 'bigint'))} ${claimedRows('')}`
    return (await this.send(sql, statement.params)).map(toClaimed)
  }

  async commitSteps(commits: readonly StepCommit[], refill?: Refill): Promise<StepCommitResult[]> {
    try {
      return await this.commitTogether(commits, refill)
    } catch (error) {
      if (!isRefusedData(error)) throw error
      if (commits.length === 1) return [{ kind: 'poisoned', error: error as Error }]
      // What is given back is not made up for: the worker looks for itself.
      return await inHalves(commits, (some) => this.commitSteps(some))
    }
  }

  private async commitTogether(
    commits: readonly StepCommit[],
    refill: Refill | undefined,
  ): Promise<StepCommitResult[]> {
    const statement = new Statement()
    const parts = committing(statement, commits)
    if (refill) parts.push(claiming(statement, refill.claim, commits.length, '(select count(*) from given)'))
    const place = `(select string_agg(place::text, ',') from done) as "done"`
    const answer = refill ? claimedRows(`${place}, `, 'right join (select 1) as always on true') : `select ${place}`
    const rows = await this.send<CommitRow>(`with ${parts.join(', ')} ${answer}`, statement.params)
    const done = places(rows[0]!.done)
    const claimed = rows.filter(({ instanceId }) => typeof instanceId === 'string').map(toClaimed)
    if (commits.some(({ next }, place) => done.has(place) && givesBack(next))) refill?.take(claimed)
    return commits.map((_, place) => ({ kind: done.has(place) ? 'committed' : 'fenced' }))
  }

  /** Runs a statement that is a transaction by itself. */
  private async send<R extends object = ClaimedRow>(sql: string, params: readonly SqlParam[]): Promise<R[]> {
    return await this.lend(async (connection) => {
      this.probe.before?.()
      try {
        const { rows } = await connection.run(sql, params)
        this.probe.after?.()
        return rows as R[]
      } catch (error) {
        if (isAnswered(error)) throw error
        throw new CommitUnknownError('the answer to a commit was lost', { cause: error })
      }
    })
  }
}

/** Until the poisoned member stands alone. */
async function inHalves<M, R>(members: readonly M[], send: (some: readonly M[]) => Promise<R[]>): Promise<R[]> {
  const middle = Math.ceil(members.length / 2)
  const first = await send(members.slice(0, middle))
  try {
    return [...first, ...(await send(members.slice(middle)))]
  } catch (error) {
    if (error instanceof CommitUnknownError) throw error
    // The first half may be written: only a read can tell its members from the others.
    throw new CommitUnknownError('a part of the batch was committed', { cause: error })
  }
}

/** The members that were written, as a statement answers with them. */
function places(done: string | null): ReadonlySet<number> {
  return new Set(done?.split(',').map(Number))
}

/** Parameters on their way into one statement, in the order in which its text names them. */
class Statement {
  readonly params: SqlParam[] = []

  bind(param: SqlParam, type: string): string {
    return `$${this.params.push(param)}::${type}`
  }

  /** Rows as a table of this name: an array for each column, beginning with the place of the member that they are of. */
  table(name: string, columns: readonly string[], rows: readonly (readonly SqlValue[])[]): string {
    const all = ['place', ...columns]
    const arrays = all.map((column, index) =>
      this.bind(
        rows.map((row) => row[index]!),
        isNumber(column) ? 'bigint[]' : 'text[]',
      ),
    )
    return `unnest(${arrays.join(', ')}) as ${name}(${all.join(', ')})`
  }
}

const numbers: ReadonlySet<string> = new Set([
  ...['place', 'seq', 'audit_seq', 'next_seq', 'run', 'next_run', 'step_no', 'next_step_no', 'step_count'],
  ...['attempt', 'next_attempt', 'attempts', 'disputed', 'input_tokens', 'output_tokens'],
  ...['priority', 'cancel_requested', 'simulated'],
])

function isNumber(column: string): boolean {
  return numbers.has(column) || column.endsWith('_ms')
}

const memberColumns = [
  ...['instance_id', 'token', 'step_no', 'run', 'audit_seq', 'goes_to'],
  ...['next_step', 'next_run', 'next_attempt', 'next_due_ms', 'next_step_no', 'next_seq', 'next_head'],
]

/** Keys are taken in their order, so that two batches never wait for each other in a circle. */
function submitting(
  statement: Statement,
  submissions: readonly Submission[],
  { definitions, simulated }: Beginnings,
): string[] {
  const insert = inserter(statement, submissions)
  const nowMs = submissions[0]!.instance.submittedAtMs
  const texts = definitions.map(({ hash, text }, place) => [place, hash, text, nowMs])
  const keys = submissions.flatMap(({ key }, place) => (key ? [[place, ...submissionKeyValues(key)]] : []))
  const unkeyed = submissions.flatMap(({ key }, place) => (key ? [] : [[place]]))
  const used = submissions.map(({ instance }, place) => [place, instance.definitionHash])
  const columns = submissionKeyColumns.join(', ')
  return [
    simulated === undefined
      ? 'settled as (select 1)'
      : `settled as (update meta set simulated = ${statement.bind(simulated ? 1 : 0, 'bigint')}
          where id = 1 and simulated is null returning 1)`,
    `keyed as (select n.* from ${statement.table('n', submissionKeyColumns, keys)})`,
    `taken as (insert into submission_keys (${columns})
       select ${columns} from keyed, settled order by actor, key
       on conflict (actor, key) do nothing returning instance_id)`,
    `done as (select place from keyed join taken using (instance_id)
       union all select place from ${statement.table('n', [], unkeyed)}, settled)`,
    ...(texts.length === 0
      ? []
      : [
          `new_definitions as (insert into definitions (${definitionColumns.join(', ')})
             select hash, text, stored_at_ms from ${statement.table('n', definitionColumns, texts)}
              where hash in (select hash from ${statement.table('u', ['hash'], used)} join done using (place))
              order by hash on conflict (hash) do nothing)`,
        ]),
    insert('instances', newInstanceColumns, ({ instance }) => [instanceValues(instance)]),
    insert('payloads', payloadColumns, ({ input }) => [payloadValues(input)]),
    insert('audit_events', eventColumns, ({ event }) => [eventValues(event)]),
    insert('work', newWorkColumns, ({ work }) => [newWorkValues(work)]),
  ]
}

/** Makes the part of a statement that inserts rows of those members which are in `done`. */
function inserter<M>(statement: Statement, members: readonly M[]) {
  return (
    table: string,
    columns: readonly string[],
    values: (member: M) => readonly SqlValue[][],
    order = 'n.place',
  ): string => {
    const rows = members.flatMap((member, place) => values(member).map((row) => [place, ...row]))
    return `new_${table} as (insert into ${table} (${columns.join(', ')})
      select ${columns.map((column) => `n.${column}`).join(', ')}
        from ${statement.table('n', columns, rows)} join done using (place) order by ${order})`
  }
}

/** The fence holds for what is in `held`, and nobody else can change those rows before this statement is through. */
function committing(statement: Statement, commits: readonly StepCommit[]): string[] {
  const insert = inserter(statement, commits)
  const members = commits.map((commit, place) => [place, ...memberValues(commit)])
  const endings = commits.flatMap(({ next }, place) =>
    next.to === 'end' ? [[place, ...endingValues(next.ending)]] : [],
  )
  const hasTasks = commits.some(({ next }) => next.to === 'end' && next.tasks.length > 0)
  return [
    `held as (select m.* from ${statement.table('m', memberColumns, members)}
      join work w on w.instance_id = m.instance_id and w.token = m.token and w.step_no = m.step_no and w.run = m.run
        and w.audit_seq = m.audit_seq and w.state = 'claimed'
      order by w.instance_id for update of w)`,
    `moved as (update work w
      set state = case h.goes_to when 'release' then 'ready' when 'sleep' then 'sleeping' else w.state end,
          token = case when h.goes_to in ('release', 'sleep') then null else w.token end,
          claimed_by = case when h.goes_to in ('release', 'sleep') then null else w.claimed_by end,
          claimed_at_ms = case when h.goes_to in ('release', 'sleep') then null else w.claimed_at_ms end,
          due_ms = h.next_due_ms, step = coalesce(h.next_step, w.step), run = coalesce(h.next_run, w.run),
          attempt = coalesce(h.next_attempt, w.attempt), step_no = h.next_step_no, audit_seq = h.next_seq,
          audit_head = coalesce(h.next_head, w.audit_head)
     from held h where w.instance_id = h.instance_id and w.token = h.token and h.goes_to <> 'end'
     returning h.place, h.goes_to)`,
    `gone as (delete from work w using held h
      where w.instance_id = h.instance_id and w.token = h.token and h.goes_to = 'end' returning h.place, h.goes_to)`,
    `done as (select * from moved union all select * from gone)`,
    `given as (select 1 from done where goes_to in ('release', 'sleep', 'end'))`,
    insert('payloads', payloadColumns, ({ payloads }) => payloads.map(payloadValues)),
    insert('checkpoints', Object.values(checkpointColumns), ({ checkpoint }) =>
      checkpoint ? [checkpointValues(checkpoint)] : [],
    ),
    insert('audit_events', eventColumns, ({ events }) => events.map(eventValues), 'n.place, n.seq'),
    ...(hasTasks
      ? [insert('tasks', newTaskColumns, ({ next }) => (next.to === 'end' ? next.tasks.map(newTaskValues) : []))]
      : []),
    ...(endings.length > 0 ? [ending(statement, endings)] : []),
  ]
}

function ending(statement: Statement, rows: readonly SqlValue[][]): string {
  const [key, ...columns] = endingColumns
  return `ended as (update instances i set ${columns.map((column) => `${column} = n.${column}`).join(', ')}
     from ${statement.table('n', endingColumns, rows)} join done using (place) where i.${key} = n.${key})`
}

function memberValues({ instanceId, fence, next, checkpoint, events }: StepCommit): SqlValue[] {
  const { token, stepNo, run, auditSeq } = fence
  const last = events.at(-1)
  return [
    ...[instanceId, token, stepNo, run, auditSeq, next.to],
    ...goal(next),
    ...[stepNo + (checkpoint ? 1 : 0), last?.seq ?? auditSeq, last?.hash ?? null],
  ]
}

/** Step, run, attempt and due time; null where it stays as it is. */
function goal(next: NextWork): SqlValue[] {
  switch (next.to) {
    case 'step':
      return [next.step, next.run, 0, null]
    case 'release':
      return [next.step, next.run, next.attempt, null]
    case 'sleep':
      return [null, null, next.attempt, next.dueMs]
    case 'stay':
    case 'end':
      return [null, null, null, null]
  }
}

/** Takes what is first in line and in nobody's hands: as many as `limit` says, at most `most`. */
function claiming(
  statement: Statement,
  { claimedBy, nowMs, except = [] }: Omit<ClaimRequest, 'limit'>,
  most: number,
  limit: string,
): string {
  const tokens = Array.from({ length: most }, () => randomHex(16))
  return `ready as materialized (select instance_id from work
      where state = 'ready' and definition_hash <> all(${statement.bind(except, 'text[]')})
      order by priority desc, instance_id limit ${limit} for update skip locked),
    numbered as (select instance_id, row_number() over () as number from ready),
    claimed as (update work w
      set state = 'claimed', token = (${statement.bind(tokens, 'text[]')})[r.number],
          claimed_by = ${statement.bind(claimedBy, 'text')}, claimed_at_ms = ${statement.bind(nowMs, 'bigint')}
     from numbered r where w.instance_id = r.instance_id returning w.*)`
}

interface CommitRow extends ClaimedRow {
  readonly done: string | null
}

type ClaimedRow = WorkRow &
  Omit<SubmittedRow, 'instanceId'> & { readonly caseId: string | null; readonly caseHash: string }

/** The claimed instances, each with its case as it was submitted. */
function claimedRows(first: string, join = ''): string {
  return `select ${first}${workColumns.replaceAll(/(\w+) as/g, 'c.$1 as')},
    i.instance_id as "caseId", i.definition_hash as "caseHash", i.submitted_by as "submittedBy",
    i.simulated as "simulated", i.input_payload_id as "inputPayloadId",
    p.text as "inputText", p.salt as "inputSalt", e.envelope as "firstEnvelope"
  from claimed c
  left join instances i on i.instance_id = c.instance_id
  left join payloads p on p.instance_id = i.instance_id and p.payload_id = i.input_payload_id
  left join audit_events e on e.instance_id = i.instance_id and e.seq = 1
  ${join} order by c.priority desc, c.instance_id`
}

function toClaimed(row: ClaimedRow): Claimed {
  const { caseId, caseHash, submittedBy, simulated, inputPayloadId, inputText, inputSalt, firstEnvelope, ...rest } = row
  const { done: _, ...work } = rest as typeof rest & { done?: string }
  const about = { submittedBy, simulated, inputPayloadId, inputText, inputSalt, firstEnvelope }
  const submitted = caseId === null ? undefined : { instanceId: caseId, definitionHash: caseHash, ...about }
  return { ...toWork(work), submitted: submitted && toSubmittedCase(submitted) }
}
