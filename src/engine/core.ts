import type { Clock } from '../clock.ts'
import type { ModelSettings, PostgresSettings } from '../config.ts'
import type { Model } from '../cognition/model.ts'
import type { PackObjects } from '../cognition/pack.ts'
import type { Primitive } from '../cognition/primitive.ts'
import type { AuditEvent } from '../domain/audit.ts'
import type { Fault } from '../domain/chain.ts'
import type { Tier, TierContribution } from '../domain/governance.ts'
import type { InstanceStatus, WorkState } from '../domain/instance.ts'
import type { Json, JsonObject } from '../domain/json.ts'
import type { Decision, Task } from '../domain/task.ts'
import type { Route } from '../domain/workflow.ts'
import type { Log } from '../log.ts'
import type { Backend } from '../storage/backend.ts'
import type { Known } from './wake.ts'

export interface SubmitRequest {
  readonly workflow: string
  readonly domain: string
  readonly input: JsonObject
  /** Idempotency key, unique per actor, kept as long as the instance. */
  readonly key?: string
  readonly actor: string
  /** Higher runs first; 0 unless said. */
  readonly priority?: number
}

export interface Submitted {
  readonly instanceId: string
  readonly status: InstanceStatus
  /** The key was seen before with the same body: this is the earlier instance. */
  readonly seen: boolean
}

/** One case as people see it: `case`, `cases`, HTTP. */
export interface CaseView {
  readonly instanceId: string
  readonly workflow: string
  readonly domain: string
  readonly definitionHash: string
  readonly submittedBy: string
  readonly status: InstanceStatus
  /** Only while running. */
  readonly work: WorkState | undefined
  readonly tier: Tier | undefined
  readonly tierContributions: readonly TierContribution[]
  /** Step names in the order they ran. */
  readonly path: readonly string[]
  /** What took effect; unset while held or denied, or erased. */
  readonly outcome: Json | undefined
  /** What the workflow proposed. */
  readonly proposed: Json | undefined
  readonly failure: { readonly code: string; readonly message: string } | undefined
  readonly simulated: boolean
  readonly disputed: boolean
  /** A step that has begun an outside effect of which no result is recorded: nobody knows whether it took place. */
  readonly inDoubt: string | undefined
  readonly openTasks: readonly string[]
  readonly submittedAtMs: number
  readonly updatedAtMs: number
  readonly endedAtMs: number | undefined
}

export interface StepView {
  readonly stepNo: number
  readonly step: string
  readonly primitive: string
  readonly run: number
  readonly attempts: number
  readonly status: 'completed' | 'failed'
  readonly errorCode: string | undefined
  /** Unset when erased. */
  readonly output: Json | undefined
  readonly model: string | undefined
  readonly inputTokens: number | undefined
  readonly outputTokens: number | undefined
  readonly route: Route
  readonly startedAtMs: number
  readonly endedAtMs: number
}

/** A task with all that a reviewer needs to decide it. */
export interface TaskView extends Task {
  readonly allowed: readonly Decision[]
  /** The words of its decision; unset while it is open, or erased. */
  readonly reason: string | undefined
  readonly changes: Json | undefined
  readonly case: CaseView
  readonly input: Json | undefined
  readonly steps: readonly StepView[]
}

export interface DecisionRequest {
  readonly taskId: string
  readonly decision: string
  readonly reason: string
  /** JSON merge patch over the proposed outcome; only with approve_with_changes, and required there. */
  readonly changes?: Json
  readonly actor: string
}

export interface Decided {
  readonly taskId: string
  readonly instanceId: string
  readonly decision: Decision
  readonly decidedBy: string
  readonly status: InstanceStatus
  /** The same person had already decided the same: this is the first decision. */
  readonly repeated: boolean
  /** The task that refer, escalate or object opened. */
  readonly openedTaskId: string | undefined
}

export interface Page<T> {
  readonly items: readonly T[]
  readonly nextCursor: string | undefined
}

