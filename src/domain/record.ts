import { AssertionError } from 'node:assert'
import { type AuditEventType, type ChainHead, commitPayload, checkpointDigest, type PayloadReference } from './audit.ts'
import { ChainCheck, type Envelope, fault, type RecordFinding, type StoredEvent } from './chain.ts'
import type { TierContribution } from './governance.ts'
import type { InstanceStatus } from './instance.ts'
import { StepPointer } from './record-pointer.ts'
import { noteOnce, type StoredTask, TaskCheck, voiceOf } from './record-tasks.ts'

/** What the tables of the coordinator state about an instance and its chain states too. */
export interface StoredInstance {
  readonly instanceId: string
  readonly workflow: string
  readonly domain: string
  readonly definitionHash: string
  readonly submittedBy: string
  readonly inputPayloadId: string
  readonly status: string
  readonly tier: string | null
  /** The text of a list, as it was written. */
  readonly tierContributions: string
  readonly proposedPayloadId: string | null
  readonly outcomePayloadId: string | null
  readonly failureCode: string | null
  readonly resumeStep: string | null
  readonly simulated: number
  readonly disputed: number
  readonly submittedAtMs: number
  readonly auditSeq: number
  readonly auditHead: string
  readonly stepCount: number
  /** The hot row, where the head stands while there is one; all of it is null where there is none. */
  readonly workAuditSeq: number | null
  readonly workAuditHead: string | null
  readonly workStepNo: number | null
  readonly workStep: string | null
  readonly workRun: number | null
  readonly workDefinitionHash: string | null
}

/** A row of `checkpoints` as it is stored. */
export interface StoredCheckpoint {
  readonly entry: number
  readonly instanceId: string
  readonly stepNo: number
  readonly step: string
  readonly primitive: string
  readonly run: number
  readonly attempts: number
  readonly status: string
  readonly errorCode: string | null
  readonly outputPayloadId: string
  readonly outputCommitment: string
  readonly model: string | null
  readonly inputTokens: number | null
  readonly outputTokens: number | null
  readonly route: string
  readonly startedAtMs: number
  readonly endedAtMs: number
}

/** A row of `payloads` as it is stored. */
export interface StoredPayload {
  readonly payloadId: string
  readonly instanceId: string
  readonly kind: string
  readonly text: string | null
  /** Length of the text as stored: differs from that of `text` when the bytes are not UTF-8. */
  readonly textBytes: number | null
  readonly salt: string | null
  readonly erasedAtMs: number | null
}

/** What the store as a whole brings to the check of each instance. */
export interface StoreFacts {
  readonly simulated: boolean
  /** Every pinned definition by its hash, and whether its text still has that hash. */
  readonly definitions: ReadonlyMap<string, boolean>
}

interface Commitment extends PayloadReference {
  readonly seq: number
}

interface StepMark {
  readonly seq: number
  readonly digest: string
  readonly payload: PayloadReference | undefined
}

/** The status that each event leaves behind; the others leave it as it is. */
const statusAfter: Partial<Record<AuditEventType, InstanceStatus>> = {
  'case.submitted': 'running',
  'case.retried': 'running',
  'case.held': 'suspended',
  'case.completed': 'completed',
  'case.failed': 'failed',
  'case.canceled': 'canceled',
  'case.terminated': 'terminated',
}

/** Columns of the instance whose value the latest event that names them decides, by their fields. */
const statedColumns = {
  workflow: 'workflow',
  domain: 'domain',
  tier: 'tier',
  proposedPayloadId: 'proposed_payload_id',
  outcomePayloadId: 'outcome_payload_id',
  failureCode: 'failure_code',
  resumeStep: 'resume_step',
} as const
type StatedField = keyof typeof statedColumns

const statedFields = Object.keys(statedColumns) as StatedField[]

/** What an event says of those columns; of the others it says nothing. */
function statedBy({ type, facts, tier, payload, step }: Envelope): Partial<Record<StatedField, unknown>> {
  switch (type) {
    case 'case.submitted':
      return { workflow: facts?.workflow, domain: facts?.domain }
    case 'case.held':
      return { tier, proposedPayloadId: payload?.id }
    case 'case.completed':
      // A person lets the proposal take effect as it is, or brings an outcome of their own; an engine's is both.
      return { tier, outcomePayloadId: facts?.outcome ?? payload?.id }
    case 'case.terminated':
      return { outcomePayloadId: undefined }
    case 'task.opened':
      return { tier }
    case 'case.failed':
      return { failureCode: facts?.error, resumeStep: step }
    case 'case.retried':
      return { failureCode: undefined, resumeStep: undefined }
    default:
      return {}
  }
}

