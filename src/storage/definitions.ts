import type { Reader, Transaction } from './backend.ts'

/** Keeps a pinned definition; the same text has the same hash, so keeping it twice changes nothing. */
export async function insertDefinition(
  tx: Transaction,
  { hash, text, nowMs }: { hash: string; text: string; nowMs: number },
): Promise<void> {
  await tx.execute(
    'insert into definitions (hash, text, stored_at_ms) values ($1, $2, $3) on conflict (hash) do nothing',
    [hash, text, nowMs],
  )
}

export async function readDefinition(reader: Reader, hash: string): Promise<string | undefined> {
  const [row] = await reader.query<{ text: string }>('select text as "text" from definitions where hash = $1', [hash])
  return row?.text
}
