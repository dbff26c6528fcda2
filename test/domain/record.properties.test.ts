import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { eventHash } from '../../src/domain/audit.ts'
import { canonicalJson } from '../../src/domain/json.ts'
import { checkRecord, recordInstance, storedRows, type StoredRecord } from './recorded-instance.ts'

const bounds = { seed: 20260101, numRuns: 2000 }

/** Is handed the honest record too, so that a planted bug can look away from what was changed. */
type Check = (record: StoredRecord, honest: StoredRecord) => unknown

interface Mutation {
  readonly table: 'events' | 'checkpoints' | 'payloads' | 'tasks'
  readonly act: 'change' | 'remove' | 'copy' | 'swap' | 'forge'
  /** Which row, and which other one. */
  readonly row: number
  readonly other: number
  readonly column: number
}

const story = fc.record({
  steps: fc.integer({ min: 1, max: 6 }),
  ending: fc.constantFrom('running', 'completed', 'held', 'decided', 'referred', 'failed', 'retried'),
  erased: fc.boolean(),
} as const)

const tables = ['events', 'checkpoints', 'payloads', 'tasks'] as const
const acts = ['change', 'remove', 'copy', 'swap', 'forge'] as const

function mutations(of: readonly Mutation['table'][] = tables, by: readonly Mutation['act'][] = acts) {
  const place = fc.nat({ max: 1000 })
  return fc.record({
    table: fc.constantFrom(...of),
    act: fc.constantFrom(...by),
    row: place,
    other: place,
    column: place,
  })
}

type AnyRow = Record<string, string | number | null>

/** No columns of their own, or where a row stands among others and whose it is: the tests of real files move those. */
const passedOver = new Set(['entry', 'instanceId', 'envelopeBytes', 'textBytes'])
const keyOf = { events: 'seq', checkpoints: 'stepNo', payloads: 'payloadId', tasks: 'taskId' } as const
const taskColumns = [
  'taskId',
  'tier',
  'queue',
  'status',
  'submittedBy',
  'barred',
  'openedAtMs',
  'escalatedAtMs',
  'decision',
  'decidedBy',
  'decidedAtMs',
  'decisionPayloadId',
]

/** One change to one table, or undefined when it would change nothing. */
function mutate(record: StoredRecord, { table, act, row, other, column }: Mutation): StoredRecord | undefined {
  const rows = record[table] as unknown as readonly AnyRow[]
  if (rows.length === 0) return undefined
  const [here, there] = [row % rows.length, other % rows.length]
  const put = (changed: readonly AnyRow[]) => ({ ...record, [table]: changed }) as StoredRecord
  const replaced = (index: number, by: AnyRow) => rows.map((item, place) => (place === index ? by : item))

  if (act === 'remove') return put(rows.filter((_, place) => place !== here))
  if (act === 'copy') {
    const key = keyOf[table]
    const fresh = typeof rows[here]![key] === 'number' ? rows.length + 1 : `${rows[here]![key]}-copy`
    return put([...rows, { ...rows[here]!, [key]: fresh, entry: 1000 }])
  }
  if (act === 'swap') {
    if (here === there) return undefined
    const key = keyOf[table]
    const places = (of: AnyRow) => ({ [key]: of[key]!, entry: of.entry ?? 0 })
    const moved = replaced(here, { ...rows[there]!, ...places(rows[here]!) })
    moved[there] = { ...rows[here]!, ...places(rows[there]!) }
    return put(moved)
  }
  if (act === 'forge') return table === 'events' ? put(replaced(here, forged(rows[here]!))) : undefined
  const columns = (table === 'tasks' ? taskColumns : Object.keys(rows[here]!)).filter((name) => !passedOver.has(name))
  const name = columns[column % columns.length]!
  return put(replaced(here, { ...rows[here]!, [name]: otherThan(rows[here]![name]!) }))
}

/** Another actor, with everything put right that stands in the same row. */
function forged(event: AnyRow): AnyRow {
  const envelope = canonicalJson({ ...(JSON.parse(String(event.envelope)) as object), actor: 'mallory' })
  return { ...event, envelope, envelopeBytes: Buffer.byteLength(envelope), hash: eventHash(envelope) }
}

function otherThan(value: string | number | null): string | number {
  if (value === null) return 7
  return typeof value === 'number' ? value + 1 : `${value.slice(0, -1)}${value.endsWith('0') ? '1' : '0'}`
}

function anyChangeIsFound(check: Check, mutation: fc.Arbitrary<Mutation> = mutations()): void {
  fc.assert(
    fc.property(story, mutation, (told, change) => {
      const honest = storedRows(recordInstance(told))
      assert.equal(check(honest, honest), undefined)
      const changed = mutate(honest, change)
      if (changed) assert.ok(check(changed, honest), `not found: ${JSON.stringify(change)}`)
    }),
    bounds,
  )
}

test('any one change to events, checkpoints, payloads or tasks of any record is found', () => {
  anyChangeIsFound(checkRecord)
})

test('the property fails for a check that does not mind two events that changed places', () => {
  const inOrder: Check = (record) => {
    const seqOf = (envelope: string) => Number(/"seq":(\d+)/.exec(envelope)?.[1])
    const entries = record.events.map(({ entry }) => entry)
    const sorted = record.events.toSorted((a, b) => seqOf(a.envelope) - seqOf(b.envelope))
    const events = sorted.map((event, index) => ({ ...event, seq: seqOf(event.envelope), entry: entries[index]! }))
    return checkRecord({ ...record, events })
  }
  assert.throws(() => anyChangeIsFound(inOrder, mutations(['events'], ['swap'])), /Property failed/)
})

test('the property fails for a check that skips the hash of payloads', () => {
  const trusting: Check = (record, honest) => {
    const texts = new Map(honest.payloads.map((payload) => [payload.payloadId, payload]))
    const payloads = record.payloads.map((payload) => {
      const { text, textBytes, salt } = texts.get(payload.payloadId) ?? payload
      return { ...payload, text, textBytes, salt }
    })
    return checkRecord({ ...record, payloads })
  }
  assert.throws(() => anyChangeIsFound(trusting, mutations(['payloads'], ['swap'])), /Property failed/)
})

test('the property fails for a check that hashes nothing', () => {
  const rehashed: Check = (record) => {
    const events = record.events.map((event) => ({ ...event, hash: eventHash(event.envelope) }))
    return checkRecord({ ...record, events })
  }
  assert.throws(() => anyChangeIsFound(rehashed), /Property failed/)
})

test('the property fails for a check that does not look at the head', () => {
  const headless: Check = (record) => {
    const last = record.events.at(-1) ?? { seq: 0, hash: '' }
    const ending = { auditSeq: last.seq, auditHead: last.hash }
    const working = { workAuditSeq: last.seq, workAuditHead: last.hash }
    return checkRecord({
      ...record,
      instance: { ...record.instance, ...(record.instance.workAuditSeq === null ? ending : working) },
    })
  }
  assert.throws(() => anyChangeIsFound(headless, mutations(['events'], ['forge'])), /Property failed/)
})
