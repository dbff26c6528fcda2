import type pg from 'pg'

/** At a time: one statement of a million rows would be one transaction of some minutes. */
const batch = 50_000

/** Fills a store with copies of the first case in it that has ended, each with its whole record under an id of its own. */
export async function fillFinished(shell: pg.Pool, schema: string, count: number): Promise<void> {
  const client = await shell.connect()
  try {
    await client.query(`set search_path = ${schema}`)
    for (let from = 0; from < count; from += batch) await client.query(await copySql(client, from))
    await client.query('vacuum analyze')
    await client.query('reset search_path')
  } finally {
    client.release()
  }
}

/** Every table that has rows of an instance. */
const tables = ['instances', 'payloads', 'checkpoints', 'audit_events'] as const

async function copySql(client: pg.PoolClient, from: number): Promise<string> {
  const inserts = []
  for (const table of tables) {
    const { rows } = await client.query<{ name: string }>(
      `select attname as name from pg_attribute where attrelid = '${table}'::regclass and attnum > 0 and attname <> 'entry' order by attnum`,
    )
    const names = rows.map(({ name }) => name)
    const values = names.map((name) => (name === 'instance_id' || name === 'correlation_id' ? 'n.id' : `t.${name}`))
    inserts.push(`${table}_rows as (insert into ${table} (${names.join(', ')})
      select ${values.join(', ')} from numbers n, ${table} t where t.instance_id = (select id from sample))`)
  }
  return `with sample as (select instance_id as id from instances where status = 'completed' order by instance_id limit 1),
    numbers as (select '01800000-0000-7000-8000-' || lpad(n::text, 12, '0') as id from generate_series(${from}, ${from + batch - 1}) n),
    ${inserts.join(',\n    ')} select 1`
}
