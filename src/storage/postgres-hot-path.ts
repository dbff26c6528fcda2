import { type CommitProbe, CommitUnknownError } from './backend.ts'
import type { Claimed } from './claimed.ts'
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
import { type ClaimedRow, claiming, selectClaimed, toClaimed } from './postgres-claim.ts'
import { committing } from './postgres-commit.ts'
import type { Lend, SqlParam } from './postgres-connections.ts'
import { isAnswered, isRefusedData } from './postgres-errors.ts'
import { Statement } from './postgres-statement.ts'
import { submitting } from './postgres-submit.ts'

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
    const sql = `with ${claiming(statement, request, limit, statement.bind(limit, 'bigint')).join(', ')} ${selectClaimed('')}`
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
    const done = `(select string_agg(place::text, ',') from done) as "done"`
    const free = commits.flatMap(({ next }, place) => (givesBack(next) ? [place] : []))
    let answer = `select ${done}`
    if (refill && free.length > 0) {
      const given = `(select count(*) from done where place = any(${statement.bindArray(free, 'bigint')}))`
      parts.push(...claiming(statement, refill.claim, free.length, given))
      answer = selectClaimed(`${done}, `, 'right join (select 1) as always on true')
    }
    const rows = await this.send<CommitRow>(`with ${parts.join(', ')} ${answer}`, statement.params)
    const written = places(rows[0]!.done)
    if (free.some((place) => written.has(place))) {
      refill?.take(rows.filter(({ instanceId }) => typeof instanceId === 'string').map(toClaimed))
    }
    return commits.map((_, place) => ({ kind: written.has(place) ? 'committed' : 'fenced' }))
  }

  /** Runs a statement that is a transaction by itself. */
  private async send<R extends object = ClaimedRow>(sql: string, params: readonly SqlParam[]): Promise<R[]> {
    return await this.lend(async (connection) => {
      this.probe.before?.()
      try {
        const { rows } = await connection.runPlanned(sql, params)
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

interface CommitRow extends ClaimedRow {
  readonly done: string | null
}
