import { setImmediate as nextTurn } from 'node:timers/promises'
import { definitionHash } from '../cognition/definition.ts'
import type { ChainHead } from '../domain/audit.ts'
import { RecordCheck, type StoredInstance } from '../domain/record.ts'
import { CoreError } from '../errors.ts'
import type { Backend, Reader } from '../storage/backend.ts'
import { readDefinition } from '../storage/definitions.ts'
import { readMeta } from '../storage/meta.ts'
import {
  type InstanceRange,
  pageCheckpoints,
  pageEvents,
  pageInstances,
  pagePayloads,
  pageTasks,
} from '../storage/verification.ts'
import type { VerifyFinding, VerifyProgress, VerifyReport } from './core.ts'
import { compareText, RecordRows } from './record-rows.ts'
import { shareOut, verifyInThread } from './verification-threads.ts'

export interface VerifyOptions {
  /** Only this instance. */
  readonly instanceId?: string
  readonly onProgress?: (done: VerifyProgress) => void
  /** At most this many findings are listed; the verdict counts them all. */
  readonly findingsLimit?: number
}

/** Instances that are checked on one snapshot; between two of them others get their turn. */
const batchInstances = 200

const defaultFindingsLimit = 100

/** What no check of the store alone can show, said with every verdict. */
export const cannotShow: readonly string[] = [
  'a case that was removed with all of its rows',
  'the end of a chain that was cut together with its head and all that belongs to it',
  'a chain that was written anew from some event to its end, hashes and head included',
  'entry numbers that were shifted without changing the order of the events of a case',
  'columns of instances that no event is compared with: correlation_id, updated_at_ms, ended_at_ms',
  'columns of work that no event is compared with: state, priority, due_ms, token, claimed_by, claimed_at_ms, attempt, cancel_requested, and step until a step is recorded',
  'columns of tasks that no event is compared with: escalation_queue, because, due_ms, claimed_by, claimed_until_ms, decision_digest',
  'other tables: submission_keys with its digests, work_orders, workers, meta beside its mark of a simulation',
  'whether what was recorded was true when it was recorded',
]

/**
 * Checks the record from the stored rows alone: each chain, and everything that hangs on it. Instances are independent of
 * each other, so each batch has a snapshot of its own, a store may go on working meanwhile, and a large store is shared
 * out among threads. Memory holds a page of rows per table and, for the one instance at hand, what its events commit to.
 */
export async function verifyStore(backend: Backend, options: VerifyOptions = {}): Promise<VerifyReport> {
  const startedAt = performance.now()
  const { instanceId, findingsLimit = defaultFindingsLimit, onProgress } = options
  const simulated = (await readMeta(backend)).simulated === true
  const parts =
    instanceId === undefined
      ? await verifyAll(backend, simulated, findingsLimit, onProgress)
      : [await verifyRange(backend, { only: instanceId }, { simulated, findingsLimit })]
  const { head, ...whole } = joinParts(parts)
  if (instanceId !== undefined && whole.instances === 0 && whole.valid) {
    throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
  }
  return {
    ...whole,
    head: instanceId === undefined ? undefined : head,
    findings: whole.findings.slice(0, findingsLimit),
    simulated,
    cannotShow,
    elapsedMs: Math.round(performance.now() - startedAt),
  }
}

async function verifyAll(
  backend: Backend,
  simulated: boolean,
  findingsLimit: number,
  onProgress: VerifyOptions['onProgress'],
): Promise<VerifyPart[]> {
  const ranges = await shareOut(backend)
  const done = ranges.map(() => ({ instances: 0, events: 0 }))
  const each = ranges.map((range, index) => {
    const options: RangeOptions = {
      simulated,
      findingsLimit,
      onProgress: (progress) => {
        done[index] = progress
        onProgress?.({ instances: sum(done, 'instances'), events: sum(done, 'events') })
      },
    }
    return ranges.length === 1
      ? verifyRange(backend, range, options)
      : verifyInThread(backend.fileForReaders!, range, options)
  })
  return await Promise.all(each)
}

/** What one range of instances came to. */
export interface VerifyPart {
  readonly valid: boolean
  readonly instances: number
  readonly events: number
  readonly checkpoints: number
  readonly payloads: number
  readonly erasedPayloads: number
  readonly findings: readonly VerifyFinding[]
  readonly head: ChainHead | undefined
}

export interface RangeOptions {
  readonly simulated: boolean
  readonly findingsLimit: number
  readonly onProgress?: (done: VerifyProgress) => void
}