/**
 * Checks everything the store holds about one instance: its chain, then what hangs on the chain. Give it the events in
 * the order of `seq`, then the checkpoints in the order of `stepNo`, payloads and tasks in any order, then `finish`.
 * Content is hashed and let go; what is kept of each event is what its checkpoint and payload have to agree with.
 */
export class RecordCheck {
  events = 0
  private readonly instance: StoredInstance | undefined
  private readonly store: StoreFacts
  private readonly chain: ChainCheck
  private worst: RecordFinding | undefined
  private first: Envelope | undefined
  private status: InstanceStatus | undefined
  private lastSeq = 0
  private disputed = false
  private readonly stated = new Map<StatedField, { readonly value: unknown; readonly seq: number }>()
  private readonly steps: StepMark[] = []
  private readonly commitments = new Map<string, Commitment>()
  private readonly erasures = new Map<string, Envelope>()
  private readonly tasks = new TaskCheck((finding) => this.report(finding))
  private readonly pointer = new StepPointer()
  /** The reasons for the tier. */
  private voices: { readonly list: readonly unknown[]; readonly seq: number } = { list: [], seq: 1 }
  private readonly found = new Set<string>()
  private stepNo = 0
  private checkpointEntry = 0

  constructor(instanceId: string, instance: StoredInstance | undefined, store: StoreFacts) {
    this.instance = instance
    this.store = store
    this.chain = new ChainCheck(instanceId, instance && headOf(instance), (envelope) => this.note(envelope))
  }

  event(row: StoredEvent): void {
    this.events += 1
    this.chain.add(row)
  }

  endOfEvents(): void {
    const finding = this.chain.end()
    if (finding) this.report(finding)
    if (this.events === 0) this.report(fault(1, 'missing', 'audit_events', 'the instance has no event at all'))
    if (!this.instance) this.report(fault(1, 'missing', 'instances', 'there is no such instance'))
    else if (!finding) this.compareInstance(this.instance)
  }

  checkpoint(row: StoredCheckpoint): void {
    const mark = this.steps[row.stepNo - 1]
    if (!mark || row.stepNo <= this.stepNo) {
      return this.report(fault(undefined, 'inserted', 'checkpoints', `no event commits to checkpoint ${row.stepNo}`))
    }
    this.missCheckpoints(row.stepNo)
    this.stepNo = row.stepNo
    if (digestOf(row) !== mark.digest) {
      const detail = `event ${mark.seq} commits to another checkpoint ${row.stepNo}`
      return this.report(fault(mark.seq, 'checkpoint_differs', 'checkpoints', detail))
    }
    if (mark.payload?.id !== row.outputPayloadId || mark.payload.commitment !== row.outputCommitment) {
      const detail = `event ${mark.seq} has another output than its own checkpoint`
      return this.report(fault(mark.seq, 'checkpoint_differs', 'checkpoints.output_payload_id', detail))
    }
    if (row.entry <= this.checkpointEntry) {
      const detail = `entry ${row.entry} of checkpoint ${row.stepNo} comes after entry ${this.checkpointEntry}`
      return this.report(fault(mark.seq, 'reordered', 'checkpoints.entry', detail))
    }
    this.checkpointEntry = row.entry
  }

  payload(row: StoredPayload): void {
    const commitment = this.commitments.get(row.payloadId)
    if (!commitment) {
      return this.report(fault(undefined, 'inserted', 'payloads', `no event refers to payload ${row.payloadId}`))
    }
    this.found.add(row.payloadId)
    const erasure = this.erasures.get(row.payloadId)
    if (!erasure && row.text === null && this.isCut) return
    const problem = problemOf(row, commitment, erasure)
    if (!problem) return
    const [column, detail] = problem
    this.report(fault(commitment.seq, 'payload_differs', `payloads.${column}`, `payload ${row.payloadId}: ${detail}`))
  }

  task(row: StoredTask): void {
    this.tasks.check(row, { isCut: this.isCut, isCanceled: this.status === 'canceled' })
  }

  /** The first bad thing, by sequence number; what concerns no event comes last. */
  finish(): RecordFinding | undefined {
    this.missCheckpoints(this.steps.length + 1)
    for (const { id, seq } of this.commitments.values()) {
      if (!this.found.has(id))
        this.report(fault(seq, 'missing', 'payloads', `payload ${id} of event ${seq} is not there`))
    }
    this.tasks.finish()
    return this.worst
  }

