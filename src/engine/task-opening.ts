import type { AuditEventDraft } from '../domain/audit.ts'
import { isSampled } from '../domain/governance.ts'
import { newId } from '../domain/identity.ts'
import type { LiveInstance } from '../domain/instance.ts'
import type { Task } from '../domain/task.ts'
import type { Definition } from '../domain/workflow.ts'
import type { NewTask } from '../storage/tasks.ts'
import type { Governed } from './governing.ts'

/** The task that the tier asks for: none for auto, and of spot-checked cases only for those that are drawn. */
export function taskFor(
  instance: LiveInstance,
  definition: Definition,
  governed: Governed,
  atMs: number,
): NewTask | undefined {
  const { tier } = governed
  if (tier === 'auto') return undefined
  const policy = definition.tiers[tier]
  if (tier === 'spot_check' && !isSampled(instance.instanceId, policy.sampleRate)) return undefined
  return newTask({ instance, definition, tier, atMs, because: governed.because, barred: [], queue: governed.queue })
}

/** A task of this tier with the queue and the due time that the pinned definition gives it. */
export function newTask(about: {
  readonly instance: Pick<LiveInstance, 'instanceId' | 'submittedBy'>
  readonly definition: Definition
  readonly tier: Task['tier']
  readonly because: string
  readonly barred: readonly string[]
  readonly atMs: number
  /** Another queue than the tier's own. */
  readonly queue: string | undefined
}): NewTask {
  const { instance, definition, tier, because, barred, atMs } = about
  const policy = definition.tiers[tier]
  return {
    taskId: newId(atMs),
    instanceId: instance.instanceId,
    tier,
    queue: about.queue ?? policy.queue,
    escalationQueue: policy.escalationQueue,
    because,
    submittedBy: instance.submittedBy,
    barred,
    openedAtMs: atMs,
    dueMs: atMs + Math.round(policy.slaSeconds * 1000),
  }
}

/** The event that says that a person has something to do. */
export function taskOpened(task: NewTask): Omit<AuditEventDraft, 'instanceId' | 'definition' | 'simulated' | 'actor'> {
  return {
    type: 'task.opened',
    atMs: task.openedAtMs,
    tier: task.tier,
    facts: { task: task.taskId, queue: task.queue },
  }
}
