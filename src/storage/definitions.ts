import type { Reader } from './backend.ts'

/** A pinned definition as it is kept: the same text has the same hash, so keeping it twice changes nothing. */
export interface DefinitionText {
  readonly hash: string
  readonly text: string
}

/** In the order of `definitionValues`. */
export const definitionColumns = ['hash', 'text', 'stored_at_ms']

export async function readDefinition(reader: Reader, hash: string): Promise<string | undefined> {
  const [row] = await reader.query<{ text: string }>('select text as "text" from definitions where hash = $1', [hash])
  return row?.text
}
