import { hash } from 'node:crypto'
import type { PayloadReference } from '../domain/audit.ts'
import type { Tier } from '../domain/governance.ts'
import type { Instance } from '../domain/instance.ts'
import { readEnvelope } from '../domain/chain.ts'
import { canonicalJson, type Json, type JsonObject, mergePatch } from '../domain/json.ts'
import { allowedDecisions, type Decision, isSamePerson, type Task } from '../domain/task.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { readEnvelopeAt } from '../storage/audit.ts'
import type { Reader, Transaction } from '../storage/backend.ts'
import { decideTask, insertTask, type NewTask, readTasksOf } from '../storage/tasks.ts'
import { type Happening, keepContent, recordOnInstance } from './chain-writes.ts'
import type { Decided, DecisionRequest } from './core.ts'
import { HeadMoved } from './store-writes.ts'
import { takeObject } from './submitting.ts'
import { readVouched } from './vouching.ts'
import { newTask, taskOpened } from './task-opening.ts'

/** A decision as it was asked for, before the task is known. */
export interface AskedDecision {
  readonly taskId: string
  readonly word: string
  readonly actor: string
  readonly body: JsonObject
  readonly changes: Json | undefined
  /** SHA-256 of the body, by which a repeat is known from a second opinion. */
  readonly digest: string
}

/** Takes a request through the door: a decision without a reason is none. */
export function takeDecision(request: DecisionRequest): AskedDecision {
  const { taskId, decision, reason, changes, actor } = request
  if (typeof reason !== 'string' || reason.trim() === '') throw new CoreError('CC_ERR_REASON', { what: 'A decision' })
  const body = takeObject({ decision, reason, ...(changes === undefined ? {} : { changes }) }, 'decision')
  const digest = hash('sha256', `cc/decision/v1\n${canonicalJson(body)}`)
  return { taskId, word: decision, actor, body, changes: body.changes, digest }
}

/** The first decision, when this one repeats it; undefined for an open task. Refuses a second opinion. */
export function findDecision(task: Task, asked: AskedDecision): Pick<Decided, 'decision' | 'decidedBy'> | undefined {
  const { status, decision, decidedBy } = task
  if (status === 'open') return undefined
  const isRepeat = status === 'decided' && decidedBy === asked.actor && task.decisionDigest === asked.digest
  if (!isRepeat) refuseUnlessOpen(task)
  return { decision: decision!, decidedBy: decidedBy! }
}

/** Refuses where nothing is left to decide, and names the decision that stands. */
export function refuseUnlessOpen({ taskId, instanceId, status, decision, decidedBy, decidedAtMs }: Task): void {
  if (status === 'withdrawn') throw new CoreError('CC_ERR_WITHDRAWN', { taskId, instanceId })
  if (status === 'decided') {
    throw new CoreError('CC_ERR_ALREADY_DECIDED', { taskId, instanceId, decision, decidedBy, decidedAtMs })
  }
}

/** The task that the decision of this one opened, if it opened any. */
export async function findOpened(reader: Reader, task: Task): Promise<string | undefined> {
  const { instanceId, barred, decidedAtMs, decidedBy } = task
  const opened = (await readTasksOf(reader, instanceId)).find(
    (other) =>
      other.openedAtMs === decidedAtMs &&
      other.barred.length === barred.length + 1 &&
      other.barred.at(-1) === decidedBy,
  )
  return opened?.taskId
}

/** Refuses a word that does not belong to the task's tier, and changes that do not belong to the word. */
export function checkDecision(task: Task, { word, changes }: AskedDecision): Decision {
  const allowed = allowedDecisions[task.tier]
  const decision = allowed.find((candidate) => candidate === word)
  if (!decision) {
    throw new CoreError('CC_ERR_DECISION', { decision: word, tier: task.tier, allowed: allowed.join(', ') })
  }
  const problem = changesProblem(decision, changes)
  if (problem) throw new CoreError('CC_ERR_CHANGES', { decision, problem })
  return decision
}

function changesProblem(decision: Decision, changes: Json | undefined): string | undefined {
  if (decision !== 'approve_with_changes') return changes === undefined ? undefined : 'it takes none'
  if (changes === undefined) return 'there are none'
  return typeof changes === 'object' && changes !== null && !Array.isArray(changes) ? undefined : 'not an object'
}

/** Refuses who may not decide this task: its submitter, who passed it on, and anybody while another's claim is live. */
export function checkDecider(task: Task, actor: string, nowMs: number): void {
  const { taskId, claimedBy, claimedUntilMs } = task
  const refuse = (because: string) => {
    throw new CoreError('CC_ERR_FOUR_EYES', { actor, taskId, because })
  }
  if (isSamePerson(actor, task.submittedBy)) refuse('who submits a case does not decide it')
  if (task.barred.some((name) => isSamePerson(actor, name))) refuse('who passes a case on does not decide it')
  if (claimedBy === undefined || isSamePerson(claimedBy, actor) || (claimedUntilMs ?? 0) <= nowMs) return
  const until = new Date(claimedUntilMs!).toISOString()
  throw new CoreError('CC_ERR_CLAIMED', { taskId, holder: claimedBy, until })
}

/** The same of the submitter as the chain names them: a row that was changed must not open the way. */
export async function refuseSubmitter(reader: Reader, { taskId, instanceId }: Task, actor: string): Promise<void> {
  const first = await readEnvelopeAt(reader, instanceId, 1)
  const submitter = first === undefined ? undefined : readEnvelope(first)?.actor
  if (submitter === undefined) throw new CoreError('CC_ERR_CASE_STUCK', { instanceId })
  if (!isSamePerson(actor, submitter)) return
  throw new CoreError('CC_ERR_FOUR_EYES', { actor, taskId, because: 'who submits a case does not decide it' })
}

