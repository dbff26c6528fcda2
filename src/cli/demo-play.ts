import { progressJson } from '../engine/as-json.ts'
import type { Task } from '../domain/task.ts'
import type { CaseView, Core, VerifyReport } from '../engine/core.ts'
import { caseIdOf } from '../domain/instance.ts'
import type { Context } from './context.ts'
import { demoActors, type DemoDecision, type DemoPack, type Expected } from './demo-packs.ts'
import { settled } from './running.ts'

/** What became of one sample case. */
export interface DemoCase {
  readonly packName: string
  readonly caseId: string
  readonly view: CaseView
  readonly decided: DemoDecision | undefined
  /** What a person has to look at. */
  readonly task: Task | undefined
  /** Each thing that came out otherwise than expected.json says. */
  readonly surprises: readonly string[]
}

export interface DemoResult {
  readonly packs: readonly DemoPack[]
  readonly cases: readonly DemoCase[]
  readonly report: VerifyReport
  /** Open tasks of earlier runs, at least so many. */
  readonly olderTasks: number
}

/** Submits every case of the packs, lets them run, takes the decisions that the packs name, and verifies the record. */
export async function play(context: Context, core: Core, packs: readonly DemoPack[]): Promise<DemoResult> {
  const unfollow = tellProgress(context, core)
  core.start()
  const submitted: (() => Promise<DemoCase>)[] = []
  for (const pack of packs) {
    for (const input of pack.cases) {
      const { workflow, domain } = pack
      const { instanceId } = await core.submit({ workflow, domain, input, actor: demoActors.submitter })
      submitted.push(() => conclude(context, core, pack, { instanceId, caseId: caseIdOf(input, instanceId) }))
    }
  }
  const cases = await Promise.all(submitted.map((wait) => wait()))
  unfollow()
  const report = await core.verify({
    onProgress: ({ instances, events }) => {
      context.refuseIfInterrupted()
      context.terminal.status({ event: 'verify', instances, events }, `checked ${instances} cases, ${events} events`)
    },
  })
  const { items } = await core.listTasks({ status: 'open', limit: maxListedTasks })
  const ours = new Set(cases.map(({ task }) => task?.taskId))
  return { packs, cases, report, olderTasks: items.filter(({ taskId }) => !ours.has(taskId)).length }
}

/** Every event for programs; for people, once it takes long, how many there were. */
function tellProgress({ terminal }: Context, core: Core): () => void {
  let events = 0
  return core.onProgress((progress) => {
    events += 1
    terminal.progress(progressJson(progress))
    if (!terminal.json) terminal.status({}, `recorded ${events} events`)
  })
}

/** Enough to say that there are others; `tasks` lists them all. */
const maxListedTasks = 500

/** Waits for a case, decides it if the pack says so, and compares both with what the pack expects. */
async function conclude(
  context: Context,
  core: Core,
  { pack, decisions, expected }: DemoPack,
  { instanceId, caseId }: { readonly instanceId: string; readonly caseId: string },
): Promise<DemoCase> {
  const rested = await settled(context, core, instanceId)
  const expectation = expected.get(caseId)
  const surprises = expectation ? compare(rested, expectation) : []

  const decision = decisions.get(caseId)
  const [taskId] = rested.openTasks
  if (decision && taskId === undefined) surprises.push('it was to be decided, and has no task')
  const isDecided = decision !== undefined && taskId !== undefined
  if (isDecided) await core.decide({ taskId, ...decision, actor: demoActors.reviewer })

  const view = isDecided ? await core.getCase(instanceId) : rested
  const end = expectation?.decided
  if (isDecided && end && end.status !== view.status) surprises.push(`decided, it is ${view.status}, not ${end.status}`)
  const [openTask] = view.openTasks
  const task = openTask === undefined ? undefined : await core.getTask(openTask)
  return { packName: pack.name, caseId, view, decided: isDecided ? decision : undefined, task, surprises }
}

function compare(view: CaseView, { path, tier, status }: Expected): string[] {
  const surprises: string[] = []
  const differ = (what: string, is: string, wanted: string) => {
    if (is !== wanted) surprises.push(`${what} is ${is}, not ${wanted}`)
  }
  differ('its status', view.status, status)
  differ('its tier', view.tier ?? 'none', tier ?? 'none')
  differ('its path', view.path.join(' → '), path.join(' → '))
  return surprises
}
