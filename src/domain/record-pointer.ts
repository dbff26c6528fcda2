import type { Envelope } from './chain.ts'
import { endOfWorkflow } from './workflow.ts'

/** Where the hot row has to stand by the events so far; the first step of a workflow is in no event. */
export class StepPointer {
  /** The event that led here. */
  seq = 1
  /** Unset until an event names a step. */
  step: unknown
  private readonly runs = new Map<unknown, number>()

  note({ seq, type, step, facts }: Envelope): void {
    if (type === 'step.completed' || type === 'step.failed') this.runs.set(step, (this.runs.get(step) ?? 0) + 1)
    if (type === 'step.completed') this.move(seq, facts?.to === endOfWorkflow ? step : facts?.to)
    else if (type === 'step.failed' || type === 'case.retried') this.move(seq, step)
  }

  /** Which run of the step is due: a retried case runs its step once more. */
  get run(): number {
    return (this.runs.get(this.step) ?? 0) + 1
  }

  private move(seq: number, step: unknown): void {
    this.seq = seq
    this.step = step
  }
}
