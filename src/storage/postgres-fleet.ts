import type { Beat, Fleet, Hint, Pulse } from './fleet.ts'
import type { Lend } from './postgres-connections.ts'
import type { PostgresSignals } from './postgres-signals.ts'

/** A process that has not beaten for so long is dead, or as good as that. */
export const deadAfterMs = 20_000

/** Rows of dead processes are kept for an hour, for whoever wonders what became of them. */
const keptMs = 3_600_000

/** At most this many rows move with one beat. */
const batch = 500

/** The server's clock: processes on different machines must agree on who is alive. */
export const now = '(extract(epoch from clock_timestamp()) * 1000)::bigint'

const owner = `split_part(w.claimed_by, '.', 1)`

/**
 * Its commit is not waited for on the disk: what a crash of the server undoes of it, the next beat does again. It comes
 * five seconds apart, so that an idle process costs twelve statements a minute and no more. Whoever is not in the table of
 * workers, or has not beaten, has no claims: they are given back without their token, which fences off a sleeper.
 */
const beatSql = `with me as (
    insert into workers (worker_id, host, pid, concurrency, started_at_ms, beat_at_ms)
    values ($1, $2, $3::bigint, $4::bigint, ${now}, ${now})
    on conflict (worker_id) do update set beat_at_ms = excluded.beat_at_ms, concurrency = excluded.concurrency),
  orphans as (
    select w.instance_id from work w
     where w.state = 'claimed' and ${owner} <> $1 and not exists
       (select 1 from workers o where o.worker_id = ${owner} and o.beat_at_ms >= ${now} - ${deadAfterMs})
     order by w.instance_id limit ${batch} for update of w skip locked),
  freed as (
    update work w set state = 'ready', token = null, claimed_by = null, claimed_at_ms = null
      from orphans where w.instance_id = orphans.instance_id returning 1),
  due as (
    select instance_id from work where state = 'sleeping' and due_ms <= $5::bigint
     order by due_ms, instance_id limit ${batch} for update skip locked),
  woken as (
    update work w set state = 'ready', due_ms = null from due where w.instance_id = due.instance_id returning 1),
  buried as (
    delete from workers where worker_id in
      (select worker_id from workers where beat_at_ms < ${now} - ${keptMs} limit ${batch} for update skip locked))
  select set_config('synchronous_commit', 'off', true), (select count(*) from freed) as "freed", (select count(*) from woken) as "woken",
         (select count(*) from
           (select 1 from work where state = 'ready' and definition_hash <> all($6::text[]) limit 1) as r) as "ready",
         (select due_ms from work where state = 'sleeping' and due_ms > $5::bigint order by due_ms limit 1) as "sleeperMs",
         (select due_ms from tasks where status = 'open' and escalated_at_ms is null order by due_ms limit 1) as "taskMs"`

const atWorkSql = `select count(*) as "count" from workers
   where concurrency > 0 and worker_id <> $1 and beat_at_ms >= ${now} - ${deadAfterMs}`

interface PulseRow {
  readonly freed: number
  readonly woken: number
  readonly ready: number
  readonly sleeperMs: number | null
  readonly taskMs: number | null
}

/** The processes that share a PostgreSQL schema. */
export class PostgresFleet implements Fleet {
  private readonly lend: Lend
  private readonly signals: PostgresSignals

  constructor(lend: Lend, signals: PostgresSignals) {
    this.lend = lend
    this.signals = signals
  }

  async beat({ workerId, host, pid, concurrency, nowMs, except }: Beat): Promise<Pulse> {
    const params = [workerId, host, pid, concurrency, nowMs, except]
    const { rows } = await this.lend((connection) => connection.runPlanned(beatSql, params))
    const { freed, woken, ready, sleeperMs, taskMs } = rows[0] as PulseRow
    const dueMs = Math.min(sleeperMs ?? Infinity, taskMs ?? Infinity)
    return { freed, woken, isReady: ready + freed + woken > 0, dueMs: dueMs === Infinity ? undefined : dueMs }
  }

  async leave(workerId: string): Promise<void> {
    await this.lend((connection) => connection.run('delete from workers where worker_id = $1', [workerId]))
  }

  async countAtWork({ except }: { readonly except: string }): Promise<number> {
    const { rows } = await this.lend((connection) => connection.run(atWorkSql, [except]))
    return (rows[0] as { readonly count: number }).count
  }

  tell(hint: Hint): void {
    this.signals.tell(hint)
  }

  async tellNow(): Promise<void> {
    await this.signals.tellNow()
  }

  listen(listener: (hint: Hint) => void): Promise<() => Promise<void>> {
    return this.signals.listen(listener)
  }

  get isListening(): boolean {
    return this.signals.isListening
  }
}
