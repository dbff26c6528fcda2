import assert from 'node:assert/strict'
import type { ChainHead } from '../domain/audit.ts'
import type { Work } from '../domain/instance.ts'
import { readAuditHash } from '../storage/audit.ts'
import { type Backend, CommitUnknownError } from '../storage/backend.ts'
import type { Refill, StepCommit } from '../storage/hot-path.ts'
import { readWork } from '../storage/work.ts'
import { Lane } from './lane.ts'

/** The state of the world that a commit is built upon; it moves when a person's event comes in between. */
export interface CommitBase extends ChainHead {
  readonly cancelRequested: boolean
}

/**
 * Builds the commit for a base. Called again when the base has moved: it may hash anew and choose another ending, and
 * must not run the step again.
 */
export type BuildCommit = (base: CommitBase) => StepCommit

export type CommitOutcome =
  /** Written, exactly once; `commit` is what was written. */
  | { readonly kind: 'committed'; readonly commit: StepCommit }
  /** Not ours any more: another claim has it, or it has ended. Nothing of this commit was written. */
  | { readonly kind: 'dropped'; readonly why: 'claim_lost' | 'ended' }
  /** The data were refused, or cannot be built. Nothing of this commit was written, and the claim still stands. */
  | { readonly kind: 'poisoned'; readonly error: Error }

interface Member {
  readonly build: BuildCommit
  commit: StepCommit
  readonly characters: number
  readonly resolve: (outcome: CommitOutcome) => void
  readonly reject: (error: unknown) => void
}

/** The worker, as the lane knows it. */
export interface Refiller {
  /** Undefined when nothing more is to be claimed. */
  refill(): Refill | undefined
  /** The answer to a commit was lost, and with it the tokens of what it may have claimed under this name. */
  loseClaim(claimedBy: string): void
}

/** A batch that fails as a whole without having been written is sent this often before its members are told. */
const maxSends = 5

/** Steps on their way into the store: those of one moment share a commit. */
export class CommitLane {
  /** Who takes other instances for those that a commit gives back, in the same write. */
  refiller: Refiller | undefined
  private readonly backend: Backend
  private readonly lane = new Lane<Member>((batch) => this.send(batch, 1))

  constructor(backend: Backend) {
    this.backend = backend
  }

  /** Resolves once the outcome is certain. Rejects only when the store cannot be reached at all. */
  commit(base: CommitBase, build: BuildCommit): Promise<CommitOutcome> {
    let commit: StepCommit
    try {
      commit = build(base)
    } catch (error) {
      return Promise.resolve({ kind: 'poisoned', error: error as Error })
    }
    const characters = commit.payloads.reduce((sum, { text }) => sum + (text?.length ?? 0), 0)
    return new Promise((resolve, reject) => this.lane.add({ build, commit, characters, resolve, reject }))
  }

  private async send(batch: readonly Member[], sends: number): Promise<void> {
    const refill = this.refiller?.refill()
    try {
      const commits = batch.map((member) => member.commit)
      const results = await this.backend.hotPath.commitSteps(commits, refill)
      for (const [index, member] of batch.entries()) {
        const result = results[index]!
        if (result.kind === 'committed') member.resolve({ kind: 'committed', commit: member.commit })
        else if (result.kind === 'poisoned') member.resolve({ kind: 'poisoned', error: result.error })
        else await this.settle(member)
      }
    } catch (error) {
      if (error instanceof CommitUnknownError) {
        if (refill) this.refiller?.loseClaim(refill.claim.claimedBy)
        for (const member of batch) await this.settle(member)
      } else if (sends < maxSends) await this.send(batch, sends + 1)
      else for (const member of batch) member.reject(error)
    }
  }

  /**
   * A commit that did not come back is read before anything is sent again: fenced and lost answers take the same road,
   * since both leave open what the store now holds.
   */
  private async settle(member: Member): Promise<void> {
    try {
      const { instanceId, fence, events } = member.commit
      const last = events.at(-1)
      const [work, recorded] = await this.backend.read(async (reader) => [
        await readWork(reader, instanceId),
        last && (await readAuditHash(reader, instanceId, last.seq)),
      ])
      if (last && recorded === last.hash) return member.resolve({ kind: 'committed', commit: member.commit })
      if (work === undefined) return member.resolve({ kind: 'dropped', why: 'ended' })
      if (work.token !== fence.token) return member.resolve({ kind: 'dropped', why: 'claim_lost' })
      assert(work.stepNo === fence.stepNo && work.run === fence.run, `instance ${instanceId} moved under its own claim`)
      try {
        member.commit = member.build(baseOf(work))
      } catch (error) {
        return member.resolve({ kind: 'poisoned', error: error as Error })
      }
      this.lane.add(member)
    } catch (error) {
      member.reject(error)
    }
  }
}

/** The base that a claimed work row offers. */
export function baseOf(work: Work): CommitBase {
  return { seq: work.auditSeq, hash: work.auditHead, cancelRequested: work.cancelRequested }
}
