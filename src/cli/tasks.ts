import { type Command, Option } from 'commander'
import type { Task } from '../domain/task.ts'
import { briefJson, pageJson, taskJson } from '../engine/as-json.ts'
import { type Act, count, example } from './command.ts'
import type { Context } from './context.ts'
import { dim } from './lines.ts'
import { showBrief } from './show-task.ts'
import { localTime } from './times.ts'

interface ListOptions {
  readonly queue?: string
  readonly status?: 'open' | 'decided'
  readonly limit?: number
  readonly cursor?: string
}

export function addTasks(program: Command, act: Act): void {
  const tasks = program
    .command('tasks')
    .description('list what waits for a person, most urgent first')
    .option('--queue <queue>', 'only tasks of this queue')
    .addOption(new Option('--status <status>', 'open or decided ones').choices(['open', 'decided']).default('open'))
    .option('--limit <n>', 'at most so many', count)
    .option('--cursor <cursor>', 'go on where an earlier list ended')
    .action(act(listTasks))
  example(tasks, 'tasks --queue claims_handlers')

  const task = program
    .command('task <task>')
    .description('show all that is needed to decide a task')
    .action(act(showOne))
  example(task, 'task TASK')

  const claim = program
    .command('claim <task>')
    .description('keep a task for yourself for a while; deciding needs no claim')
    .option('--for <minutes>', 'for how long; 15 unless said', count)
    .action(act(claimOne))
  example(claim, 'claim TASK --as ann --for 30')
}

async function listTasks(context: Context, options: ListOptions): Promise<void> {
  const { terminal } = context
  const page = await context.reading((reader) => reader.listTasks(options))
  terminal.document(pageJson(page, taskJson))
  if (page.items.length === 0) return terminal.out.line(`No ${options.status ?? 'open'} task.`)
  const rows = page.items.map((task) => [
    task.taskId,
    task.tier,
    task.queue,
    task.decision ?? (task.claimedBy ? `claimed by ${task.claimedBy}` : task.status),
    localTime(task.dueMs),
  ])
  terminal.out.table(['task', 'tier', 'queue', 'stands', 'due'], rows)
  if (page.nextCursor !== undefined) terminal.out.line(dim(`There are more: --cursor ${page.nextCursor}`))
}

async function showOne(context: Context, taskId: string): Promise<void> {
  const { terminal } = context
  const task = await context.reading((reader) => reader.getTask(taskId))
  terminal.document(briefJson(task))
  showBrief(context, task)
}

async function claimOne(context: Context, taskId: string, { for: minutes }: { readonly for?: number }): Promise<void> {
  const { terminal, actor } = context
  const forMs = minutes === undefined ? {} : { forMs: minutes * 60_000 }
  const task = await context.changing({}, (core) => core.claimTask({ taskId, actor, ...forMs }))
  terminal.document(taskJson(task))
  terminal.out.line(`Task ${task.taskId} is claimed by ${task.claimedBy}${untilOf(task)}.`)
  terminal.out.line('  ', dim('decide it:'), ` ${context.next('decide', task.taskId)}`)
}

function untilOf({ claimedUntilMs }: Task): string {
  return claimedUntilMs === undefined ? '' : ` until ${localTime(claimedUntilMs)}`
}