  /** Events beyond the first bad one were not believed; what only they could explain is not held against anything. */
  private get isCut(): boolean {
    return this.chain.finding !== undefined
  }

  private note(envelope: Envelope): void {
    const { seq, type, facts, payload, checkpoint } = envelope
    this.first ??= envelope
    this.lastSeq = seq
    this.status = statusAfter[type] ?? this.status
    this.state(envelope)
    if (payload) this.commit(payload, seq)
    if (checkpoint !== undefined) this.steps.push({ seq, digest: checkpoint, payload })
    if (type === 'case.disputed') this.disputed = true
    else if (type === 'payload.erased') noteOnce(this.erasures, facts?.payload, envelope, (bad) => this.report(bad))
    this.pointer.note(envelope)
    this.tasks.note(envelope)
    this.compareEvent(envelope)
  }

  private state(envelope: Envelope): void {
    const { seq } = envelope
    const { contributions } = envelope.facts ?? {}
    const voice = voiceOf(envelope)
    if (Array.isArray(contributions)) this.voices = { list: contributions, seq }
    else if (voice) this.voices = { list: [...this.voices.list, voice], seq }
    const stated = Object.entries(statedBy(envelope)) as [StatedField, unknown][]
    for (const [field, value] of stated) this.stated.set(field, { value, seq })
    if (envelope.type === 'case.completed' && !this.stated.has('proposedPayloadId')) {
      this.stated.set('proposedPayloadId', this.stated.get('outcomePayloadId')!)
    }
  }

  /** The last event that was whole. */
  get head(): ChainHead | undefined {
    return this.chain.head
  }

  private commit(payload: PayloadReference, seq: number): void {
    const earlier = this.commitments.get(payload.id)
    if (!earlier) return void this.commitments.set(payload.id, { ...payload, seq })
    if (earlier.commitment === payload.commitment && earlier.kind === payload.kind) return
    this.report(fault(seq, 'payload_differs', 'audit_events.envelope', `event ${earlier.seq} commits to other content`))
  }

  private compareEvent({ seq, definition, simulated: mark }: Envelope): void {
    const { instance, store } = this
    if (!instance) return
    const simulated = mark === true
    if (definition !== instance.definitionHash) {
      this.report(fault(seq, 'changed', 'instances.definition_hash', `event ${seq} ran by definition ${definition}`))
    }
    if (simulated === (instance.simulated === 1) && simulated === store.simulated) return
    const table = simulated === (instance.simulated === 1) ? 'meta' : 'instances'
    const detail = `event ${seq} is ${simulated ? '' : 'not '}marked as simulated`
    this.report(fault(seq, 'changed', `${table}.simulated`, detail))
  }

  private compareInstance(instance: StoredInstance): void {
    const { first, status, disputed, store } = this
    if (!first) return
    const changed = (seq: number, column: string, states: unknown, says: unknown) =>
      this.report(fault(seq, 'changed', column, `the column has ${states}, the chain says ${says}`))
    const definition = store.definitions.get(instance.definitionHash)
    if (definition === undefined) {
      this.report(fault(1, 'missing', 'definitions', `definition ${instance.definitionHash} is not there`))
    } else if (!definition) {
      this.report(fault(1, 'changed', 'definitions.text', `it does not have the hash ${instance.definitionHash}`))
    }
    if (first.type !== 'case.submitted') {
      this.report(fault(1, 'changed', 'audit_events.type', `a chain begins with case.submitted, not ${first.type}`))
    }
    if (instance.submittedBy !== first.actor) changed(1, 'instances.submitted_by', instance.submittedBy, first.actor)
    const inputId = first.payload?.id
    if (instance.inputPayloadId !== inputId) changed(1, 'instances.input_payload_id', instance.inputPayloadId, inputId)
    const { submittedAtMs, tierContributions } = instance
    if (submittedAtMs !== first.at) changed(1, 'instances.submitted_at_ms', submittedAtMs, first.at)
    const voices = textOfVoices(this.voices.list)
    if (tierContributions !== voices) {
      changed(this.voices.seq, 'instances.tier_contributions', tierContributions, voices)
    }
    for (const field of statedFields) {
      const { value = null, seq = this.lastSeq } = this.stated.get(field) ?? {}
      if (instance[field] !== value) changed(seq, `instances.${statedColumns[field]}`, instance[field], value)
    }
    if (instance.status !== status) changed(this.lastSeq, 'instances.status', instance.status, status)
    if ((instance.status === 'running') !== (instance.workAuditSeq !== null)) {
      this.report(
        fault(this.lastSeq, 'missing', 'work', 'an instance has a work row as long as it runs, and only then'),
      )
    }
    this.compareWork(instance, first)
    if ((instance.disputed === 1) !== disputed) changed(this.lastSeq, 'instances.disputed', instance.disputed, disputed)
    const [table, steps] =
      instance.workStepNo === null
        ? ['instances.step_count', instance.stepCount]
        : ['work.step_no', instance.workStepNo]
    if (steps !== this.steps.length) {
      this.report(
        fault(this.lastSeq, 'head_differs', table, `it has ${steps}, the chain has ${this.steps.length} steps`),
      )
    }
  }

