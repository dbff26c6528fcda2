import { randomHex } from '../domain/identity.ts'
import { insertEventsSql, eventValues } from './audit.ts'
import type { Reader, SqlValue } from './backend.ts'
import { type Claimed, submittedCaseSql, type SubmittedRow, toSubmittedCase } from './claimed.ts'
import { checkpointValues, insertCheckpointsSql } from './checkpoints.ts'
import { definitionColumns } from './definitions.ts'
import {
  type Beginnings,
  type ClaimRequest,
  givesBack,
  type HotPath,
  type Refill,
  type StepCommit,
  type StepCommitResult,
  type Submission,
  type SubmissionResult,
} from './hot-path.ts'
import { endInstanceSql, endingValues, instanceValues, newInstanceColumns } from './instances.ts'
import { insertPayloadsSql, payloadValues } from './payloads.ts'
import { insertInto, placeholders, rowsInserter } from './rows.ts'
import { type SqliteConnection, sqliteCode } from './sqlite-connection.ts'
import type { SqliteWriter } from './sqlite-writer.ts'
import { submissionKeyColumns, submissionKeyValues } from './submission-keys.ts'
import { insertTaskSql, newTaskValues } from './tasks.ts'
import { newWorkColumns, newWorkValues, toWork, workColumns, type WorkRow } from './work.ts'

/** SQLite's result codes for data that a table refuses: size, constraint, type. Nothing is wrong with the store. */
const refusedData: ReadonlySet<number | undefined> = new Set([18, 19, 20])

/** True for data that a table refuses, or that cannot even be handed to it. */
function isRefusedData(error: unknown): boolean {
  return refusedData.has(sqliteCode(error)) || (error as { code?: unknown }).code === 'ERR_INVALID_ARG_TYPE'
}

const fenceSql = `instance_id = $1 and token = $2 and step_no = $3 and run = $4 and audit_seq = $5 and state = 'claimed'`

const giveBack = `token = null, claimed_by = null, claimed_at_ms = null`

const updates = {
  step: `update work set step = $6, run = $7, attempt = 0, step_no = $8, audit_seq = $9, audit_head = $10
    where ${fenceSql}`,
  release: `update work set step = $6, run = $7, step_no = $8, audit_seq = $9, audit_head = coalesce($10, audit_head),
      attempt = $11, state = 'ready', ${giveBack}
    where ${fenceSql}`,
  sleep: `update work set audit_seq = $6, audit_head = $7, attempt = $8, due_ms = $9, state = 'sleeping', ${giveBack}
    where ${fenceSql}`,
  stay: `update work set audit_seq = $6, audit_head = $7 where ${fenceSql}`,
  end: `delete from work where ${fenceSql}`,
} as const

/** Submission, claim and step commit on SQLite: plain statements in the shared transaction, which no network makes dear. */
export class SqliteHotPath implements HotPath {
  readonly isEmptyClaimFree = false
  private readonly writer: SqliteWriter
  private readonly reader: Pick<Reader, 'query'>

  constructor(writer: SqliteWriter, reader: Pick<Reader, 'query'>) {
    this.writer = writer
    this.reader = reader
  }

  async submit(submissions: readonly Submission[], beginnings: Beginnings): Promise<SubmissionResult[]> {
    try {
      return await this.writer.run((connection) => submitTogether(connection, submissions, beginnings))
    } catch (error) {
      if (!isRefusedData(error)) throw error
      if (submissions.length === 1) return [{ kind: 'poisoned', error: error as Error }]
      return (await Promise.all(submissions.map((one) => this.submit([one], beginnings)))).flat()
    }
  }

  async anyReady(except: readonly string[] = []): Promise<boolean> {
    const sql = `select 1 from work where state = 'ready' ${others(except, 0)} limit 1`
    return (await this.reader.query(sql, except)).length > 0
  }

  claim(request: ClaimRequest): Promise<Claimed[]> {
    return this.writer.run((connection) => claimReady(connection, request))
  }

  async commitSteps(commits: readonly StepCommit[], refill?: Refill): Promise<StepCommitResult[]> {
    try {
      return await this.send(commits, commitPlainly, refill)
    } catch (error) {
      if (!isRefusedData(error)) throw error
      return await this.send(commits, commitApart, refill)
    }
  }

  private async send(
    commits: readonly StepCommit[],
    commitAll: (connection: SqliteConnection, commits: readonly StepCommit[]) => StepCommitResult[],
    refill: Refill | undefined,
  ): Promise<StepCommitResult[]> {
    const { results, claimed, limit } = await this.writer.run(
      (connection) => {
        const results = commitAll(connection, commits)
        const limit = refill ? countGivenBack(commits, results) : 0
        return { results, limit, claimed: limit > 0 ? claimReady(connection, { ...refill!.claim, limit }) : [] }
      },
      { now: true },
    )
    if (limit > 0) refill!.take(claimed)
    return results
  }
}

const settleSql = 'update meta set simulated = $1 where id = 1 and simulated is null'
const insertDefinitionSql = `${insertInto('definitions', definitionColumns)} on conflict (hash) do nothing`
const takeKeySql = `${insertInto('submission_keys', submissionKeyColumns)} on conflict (actor, key) do nothing`
const insertInstancesSql = rowsInserter('instances', newInstanceColumns)
const insertWorkSql = rowsInserter('work', newWorkColumns)

