import { z } from 'zod'
import { type Clock, systemClock } from '../clock.ts'
import type { AuditEvent } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Task } from '../domain/task.ts'
import type {
  CaseFilter,
  CaseVerbs,
  CaseView,
  Decided,
  DecisionRequest,
  Page,
  Progress,
  StepView,
  Submitted,
  SubmitRequest,
  TaskFilter,
  TaskView,
  VerifyReport,
} from '../engine/core.ts'
import { CoreError, isCoreError } from '../errors.ts'
import {
  briefDocument,
  caseDocument,
  decidedDocument,
  erasedDocument,
  eventDocument,
  healthDocument,
  pageOf,
  stepDocument,
  submittedDocument,
  taskDocument,
  verifyDocument,
} from './documents.ts'
import { readEventStream, type ServerEvent } from './event-stream.ts'
import { answerOf, type RequestParts, send, type ServiceAddress } from './requests.ts'
import { auditEvent, caseView, decidedView, pageView, stepView, taskOf, taskView, verifyReport } from './views.ts'

/** One request waits for a case so long; then it is asked again. */
const waitSeconds = 30

/** How long a service takes to say that it is ready, and beyond what it was asked to wait. */
const promptMs = 10_000

/** Between two tries to reach a service that is being restarted, and how long it may be away while somebody waits. */
const retryMs = 1000
const patienceMs = 60_000

/** Reaches a service, and refuses one that is not ready. No key is shown before it is known which store answers. */
export async function connectService(address: ServiceAddress, clock: Clock = systemClock): Promise<CaseVerbs> {
  const answer = await send({ url: address.url }, 'GET', '/health/ready', { timeoutMs: promptMs })
  const health = await answerOf(address, answer, healthDocument)
  if (health.database_id === undefined) throw new CoreError('CC_ERR_STARTING')
  return new ServiceClient(address, clock, { databaseId: health.database_id, simulated: health.simulated ?? undefined })
}

/** The verbs of a store that a service has, through its HTTP API. What it refuses comes back as the refusal it was. */
class ServiceClient implements CaseVerbs {
  readonly location: string
  readonly databaseId: string
  private isSimulated: boolean | undefined
  private readonly address: ServiceAddress
  private readonly clock: Clock
  private readonly closing = new AbortController()

  constructor(
    address: ServiceAddress,
    clock: Clock,
    store: { readonly databaseId: string; readonly simulated: boolean | undefined },
  ) {
    this.address = address
    this.clock = clock
    this.location = address.url
    this.databaseId = store.databaseId
    this.isSimulated = store.simulated
  }

  get simulated(): boolean | undefined {
    return this.isSimulated
  }

  async submit({ workflow, domain, input, key, actor }: SubmitRequest): Promise<Submitted> {
    const headers = key === undefined ? {} : { 'idempotency-key': headerOf(key) }
    const answer = await send(this.address, 'POST', '/v1/cases', { body: { workflow, domain, input }, headers, actor })
    const { instance_id: instanceId, status, simulated } = await answerOf(this.address, answer, submittedDocument)
    this.isSimulated = simulated
    return { instanceId, status, seen: answer.status === 200 }
  }

  async getCase(instanceId: string): Promise<CaseView> {
    return caseView(await this.get(pathOf(instanceId), caseDocument))
  }

  async listCases({ status, workflow, limit, cursor }: CaseFilter = {}): Promise<Page<CaseView>> {
    const query = { status, workflow, limit, cursor }
    return pageView(await this.get('/v1/cases', pageOf(caseDocument), query), caseView)
  }

  async getSteps(instanceId: string): Promise<readonly StepView[]> {
    return (await this.get(`${pathOf(instanceId)}/steps`, pageOf(stepDocument))).items.map(stepView)
  }

  async getAudit(instanceId: string, { after = 0 } = {}): Promise<readonly AuditEvent[]> {
    const { items } = await this.get(`${pathOf(instanceId)}/audit`, pageOf(eventDocument))
    return items.filter(({ seq }) => seq > after).map((document) => auditEvent(instanceId, document))
  }

  async getTask(taskId: string): Promise<TaskView> {
    return taskView(await this.get(`/v1/tasks/${encodeURIComponent(taskId)}`, briefDocument))
  }