export interface CaseFilter {
  readonly status?: InstanceStatus | undefined
  readonly workflow?: string | undefined
  /** Only cases of this submitter. */
  readonly submittedBy?: string | undefined
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

export interface TaskFilter {
  readonly queue?: string | undefined
  readonly status?: 'open' | 'decided' | undefined
  readonly limit?: number | undefined
  readonly cursor?: string | undefined
}

/** What a core is made of. Everything may be left out; then it is what the environment's defaults say. */
export interface CoreConfig {
  /** The SQLite file; made when it is not there. */
  readonly path?: string
  /** Somebody chose the path: beside `postgres` it must not lead to a store that was left behind. */
  readonly isPathSet?: boolean
  /** The PostgreSQL database, in place of `path`. */
  readonly postgres?: PostgresSettings | undefined
  /** A store that was opened before, in place of both. The core closes it. */
  readonly backend?: Backend
  /** Folders of packs, or packs as objects. */
  readonly packs?: readonly (string | PackObjects)[]
  /**
   * `scripted:FILE`, `provider/model`, or a model of the program's own. Unset: workflows that need a model are refused at
   * submit.
   */
  readonly model?: string | Model
  /** What a model that is given by its name is opened with: aliases, and how its provider is called. */
  readonly models?: ModelSettings
  /** Types of step beside the built-in ones, which they may not replace. */
  readonly primitives?: readonly Primitive[]
  /**
   * Instances in flight at a time; 4 on SQLite unless said, as many as there are CPUs on PostgreSQL, and 0 for a process that leaves running cases to others. A program that embeds the engine may set more than a service on
   * SQLite takes: what its steps cost is its own affair.
   */
  readonly workerConcurrency?: number
  /** Where the holder of the store can be reached, for people who find it locked. */
  readonly url?: string
  readonly clock?: Clock
  readonly log?: Log
}

/** What can be asked of a store without writing to it: works beside a running service. */
export interface CaseReader {
  /** Unset until the store's first case settles it. */
  readonly simulated: boolean | undefined
  readonly location: string
  /** Which store this is; stays the same when it is moved or restored. */
  readonly databaseId: string
  getCase(instanceId: string): Promise<CaseView>
  listCases(filter?: CaseFilter): Promise<Page<CaseView>>
  getSteps(instanceId: string): Promise<readonly StepView[]>
  /** The chain of a case: the events with a higher sequence number than `after`, at most `limit` of them. */
  getAudit(
    instanceId: string,
    options?: { readonly after?: number; readonly limit?: number },
  ): Promise<readonly AuditEvent[]>
  getTask(taskId: string): Promise<TaskView>
  listTasks(filter?: TaskFilter): Promise<Page<Task>>
  verify(options?: { instanceId?: string; onProgress?: (done: VerifyProgress) => void }): Promise<VerifyReport>
  exportCase(instanceId: string): Promise<JsonObject>
  close(): Promise<void>
}

export interface VerifyProgress {
  readonly instances: number
  readonly events: number
}

export interface VerifyReport {
  readonly valid: boolean
  readonly simulated: boolean
  readonly instances: number
  readonly events: number
  readonly checkpoints: number
  readonly payloads: number
  readonly erasedPayloads: number
  readonly elapsedMs: number
  /** For one instance: its chain's head. */
  readonly head: { readonly seq: number; readonly hash: string } | undefined
  /** The first bad thing of each bad instance, at most `findingsLimit` of them, in order of instance and sequence. */
  readonly findings: readonly VerifyFinding[]
  /** What no chain can show, said every time. */
  readonly cannotShow: readonly string[]
}

export interface VerifyFinding {
  readonly instanceId: string
  /** Sequence number of the first bad event; unset where no event is concerned. */
  readonly seq: number | undefined
  readonly what: Fault
  /** Table and column, where one is to blame. */
  readonly where: string
  readonly detail: string
}

/** A workflow for one domain, as it can be submitted to. */
export interface WorkflowName {
  readonly workflow: string
  readonly domain: string
  readonly definitionHash: string
  readonly pack: string
}

/** What people and programs do with cases, in this process or through a service that has the store. */
export interface CaseVerbs extends CaseReader {
  submit(request: SubmitRequest): Promise<Submitted>
  /** Keeps a task for one person: for 15 minutes unless `forMs` says otherwise, at most a day. */
  claimTask(request: { taskId: string; actor: string; forMs?: number }): Promise<Task>
  decide(request: DecisionRequest): Promise<Decided>
  cancel(request: { instanceId: string; actor: string; reason: string }): Promise<CaseView>
  retry(request: { instanceId: string; actor: string }): Promise<CaseView>
  /** Removes one payload's text and salt for good; its commitment stays in the chain. Only once the case has ended. */
  erase(request: { instanceId: string; payloadId: string; actor: string; reason: string }): Promise<void>
  /** Resolves when the instance has ended or is held; with `timeoutMs`, refuses with CC_ERR_TIMED_OUT after it. */
  waitFor(instanceId: string, options?: { timeoutMs?: number; signal?: AbortSignal }): Promise<CaseView>
  /**
   * Calls the listener for everything that happens to one case behind the event of this sequence number. Returns a function
   * that ends it, once everything that has happened until then was told.
   */
  follow(instanceId: string, after: number, listener: (progress: Progress) => void): () => Promise<void>
  /** Starts claiming; a service has begun already. */
  start(): void
  /**
   * Stops claiming, lets running steps finish and be recorded, gives the rest back. Steps that take longer than
   * `patienceMs` (30,000 unless said) are ended without a record and run again at the next start. Of a service's cases
   * this lets go.
   */
  drain(options?: { patienceMs?: number }): Promise<void>
}

/** A store opened for writing, with workers if started. What `openCore` returns. */
export interface Core extends CaseVerbs {
  /** `sqlite` or `postgres`. */
  readonly backend: string
  /** What this process is called where it has claimed something, and among those that share its store. */
  readonly workerId: string
  /** Aborted, with the refusal as its reason, once this process may not write the store any more. */
  readonly lost: AbortSignal
  /** Reads a row: rejects when the store cannot be read. */
  ping(): Promise<void>
  /** Called after every commit that changed an instance. Returns a function that ends the subscription. */
  onProgress(listener: (progress: Progress) => void): () => void
  /**
   * Called with the id of an instance that has changed: a hint, given once or several times; without an id when any may
   * have. `known` names those whose every event matters, each with the last one that is known: where a hint of another
   * process is lost, it is given a few seconds later. Returns what ends it.
   */
  onChange(listener: (instanceId: string | undefined) => void, known?: () => Known): () => void
  /** Names of what the loaded packs offer. */
  listWorkflows(): readonly WorkflowName[]
}

/** One thing that was just committed. */
export interface Progress {
  readonly instanceId: string
  readonly step: string | undefined
  readonly event: string
  readonly detail: string | undefined
}