/** Table by table, for all members whose keys were free. */
function submitTogether(
  connection: SqliteConnection,
  submissions: readonly Submission[],
  { definitions, simulated }: Beginnings,
): SubmissionResult[] {
  if (simulated !== undefined && connection.execute(settleSql, [simulated ? 1 : 0]) === 0) {
    return submissions.map(() => ({ kind: 'otherwise_settled' }))
  }
  const results = submissions.map(({ key }): SubmissionResult => ({
    kind: !key || connection.execute(takeKeySql, submissionKeyValues(key)) === 1 ? 'submitted' : 'key_taken',
  }))
  const taken = submissions.filter((_, index) => results[index]!.kind === 'submitted')
  const nowMs = submissions[0]!.instance.submittedAtMs
  const used = new Set(taken.map(({ instance }) => instance.definitionHash))
  for (const { hash, text } of definitions) {
    if (used.has(hash)) connection.execute(insertDefinitionSql, [hash, text, nowMs])
  }
  const insert = (sql: (rows: number) => string, values: (submission: Submission) => SqlValue[]) =>
    insertAll(connection, sql, taken.map(values))
  insert(insertInstancesSql, ({ instance }) => instanceValues(instance))
  insert(insertPayloadsSql, ({ input }) => payloadValues(input))
  insert(insertEventsSql, ({ event }) => eventValues(event))
  insert(insertWorkSql, ({ work }) => newWorkValues(work))
  return results
}

/** Keeps instances of these definitions out; their hashes are bound behind `bound` other parameters. */
function others(except: readonly string[], bound: number): string {
  if (except.length === 0) return ''
  return `and definition_hash not in (${placeholders(except.length, bound)})`
}

/** Two statements: as one, with the search inside of the update, it took twice as long. */
function claimReady(connection: SqliteConnection, { limit, claimedBy, nowMs, except = [] }: ClaimRequest): Claimed[] {
  const ready = connection.query<{ id: string }>(
    `select instance_id as "id" from work where state = 'ready' ${others(except, 1)}
      order by priority desc, instance_id limit $1`,
    [limit, ...except],
  )
  return ready.map(({ id }) => {
    const [row] = connection.query<WorkRow>(
      `update work set state = 'claimed', token = $2, claimed_by = $3, claimed_at_ms = $4
        where instance_id = $1 returning ${workColumns}`,
      [id, randomHex(16), claimedBy, nowMs],
    )
    const [submitted] = connection.query<SubmittedRow>(submittedCaseSql, [id])
    return { ...toWork(row!), submitted: submitted && toSubmittedCase(submitted) }
  })
}

function countGivenBack(commits: readonly StepCommit[], results: readonly StepCommitResult[]): number {
  return commits.filter(({ next }, index) => results[index]!.kind === 'committed' && givesBack(next)).length
}

/** Table by table, for all members whose fence held: one statement for many rows costs less than one for each. */
function commitPlainly(connection: SqliteConnection, commits: readonly StepCommit[]): StepCommitResult[] {
  const results = commits.map((commit): StepCommitResult => ({
    kind: moveWork(connection, commit) ? 'committed' : 'fenced',
  }))
  const held = commits.filter((_, index) => results[index]!.kind === 'committed')
  insertAll(
    connection,
    insertPayloadsSql,
    held.flatMap(({ payloads }) => payloads.map(payloadValues)),
  )
  insertAll(
    connection,
    insertCheckpointsSql,
    held.flatMap(({ checkpoint }) => (checkpoint ? [checkpointValues(checkpoint)] : [])),
  )
  insertAll(
    connection,
    insertEventsSql,
    held.flatMap(({ events }) => events.map(eventValues)),
  )
  for (const { next } of held) {
    if (next.to !== 'end') continue
    connection.execute(endInstanceSql, endingValues(next.ending))
    for (const task of next.tasks) connection.execute(insertTaskSql, newTaskValues(task))
  }
  return results
}

/** Each member in a savepoint of its own, once one of the batch is known to be poisoned. */
function commitApart(connection: SqliteConnection, commits: readonly StepCommit[]): StepCommitResult[] {
  return commits.map((commit): StepCommitResult => {
    connection.execute('savepoint step')
    try {
      const [result] = commitPlainly(connection, [commit])
      connection.execute('release step')
      return result!
    } catch (error) {
      if (!connection.isTransaction || !isRefusedData(error)) throw error
      connection.execute('rollback to step')
      connection.execute('release step')
      return { kind: 'poisoned', error: error as Error }
    }
  })
}

/** Rows that one statement inserts: with sixteen, making its many parameters takes back what fewer statements save. */
const maxRows = 8

function insertAll(connection: SqliteConnection, sql: (rows: number) => string, rows: readonly SqlValue[][]): void {
  for (let from = 0; from < rows.length; from += maxRows) {
    const some = rows.slice(from, from + maxRows)
    connection.execute(sql(some.length), some.flat())
  }
}

/** True when the work row was as the fence says, and now is as the commit says. */
function moveWork(connection: SqliteConnection, { instanceId, fence, next, checkpoint, events }: StepCommit): boolean {
  const held = [instanceId, fence.token, fence.stepNo, fence.run, fence.auditSeq]
  const last = events.at(-1)
  const head = [last?.seq ?? fence.auditSeq, last?.hash ?? null]
  const stepNo = fence.stepNo + (checkpoint ? 1 : 0)
  switch (next.to) {
    case 'step':
      return connection.execute(updates.step, [...held, next.step, next.run, stepNo, ...head]) === 1
    case 'release':
      return connection.execute(updates.release, [...held, next.step, next.run, stepNo, ...head, next.attempt]) === 1
    case 'sleep':
      return connection.execute(updates.sleep, [...held, ...head, next.attempt, next.dueMs]) === 1
    case 'stay':
      return connection.execute(updates.stay, [...held, ...head]) === 1
    case 'end':
      return connection.execute(updates.end, held) === 1
  }
}
