import type { Command } from 'commander'
import { caseJson } from '../engine/as-json.ts'
import { type Act, example, waitLimit } from './command.ts'
import type { Context } from './context.ts'
import { exitOf, follow, sayWhatIsOpen, settled } from './running.ts'
import { showCase } from './show-case.ts'

export function addCaseVerbs(program: Command, act: Act): void {
  const cancel = program
    .command('cancel <instance>')
    .description('end a case that nobody needs any more')
    .requiredOption('--reason <reason>', 'why, in words that are still understood in years')
    .action(act(cancelCase))
  example(cancel, "cancel CASE --reason 'Withdrawn by the customer.'")

  const retry = program
    .command('retry <instance>')
    .description('let a failed case go on at the step that failed')
    .option('--wait', 'until it has ended or is held; without a service it runs here')
    .addOption(waitLimit())
    .action(act(retryCase))
  example(retry, 'retry CASE --wait')
}

async function cancelCase(
  context: Context,
  instanceId: string,
  { reason }: { readonly reason: string },
): Promise<void> {
  const { terminal, actor } = context
  const view = await context.changing({}, (core) => core.cancel({ instanceId, actor, reason }))
  terminal.document(caseJson(view))
  showCase(terminal.out, view)
}

interface RetryOptions {
  readonly wait?: boolean
  /** Milliseconds. */
  readonly timeout?: number
}

async function retryCase(context: Context, instanceId: string, { wait, timeout }: RetryOptions): Promise<number> {
  const { terminal, actor } = context
  return await context.changing(wait ? context.runningSettings : {}, async (core, isServed) => {
    // Whoever may not see how it goes on is told before it does.
    const after = wait ? ((await core.getAudit(instanceId)).at(-1)?.seq ?? 0) : 0
    let view = await core.retry({ instanceId, actor })
    if (wait) {
      const unfollow = follow(context, core, new Map([[instanceId, '']]), after)
      core.start()
      view = await settled(context, core, instanceId, { timeoutMs: timeout })
      await unfollow()
    }
    terminal.document(caseJson(view))
    showCase(terminal.out, view)
    sayWhatIsOpen(context, view)
    if (!wait && !isServed) sayNobodyRuns(context)
    return wait ? exitOf(view) : 0
  })
}

/** Stored is not run: said every time, since nothing else would tell. */
export function sayNobodyRuns({ terminal }: Context): void {
  terminal.err.prose(
    'No service is running: the case is stored, and goes on with the next command that runs cases (--wait).',
  )
}
