import type { AuditEvent } from '../domain/audit.ts'
import type { Checkpoint, Instance, Payload } from '../domain/instance.ts'
import type { Claimed } from './claimed.ts'
import type { DefinitionText } from './definitions.ts'
import type { InstanceEnding } from './instances.ts'
import type { SubmissionKey } from './submission-keys.ts'
import type { NewTask } from './tasks.ts'
import type { NewWork } from './work.ts'

/** Everything that taking one case writes, in one piece: all of it or nothing. */
export interface Submission {
  readonly instance: Instance
  readonly work: NewWork
  readonly input: Payload
  readonly event: AuditEvent
  /** Taken for good together with the case. */
  readonly key: SubmissionKey | undefined
}

/** What the store may not know yet; it is told together with the cases, and said once it costs nothing more. */
export interface Beginnings {
  readonly definitions: readonly DefinitionText[]
  /** Whether the store is to be a simulation, for good; unset where that is settled. */
  readonly simulated: boolean | undefined
}

/**
 * `key_taken`: somebody had the key before, whose case it is. `otherwise_settled`: what the store is was settled meanwhile,
 * as was asked or not. Nothing of such a member was written.
 */
export type SubmissionResult =
  | { readonly kind: 'submitted' }
  | { readonly kind: 'key_taken' }
  | { readonly kind: 'otherwise_settled' }
  | { readonly kind: 'poisoned'; readonly error: Error }

/** What a worker asks for: up to `limit` ready instances, each under a fresh random token. */
export interface ClaimRequest {
  readonly limit: number
  /** Who claims, a name of this one request: by it rows are given back when the answer was lost. */
  readonly claimedBy: string
  readonly nowMs: number
  /** Hashes of definitions that this worker cannot run; their instances are left for another. */
  readonly except?: readonly string[] | undefined
}

/** A claim that travels with a commit: for each instance that the commit gives back, another one may be taken. */
export interface Refill {
  readonly claim: Omit<ClaimRequest, 'limit'>
  /** Called after COMMIT with what was claimed in place of what was given back; with nothing where nothing was in line. */
  readonly take: (claimed: readonly Claimed[]) => void
}

/** What must still be true of the work row, or nothing of this commit is written. */
export interface Fence {
  readonly token: string
  readonly stepNo: number
  readonly run: number
  readonly auditSeq: number
}

/** Where the work row goes with this commit. */
export type NextWork =
  /** The same claim goes on with this step. */
  | { readonly to: 'step'; readonly step: string; readonly run: number }
  /** This run of the step is tried again at `dueMs`; the claim is given back. */
  | { readonly to: 'sleep'; readonly dueMs: number; readonly attempt: number }
  /** Only events are added (an intent before an outside effect); the claim stays. */
  | { readonly to: 'stay' }
  /** The claim is given back, as at a drain, and whoever claims next goes on from here. */
  | { readonly to: 'release'; readonly step: string; readonly run: number; readonly attempt: number }
  /** The work row goes; the instance row keeps the outcome. */
  | { readonly to: 'end'; readonly ending: InstanceEnding; readonly tasks: readonly NewTask[] }

/** Whether a commit gives its instance back, so that another one may be taken in its place. */
export function givesBack({ to }: NextWork): boolean {
  return to !== 'step' && to !== 'stay'
}

/** Everything one step writes, in one piece: all of it or nothing. */
export interface StepCommit {
  readonly instanceId: string
  readonly fence: Fence
  readonly next: NextWork
  readonly checkpoint: Checkpoint | undefined
  readonly payloads: readonly Payload[]
  /** In order; the first has seq `fence.auditSeq + 1`. */
  readonly events: readonly AuditEvent[]
  readonly atMs: number
}

/** `refused`: the fence did not hold, or the data were refused (`error`). Nothing of this member was written. */
export type StepCommitResult =
  { readonly kind: 'committed' } | { readonly kind: 'fenced' } | { readonly kind: 'poisoned'; readonly error: Error }

/** The three statements that every case costs: one file per database. */
export interface HotPath {
  /**
   * Takes new cases, all in one transaction. A member whose key is taken or that is poisoned takes nothing of the others
   * with it. Rejects only when nothing at all was written, or with `CommitUnknownError`.
   */
  submit(submissions: readonly Submission[], beginnings: Beginnings): Promise<SubmissionResult[]>
  /** Whether a claim that finds nothing costs no write; where it does, `anyReady` is asked first. */
  readonly isEmptyClaimFree: boolean
  /** Cheap and read-only: is there anything to claim? An idle poll must never be a write. */
  anyReady(except?: readonly string[]): Promise<boolean>
  /**
   * Claims by priority, then age. Each row returned carries its new token. After a `CommitUnknownError` rows may be
   * claimed under tokens that nobody knows: see `releaseClaimsOf`.
   */
  claim(request: ClaimRequest): Promise<Claimed[]>
  /**
   * Commits the steps of different instances in one transaction. A member that is fenced or poisoned takes nothing of
   * the others with it. Rejects only when nothing at all was written, or with `CommitUnknownError`.
   */
  commitSteps(commits: readonly StepCommit[], refill?: Refill): Promise<StepCommitResult[]>
}
