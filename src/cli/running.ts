import { progressJson } from '../engine/as-json.ts'
import type { CaseVerbs, CaseView, Progress } from '../engine/core.ts'
import { isCoreError } from '../errors.ts'
import type { Context } from './context.ts'
import { dim } from './lines.ts'

/** Exit codes of a command that waited for a case; refusals bring their own. */
export const exits = { done: 0, failed: 1, verificationFailed: 4, held: 6 } as const

/** What a case that was waited for makes of the exit code. */
export function exitOf({ status }: Pick<CaseView, 'status'>): number {
  if (status === 'completed') return exits.done
  return status === 'suspended' ? exits.held : exits.failed
}

/** Waits for a case that this process runs, until it has ended or is held, or somebody interrupts. */
export async function settled(
  context: Context,
  core: CaseVerbs,
  instanceId: string,
  options: { readonly timeoutMs?: number | undefined } = {},
): Promise<CaseView> {
  const { timeoutMs } = options
  const { signal } = context.interruption
  try {
    context.refuseIfInterrupted()
    return await core.waitFor(instanceId, { signal, ...(timeoutMs !== undefined && { timeoutMs }) })
  } catch (error) {
    if (!isCoreError(error)) context.refuseIfInterrupted()
    throw error
  }
}

/** Nobody reads more at a time, and each one that a service has is a connection. */
const maxFollowed = 20

/**
 * Tells on standard error what happens to these cases behind this event, as it happens, each under its label. Returns what
 * ends it.
 */
export function follow(
  { terminal }: Context,
  core: CaseVerbs,
  labels: ReadonlyMap<string, string>,
  after: number,
): () => Promise<void> {
  const tell = (label: string) => (progress: Progress) => {
    terminal.progress(progressJson(progress))
    const { step, event, detail } = progress
    terminal.err.line(dim([label, event, step, detail].filter(Boolean).join('  ')))
  }
  const ends = [...labels]
    .slice(0, maxFollowed)
    .map(([instanceId, label]) => core.follow(instanceId, after, tell(label)))
  return async () => {
    for (const end of ends) await end()
  }
}

/** Where a person goes on with a case that waits for one. */
export function sayWhatIsOpen(context: Context, { openTasks }: CaseView): void {
  const { out } = context.terminal
  if (openTasks.length === 0) return
  out.heading('Waiting for a person')
  for (const taskId of openTasks) out.line(`  ${context.next('task', taskId)}`)
}
