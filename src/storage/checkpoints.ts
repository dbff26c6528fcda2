import { type Checkpoint, checkpointColumns as columns } from '../domain/instance.ts'
import type { Reader, SqlValue } from './backend.ts'
import { aliased, rowsInserter, type Nullable, orNull, placeholders, withoutNulls } from './rows.ts'

const fields = Object.keys(columns) as (keyof Checkpoint)[]

export const insertCheckpointsSql = rowsInserter('checkpoints', Object.values(columns))

export function checkpointValues(checkpoint: Checkpoint): SqlValue[] {
  return fields.map((field) => orNull(checkpoint[field]))
}

/** Every checkpoint of an instance, in the order in which its steps ran. */
export async function readCheckpoints(reader: Reader, instanceId: string): Promise<Checkpoint[]> {
  const rows = await reader.query<Nullable<Checkpoint>>(
    `select ${aliased(columns)} from checkpoints where instance_id = $1 order by step_no`,
    [instanceId],
  )
  return rows.map((row) => withoutNulls<Checkpoint>(row))
}

const qualified = aliased(Object.fromEntries(Object.entries(columns).map(([field, column]) => [field, `c.${column}`])))

/**
 * The checkpoint of each step's latest run, in the order in which they ran: one index look-up a step, however often the
 * steps have run.
 */
export async function readLatestCheckpoints(
  reader: Reader,
  instanceId: string,
  steps: readonly string[],
): Promise<Checkpoint[]> {
  const list = steps.map((_, index) => `($${index + 2})`).join(', ')
  const rows = await reader.query<Nullable<Checkpoint>>(
    `select ${qualified} from (values ${list}) as s
       join checkpoints c on c.instance_id = $1 and c.step = s.column1 and c.run =
         (select max(m.run) from checkpoints m where m.instance_id = $1 and m.step = s.column1)
      order by c.step_no`,
    [instanceId, ...steps],
  )
  return rows.map((row) => withoutNulls<Checkpoint>(row))
}

/** Step names of these instances, of each in the order in which they ran. */
export async function listPaths(
  reader: Reader,
  instanceIds: readonly string[],
): Promise<Pick<Checkpoint, 'instanceId' | 'step'>[]> {
  return await reader.query(
    `select instance_id as "instanceId", step as "step" from checkpoints
      where instance_id in (${placeholders(instanceIds.length)}) order by instance_id, step_no`,
    instanceIds,
  )
}
