import { DatabaseSync } from 'node:sqlite'
import { test, type TestContext } from 'node:test'
import { openPostgresPlace } from '../storage/postgres-place.ts'
import { placesIn } from './logs.ts'
import type { Row } from './tables.ts'

/** A store that is killed over, as somebody sees it who has nothing of the program but its tables. */
export interface CrashStore extends AsyncDisposable {
  /** What a process of the program is told of it. */
  readonly env: Readonly<Record<string, string>>
  /** So many commits a life has at the least while much is in flight; of a database's each holds more steps. */
  readonly commits: number
  /** Read beside whoever writes, or after it was killed. */
  rows(sql: string): Promise<Row[]>
  /** After a kill: whoever comes next may have what the dead one had. */
  letTimePass(): Promise<void>
}

/** Opens the store of a folder in which the logs stand. */
export type OpenCrashStore = (folder: string) => Promise<CrashStore>

/** A story of kills on each database; `share` is how much of it is told there, since each start costs half a second. */
export function onEachCrashStore(
  promise: string,
  story: (open: OpenCrashStore, context: TestContext, share: number) => Promise<void>,
): void {
  test(`sqlite: ${promise}`, (context) =>
    story((folder) => Promise.resolve(fileAt(placesIn(folder).database)), context, 1))
  test(`postgres: ${promise}`, (context) => story(openDatabase, context, 0.5))
}

/** The next holder frees what was claimed, by its epoch. */
export function fileAt(path: string): CrashStore {
  return {
    env: { CC_DB_PATH: path },
    commits: 40,
    rows: (sql) => Promise.resolve(rowsOf(path, sql)),
    letTimePass: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  }
}

/** Rows of a file, at once: also in the middle of a commit. */
export function rowsOf(path: string, sql: string): Row[] {
  const database = new DatabaseSync(path, { readOnly: true })
  try {
    return database.prepare(sql).all() as Row[]
  } finally {
    database.close()
  }
}

async function openDatabase(): Promise<CrashStore> {
  const place = await openPostgresPlace()
  return {
    env: place.env,
    commits: 12,
    rows: (sql) => place.sql<Row>(sql),
    letTimePass: async () => {
      // Whoever was killed early enough has left no table.
      const [table] = await place.sql<Row>(`select to_regclass('workers')::text as name`)
      if (table?.name) await place.sql('update workers set beat_at_ms = 0')
    },
    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  }
}

export const claimedSql = `select count(*) as count from work where state = 'claimed'`

/** Instances that are claimed at this moment. */
export async function countClaimed(store: Pick<CrashStore, 'rows'>): Promise<number> {
  return Number((await store.rows(claimedSql))[0]!.count)
}
