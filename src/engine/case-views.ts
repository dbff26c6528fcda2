import type { Instance } from '../domain/instance.ts'
import type { Json } from '../domain/json.ts'
import { allowedDecisions, type Task } from '../domain/task.ts'
import type { Route } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { readStepInDoubt } from '../storage/audit.ts'
import type { Reader } from '../storage/backend.ts'
import { readCheckpoints, readPath } from '../storage/checkpoints.ts'
import { readPayload } from '../storage/payloads.ts'
import { readTask, readTasksOf } from '../storage/tasks.ts'
import { readWork } from '../storage/work.ts'
import type { CaseView, StepView, TaskView } from './core.ts'
import { requireInstance } from './intervening.ts'

/** One case, whole, on the caller's snapshot. */
export async function viewCase(reader: Reader, instanceId: string): Promise<CaseView> {
  return await viewInstance(reader, await requireInstance(reader, instanceId))
}

/** Adds up how much content was read, for lists that must not become too long. */
export interface ContentMeter {
  characters: number
}

export async function viewInstance(reader: Reader, instance: Instance, meter?: ContentMeter): Promise<CaseView> {
  const { instanceId, workflow, domain, definitionHash, submittedBy, status, tier, tierContributions } = instance
  const work = status === 'running' ? await readWork(reader, instanceId) : undefined
  const tasks = status === 'running' ? [] : await readTasksOf(reader, instanceId)
  const { outcomePayloadId, proposedPayloadId } = instance
  const outcome = await readContent(reader, instanceId, outcomePayloadId, meter)
  const isAsProposed = outcomePayloadId !== undefined && outcomePayloadId === proposedPayloadId
  return {
    instanceId,
    workflow,
    domain,
    definitionHash,
    submittedBy,
    status,
    work: work?.state,
    tier,
    tierContributions,
    path: await readPath(reader, instanceId),
    outcome,
    proposed: isAsProposed ? outcome : await readContent(reader, instanceId, proposedPayloadId, meter),
    failure: await viewFailure(reader, instance),
    simulated: instance.simulated,
    disputed: instance.disputed,
    // Whoever came to the end of a workflow knows what became of each of its steps.
    inDoubt: proposedPayloadId === undefined ? await readStepInDoubt(reader, instanceId) : undefined,
    openTasks: tasks.filter((task) => task.status === 'open').map(({ taskId }) => taskId),
    submittedAtMs: instance.submittedAtMs,
    updatedAtMs: instance.updatedAtMs,
    endedAtMs: instance.endedAtMs,
  }
}

/** The content of a payload; undefined where there is none, or none any more. */
async function readContent(
  reader: Reader,
  instanceId: string,
  payloadId: string | undefined,
  meter?: ContentMeter,
): Promise<Json | undefined> {
  const payload = payloadId === undefined ? undefined : await readPayload(reader, instanceId, payloadId)
  if (meter) meter.characters += payload?.text?.length ?? 0
  return payload?.text === undefined ? undefined : (JSON.parse(payload.text) as Json)
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
  const steps: StepView[] = []
  for (const checkpoint of await readCheckpoints(reader, instanceId)) {
    const { stepNo, step, primitive, run, attempts, status, errorCode, model, inputTokens, outputTokens } = checkpoint
    steps.push({
      ...{ stepNo, step, primitive, run, attempts, status, errorCode, model, inputTokens, outputTokens },
      output: await readContent(reader, instanceId, checkpoint.outputPayloadId),
      route: JSON.parse(checkpoint.route) as Route,
      startedAtMs: checkpoint.startedAtMs,
      endedAtMs: checkpoint.endedAtMs,
    })
  }
  return steps
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
    case: await viewInstance(reader, instance),
    input: await readContent(reader, task.instanceId, instance.inputPayloadId),
    steps: await viewSteps(reader, task.instanceId),
  }
}
