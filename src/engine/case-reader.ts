import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Clock } from '../clock.ts'
import type { AuditEvent } from '../domain/audit.ts'
import { isId } from '../domain/identity.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Task } from '../domain/task.ts'
import { CoreError } from '../errors.ts'
import { readEvents } from '../storage/audit.ts'
import type { Backend } from '../storage/backend.ts'
import { listInstances } from '../storage/instances.ts'
import type { Meta } from '../storage/meta.ts'
import { listTasks } from '../storage/tasks.ts'
import { viewCase, viewCases, viewSteps, viewTask } from './case-views.ts'
import type { CaseFilter, CaseReader, CaseView, Page, StepView, TaskFilter, TaskView, VerifyReport } from './core.ts'
import { exportCase } from './exporting.ts'
import { requireInstance } from './intervening.ts'
import { type VerifyOptions, verifyStore } from './verification.ts'

const defaultLimit = 50
const maxLimit = 500

/** A page ends after so much content, before its limit: whoever asks on is given the rest. */
const maxListedCharacters = 2_097_152

/** Cases of a list between two turns of the event loop. */
const turnItems = 10

/** Everything that can be asked of a store without writing to it. Each answer comes from one snapshot. */
export class StoreReader implements CaseReader {
  protected readonly store: Backend
  protected readonly clock: Clock
  readonly databaseId: string
  protected isSimulated: boolean | undefined

  constructor(backend: Backend, clock: Clock, { databaseId, simulated }: Meta) {
    this.store = backend
    this.clock = clock
    this.databaseId = databaseId
    this.isSimulated = simulated
  }

  get simulated(): boolean | undefined {
    return this.isSimulated
  }

  get location(): string {
    return this.store.location
  }

  getCase(instanceId: string): Promise<CaseView> {
    return this.store.read((reader) => viewCase(reader, instanceId))
  }

  async listCases({ status, workflow, submittedBy, limit, cursor }: CaseFilter = {}): Promise<Page<CaseView>> {
    const size = pageSize(limit)
    if (cursor !== undefined && !isId(cursor)) refuseCursor()
    return await this.store.read(async (reader) => {
      const found = await listInstances(reader, { status, workflow, submittedBy, before: cursor, limit: size + 1 })
      const items: CaseView[] = []
      let listed = 0
      while (items.length < Math.min(found.length, size) && listed <= maxListedCharacters) {
        const { views, characters } = await viewCases(reader, found.slice(items.length, size).slice(0, turnItems))
        items.push(...views)
        listed += characters
        // A long list is no reason to keep everybody else waiting.
        await nextTurn()
      }
      return { items, nextCursor: found.length > items.length ? items.at(-1)!.instanceId : undefined }
    })
  }

  getSteps(instanceId: string): Promise<readonly StepView[]> {
    return this.store.read((reader) => viewSteps(reader, instanceId))
  }

  async getAudit(
    instanceId: string,
    { after = 0, limit = Number.MAX_SAFE_INTEGER }: { after?: number; limit?: number } = {},
  ): Promise<readonly AuditEvent[]> {
    const events = await readEvents(this.store, instanceId, { after, limit })
    // Every case has an event, so only where none was found the case itself may be missing.
    if (events.length === 0) await requireInstance(this.store, instanceId)
    return events
  }

  getTask(taskId: string): Promise<TaskView> {
    return this.store.read((reader) => viewTask(reader, taskId))
  }

  async listTasks({ queue, status = 'open', limit, cursor }: TaskFilter = {}): Promise<Page<Task>> {
    const size = pageSize(limit)
    const found = await listTasks(this.store, { queue, status, after: readCursor(cursor), limit: size + 1 })
    const items = found.slice(0, size)
    return { items, nextCursor: found.length > size ? writeCursor(items.at(-1)!) : undefined }
  }

  verify(options: VerifyOptions = {}): Promise<VerifyReport> {
    return verifyStore(this.store, options)
  }

  exportCase(instanceId: string): Promise<JsonObject> {
    return this.store.read((reader) => exportCase(reader, instanceId, this.clock.nowMs()))
  }

  close(): Promise<void> {
    return this.store.close()
  }
}

function pageSize(limit: number = defaultLimit): number {
  if (Number.isInteger(limit) && limit >= 1 && limit <= maxLimit) return limit
  throw new CoreError('CC_ERR_INPUT', { what: 'limit', why: `it must be a whole number from 1 to ${maxLimit}` })
}

function refuseCursor(): never {
  throw new CoreError('CC_ERR_INPUT', { what: 'cursor', why: 'no list gave it' })
}

function writeCursor({ dueMs, taskId }: Task): string {
  return `${dueMs}.${taskId}`
}

function readCursor(cursor: string | undefined): { dueMs: number; taskId: string } | undefined {
  if (cursor === undefined) return undefined
  const [, dueMs, taskId] = /^(\d{1,15})\.([0-9a-f-]{36})$/.exec(cursor) ?? []
  if (taskId === undefined) refuseCursor()
  return { dueMs: Number(dueMs), taskId }
}
