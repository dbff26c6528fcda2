import pg from 'pg'

/** A row as plain SQL gives it; the two databases give the same. */
export type Row = Record<string, string | number | null>

const orders = {
  instances: 'instance_id',
  submission_keys: 'actor, key',
  work: 'instance_id',
  audit_events: 'instance_id, seq',
  checkpoints: 'instance_id, step_no',
  payloads: 'instance_id, payload_id',
  tasks: 'task_id',
} as const

/** Everything by which a store at rest is judged. */
export type Tables = Readonly<Record<keyof typeof orders, readonly Row[]>>

export async function readTables(rows: (sql: string) => Promise<readonly Row[]>): Promise<Tables> {
  const reading: (readonly [string, readonly Row[]])[] = []
  for (const [table, order] of Object.entries(orders)) {
    reading.push([table, await rows(`select * from ${table} order by ${order}`)])
  }
  return Object.fromEntries(reading) as unknown as Tables
}

/** In the schema that the session names; a transaction that it has open is seen as well. */
export function readServerTables(session: pg.Client): Promise<Tables> {
  return readTables(async (sql) => (await session.query<Row>(sql)).rows)
}

/** A session with none of the program's settings, to which numbers are numbers. */
export async function openSession(dsn: string, schema: string): Promise<pg.Client> {
  const types = { getTypeParser: (oid: number) => (oid === int8 ? Number : pg.types.getTypeParser(oid)) }
  const session = new pg.Client({
    connectionString: dsn,
    application_name: 'judge',
    options: `-c search_path=${schema}`,
    types: types as pg.CustomTypesConfig,
  })
  // A server that is restarted ends it; whoever asks next hears of that.
  session.on('error', () => {})
  await session.connect()
  return session
}

const int8 = 20
