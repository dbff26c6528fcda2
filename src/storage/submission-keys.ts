import type { Reader, SqlValue } from './backend.ts'

/** What a key was used for: the digest of the body it came with, and the instance that came of it. */
export interface SubmissionKey {
  readonly actor: string
  readonly key: string
  readonly digest: string
  readonly instanceId: string
}

export async function readSubmissionKey(
  reader: Reader,
  actor: string,
  key: string,
): Promise<SubmissionKey | undefined> {
  const [row] = await reader.query<SubmissionKey>(
    `select actor as "actor", key as "key", digest as "digest", instance_id as "instanceId"
       from submission_keys where actor = $1 and key = $2`,
    [actor, key],
  )
  return row
}

/** In the order of `submissionKeyValues`. */
export const submissionKeyColumns = ['actor', 'key', 'digest', 'instance_id']

export function submissionKeyValues({ actor, key, digest, instanceId }: SubmissionKey): SqlValue[] {
  return [actor, key, digest, instanceId]
}
