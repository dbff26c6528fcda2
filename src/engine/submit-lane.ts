import { type Backend, CommitUnknownError } from '../storage/backend.ts'
import type { DefinitionText } from '../storage/definitions.ts'
import type { Submission, SubmissionResult } from '../storage/hot-path.ts'
import { readInstance } from '../storage/instances.ts'
import { Lane } from './lane.ts'

export type SubmitOutcome = Exclude<SubmissionResult['kind'], 'poisoned'>

interface Member {
  readonly submission: Submission
  readonly definition: DefinitionText
  readonly characters: number
  readonly resolve: (outcome: SubmitOutcome) => void
  readonly reject: (error: unknown) => void
  sends: number
}

/** A case whose answer was lost is sent this often before its submitter is told. */
const maxSends = 5

/** New cases on their way into the store: those of one moment share a write. */
export class SubmitLane {
  private readonly backend: Backend
  private readonly lane = new Lane<Member>((batch) => this.send(batch))
  /** Hashes of definitions that are known to be stored. */
  private readonly stored = new Set<string>()
  private isSettled: boolean
  private readonly underWay = new Set<Promise<unknown>>()

  /** `isSettled`: whether it is known what kind of store this is. */
  constructor(backend: Backend, isSettled: boolean) {
    this.backend = backend
    this.isSettled = isSettled
  }

  /** Resolves once the outcome is certain; rejects when the data were refused or the store cannot be reached. */
  submit(submission: Submission, definition: DefinitionText): Promise<SubmitOutcome> {
    const characters = submission.input.text?.length ?? 0
    const submitting = new Promise<SubmitOutcome>((resolve, reject) => {
      this.lane.add({ submission, definition, characters, resolve, reject, sends: 0 })
    })
    const isOver = () => void this.underWay.delete(submitting)
    this.underWay.add(submitting)
    submitting.then(isOver, isOver)
    return submitting
  }

  /** Resolves when all that was submitted so far has its outcome: before a store is closed. */
  async finish(): Promise<void> {
    await Promise.allSettled(this.underWay)
  }

  private async send(batch: readonly Member[]): Promise<void> {
    for (const member of batch) member.sends += 1
    const definitions = new Map<string, DefinitionText>()
    for (const { definition } of batch)
      if (!this.stored.has(definition.hash)) definitions.set(definition.hash, definition)
    const simulated = this.isSettled ? undefined : batch[0]!.submission.instance.simulated
    try {
      const results = await this.backend.hotPath.submit(
        batch.map(({ submission }) => submission),
        { definitions: [...definitions.values()], simulated },
      )
      this.isSettled = true
      for (const [index, member] of batch.entries()) {
        const result = results[index]!
        if (result.kind === 'poisoned') member.reject(result.error)
        else member.resolve(result.kind)
        if (result.kind === 'submitted') this.stored.add(member.definition.hash)
      }
    } catch (error) {
      if (error instanceof CommitUnknownError) for (const member of batch) await this.settle(member, error)
      else for (const member of batch) member.reject(error)
    }
  }

  /** The answer was lost: what the store holds is read before anything is sent again. */
  private async settle(member: Member, error: CommitUnknownError): Promise<void> {
    try {
      const { instanceId } = member.submission.instance
      if (await readInstance(this.backend, instanceId)) member.resolve('submitted')
      else if (member.sends < maxSends) this.lane.add(member)
      else member.reject(error)
    } catch (failure) {
      member.reject(failure)
    }
  }
}
