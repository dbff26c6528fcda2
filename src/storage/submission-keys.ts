import type { Reader, Transaction } from './backend.ts'

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

/** Takes a key for an instance. False when somebody else has just taken it. */
export async function insertSubmissionKey(
  tx: Transaction,
  { actor, key, digest, instanceId }: SubmissionKey,
): Promise<boolean> {
  const inserted = await tx.execute(
    `insert into submission_keys (actor, key, digest, instance_id) values ($1, $2, $3, $4)
      on conflict (actor, key) do nothing`,
    [actor, key, digest, instanceId],
  )
  return inserted === 1
}
