import { hostname } from 'node:os'
import type { Transaction } from './backend.ts'

export interface NewHolder {
  readonly url: string | undefined
  readonly nowMs: number
  /** An epoch that the new one has to be above, beside the one before it. */
  readonly epochAbove?: number | undefined
}

/**
 * Makes this process the holder: a new epoch, its name in the lease, and every claim of the holder before it given back,
 * since that one can no longer write. Returns the epoch.
 */
export async function takeLease(tx: Transaction, holder: NewHolder): Promise<number> {
  const [row] = await tx.query<{ epoch: number }>(
    `update meta
        set epoch = 1 + case when epoch < $5 then $5 else epoch end,
            lease_pid = $1, lease_host = $2, lease_url = $3, lease_since_ms = $4
      where id = 1 returning epoch as "epoch"`,
    [process.pid, hostname(), holder.url ?? null, holder.nowMs, holder.epochAbove ?? 0],
  )
  await tx.execute(
    `update work set state = 'ready', token = null, claimed_by = null, claimed_at_ms = null where state = 'claimed'`,
  )
  return row!.epoch
}

/** Says that nobody holds the store, as long as nobody else has taken it. */
export async function releaseLease(tx: Transaction, epoch: number): Promise<void> {
  await tx.execute(
    `update meta set lease_pid = null, lease_host = null, lease_url = null, lease_since_ms = null where epoch = $1`,
    [epoch],
  )
}
