import { execFileSync, execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type pg from 'pg'
import { schemas } from '../src/index.ts'
import { temporaryFolder } from './store.ts'

/** How long the texts are that the engine writes: what the floor writes is as long. */
interface Lengths {
  readonly envelope: number
  readonly ending: number
  readonly text: number
  readonly route: number
}

export function hasPgbench(): boolean {
  try {
    execFileSync('pgbench', ['--version'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

/** Reads them from rows that the engine has written into this schema. */
export async function measureRows(shell: pg.Pool, schema: string): Promise<Lengths> {
  const { rows } = await shell.query<Lengths>(`select
    (select avg(length(envelope))::int from ${schema}.audit_events where type = 'step.completed') as envelope,
    (select avg(length(envelope))::int from ${schema}.audit_events where type = 'case.completed') as ending,
    (select avg(length(text))::int from ${schema}.payloads where kind = 'output') as text,
    (select avg(length(route))::int from ${schema}.checkpoints) as route`)
  return rows[0]!
}

/**
 * Steps per second of the same rows by `pgbench`: one call of one function for each step, in a transaction of its own, as
 * many clients as there are instances in flight. Same tables, indexes and triggers; nothing is hashed, and nothing claimed.
 */
export async function pgbenchRate(
  shell: pg.Pool,
  dsn: string,
  { clients, cases, steps, lengths }: { clients: number; cases: number; steps: number; lengths: Lengths },
): Promise<number> {
  const schema = `floor_${process.pid}`
  using folder = temporaryFolder()
  await shell.query(`drop schema if exists ${schema} cascade`)
  await shell.query(`create schema ${schema}`)
  const client = await shell.connect()
  try {
    await client.query(`set search_path = ${schema}`)
    for (const part of Object.values(schemas)) await client.query(part.postgres)
    await client.query(fillSql, [cases])
    await client.query(functionSql(schema, steps, lengths))
    await client.query('analyze')
    await client.query('reset search_path')
  } finally {
    client.release()
  }
  const script = join(folder.path, 'step.sql')
  // Each client has cases of its own and moves one after the other.
  writeFileSync(
    script,
    `\\set n :n + 1
\\set number (:n - 1) / ${steps} * ${clients} + :client_id
\\set step (:n - 1) % ${steps} + 1
select ${schema}.bench_step(:number, :step);
`,
  )
  const perClient = Math.floor(cases / clients) * steps
  const options = ['-n', '-M', 'prepared', '-D', 'n=0', '-c', String(clients), '-j', '2', '-t', String(perClient)]
  const { stdout } = await promisify(execFile)('pgbench', [...options, '-f', script, dsn])
  await shell.query(`drop schema ${schema} cascade`)
  const rate = /^tps = ([\d.]+)/m.exec(stdout)?.[1]
  if (rate === undefined || !stdout.includes(`number of transactions actually processed: ${perClient * clients}/`)) {
    throw new Error(`pgbench said: ${stdout}`)
  }
  return Number(rate)
}

const id = (number: string) => `'01890000-0000-7000-8000-' || lpad(${number}::text, 12, '0')`

const fillSql = `with numbers as (select n, ${id('n')} as id from generate_series(0, $1::bigint - 1) as n),
  i as (insert into instances
    select id, id, 'straight_10', 'bench', repeat('d', 64), 'bench', id, 'running', null, '[]', null, null, null, null, 0, 0, 1,
           repeat('a', 64), 0, 1, 1, null from numbers)
  insert into work (instance_id, state, priority, token, claimed_by, claimed_at_ms, definition_hash, step, run, attempt, step_no,
                    audit_seq, audit_head, cancel_requested)
  select id, 'claimed', 0, repeat('b', 32), 'bench', 1, repeat('d', 64), 's1', 1, 0, 0, 1, repeat('a', 64), 0 from numbers`

function functionSql(schema: string, steps: number, { envelope, ending, text, route }: Lengths): string {
  const event = (seq: string, type: string, length: number, payload: string) =>
    `insert into ${schema}.audit_events (instance_id, seq, type, at_ms, payload_id, envelope, prev_hash, hash)
       values (id, ${seq}, '${type}', 1, ${payload}, repeat('e', ${length}), repeat('a', 64), repeat('a', 64));`
  return `create function ${schema}.bench_step(number bigint, no bigint) returns void language plpgsql as $$
    declare
      id text := ${id('number')};
      payload text := gen_random_uuid()::text;
    begin
      if no < ${steps} then
        update ${schema}.work set step = 's' || no, run = 1, attempt = 0, step_no = no, audit_seq = no + 1, audit_head = repeat('c', 64)
         where instance_id = id and token = repeat('b', 32) and step_no = no - 1;
      else
        delete from ${schema}.work where instance_id = id and token = repeat('b', 32) and step_no = no - 1;
      end if;
      if not found then raise exception 'case % is not at step %', number, no; end if;
      insert into ${schema}.payloads values (payload, id, 'output', repeat('x', ${text}), repeat('5', 64), null);
      insert into ${schema}.checkpoints (instance_id, step_no, step, primitive, run, attempts, status, error_code, output_payload_id,
          output_commitment, model, input_tokens, output_tokens, route, started_at_ms, ended_at_ms)
        values (id, no, 's' || no, 'noop', 1, 1, 'completed', null, payload, repeat('c', 64), null, null, null,
          repeat('r', ${route}), 1, 1);
      ${event('no + 1', 'step.completed', envelope, 'payload')}
      if no = ${steps} then
        ${event('no + 2', 'case.completed', ending, 'null')}
        update ${schema}.instances set status = 'completed', tier = 'auto', proposed_payload_id = payload,
            outcome_payload_id = payload, audit_seq = no + 2, audit_head = repeat('c', 64), step_count = no, updated_at_ms = 2, ended_at_ms = 2
         where instance_id = id;
      end if;
    end $$`
}