  private compareWork({ workAuditSeq, workStep, workRun, workDefinitionHash }: StoredInstance, first: Envelope): void {
    if (workAuditSeq === null) return
    const { seq, step = workStep, run } = this.pointer
    const statements = [
      ['definition_hash', workDefinitionHash, first.definition, 1],
      ['step', workStep, step, seq],
      ['run', workRun, run, seq],
    ] as const
    for (const [column, has, says, at] of statements) {
      if (has === says) continue
      this.report(fault(at, 'changed', `work.${column}`, `the column has ${has}, the chain says ${String(says)}`))
    }
  }

  private missCheckpoints(before: number): void {
    const mark = this.steps[this.stepNo]
    if (!mark || this.stepNo + 1 >= before) return
    const detail = `checkpoint ${this.stepNo + 1} of event ${mark.seq} is not there`
    this.report(fault(mark.seq, 'missing', 'checkpoints', detail))
  }

  private report(finding: RecordFinding): void {
    const { worst } = this
    if (!worst || (finding.seq ?? Infinity) < (worst.seq ?? Infinity)) this.worst = finding
  }
}

/** As the engine writes the list: the order of the fields is not the one of canonical JSON. */
function textOfVoices(voices: readonly unknown[]): string {
  const written = voices.map((voice) => {
    const { source, tier, because } = (voice ?? {}) as Partial<TierContribution>
    return { source, tier, because }
  })
  return JSON.stringify(written)
}

function headOf(instance: StoredInstance) {
  const { workAuditSeq, workAuditHead } = instance
  return workAuditSeq === null || workAuditHead === null
    ? ({ table: 'instances', seq: instance.auditSeq, hash: instance.auditHead } as const)
    : ({ table: 'work', seq: workAuditSeq, hash: workAuditHead } as const)
}

/** Undefined for a row that nobody could have written: with NUL in a text, or a number that is not whole. */
function digestOf(row: StoredCheckpoint): string | undefined {
  try {
    return checkpointDigest(row)
  } catch (error) {
    if (error instanceof AssertionError) return undefined
    throw error
  }
}

/** Digits of either case stand for the same bytes, so a salt that was changed in its case alone is found here. */
const saltForm = /^[0-9a-f]{32}$/

function problemOf(
  row: StoredPayload,
  commitment: Commitment,
  erasure: Envelope | undefined,
): readonly [column: string, detail: string] | undefined {
  if (row.kind !== commitment.kind)
    return ['kind', `it is stored as ${row.kind}, event ${commitment.seq} says otherwise`]
  if (row.erasedAtMs !== null && !erasure) return ['erased_at_ms', 'no event says that it was erased']
  if (erasure && row.erasedAtMs !== erasure.at)
    return ['erased_at_ms', `event ${erasure.seq} erased it at ${erasure.at}`]
  if (erasure) {
    if (row.text !== null) return ['text', `event ${erasure.seq} erased it, and it is still there`]
    return row.salt === null ? undefined : ['salt', `event ${erasure.seq} erased it, and its salt is still there`]
  }
  if (row.text === null) return ['text', 'it is gone, and no event says that it was erased']
  if (row.salt === null || !saltForm.test(row.salt)) return ['salt', 'it is not 32 lower-case hex digits']
  // A table that was made anew without its types gives whatever was put into it.
  if (typeof row.text !== 'string' || row.textBytes !== Buffer.byteLength(row.text)) return ['text', 'it is not UTF-8']
  if (commitPayload(row.salt, row.text) === commitment.commitment) return undefined
  return ['text', `text and salt do not match what event ${commitment.seq} commits to`]
}