/** Checks the instances of one range, batch by batch. */
export async function verifyRange(backend: Backend, range: InstanceRange, options: RangeOptions): Promise<VerifyPart> {
  const verification = new Verification(options)
  if ('only' in range) await backend.read((reader) => verification.checkRange(reader, range))
  else {
    let after = range.after
    for (;;) {
      const next = await backend.read((reader) => verification.checkBatch(reader, after, range.until))
      if (next === undefined) break
      after = next
      // Others get their turn, on this thread and on this connection.
      await nextTurn()
    }
  }
  return verification.part()
}

function joinParts(parts: readonly VerifyPart[]): VerifyPart {
  return {
    valid: parts.every(({ valid }) => valid),
    instances: sum(parts, 'instances'),
    events: sum(parts, 'events'),
    checkpoints: sum(parts, 'checkpoints'),
    payloads: sum(parts, 'payloads'),
    erasedPayloads: sum(parts, 'erasedPayloads'),
    findings: parts.flatMap(({ findings }) => findings),
    head: parts[0]?.head,
  }
}

function sum<K extends string>(parts: readonly Readonly<Record<K, number>>[], key: K): number {
  return parts.reduce((total, part) => total + part[key], 0)
}

class Verification {
  private readonly options: RangeOptions
  /** Definitions met so far: whether the text has the hash it goes by. One that is not there is not in the map. */
  private readonly definitions = new Map<string, boolean>()
  private readonly counts = { instances: 0, events: 0, checkpoints: 0, payloads: 0, erasedPayloads: 0 }
  private readonly findings: VerifyFinding[] = []
  private isValid = true
  private head: ChainHead | undefined

  constructor(options: RangeOptions) {
    this.options = options
  }

  part(): VerifyPart {
    const { counts, findings, isValid: valid, head } = this
    return { valid, ...counts, findings, head }
  }

  /** Returns the last instance of the batch, or undefined when it was the range's last. */
  async checkBatch(reader: Reader, after: string | undefined, until: string | undefined): Promise<string | undefined> {
    const instances = await pageInstances(reader, { after, until }, undefined, batchInstances)
    const isLast = instances.length < batchInstances
    const end = isLast ? until : instances.at(-1)!.instanceId
    await this.checkRange(reader, { after, until: end })
    return isLast ? undefined : end
  }

  /** Walks the tables side by side, each in the order of its instances. */
  async checkRange(reader: Reader, range: InstanceRange): Promise<void> {
    const instances = new RecordRows(reader, range, pageInstances)
    const events = new RecordRows(reader, range, pageEvents)
    const checkpoints = new RecordRows(reader, range, pageCheckpoints)
    const payloads = new RecordRows(reader, range, pagePayloads)
    const tasks = new RecordRows(reader, range, pageTasks)
    const tables = [instances, events, checkpoints, payloads, tasks]
    for (;;) {
      const instanceId = await firstInstance(tables)
      if (instanceId === undefined) break
      let instance: StoredInstance | undefined
      await instances.take(instanceId, (row) => (instance = row))
      if (instance) await this.meetDefinition(reader, instance.definitionHash)

      const { definitions } = this
      const { simulated } = this.options
      const check = new RecordCheck(instanceId, instance, { simulated, definitions })
      await events.take(instanceId, (row) => check.event(row))
      check.endOfEvents()
      await checkpoints.take(instanceId, (row) => check.checkpoint(row))
      await payloads.take(instanceId, (row) => {
        if (row.erasedAtMs !== null) this.counts.erasedPayloads += 1
        check.payload(row)
      })
      await tasks.take(instanceId, (row) => check.task(row))
      this.conclude(instanceId, check)
    }
    this.counts.instances += instances.count
    this.counts.events += events.count
    this.counts.checkpoints += checkpoints.count
    this.counts.payloads += payloads.count
    this.options.onProgress?.({ instances: this.counts.instances, events: this.counts.events })
  }

  private async meetDefinition(reader: Reader, hash: string): Promise<void> {
    if (this.definitions.has(hash)) return
    const text = await readDefinition(reader, hash)
    if (text !== undefined) this.definitions.set(hash, definitionHash(text) === hash)
  }

  private conclude(instanceId: string, check: RecordCheck): void {
    const finding = check.finish()
    this.head = check.head
    if (!finding) return
    this.isValid = false
    if (this.findings.length < this.options.findingsLimit) {
      this.findings.push({ instanceId, ...finding })
    }
  }
}

async function firstInstance(
  tables: readonly Pick<RecordRows<StoredInstance>, 'nextInstance'>[],
): Promise<string | undefined> {
  let first: string | undefined
  for (const table of tables) {
    const instanceId = await table.nextInstance()
    if (instanceId === undefined) continue
    if (first === undefined || compareText(instanceId, first) < 0) first = instanceId
  }
  return first
}