  async listTasks({ queue, status, limit, cursor }: TaskFilter = {}): Promise<Page<Task>> {
    const query = { queue, status, limit, cursor }
    return pageView(await this.get('/v1/tasks', pageOf(taskDocument), query), taskOf)
  }

  async verify({ instanceId }: { instanceId?: string } = {}): Promise<VerifyReport> {
    if (instanceId === undefined) {
      const problem = 'A service checks one case at a time: name it with --instance, or run this beside the store.'
      throw new CoreError('CC_ERR_USAGE', { problem, help: 'audit verify --help' })
    }
    return verifyReport(await this.get(`${pathOf(instanceId)}/verify`, verifyDocument))
  }

  async exportCase(instanceId: string): Promise<JsonObject> {
    return (await this.get(`${pathOf(instanceId)}/export`, z.looseObject({}))) as JsonObject
  }

  async claimTask({ taskId, actor, forMs }: { taskId: string; actor: string; forMs?: number }): Promise<Task> {
    const body = forMs === undefined ? {} : { seconds: Math.ceil(forMs / 1000) }
    return taskOf(await this.post(`/v1/tasks/${encodeURIComponent(taskId)}/claim`, taskDocument, { body, actor }))
  }

  async decide({ taskId, decision, reason, changes, actor }: DecisionRequest): Promise<Decided> {
    const body = { decision, reason, ...(changes !== undefined && { changes }) }
    const path = `/v1/tasks/${encodeURIComponent(taskId)}/decision`
    return decidedView(await this.post(path, decidedDocument, { body, actor }))
  }

  async cancel({ instanceId, actor, reason }: { instanceId: string; actor: string; reason: string }) {
    return caseView(await this.post(`${pathOf(instanceId)}/cancel`, caseDocument, { body: { reason }, actor }))
  }

  async retry({ instanceId, actor }: { instanceId: string; actor: string }): Promise<CaseView> {
    return caseView(await this.post(`${pathOf(instanceId)}/retry`, caseDocument, { body: {}, actor }))
  }

  async erase(request: { instanceId: string; payloadId: string; actor: string; reason: string }): Promise<void> {
    const { instanceId, payloadId, actor, reason } = request
    const body = { payload_id: payloadId, reason }
    await this.post(`${pathOf(instanceId)}/erase`, erasedDocument, { body, actor })
  }

  /** Outlives a restart of the service: whoever waits does not have to know that there was one. */
  async waitFor(instanceId: string, options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<CaseView> {
    const { timeoutMs } = options
    const signal = AbortSignal.any([this.closing.signal, ...(options.signal ? [options.signal] : [])])
    const startedAtMs = this.clock.nowMs()
    let reachedAtMs = startedAtMs
    for (;;) {
      signal.throwIfAborted()
      const askedAtMs = this.clock.nowMs()
      const leftMs = timeoutMs === undefined ? Infinity : Math.max(0, startedAtMs + timeoutMs - askedAtMs)
      const query = { wait: Math.min(waitSeconds, Math.ceil(leftMs / 1000)) }
      // Whoever set a limit does not want to wait much longer for a service that says nothing.
      const graceMs = leftMs < waitSeconds * 1000 ? retryMs : promptMs
      const limits = { signal, timeoutMs: Math.ceil(Math.min(query.wait * 1000, leftMs)) + graceMs }
      const view = await this.get(pathOf(instanceId), caseDocument, query, limits).catch((error: unknown) => {
        if (!isAway(error) || this.clock.nowMs() - reachedAtMs > patienceMs) throw error
        return undefined
      })
      const nowMs = this.clock.nowMs()
      if (view) reachedAtMs = nowMs
      if (view && view.status !== 'running') return caseView(view)
      if (timeoutMs !== undefined && nowMs - startedAtMs >= timeoutMs) {
        throw new CoreError('CC_ERR_TIMED_OUT', { instanceId, timeoutMs, status: view?.status ?? 'not to be reached' })
      }
      // A service that does not wait says that nobody there gets this case any further; somebody else may.
      if (nowMs - askedAtMs < retryMs) await this.clock.sleep(Math.min(retryMs, leftMs), signal)
    }
  }

  follow(instanceId: string, after: number, listener: (progress: Progress) => void): () => Promise<void> {
    const leaving = new AbortController()
    const signal = AbortSignal.any([leaving.signal, this.closing.signal])
    const following = new Following(instanceId, after, listener)
    // What happens to the case is told by whoever waits for it; this only tells of the way there.
    const listening = this.listen(following, signal).catch((error: unknown) => passOver(error, signal))
    // Heard by whoever ends the following.
    listening.catch(() => {})
    return async () => {
      leaving.abort()
      await listening
      // A stream tells a little later than a case comes to rest.
      const rest = await this.getAudit(instanceId, { after: following.last }).catch((error: unknown) => {
        passOver(error, this.closing.signal)
        return []
      })
      for (const { seq, type, envelope } of rest) following.tell(seq, type, readEnvelope(envelope)?.step)
    }
  }

  start(): void {}

  drain(): Promise<void> {
    return Promise.resolve()
  }

  close(): Promise<void> {
    this.closing.abort(new CoreError('CC_ERR_CLOSED'))
    return Promise.resolve()
  }

  private async listen(following: Following, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      try {
        const headers = { 'last-event-id': String(following.last), accept: 'text/event-stream' }
        const open = { headers, signal, timeoutMs: Infinity }
        const answer = await send(this.address, 'GET', `${pathOf(following.instanceId)}/stream`, open)
        if (answer.status === 204) return
        if (!answer.ok) await answerOf(this.address, answer, z.unknown())
        for await (const { id, event, data } of this.eventsOf(answer)) {
          if (event === 'end') return
          if (id === undefined) continue
          const { step } = eventDocument.pick({ step: true }).parse(JSON.parse(data))
          following.tell(Number(id), event, step ?? undefined)
        }
      } catch (error) {
        if (!isAway(error)) throw error
      }
      await this.clock.sleep(retryMs, signal)
    }
  }

