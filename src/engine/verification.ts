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
  'columns that no event states, such as queues and due times',
  'whether what was recorded was true when it was recorded',
]

/**
 * Checks the record from the stored rows alone: each chain, and everything that hangs on it. Instances are independent of
 * each other, so each batch has a snapshot of its own and a store may go on working meanwhile. Memory holds a page of
 * rows per table and, for the one instance at hand, what its events commit to.
 */
export async function verifyStore(backend: Backend, options: VerifyOptions = {}): Promise<VerifyReport> {
  const startedAt = performance.now()
  const verification = new Verification(backend, options)
  await verification.run()
  return { ...verification.report(), elapsedMs: Math.round(performance.now() - startedAt) }
}

class Verification {
  private readonly backend: Backend
  private readonly options: VerifyOptions
  /** Definitions met so far: whether the text has the hash it goes by. One that is not there is not in the map. */
  private readonly definitions = new Map<string, boolean>()
  private simulated = false
  private readonly counts = { instances: 0, events: 0, checkpoints: 0, payloads: 0, erasedPayloads: 0 }
  private readonly findings: VerifyFinding[] = []
  private isValid = true
  private head: ChainHead | undefined

  constructor(backend: Backend, options: VerifyOptions) {
    this.backend = backend
    this.options = options
  }

  async run(): Promise<void> {
    const { instanceId } = this.options
    this.simulated = (await this.backend.read(readMeta)).simulated === true
    if (instanceId !== undefined) {
      await this.backend.read((reader) => this.checkRange(reader, { only: instanceId }))
      if (this.counts.instances === 0 && this.isValid) throw new CoreError('CC_ERR_UNKNOWN_CASE', { instanceId })
      return
    }
    let after: string | undefined
    do {
      after = await this.backend.read((reader) => this.checkBatch(reader, after))
      await nextTurn()
    } while (after !== undefined)
  }

  report(): Omit<VerifyReport, 'elapsedMs'> {
    const { simulated, counts, findings, isValid: valid, head } = this
    return { valid, simulated, ...counts, head, findings, cannotShow }
  }

  /** Returns the last instance of the batch, or undefined when nothing can come after it. */
  private async checkBatch(reader: Reader, after: string | undefined): Promise<string | undefined> {
    const instances = await pageInstances(reader, { after, until: undefined }, undefined, batchInstances)
    const until = instances.length < batchInstances ? undefined : instances.at(-1)!.instanceId
    await this.checkRange(reader, { after, until })
    return until
  }

  /** Walks the tables side by side, each in the order of its instances. */
  private async checkRange(reader: Reader, range: InstanceRange): Promise<void> {
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

      const { simulated, definitions } = this
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
    if (this.options.instanceId !== undefined) this.head = check.head
    if (!finding) return
    this.isValid = false
    if (this.findings.length < (this.options.findingsLimit ?? defaultFindingsLimit)) {
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
