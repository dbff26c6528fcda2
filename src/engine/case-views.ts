import type { Instance, Payload } from '../domain/instance.ts'
import type { Json } from '../domain/json.ts'
import { allowedDecisions, type Task } from '../domain/task.ts'
import type { Route } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { listStepsInDoubt } from '../storage/audit.ts'
import type { Reader } from '../storage/backend.ts'
import { listPaths, readCheckpoints } from '../storage/checkpoints.ts'
import { type PayloadName, readPayload, readPayloads } from '../storage/payloads.ts'
import { listOpenTasks, readTask } from '../storage/tasks.ts'
import { listWork } from '../storage/work.ts'
import type { CaseView, StepView, TaskView } from './core.ts'
import { requireInstance } from './intervening.ts'

/** One case, whole, on the caller's snapshot. */
export async function viewCase(reader: Reader, instanceId: string): Promise<CaseView> {
  const instance = await requireInstance(reader, instanceId)
  return (await viewCases(reader, [instance])).views[0]!
}

/**
 * Cases, whole, on the caller's snapshot, in as many statements as one of them costs; `characters`: how much content was
 * read, for lists that must not become too long.
 */
export async function viewCases(
  reader: Reader,
  instances: readonly Instance[],
): Promise<{ readonly views: CaseView[]; readonly characters: number }> {
  const ids = (which: (instance: Instance) => boolean = () => true) =>
    instances.filter(which).map(({ instanceId }) => instanceId)
  const isRunning = ({ status }: Instance) => status === 'running'
  // Whoever came to the end of a workflow knows what became of each of its steps.
  const isUnderWay = ({ proposedPayloadId }: Instance) => proposedPayloadId === undefined
  const list = async <R extends { readonly instanceId: string }>(
    read: (reader: Reader, instanceIds: readonly string[]) => Promise<readonly R[]>,
    instanceIds: readonly string[],
  ) => Map.groupBy(instanceIds.length === 0 ? [] : await read(reader, instanceIds), ({ instanceId }) => instanceId)
  const works = await list(listWork, ids(isRunning))
  const tasks = await list(
    listOpenTasks,
    ids((instance) => !isRunning(instance)),
  )
  const paths = await list(listPaths, ids())
  const doubts = await list(listStepsInDoubt, ids(isUnderWay))
  const contents = await readPayloads(reader, instances.flatMap(contentsOf))
  const contentOf = (payloadId: string | undefined) =>
    payloadId === undefined ? undefined : jsonOf(contents.get(payloadId))
  const views: CaseView[] = []
  for (const instance of instances) {
    const { instanceId, workflow, domain, definitionHash, submittedBy, status, tier, tierContributions } = instance
    views.push({
      instanceId,
      workflow,
      domain,
      definitionHash,
      submittedBy,
      status,
      work: works.get(instanceId)?.[0]?.state,
      tier,
      tierContributions,
      path: (paths.get(instanceId) ?? []).map(({ step }) => step),
      outcome: contentOf(instance.outcomePayloadId),
      proposed: contentOf(instance.proposedPayloadId),
      failure: await viewFailure(reader, instance),
      simulated: instance.simulated,
      disputed: instance.disputed,
      inDoubt: doubts.get(instanceId)?.[0]?.step,
      openTasks: (tasks.get(instanceId) ?? []).map(({ taskId }) => taskId),
      submittedAtMs: instance.submittedAtMs,
      updatedAtMs: instance.updatedAtMs,
      endedAtMs: instance.endedAtMs,
    })
  }
  const characters = [...contents.values()].reduce((sum, { text }) => sum + (text?.length ?? 0), 0)
  return { views, characters }
}

function contentsOf({ instanceId, proposedPayloadId, outcomePayloadId }: Instance): PayloadName[] {
  const ids = new Set([proposedPayloadId, outcomePayloadId].filter((id) => id !== undefined))
  return [...ids].map((payloadId) => ({ instanceId, payloadId }))
}

/** The content of a payload; undefined where there is none, or none any more. */
function jsonOf(payload: Payload | undefined): Json | undefined {
  return payload?.text === undefined ? undefined : (JSON.parse(payload.text) as Json)
}

async function readContent(
  reader: Reader,
  instanceId: string,
  payloadId: string | undefined,
): Promise<Json | undefined> {
  return payloadId === undefined ? undefined : jsonOf(await readPayload(reader, instanceId, payloadId))
}

async function viewFailure(reader: Reader, { instanceId, failureCode }: Instance): Promise<CaseView['failure']> {
  if (failureCode === undefined) return undefined
  const last = (await readCheckpoints(reader, instanceId)).at(-1)
  const error = last?.status === 'failed' ? await readContent(reader, instanceId, last.outputPayloadId) : undefined
  const message = (error as { message?: unknown } | undefined)?.message
  return { code: failureCode, message: typeof message === 'string' ? message : sayFailure(failureCode) }
}

function sayFailure(code: string): string {
  return code === 'step_budget' ? 'the case took more steps than one case may take' : 'what the step said was erased'
}

/** Every recorded step of a case, in order, with its output. */
export async function viewSteps(reader: Reader, instanceId: string): Promise<StepView[]> {
  await requireInstance(reader, instanceId)
  const checkpoints = await readCheckpoints(reader, instanceId)
  const names = checkpoints.map(({ outputPayloadId: payloadId }) => ({ instanceId, payloadId }))
  const outputs = await readPayloads(reader, names)
  return checkpoints.map((checkpoint): StepView => {
    const { stepNo, step, primitive, run, attempts, status, errorCode, model, inputTokens, outputTokens } = checkpoint
    return {
      ...{ stepNo, step, primitive, run, attempts, status, errorCode, model, inputTokens, outputTokens },
      output: jsonOf(outputs.get(checkpoint.outputPayloadId)),
      route: JSON.parse(checkpoint.route) as Route,
      startedAtMs: checkpoint.startedAtMs,
      endedAtMs: checkpoint.endedAtMs,
    }
  })
}

export async function requireTask(reader: Reader, taskId: string): Promise<Task> {
  const task = await readTask(reader, taskId)
  if (!task) throw new CoreError('CC_ERR_UNKNOWN_TASK', { taskId })
  return task
}

/** A task with all that a reviewer needs, on the caller's snapshot. */
export async function viewTask(reader: Reader, taskId: string): Promise<TaskView> {
  const task = await requireTask(reader, taskId)
  const instance = await requireInstance(reader, task.instanceId)
  const said = await readContent(reader, task.instanceId, task.decisionPayloadId)
  const { reason, changes } = (said ?? {}) as { readonly reason?: string; readonly changes?: Json }
  return {
    ...task,
    reason,
    changes,
    allowed: task.status === 'open' ? allowedDecisions[task.tier] : [],
    case: (await viewCases(reader, [instance])).views[0]!,
    input: await readContent(reader, task.instanceId, instance.inputPayloadId),
    steps: await viewSteps(reader, task.instanceId),
  }
}
