import { newId } from '../domain/identity.ts'
import type { Reader, Transaction } from './backend.ts'

/** What the store is, once per store. */
export interface Meta {
  readonly databaseId: string
  /** Rises each time another process takes the store; who has an older one may not write any more. */
  readonly epoch: number
  /** Unset until the first case is submitted: whether the store's model answers from a script. */
  readonly simulated: boolean | undefined
}

export async function readMeta(reader: Reader): Promise<Meta> {
  const [row] = await reader.query<{ databaseId: string; epoch: number; simulated: number | null }>(
    `select database_id as "databaseId", epoch as "epoch", simulated as "simulated" from meta where id = 1`,
  )
  if (!row) throw new Error('the table meta has no row')
  const { databaseId, epoch, simulated } = row
  return { databaseId, epoch, simulated: simulated === null ? undefined : simulated === 1 }
}

/** Whether the row is there that says what the store is. */
export async function hasMeta(reader: Reader): Promise<boolean> {
  return (await reader.query('select 1 from meta')).length > 0
}

/** Makes the row that says what the store is, unless it is there. */
export async function insertMeta(tx: Transaction, nowMs: number): Promise<void> {
  await tx.execute(
    `insert into meta (id, database_id, epoch, created_at_ms) select 1, $1, 0, $2
      where not exists (select 1 from meta)`,
    [newId(nowMs), nowMs],
  )
}
