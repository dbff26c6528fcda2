import { type AuditEventType, type ChainHead, eventHash, genesisHash, type PayloadReference } from './audit.ts'

/** What can be wrong with a record. */
export const faults = [
  'changed',
  'missing',
  'reordered',
  'inserted',
  'payload_differs',
  'checkpoint_differs',
  'head_differs',
] as const
export type Fault = (typeof faults)[number]

/** The first bad thing of one instance. */
export interface RecordFinding {
  /** Sequence number of the event concerned; unset where none is. */
  readonly seq: number | undefined
  readonly what: Fault
  /** Table, and column where one is to blame. */
  readonly where: string
  readonly detail: string
}

/** A row of `audit_events` as it is stored, whoever wrote it. */
export interface StoredEvent {
  readonly entry: number
  readonly instanceId: string
  readonly seq: number
  readonly type: string
  readonly atMs: number
  readonly payloadId: string | null
  readonly envelope: string
  /** Length of the envelope as stored: differs from that of `envelope` when the bytes are not UTF-8. */
  readonly envelopeBytes: number
  readonly prevHash: string
  readonly hash: string
}

/** An envelope as read back. What it says was vouched for by the hash; the columns beside it were not. */
export interface Envelope {
  readonly actor: string
  readonly at: number
  readonly checkpoint?: string
  readonly definition: string
  readonly facts?: Readonly<Record<string, unknown>>
  readonly instance: string
  readonly model?: string
  readonly payload?: PayloadReference
  readonly prev: string
  readonly seq: number
  readonly simulated?: true
  readonly step?: string
  readonly tier?: string
  readonly type: AuditEventType
  readonly v: 1
}

/** The head as the tables state it, and the table that states it. */
export interface StatedHead extends ChainHead {
  readonly table: 'instances' | 'work'
}

interface Link {
  readonly row: StoredEvent
  readonly hash: string
  /** Unset when the text is not an envelope. */
  readonly envelope: Envelope | undefined
}

/**
 * Follows one chain from its beginning. Give it every event in the order of `seq`, then `end`; `accepted` hears of each
 * event that is whole, until the first that is not. Each event is judged when the next one is known: where two disagree,
 * the one that its successor (or the head) vouches for is believed.
 */
export class ChainCheck {
  finding: RecordFinding | undefined
  /** The last event that was whole. */
  private last: Link | undefined
  private pending: Link | undefined
  /** The place whose event was not there: gone, or found further on. */
  private vacant: number | undefined
  private readonly instanceId: string
  private readonly stated: StatedHead | undefined
  private readonly accepted: (envelope: Envelope) => void

  constructor(instanceId: string, stated: StatedHead | undefined, accepted: (envelope: Envelope) => void) {
    this.instanceId = instanceId
    this.stated = stated
    this.accepted = accepted
  }

  add(row: StoredEvent): void {
    const link = { row, hash: eventHash(row.envelope), envelope: readEnvelope(row.envelope) }
    if (this.pending) this.judge(this.pending, link)
    this.pending = link
  }

  end(): RecordFinding | undefined {
    if (this.pending) this.judge(this.pending, undefined)
    this.pending = undefined
    this.finding ??= this.faultOfHead()
    return this.finding
  }

  /** The last event that was whole. */
  get head(): ChainHead | undefined {
    return this.last && { seq: this.last.row.seq, hash: this.last.hash }
  }

  private judge(link: Link, next: Link | undefined): void {
    if (this.finding) return this.lookForVacant(link)
    this.finding = this.faultOfPlace(link) ?? this.faultOfLink(link, next) ?? this.faultOfColumns(link)
    if (this.finding) return this.lookForVacant(link)
    this.last = link
    this.accepted(link.envelope!)
  }

  private faultOfPlace(link: Link): RecordFinding | undefined {
    const { row } = link
    const expected = this.nextSeq
    if (row.seq === expected) return undefined
    if (row.seq > expected) return this.vacancy(expected)
    if (this.isEvent(link, expected)) return misplaced(expected, row.seq)
    return fault(row.seq, 'inserted', 'audit_events', `no event can have the number ${row.seq} after ${expected - 1}`)
  }

  private faultOfLink(link: Link, next: Link | undefined): RecordFinding | undefined {
    const { row, hash, envelope } = link
    const vouched = next ? next.envelope?.prev : this.stated?.hash
    if (hash !== row.hash && vouched === hash) {
      return fault(row.seq, 'changed', 'audit_events.hash', `the envelope's hash is ${hash}`)
    }
    if (hash !== row.hash) {
      return fault(row.seq, 'changed', 'audit_events.envelope', `its hash is ${hash}, not ${row.hash}`)
    }
    if (!envelope || row.envelopeBytes !== Buffer.byteLength(row.envelope)) {
      return fault(row.seq, 'changed', 'audit_events.envelope', 'it is not an event of format 1')
    }
    if (envelope.instance !== this.instanceId) {
      return fault(row.seq, 'inserted', 'audit_events', `the event belongs to instance ${envelope.instance}`)
    }
    if (envelope.seq > row.seq) return this.vacancy(row.seq)
    if (envelope.seq < row.seq) return this.intruder(row.seq, envelope)
    const before = this.last?.hash ?? genesisHash(this.instanceId)
    if (envelope.prev === before) return undefined
    const culprit = this.last && vouched === hash ? this.last.row.seq : row.seq
    const detail = `event ${row.seq} follows an event with the hash ${envelope.prev}; the one before it has ${before}`
    return fault(culprit, 'changed', 'audit_events.envelope', detail)
  }