  private async *eventsOf(answer: Response): AsyncGenerator<ServerEvent> {
    try {
      yield* readEventStream(answer.body!)
    } catch (error) {
      const { url } = this.address
      throw new CoreError('CC_ERR_SERVICE_AWAY', { url, why: 'the connection was lost' }, { cause: error })
    }
  }

  private async get<S extends z.ZodType>(
    path: string,
    shape: S,
    query: Readonly<Record<string, string | number | undefined>> = {},
    limits: Pick<RequestParts, 'signal' | 'timeoutMs'> = {},
  ): Promise<z.output<S>> {
    const given = Object.entries(query).flatMap(([name, value]) =>
      value === undefined ? [] : [[name, String(value)] as [string, string]],
    )
    const search = given.length === 0 ? '' : `?${new URLSearchParams(given).toString()}`
    const answer = await send(this.address, 'GET', `${path}${search}`, limits)
    return await answerOf(this.address, answer, shape)
  }

  private async post<S extends z.ZodType>(
    path: string,
    shape: S,
    about: { readonly body: object; readonly actor: string },
  ): Promise<z.output<S>> {
    return await answerOf(this.address, await send(this.address, 'POST', path, about), shape)
  }
}

/** How far somebody has been told of a case. */
class Following {
  readonly instanceId: string
  last: number
  private readonly listener: (progress: Progress) => void

  constructor(instanceId: string, last: number, listener: (progress: Progress) => void) {
    this.instanceId = instanceId
    this.last = last
    this.listener = listener
  }

  tell(seq: number, event: string, step: string | undefined): void {
    this.last = seq
    this.listener({ instanceId: this.instanceId, step, event, detail: undefined })
  }
}

/** Whoever only follows does without what was refused or given up; a defect is a defect. */
function passOver(error: unknown, signal: AbortSignal): void {
  if (!isCoreError(error) && !signal.aborted) throw error
}

function pathOf(instanceId: string): string {
  return `/v1/cases/${encodeURIComponent(instanceId)}`
}

/** The service does not answer, or answers that it will soon. */
function isAway(error: unknown): boolean {
  return isCoreError(error, 'CC_ERR_SERVICE_AWAY') || (isCoreError(error) && error.status === 503)
}

/** A header carries printable ASCII and loses blanks at its ends. */
function headerOf(key: string): string {
  if (/^[!-~]([ -~]*[!-~])?$/.test(key)) return key
  throw new CoreError('CC_ERR_INPUT', { what: 'key', why: 'a service takes letters, digits and punctuation of ASCII' })
}
