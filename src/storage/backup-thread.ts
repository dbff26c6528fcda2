import assert from 'node:assert/strict'
import { parentPort, workerData } from 'node:worker_threads'
import { readMeta } from './meta.ts'
import { SqliteTransaction } from './sqlite.ts'
import { applicationId } from './dialect.ts'
import { SqliteConnection, sqliteCorrupt } from './sqlite-connection.ts'
import { type CopyMessage, copyPatienceMs, type CopyTask, type StoreFacts } from './copies.ts'
import { openReadOnly } from './store-file.ts'

/** The thread that copies a store: see `copyStore`. */
const { from, to, isSourceChecked } = workerData as CopyTask
const say = (message: CopyMessage) => parentPort!.postMessage(message)

const source = openReadOnly(from)
try {
  source.script(`pragma busy_timeout = ${copyPatienceMs}`)
  say({ totalBytes: bytesInUse(source) })
  if (isSourceChecked) check(source, 'integrity_check')
  // On one snapshot, with the mark of our files, as a plain file without a log, and with nothing of what was deleted.
  source.execute('vacuum into $1', [to])
} finally {
  source.close()
}

const copy = new SqliteConnection(to, { readOnly: true })
try {
  check(copy, 'quick_check')
  assert.equal(copy.value('pragma application_id'), applicationId)
  say({ copied: await readFacts(copy) })
} finally {
  copy.close()
}

function bytesInUse(connection: SqliteConnection): number {
  const number = (name: string) => Number(connection.value(`pragma ${name}`))
  return (number('page_count') - number('freelist_count')) * number('page_size')
}

/** What a check finds is told as SQLite tells what it stumbles upon. */
function check(connection: SqliteConnection, pragma: 'integrity_check' | 'quick_check'): void {
  const found = String(connection.value(`pragma ${pragma}(1)`))
  if (found === 'ok') return
  throw Object.assign(new Error(found.replaceAll(/\s+/g, ' ')), { errcode: sqliteCorrupt })
}

async function readFacts(connection: SqliteConnection): Promise<StoreFacts> {
  const cases = Number(connection.value('select count(*) from instances'))
  return { ...(await readMeta(new SqliteTransaction(connection))), cases }
}
