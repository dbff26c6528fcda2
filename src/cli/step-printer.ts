import { progressJson } from '../engine/as-json.ts'
import type { CaseVerbs, Progress, StepView } from '../engine/core.ts'
import { dim } from './lines.ts'
import { showRoute, stepInWords } from './show-case.ts'
import { padTo } from './text.ts'
import type { Terminal } from './terminal.ts'

/** Prints the steps of one case as they are recorded. */
export class StepPrinter {
  private readonly terminal: Terminal
  private readonly core: Pick<CaseVerbs, 'getSteps'>
  private readonly instanceId: string
  private readonly nameWidth: number
  private readonly unsubscribe: () => Promise<void>
  /** Steps are read one after the other, in the order in which they were told. */
  private reading: Promise<readonly StepView[]> = Promise.resolve([])
  private printed = 0

  constructor(
    terminal: Terminal,
    core: Pick<CaseVerbs, 'follow' | 'getSteps'>,
    { instanceId, nameWidth }: { readonly instanceId: string; readonly nameWidth: number },
  ) {
    this.terminal = terminal
    this.core = core
    this.instanceId = instanceId
    this.nameWidth = nameWidth
    this.unsubscribe = core.follow(instanceId, 0, (progress) => this.take(progress))
    // What happened before anybody listened is caught up with.
    this.reading = this.readNews()
    // As below: whoever finishes hears of a failure.
    this.reading.catch(() => {})
  }

  /** All steps of the case, once the last of them is printed. */
  async finish(): Promise<readonly StepView[]> {
    await this.unsubscribe()
    await this.reading
    return await this.readNews()
  }

  private take(progress: Progress): void {
    this.terminal.progress(progressJson(progress))
    if (progress.event === 'step.retried') {
      const why = progress.detail ? `: ${progress.detail}` : ''
      this.terminal.out.line('      ', dim(`${progress.step} is tried again${why}`))
    }
    if (!progress.event.startsWith('step.')) return
    this.reading = this.reading.then(() => this.readNews())
    // Whoever finishes hears of a failure; until then it only waits.
    this.reading.catch(() => {})
  }

  private async readNews(): Promise<readonly StepView[]> {
    const steps = await this.core.getSteps(this.instanceId)
    for (const step of steps.slice(this.printed)) {
      const number = String(step.stepNo).padStart(4)
      this.terminal.out.line(`${number}  `, padTo(step.step, this.nameWidth), '  ', dim(stepInWords(step)))
      showRoute(this.terminal.out, step, 6)
    }
    this.printed = Math.max(this.printed, steps.length)
    return steps
  }
}
