/**
 * What the holder of an API key may do. Submitters post cases and see their own; reviewers see all cases and decide tasks;
 * auditors read everything; operators keep cases moving and do not decide. Without keys everybody is all four.
 */
export const roles = ['submitter', 'reviewer', 'auditor', 'operator'] as const
export type Role = (typeof roles)[number]

/** A key as it is kept: its secret is known to its holder alone. */
export interface ApiKey {
  /** Who acts with it, as it is recorded. */
  readonly name: string
  readonly role: Role
  /** SHA-256 of the secret, lower-case hex. */
  readonly sha256: string
  /** ISO 8601, UTC. */
  readonly created: string
}
