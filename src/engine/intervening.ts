import { type ChainHead, nextHead } from '../domain/audit.ts'
import type { Instance, Work } from '../domain/instance.ts'
import { CoreError } from '../errors.ts'
import { insertEvents } from '../storage/audit.ts'
import type { Transaction } from '../storage/backend.ts'
import { readLatestCheckpoints } from '../storage/checkpoints.ts'
import { endInstance, readInstance } from '../storage/instances.ts'
import { erasePayload, isReadingErased, readPayload } from '../storage/payloads.ts'
import { escalateTask, readTask, readTasksOf, withdrawTasks } from '../storage/tasks.ts'
import { deleteWork, insertWork, readWork, requestCancel } from '../storage/work.ts'
import { type Happening, keepContent, linkEvents, recordOnInstance } from './chain-writes.ts'
import { engineActor } from './recording.ts'
import { HeadMoved } from './store-writes.ts'

/** Who acts on a case from outside of its workflow, and when. */
interface Act {
  readonly instanceId: string
  readonly actor: string
  readonly nowMs: number
}

export async function requireInstance(
  tx: Pick<Transaction, 'query' | 'dialect'>,
  instanceId: string,
): Promise<Instance> {
  const instance = await readInstance(tx, instanceId)
  if (!instance) throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
  return instance
}

/**
 * Cancels a case. With a step under way the flag is set, and that step's commit ends the case; otherwise it ends here.
 * Asking again while the flag stands changes nothing. Returns what happened, as events name it.
 */
export async function cancelCase(
  tx: Transaction,
  act: Act & { readonly reason: string },
): Promise<readonly Happening['type'][]> {
  const { instanceId, actor, nowMs } = act
  const instance = await requireInstance(tx, instanceId)
  const { status } = instance
  const work = await readWork(tx, instanceId)
  if (status === 'canceled' || work?.cancelRequested) return []
  if (status !== 'running' && status !== 'suspended')
    throw new CoreError('CC_ERR_NOT_CANCELABLE', { instanceId, status })
  const payload = await keepContent(tx, { instanceId, kind: 'reason', value: { reason: act.reason }, nowMs })
  const requested: Happening = { type: 'cancel.requested', atMs: nowMs, actor, payload }
  const canceled: Happening = { type: 'case.canceled', atMs: nowMs, actor }
  if (!work) {
    // Tasks before their instance, as every act does it: two of them never wait for each other in a circle.
    await withdrawTasks(tx, instanceId)
    await recordOnInstance(tx, instance, [requested, canceled], { status: 'canceled', atMs: nowMs, endedAtMs: nowMs })
  } else if (work.state === 'claimed') {
    const events = linkEvents(instance, headOfWork(work), [requested])
    if (!(await requestCancel(tx, work, nextHead(events.at(-1)!)))) throw new HeadMoved()
    await insertEvents(tx, events)
    return ['cancel.requested']
  } else {
    const events = linkEvents(instance, headOfWork(work), [requested, canceled])
    const { seq, hash } = nextHead(events.at(-1)!)
    if (!(await deleteWork(tx, work))) throw new HeadMoved()
    await insertEvents(tx, events)
    const ending = { ...instance, status: 'canceled', auditSeq: seq, auditHead: hash, stepCount: work.stepNo } as const
    await endInstance(tx, { ...ending, atMs: nowMs })
  }
  return ['cancel.requested', 'case.canceled']
}

function headOfWork({ auditSeq, auditHead }: Work) {
  return { seq: auditSeq, hash: auditHead }
}

/** Puts a failed case back in line, at the step that failed, as a new run of it. Returns the head that says so. */
export async function retryCase(tx: Transaction, { instanceId, actor, nowMs }: Act): Promise<ChainHead> {
  const instance = await requireInstance(tx, instanceId)
  const { status, resumeStep: step } = instance
  if (status !== 'failed' || step === undefined) throw new CoreError('CC_ERR_NOT_RETRYABLE', { instanceId, status })
  if (await isReadingErased(tx, instanceId)) throw new CoreError('CC_ERR_ERASED', { instanceId })
  const [latest] = await readLatestCheckpoints(tx, instanceId, [step])
  const run = (latest?.run ?? 0) + 1
  const change = { status: 'running', failureCode: undefined, resumeStep: undefined, endedAtMs: undefined } as const
  const retried: Happening = { type: 'case.retried', atMs: nowMs, actor, step, facts: { run } }
  const head = await recordOnInstance(tx, instance, [retried], { ...change, atMs: nowMs })
  const { definitionHash, stepCount: stepNo } = instance
  await insertWork(tx, {
    instanceId,
    priority: 0,
    definitionHash,
    step,
    run,
    stepNo,
    auditSeq: head.seq,
    auditHead: head.hash,
  })
  return head
}

const live: readonly Instance['status'][] = ['running', 'suspended']

/** Erases one payload of a case that has ended. The event says which, when and who; why is content itself. */
export async function eraseContent(
  tx: Transaction,
  act: Act & { readonly payloadId: string; readonly reason: string },
): Promise<void> {
  const { instanceId, payloadId, actor, nowMs } = act
  const instance = await requireInstance(tx, instanceId)
  const payload = await readPayload(tx, instanceId, payloadId)
  if (!payload) throw new CoreError('CC_ERR_UNKNOWN_PAYLOAD', { instanceId, payloadId })
  if (payload.erasedAtMs !== undefined) return
  const { status } = instance
  const isAwaited = (await readTasksOf(tx, instanceId)).some((task) => task.status === 'open')
  if (live.includes(status) || isAwaited) {
    throw new CoreError('CC_ERR_CASE_LIVE', { instanceId, status: isAwaited ? `${status}, with an open task` : status })
  }
  const reason = await keepContent(tx, { instanceId, kind: 'reason', value: { reason: act.reason }, nowMs })
  const erased: Happening = {
    type: 'payload.erased',
    atMs: nowMs,
    actor,
    payload: reason,
    facts: { payload: payloadId },
  }
  await recordOnInstance(tx, instance, [erased], { atMs: nowMs })
  await erasePayload(tx, { instanceId, payloadId, nowMs })
}

/** Moves a task whose SLA has passed to its escalation queue. Time moves tasks and never decides them. */
export async function escalateOverdue(tx: Transaction, taskId: string, nowMs: number): Promise<void> {
  const task = await readTask(tx, taskId)
  if (!task || !(await escalateTask(tx, taskId, nowMs))) return
  const instance = await requireInstance(tx, task.instanceId)
  const facts = { task: taskId, from: task.queue, to: task.escalationQueue, due_ms: task.dueMs }
  const happening: Happening = { type: 'task.escalated', atMs: nowMs, actor: engineActor, tier: task.tier, facts }
  await recordOnInstance(tx, instance, [happening], { atMs: nowMs })
}
