import { join } from 'node:path'
import { DatabaseSync, type StatementSync } from 'node:sqlite'
import { schemas } from '../src/index.ts'
import { openBench, runUntil, submitMany, temporaryFolder } from './store.ts'

type Values = (string | number | null)[]

/** What one step writes, as the engine wrote it. */
interface StepRows {
  readonly instanceId: string
  readonly checkpoint: Values
  readonly payloads: readonly Values[]
  readonly events: readonly Values[]
  /** The new step pointer and head, or the end of the instance. */
  readonly work: Values | undefined
  readonly ending: Values | undefined
}

/** The rows that the engine wrote for some cases, for writing them again without it. */
export interface RecordedRows {
  readonly instances: readonly Values[]
  readonly works: readonly Values[]
  /** Step by step, for each instance. */
  readonly steps: readonly (readonly StepRows[])[]
}

/** Lets the engine run that many cases and takes the rows it wrote. */
export async function recordRows(cases: number, steps: number): Promise<RecordedRows> {
  using folder = temporaryFolder()
  const path = join(folder.path, 'recorded.db')
  const core = await openBench(path, steps)
  await submitMany(core, `straight_${steps}`, cases)
  const works = readAll(path, 'select * from work order by instance_id')
  await runUntil(core, cases)
  await core.close()
  const instances = readAll(path, 'select * from instances order by instance_id')
  return { instances, works, steps: instances.map(([id]) => stepsOf(path, String(id))) }
}

function readAll(path: string, sql: string, ...params: string[]): Values[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    const statement = database.prepare(sql)
    statement.setReturnArrays(true)
    return statement.all(...params) as unknown as Values[]
  } finally {
    database.close()
  }
}

function stepsOf(path: string, instanceId: string): StepRows[] {
  const database = new DatabaseSync(path, { readOnly: true })
  const rows = (sql: string) => {
    const statement = database.prepare(sql)
    statement.setReturnArrays(true)
    return statement.all(instanceId) as unknown as Values[]
  }
  // Without `entry`, which the tables give anew.
  const checkpoints = rows('select * from checkpoints where instance_id = ? order by step_no').map((row) =>
    row.slice(1),
  )
  const events = rows('select * from audit_events where instance_id = ? order by seq').map((row) => row.slice(1))
  const payloads = rows('select * from payloads where instance_id = ? order by payload_id')
  const [ending] = rows(
    `select status, tier, tier_contributions, proposed_payload_id, outcome_payload_id, audit_seq, audit_head, step_count,
            updated_at_ms, ended_at_ms, instance_id from instances where instance_id = ?`,
  )
  database.close()
  return checkpoints.map((checkpoint, index): StepRows => {
    const isLast = index === checkpoints.length - 1
    const written = events.slice(index + 1, isLast ? undefined : index + 2)
    const ids = new Set(written.map((event) => event[4]))
    const event = written[0]!
    const next = checkpoints[index + 1]
    return {
      instanceId,
      checkpoint,
      events: written,
      payloads: payloads.filter(([id]) => ids.has(id!)),
      work: next && [next[2]!, next[4]!, index + 1, event[1]!, event[7]!, instanceId],
      ending: next ? undefined : ending,
    }
  })
}

const placeholders = (count: number) => Array.from({ length: count }, () => '?').join(', ')

/**
 * Steps per second of the same rows through bare `node:sqlite` with as many steps in each commit: same tables and
 * indexes, no triggers, nothing hashed, nothing fenced, nothing claimed.
 */
export function floorRate({ instances, works, steps }: RecordedRows, groupSize: number): number {
  using folder = temporaryFolder()
  const database = new DatabaseSync(join(folder.path, 'floor.db'))
  database.exec('pragma journal_mode = wal; pragma synchronous = full; pragma wal_autocheckpoint = 4000')
  for (const part of Object.values(schemas)) database.exec(withoutTriggers(part.sqlite))
  const insertInto = (table: string, sample: Values, columns = '') =>
    database.prepare(`insert into ${table} ${columns} values (${placeholders(sample.length)})`)
  const first = steps[0]![0]!
  const statements = {
    begin: database.prepare('begin immediate'),
    commit: database.prepare('commit'),
    checkpoint: insertInto('checkpoints', first.checkpoint, columnsOf(database, 'checkpoints')),
    event: insertInto('audit_events', first.events[0]!, columnsOf(database, 'audit_events')),
    payload: insertInto('payloads', first.payloads[0]!),
    move: database.prepare(
      'update work set step = ?, run = ?, step_no = ?, audit_seq = ?, audit_head = ? where instance_id = ?',
    ),
    remove: database.prepare('delete from work where instance_id = ?'),
    end: database.prepare(
      `update instances set status = ?, tier = ?, tier_contributions = ?, proposed_payload_id = ?,
         outcome_payload_id = ?, audit_seq = ?, audit_head = ?, step_count = ?, updated_at_ms = ?, ended_at_ms = ?
       where instance_id = ?`,
    ),
  }
  fill(database, instances, works)
  const startedAt = performance.now()
  let done = 0
  for (let from = 0; from < steps.length; from += groupSize) {
    const group = steps.slice(from, from + groupSize)
    for (let step = 0; step < group[0]!.length; step++) {
      statements.begin.run()
      for (const rows of group) writeStep(statements, rows[step]!)
      statements.commit.run()
      done += group.length
    }
  }
  const elapsedMs = performance.now() - startedAt
  database.close()
  return (done / elapsedMs) * 1000
}

function fill(database: DatabaseSync, instances: readonly Values[], works: readonly Values[]): void {
  database.exec('begin')
  const instance = database.prepare(`insert into instances values (${placeholders(instances[0]!.length)})`)
  for (const row of instances) instance.run(...row)
  const work = database.prepare(`insert into work values (${placeholders(works[0]!.length)})`)
  for (const row of works) work.run(...row)
  database.exec('commit')
}

function columnsOf(database: DatabaseSync, table: string): string {
  const columns = database.prepare(`select name from pragma_table_info('${table}') where name <> 'entry'`).all()
  return `(${columns.map((column) => String(column.name)).join(', ')})`
}

function withoutTriggers(ddl: string): string {
  return ddl.replaceAll(/create trigger [\s\S]*?end;/g, '')
}

type Statements = Readonly<Record<'checkpoint' | 'event' | 'payload' | 'move' | 'remove' | 'end', StatementSync>>

function writeStep(statements: Statements, { instanceId, checkpoint, payloads, events, work, ending }: StepRows): void {
  if (work) statements.move.run(...work)
  else statements.remove.run(instanceId)
  for (const payload of payloads) statements.payload.run(...payload)
  statements.checkpoint.run(...checkpoint)
  for (const event of events) statements.event.run(...event)
  if (ending) statements.end.run(...ending)
}