  private faultOfColumns({ row, envelope }: Link): RecordFinding | undefined {
    const said = envelope!
    const changed = (column: string, states: unknown, says: unknown) =>
      fault(row.seq, 'changed', `audit_events.${column}`, `the column has ${states}, the envelope says ${says}`)
    if (row.prevHash !== said.prev) return changed('prev_hash', row.prevHash, said.prev)
    if (row.type !== said.type) return changed('type', row.type, said.type)
    if (row.atMs !== said.at) return changed('at_ms', row.atMs, said.at)
    const payloadId = said.payload?.id ?? null
    if (row.payloadId !== payloadId) return changed('payload_id', row.payloadId, payloadId)
    const before = this.last?.row.entry ?? 0
    if (row.entry <= before) {
      return fault(row.seq, 'reordered', 'audit_events.entry', `entry ${row.entry} comes after entry ${before}`)
    }
    if (this.stated && row.seq > this.stated.seq) {
      return fault(row.seq, 'inserted', 'audit_events', `the chain ends with event ${this.stated.seq} by its head`)
    }
    return undefined
  }

  private faultOfHead(): RecordFinding | undefined {
    const { stated: head, last } = this
    if (!head) return undefined
    const hash = last?.hash ?? genesisHash(this.instanceId)
    const seq = last?.row.seq ?? 0
    if (head.seq === seq && head.hash === hash) return undefined
    if (head.seq === seq) {
      return fault(
        seq,
        'head_differs',
        `${head.table}.audit_head`,
        `the last event has the hash ${hash}, not ${head.hash}`,
      )
    }
    if (head.hash === hash) {
      return fault(seq, 'head_differs', `${head.table}.audit_seq`, `the last event is ${seq}, not ${head.seq}`)
    }
    return fault(
      seq + 1,
      'missing',
      'audit_events',
      `the chain ends with event ${seq}; its head names event ${head.seq}`,
    )
  }

  /** An event whose envelope names an earlier place: a copy, or one that claims a place that is taken. */
  private intruder(seq: number, envelope: Envelope): RecordFinding {
    const { last } = this
    if (last && envelope.seq === last.row.seq && envelope.prev === last.envelope!.prev) {
      const detail = `two events claim to be event ${envelope.seq} and to follow the same one`
      return fault(envelope.seq, 'inserted', 'audit_events', detail)
    }
    return fault(seq, 'inserted', 'audit_events', `at the place of event ${seq} stands event ${envelope.seq}`)
  }

  private vacancy(seq: number): RecordFinding {
    this.vacant = seq
    return fault(seq, 'missing', 'audit_events', `event ${seq} is not there`)
  }

  /** The event that was not at its place stands at another one: it was moved, not removed. */
  private lookForVacant(link: Link): void {
    if (this.vacant === undefined || !this.isEvent(link, this.vacant)) return
    this.finding = misplaced(this.vacant, link.row.seq)
    this.vacant = undefined
  }

  /** Whether this is the event of that number, wherever it stands. */
  private isEvent({ row, hash, envelope }: Link, seq: number): boolean {
    return envelope?.seq === seq && envelope.instance === this.instanceId && hash === row.hash
  }

  private get nextSeq(): number {
    return (this.last?.row.seq ?? 0) + 1
  }
}

function misplaced(seq: number, place: number): RecordFinding {
  return fault(seq, 'reordered', 'audit_events.seq', `event ${seq} stands at the place of event ${place}`)
}

/** Reads an envelope; undefined when the text is not one. Its hash says whether it is the one that was written. */
export function readEnvelope(text: string): Envelope | undefined {
  let value: Partial<Record<keyof Envelope, unknown>> | null
  try {
    value = JSON.parse(text) as typeof value
  } catch {
    return undefined
  }
  if (value === null || value.v !== 1 || typeof value.instance !== 'string' || typeof value.prev !== 'string')
    return undefined
  if (typeof value.type !== 'string' || typeof value.definition !== 'string' || typeof value.actor !== 'string')
    return undefined
  if (!Number.isSafeInteger(value.seq) || !Number.isSafeInteger(value.at)) return undefined
  if (value.payload !== undefined && !isPayloadReference(value.payload)) return undefined
  if (value.facts !== undefined && (typeof value.facts !== 'object' || value.facts === null)) return undefined
  return value as Envelope
}

function isPayloadReference(value: unknown): boolean {
  const { id, kind, commitment } = (value ?? {}) as Partial<PayloadReference>
  return typeof id === 'string' && typeof kind === 'string' && typeof commitment === 'string'
}

export function fault(seq: number | undefined, what: Fault, where: string, detail: string): RecordFinding {
  return { seq, what, where, detail }
}
