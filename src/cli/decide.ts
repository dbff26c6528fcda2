import type { Command } from 'commander'
import type { Json } from '../domain/json.ts'
import { decidedJson } from '../engine/as-json.ts'
import type { Decided, DecisionRequest, TaskView } from '../engine/core.ts'
import { CoreError } from '../errors.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { readJsonFile } from './input-files.ts'
import { dim } from './lines.ts'
import { statusStyles } from './show-case.ts'
import type { Conversation } from './terminal.ts'

interface DecideOptions {
  readonly reason?: string
  readonly changes?: string
}

/** What a reviewer has said so far, on the command line or when asked. */
interface Words {
  readonly decision: string
  readonly reason: string
  readonly changesFile: string | undefined
}

export function addDecide(program: Command, act: Act): void {
  const decide = program
    .command('decide <task> [decision]')
    .description('decide a task; asks for what is missing, on a terminal')
    .option('--reason <reason>', 'why, in words that are still understood in years')
    .option('--changes <file>', 'with approve_with_changes: a JSON merge patch over the proposed outcome')
    .action(act(decideTask))
  example(decide, "decide TASK approve --reason 'Receipts checked with the shop.'", 'decide TASK')
}

async function decideTask(
  context: Context,
  taskId: string,
  decision: string | undefined,
  options: DecideOptions,
): Promise<void> {
  const words = await gatherWords(context, taskId, decision, options)
  const changes = words.changesFile === undefined ? undefined : await readJsonFile(words.changesFile, context.terminal)
  const request = requestOf(context, taskId, words, changes)
  const decided = await context.changing({}, (core) => core.decide(request))
  show(context, decided)
}

function requestOf(
  { actor }: Context,
  taskId: string,
  { decision, reason }: Words,
  changes: Json | undefined,
): DecisionRequest {
  return { taskId, decision, reason, actor, ...(changes !== undefined && { changes }) }
}

async function gatherWords(
  context: Context,
  taskId: string,
  decision: string | undefined,
  { reason, changes: changesFile }: DecideOptions,
): Promise<Words> {
  const isWhole = decision !== undefined && reason !== undefined
  if (isWhole && (decision !== 'approve_with_changes' || changesFile !== undefined)) {
    return { decision, reason, changesFile }
  }
  if (!context.terminal.isInteractive) {
    // What is wrong with a decision without its changes is for the core to say.
    if (isWhole) return { decision, reason, changesFile }
    throw usage(decision === undefined ? 'decide needs a decision' : 'decide needs --reason')
  }
  return await askForWords(context, taskId, { decision, reason, changesFile })
}

/**
 * Nothing is locked while a person thinks: the store is read before, and written after. Who may not decide is told
 * before being asked; the write itself checks it again.
 */
async function askForWords(
  context: Context,
  taskId: string,
  given: Partial<Record<keyof Words, string | undefined>>,
): Promise<Words> {
  const task = await context.reading((reader) => reader.getTask(taskId))
  const { checkDecider, refuseUnlessOpen } = await import('../engine/deciding.ts')
  refuseUnlessOpen(task)
  // Whom a key stands for, the service knows.
  if (context.config.apiKey === undefined) checkDecider(task, context.actor, Date.now())
  introduce(context, task)
  using conversation = context.terminal.converse(context.interruption.signal)
  const decision = given.decision ?? (await askForDecision(context, conversation, task))
  const reason = given.reason ?? (await ask(conversation, 'Reason:'))
  const isChanged = decision === 'approve_with_changes' && given.changesFile === undefined
  const changesFile = isChanged
    ? await ask(conversation, 'File with the changes (a JSON merge patch):')
    : given.changesFile
  return { decision, reason, changesFile }
}

function introduce({ terminal: { err } }: Context, { tier, because, case: view, allowed }: TaskView): void {
  err.line(`This case of ${view.workflow} stands at ${tier}: `, because)
  err.line(dim(`It can be decided with one of: ${allowed.join(', ')}.`))
}

async function askForDecision(context: Context, conversation: Conversation, { allowed }: TaskView): Promise<string> {
  for (;;) {
    const word = await ask(conversation, 'Decision:')
    if (allowed.some((known) => known === word)) return word
    context.terminal.err.line(dim(`One of: ${allowed.join(', ')}.`))
  }
}

/** Asks until there is an answer. Who ends the input has decided nothing. */
async function ask(conversation: Conversation, question: string): Promise<string> {
  for (;;) {
    const answer = await conversation.ask(question)
    if (answer === undefined) throw usage('nothing was decided: the answers ended early')
    if (answer !== '') return answer
  }
}

function show(context: Context, decided: Decided): void {
  const { terminal } = context
  const { instanceId, decision, decidedBy, status, repeated, openedTaskId } = decided
  terminal.document(decidedJson(decided))
  const { out } = terminal
  out.line(repeated ? 'Decided before, in the same words: ' : 'Decided: ', `${decision} by ${decidedBy}.`)
  out.line(`Case ${instanceId} is `, { text: status, style: statusStyles[status]! }, '.')
  if (openedTaskId === undefined) return
  out.line('Another person has to look at it now:')
  out.line(`  ${context.next('task', openedTaskId)}`)
}

function usage(problem: string): CoreError {
  return new CoreError('CC_ERR_USAGE', { problem: `${problem}.`, help: 'decide --help' })
}