/** How the case ends by this decision, as events name it. */
export function endingsOf(decision: Decision): readonly ('case.completed' | 'case.terminated')[] {
  if (decision === 'deny') return ['case.terminated']
  const isYes = decision === 'approve' || decision === 'release' || decision === 'approve_with_changes'
  return isYes ? ['case.completed'] : []
}

interface Deciding {
  readonly task: Task
  readonly instance: Instance
  readonly definition: Definition
  readonly asked: AskedDecision
  readonly decision: Decision
  readonly nowMs: number
}

/** Writes a decision and all that comes of it: task, instance, content and events, in the caller's transaction. */
export async function recordDecision(tx: Transaction, deciding: Deciding): Promise<Decided> {
  const { task, instance, asked, decision, nowMs } = deciding
  const { taskId, instanceId } = task
  const reference = await keepContent(tx, { instanceId, kind: 'decision', value: asked.body, nowMs })
  const payloadId = reference.id
  const { actor: decidedBy, digest } = asked
  if (!(await decideTask(tx, { taskId, decision, decidedBy, decidedAtMs: nowMs, digest, payloadId }))) {
    throw new HeadMoved()
  }
  const effect = await effectOf(tx, deciding)
  if (effect.task) await insertTask(tx, effect.task)
  const facts = { task: taskId, decision, reason_given: true }
  const decided: Happening = {
    type: 'task.decided',
    atMs: nowMs,
    actor: decidedBy,
    tier: task.tier,
    payload: reference,
    facts,
  }
  const opened = effect.task ? [{ ...taskOpened(effect.task), actor: decidedBy }] : []
  await recordOnInstance(tx, instance, [decided, ...effect.happenings, ...opened], { ...effect.change, atMs: nowMs })
  const status = effect.change.status ?? instance.status
  return { taskId, instanceId, decision, decidedBy, status, repeated: false, openedTaskId: effect.task?.taskId }
}

interface Effect {
  readonly happenings: readonly Happening[]
  readonly change: Partial<
    Pick<Instance, 'status' | 'tier' | 'tierContributions' | 'outcomePayloadId' | 'disputed' | 'endedAtMs'>
  >
  readonly task: NewTask | undefined
}

/** The closed table of what each decision does. */
async function effectOf(tx: Transaction, deciding: Deciding): Promise<Effect> {
  const { task, instance, decision, asked, nowMs } = deciding
  const happened = { atMs: nowMs, actor: asked.actor, tier: instance.tier ?? task.tier }
  switch (decision) {
    case 'approve':
    case 'release': {
      const outcomePayloadId = instance.proposedPayloadId
      await readProposal(tx, instance)
      return completed({ ...happened, facts: { outcome: outcomePayloadId } }, outcomePayloadId, nowMs)
    }
    case 'approve_with_changes': {
      const payload = await keepChanged(tx, deciding)
      return completed({ ...happened, payload }, payload.id, nowMs)
    }
    case 'deny':
      return {
        happenings: [{ ...happened, type: 'case.terminated' }],
        change: { status: 'terminated', outcomePayloadId: undefined, endedAtMs: nowMs },
        task: undefined,
      }
    case 'refer':
      return passedOn(deciding, { queue: undefined, because: `referred by ${asked.actor}` })
    case 'escalate':
      return passedOn(deciding, { queue: task.escalationQueue, because: `escalated by ${asked.actor}` })
    case 'confirm':
      return { happenings: [], change: {}, task: undefined }
    case 'object': {
      const { change, task: opened } = passedOn(deciding, { queue: undefined, because: `disputed by ${asked.actor}` })
      return {
        happenings: [{ ...happened, type: 'case.disputed' }],
        change: { ...change, disputed: true },
        task: opened,
      }
    }
  }
}

function completed(happened: Omit<Happening, 'type'>, outcomePayloadId: string | undefined, nowMs: number): Effect {
  return {
    happenings: [{ ...happened, type: 'case.completed' }],
    change: { status: 'completed', outcomePayloadId, endedAtMs: nowMs },
    task: undefined,
  }
}

/** Another person is asked, at tier hold. The tier can only rise, so this is the highest there is. */
function passedOn(
  { task, instance, definition, asked, nowMs }: Deciding,
  to: { queue: string | undefined; because: string },
): Effect {
  const tier: Tier = 'hold'
  const barred = [...task.barred, asked.actor]
  const opened = newTask({ instance, definition, tier, because: to.because, barred, atMs: nowMs, queue: to.queue })
  const contribution = { source: 'person', tier, because: to.because } as const
  return {
    happenings: [],
    change: { tier, tierContributions: [...instance.tierContributions, contribution] },
    task: opened,
  }
}

/** What a person says yes to must be what the workflow proposed. */
async function readProposal(tx: Transaction, { instanceId, proposedPayloadId }: Instance): Promise<Json> {
  const text = proposedPayloadId && (await readVouched(tx, instanceId, proposedPayloadId))
  if (text === undefined) throw new CoreError('CC_ERR_ERASED', { instanceId })
  return JSON.parse(text) as Json
}

/** The proposal with a person's changes, kept beside the proposal. */
async function keepChanged(tx: Transaction, { instance, asked, nowMs }: Deciding): Promise<PayloadReference> {
  const { instanceId } = instance
  const value = mergePatch(await readProposal(tx, instance), asked.changes!)
  return await keepContent(tx, { instanceId, kind: 'outcome', value, nowMs })
}
