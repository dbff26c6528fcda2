import { openStore, openStoreForReading } from '../../src/storage/open.ts'
import { readMeta } from '../../src/storage/meta.ts'
import { plainConnection } from './fixture.ts'
import { readyCase } from './ready-case.ts'

/** A store that nobody holds, with that many cases in line; it was opened as often as its epoch says. */
export async function makeStore(path: string, { cases = 2, epoch = 1 } = {}): Promise<void> {
  for (let opening = 1; opening <= epoch; opening++) {
    const { backend } = await openStore({ path, nowMs: 1_000 })
    for (let number = 0; number < (opening === 1 ? cases : 0); number++) await readyCase(backend)
    await backend.close()
  }
}

/** What a reader finds in a store. */
export async function lookInto(path: string) {
  const backend = await openStoreForReading(path)
  try {
    return await backend.read(async (reader) => {
      const [row] = await reader.query<{ cases: number; claimed: number; leases: number }>(
        `select (select count(*) from instances) as "cases",
                (select count(*) from work where state = 'claimed') as "claimed",
                (select count(*) from meta where lease_pid is not null) as "leases"`,
      )
      return { ...(await readMeta(reader)), ...row! }
    })
  } finally {
    await backend.close()
  }
}

/** Runs plain SQL on a store, as anybody with a shell could. */
export function change(path: string, sql: string): void {
  const shell = plainConnection(path)
  shell.exec(sql)
  shell.close()
}

/** Takes back what the newest migration did. */
export function makeOlder(path: string): void {
  const indexes = ['instances_by_submitter', 'instances_of_submitter', 'instances_of_workflow']
  const drops = indexes.map((name) => `drop index ${name}`)
  change(path, [...drops, 'delete from schema_migrations where number > 1'].join('; '))
}

export function makeNewer(path: string): void {
  change(path, `insert into schema_migrations select 1 + max(number), 'next', 'x', 1 from schema_migrations`)
}

/** Makes copying a store take a while. */
export function fill(path: string, megabytes: number): void {
  change(
    path,
    `create table ballast (number integer primary key, text text not null);
     with recursive n (number) as (select 1 union all select number + 1 from n where number < ${megabytes})
     insert into ballast select number, hex(zeroblob(500000)) from n`,
  )
}
