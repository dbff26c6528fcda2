import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { hash } from 'node:crypto'
import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import type { RecordFinding } from '../../src/domain/chain.ts'
import { exportCannotShow } from '../../src/domain/export.ts'
import { canonicalJson } from '../../src/domain/json.ts'
import {
  type ExportedCase,
  type ExportedRow,
  exportedTables,
  exportRecord,
  exportStory,
} from '../domain/exported-instance.ts'
import { checkRecord, recordInstance, storedRows, type StoredRecord, type Story } from '../domain/recorded-instance.ts'

interface Report {
  readonly finding: RecordFinding | undefined
  readonly head: { readonly seq: number; readonly hash: string }
}

const tool = join(import.meta.dirname, '../../tools/verify-export.mjs')
const { cannotShow, verifyExport } = (await import(tool)) as {
  cannotShow: readonly string[]
  verifyExport: (bytes: Uint8Array) => Report
}

const folder = mkdtempSync(join(tmpdir(), 'export-'))
after(() => rmSync(folder, { recursive: true }))

const whole: Story = { steps: 3, ending: 'decided', erased: true }
const referred: Story = { steps: 3, ending: 'referred', erased: true }

function judge(exported: unknown): string {
  return shortly(verifyExport(Buffer.from(JSON.stringify(exported))).finding)
}

function shortly(finding: RecordFinding | undefined): string {
  return finding ? `${finding.seq ?? '-'} ${finding.what} ${finding.where}` : 'whole'
}

/** Runs the tool by itself, in a folder that has nothing else. */
function run(text: string | Uint8Array | undefined): { exit: number | null; out: string; err: string } {
  copyFileSync(tool, join(folder, 'verify-export.mjs'))
  if (text !== undefined) writeFileSync(join(folder, 'case.json'), text)
  const file = text === undefined ? 'nothing.json' : 'case.json'
  const { status, stdout, stderr } = spawnSync(process.execPath, ['verify-export.mjs', file], { cwd: folder })
  return { exit: status, out: stdout.toString(), err: stderr.toString() }
}

for (const ending of ['running', 'completed', 'held', 'decided', 'referred', 'failed', 'retried'] as const) {
  for (const erased of [false, true]) {
    test(`the export of a case that is ${ending}${erased ? ' and partly erased' : ''} is whole`, () => {
      assert.equal(judge(exportStory({ steps: 3, ending, erased })), 'whole')
      assert.equal(judge(exportStory({ steps: 1, ending, erased })), 'whole')
    })
  }
}

/** The events that may be named when this row is wrong: its own, or the one that commits to it. */
function eventsOf(exported: ExportedCase, table: string, row: ExportedRow): unknown[] {
  if (table === 'audit_events') return [row.seq]
  const envelopes = exported.audit_events.map(({ envelope }) => JSON.parse(String(envelope)) as EnvelopeText)
  const refersTo = ({ payload, checkpoint, facts }: EnvelopeText, index: number) =>
    table === 'payloads'
      ? payload?.id === row.payload_id
      : table === 'tasks'
        ? facts?.task === row.task_id
        : checkpoint !== undefined && envelopes.slice(0, index + 1).filter((e) => e.checkpoint).length === row.step_no
  return envelopes.filter(refersTo).map(({ seq }) => seq)
}

interface EnvelopeText {
  readonly seq: number
  readonly payload?: { readonly id: string }
  readonly checkpoint?: string
  readonly facts?: { readonly task?: string }
}

/** Everything that can be done to one field of one row; each variant is the row with that field changed. */
function* variants(
  row: ExportedRow,
  column: string,
  neighbour: ExportedRow | undefined,
): Generator<[string, ExportedRow]> {
  const value = row[column]
  const { [column]: _, ...without } = row
  yield ['removed', without]
  yield ['made a list', { ...row, [column]: [value] }]
  // A later entry that stays in order is one of the things that no check of one case can show.
  if (typeof value === 'number') yield ['changed', { ...row, [column]: column === 'entry' ? 0 : value + 1 }]
  if (typeof value === 'string')
    yield ['changed', { ...row, [column]: `${value.slice(0, -1)}${value.endsWith('0') ? 1 : 0}` }]
  if (typeof value === 'string') yield ['emptied', { ...row, [column]: '' }]
  if (typeof value === 'boolean') yield ['changed', { ...row, [column]: !value }]
  if (value !== null) yield ['made null', { ...row, [column]: null }]
  else yield ['filled', { ...row, [column]: 'x' }]
  if (value === null) yield ['filled with a number', { ...row, [column]: 7 }]
  if (neighbour && neighbour[column] !== value && column !== 'entry') {
    yield ['taken from its neighbour', { ...row, [column]: neighbour[column] }]
  }
}

test('every field of every row that is changed, emptied or removed is found, and its event is named', () => {
  let count = 0
  for (const [table, story] of exportedTables.flatMap((table) => [
    [table, whole] as const,
    [table, referred] as const,
  ])) {
    const exported = exportStory(story)
    const rows = exported[table]
    assert.ok(rows.length > 0)
    for (const [index, row] of rows.entries()) {
      for (const column of Object.keys(row)) {
        for (const [how, changed] of variants(row, column, rows[index + 1] ?? rows[index - 1])) {
          const verdict = judge({ ...exported, [table]: rows.map((other) => (other === row ? changed : other)) })
          const [seq, , where = ''] = verdict.split(' ')
          const context = `${table}[${index}].${column} ${how}: ${verdict}`
          assert.ok([...eventsOf(exported, table, row), changed.seq].map(String).includes(seq!), context)
          assert.ok(where.split('.')[0] === table, context)
          count += 1
        }
      }
    }
  }
  assert.ok(count > 800, String(count))
})

test('every field of the instance, of its head and of its definition that the chain states is compared with it', () => {
  const unstated = new Set(['correlation_id', 'updated_at_ms', 'ended_at_ms'])
  const running: Story = { steps: 2, ending: 'running' }
  for (const [part, story] of [
    ['instances', whole],
    ['instances', referred],
    ['work', { steps: 2, ending: 'retried' }],
    ['definition', whole],
    ['work', running],
  ] as const) {
    const exported = exportStory(story)
    const row = exported[part]!
    for (const column of Object.keys(row).filter((name) => !unstated.has(name))) {
      for (const [how, changed] of variants(row, column, undefined)) {
        const [seq, , where = ''] = judge({ ...exported, [part]: changed }).split(' ')
        const context = `${part}.${column} ${how}: ${where}`
        assert.notEqual(seq, 'whole', context)
        assert.match(where, new RegExp(`^(${part}|audit_events|meta)`), context)
      }
    }
  }
})

test('every row that is removed, doubled, swapped with another or inserted is found', () => {
  for (const table of exportedTables) {
    const exported = exportStory({ ...whole, steps: 4 })
    const rows = exported[table]
    const key = { audit_events: 'seq', checkpoints: 'step_no', payloads: 'payload_id', tasks: 'task_id' }[table]
    for (const [index, row] of rows.entries()) {
      const removed = judge({ ...exported, [table]: rows.filter((other) => other !== row) })
      assert.equal(removed, `${String(eventsOf(exported, table, row)[0])} missing ${table}`)
      const doubled = judge({ ...exported, [table]: [...rows.slice(0, index), row, ...rows.slice(index)] })
      assert.match(doubled, new RegExp(`inserted ${table}`))
      const strange = judge({
        ...exported,
        [table]: [...rows, { ...row, [key]: typeof row[key] === 'number' ? 99 : 'strange' }],
      })
      assert.notEqual(strange, 'whole')
      const noted = judge({
        ...exported,
        [table]: rows.map((other) => (other === row ? { ...row, note: 'paid' } : other)),
      })
      assert.match(noted, new RegExp(`inserted ${table}.note`))
      for (const other of rows.slice(index + 1)) {
        const places = ({ [key]: place, entry }: ExportedRow) => ({
          [key]: place,
          ...(entry === undefined ? {} : { entry }),
        })
        const swapped = rows.map((item) =>
          item === row ? { ...other, ...places(row) } : item === other ? { ...row, ...places(other) } : item,
        )
        const verdict = judge({ ...exported, [table]: swapped })
        assert.ok(verdict.startsWith(`${String(eventsOf(exported, table, row)[0])} `), verdict)
      }
    }
  }
})

test('events that stand in another order in the file are reordered', () => {
  const exported = exportStory(whole)
  const [first, second, third, ...others] = exported.audit_events
  assert.equal(judge({ ...exported, audit_events: [first, third, second, ...others] }), '2 reordered audit_events.seq')
})

test('what belongs to no table is found too', () => {
  const exported = exportStory(whole)
  assert.equal(judge({ ...exported, note: 'paid' }), '- inserted note')
  assert.equal(judge({ ...exported, simulated: false }), '1 changed meta.simulated')
  assert.equal(judge({ ...exported, instance_id: 'other' }), '1 inserted audit_events')
  assert.equal(judge({ ...exported, definition: null }), '1 missing definitions')
  assert.equal(judge({ ...exported, instances: null }), '1 missing instances')
  assert.equal(judge({ ...exported, audit_events: [] }), '1 missing audit_events')
  const exportedWork = { definition_hash: 'x', step: 'x', run: 1, step_no: 1, audit_seq: 1, audit_head: 'x' }
  assert.equal(judge({ ...exported, work: exportedWork }), '2 inserted audit_events')
})

test('half of a surrogate pair is not taken for the character that has the same bytes', () => {
  const exported = exportStory(whole)
  const [input, ...others] = exported.payloads
  const text = String(input!.text).replace('\u{FFFD}', '\u{D800}')
  assert.deepEqual(Buffer.from(text), Buffer.from(String(input!.text)))
  assert.equal(judge({ ...exported, payloads: [{ ...input, text }, ...others] }), '1 payload_differs payloads.text')
})

/** Writes events anew from this one on, each with its hash, as somebody with the whole file could. */
function forge(exported: ExportedCase, from: number, to: number, change: object): ExportedRow[] {
  let prev: string | undefined
  return exported.audit_events.map((event, index) => {
    if (index < from || index > to) return event
    const said = { ...(JSON.parse(String(event.envelope)) as object), ...(index === from ? change : {}) }
    const envelope = canonicalJson(prev === undefined ? said : { ...said, prev })
    const forged = { ...event, prev_hash: (JSON.parse(envelope) as { prev: string }).prev, envelope }
    prev = hash('sha256', `cc/event/v1\n${envelope}`)
    return { ...forged, hash: prev }
  })
}

test('an event that was rewritten with its hash is named, not its successor', () => {
  const exported = exportStory({ steps: 3, ending: 'completed' })
  const last = exported.audit_events.length - 1
  for (const index of exported.audit_events.keys()) {
    const verdict = judge({ ...exported, audit_events: forge(exported, index, index, { actor: 'mallory' }) })
    const expected = index === last ? 'head_differs instances.audit_head' : 'changed audit_events.envelope'
    assert.equal(verdict, `${index + 1} ${expected}`)
    const toTheEnd = judge({ ...exported, audit_events: forge(exported, index, last, { actor: 'mallory' }) })
    assert.equal(toTheEnd, `${last + 1} head_differs instances.audit_head`)
  }
})

test('half of a surrogate pair in an envelope is found, though its bytes have the same hash', () => {
  const exported = exportStory(whole)
  const last = exported.audit_events.length - 1
  const events = forge(exported, last, last, { model: '\u{FFFD}' })
  const instances = { ...exported.instances, audit_head: events.at(-1)!.hash }
  assert.equal(judge({ ...exported, audit_events: events, instances }), 'whole')
  events[last]!.envelope = String(events[last]!.envelope).replace('\u{FFFD}', '\u{D800}')
  assert.equal(judge({ ...exported, audit_events: events, instances }), `${last + 1} changed audit_events.envelope`)
})

test('a decision by who submitted the case is none, though its hashes and rows are right', () => {
  const exported = exportStory({ steps: 1, ending: 'decided' })
  const verdict = (actor: string) => {
    const events = forge(exported, 4, 5, { actor })
    const instances = { ...exported.instances, audit_head: events.at(-1)!.hash }
    const tasks = exported.tasks.map((row) => ({ ...row, decided_by: actor }))
    return judge({ ...exported, audit_events: events, instances, tasks })
  }
  assert.equal(verdict('ben'), 'whole')
  assert.equal(verdict('unverified:kim'), '5 inserted audit_events')
})

test('a salt in capital letters is not the one that was stored', () => {
  const exported = exportStory(whole)
  const payloads = exported.payloads.map((row) => ({ ...row, salt: row.salt && String(row.salt).toUpperCase() }))
  assert.equal(judge({ ...exported, payloads }), '1 payload_differs payloads.salt')
})

type AnyRow = Record<string, string | number | null>
const numbers = new Set(['inputTokens', 'outputTokens', 'erasedAtMs', 'escalatedAtMs', 'decidedAtMs'])
/** The tool also compares whose row it is and in which file order it stands; a store reads by both. */
const passedOver = new Set(['entry', 'instanceId', 'envelopeBytes', 'textBytes'])
const stated = {
  events: ['seq', 'type', 'atMs', 'payloadId', 'envelope', 'prevHash', 'hash'],
  checkpoints: undefined,
  payloads: undefined,
  tasks: [
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
  ],
} as const

/** One change of a value into another of the same type, as a database would take it, or a row that is gone. */
function change(record: StoredRecord, { table, row, column }: Change): StoredRecord {
  const rows = record[table] as unknown as readonly AnyRow[]
  if (rows.length === 0) return record
  const target = rows[row % rows.length]!
  const names = [...(stated[table] ?? Object.keys(target).filter((name) => !passedOver.has(name))), undefined]
  const name = names[column % names.length]
  const changed = (value: string | number | null) =>
    typeof value === 'number'
      ? value + 1
      : value === null
        ? null
        : `${value.slice(0, -1)}${value.endsWith('0') ? 1 : 0}`
  const by = name === undefined ? [] : [{ ...target, [name]: changed(target[name]!) ?? (numbers.has(name) ? 7 : 'x') }]
  const put = rows.flatMap((other) => (other === target ? by.map(measured) : [other]))
  return { ...record, [table]: put }
}

function measured(row: AnyRow): AnyRow {
  if (typeof row.envelope === 'string') return { ...row, envelopeBytes: Buffer.byteLength(row.envelope) }
  return typeof row.text === 'string' ? { ...row, textBytes: Buffer.byteLength(row.text) } : row
}

interface Change {
  readonly table: keyof typeof stated
  readonly row: number
  readonly column: number
}

test('the tool says of an export what the program says of the store', () => {
  const story = fc.record({
    steps: fc.integer({ min: 1, max: 5 }),
    ending: fc.constantFrom('running', 'completed', 'held', 'decided', 'referred', 'failed', 'retried'),
    erased: fc.boolean(),
  } as const)
  const changes = fc.array(
    fc.record({
      table: fc.constantFrom('events', 'checkpoints', 'payloads', 'tasks'),
      row: fc.nat({ max: 1000 }),
      column: fc.nat({ max: 1000 }),
    } as const),
    { maxLength: 3 },
  )
  fc.assert(
    fc.property(story, changes, (told, list) => {
      const recorded = recordInstance(told)
      const record = list.reduce(change, storedRows(recorded))
      const events = record.events.toSorted((a, b) => a.seq - b.seq)
      assert.equal(
        judge(exportRecord(recorded, { ...record, events })),
        shortly(checkRecord(record)).replace('valid', 'whole'),
      )
    }),
    { seed: 20260101, numRuns: 1500 },
  )
})

test('the tool names what it cannot show in the words of the export', () => {
  assert.deepEqual(cannotShow, exportCannotShow)
})

test('a whole export: exit 0, the head, the counts, SIMULATED and what no chain can show', () => {
  const exported = exportStory(whole)
  const { exit, out, err } = run(JSON.stringify(exported, null, 2))
  assert.deepEqual([exit, err], [0, ''])
  assert.match(out, new RegExp(`^WHOLE  case ${String(exported.instance_id)}\n`))
  const last = exported.audit_events.at(-1)!
  assert.ok(out.includes(`event ${String(last.seq)}, ${String(last.hash)}`))
  assert.match(out, /SIMULATED/)
  assert.match(out, new RegExp(`events +${exported.audit_events.length}\n`))
  assert.match(out, new RegExp(`payloads +${exported.payloads.length}, of which 1 erased\n`))
  for (const line of exportCannotShow) assert.ok(out.includes(`- ${line}\n`), line)
})

test('an export that was changed: exit 4, the first bad event and what is wrong with it', () => {
  const exported = exportStory(whole)
  exported.payloads[0]!.text = '{}'
  const { exit, out } = run(JSON.stringify(exported))
  assert.equal(exit, 4)
  assert.match(out, /^NOT WHOLE .*\nfirst bad event: 1, payload differs \(payloads\.text\): payload .* do not match/)
  exported.definition!.text = '{"format":2}'
  exported.payloads[0]!.text = '"mended"'
  assert.match(run(JSON.stringify({ ...exported, payloads: exportStory(whole).payloads })).out, /first bad event: 1, /)
  const other = exportStory(whole)
  other.definition!.text = '{"format":2}'
  assert.match(run(JSON.stringify(other)).out, /first bad event: 1, definition differs \(definitions\.text\)/)
})

test('what is printed cannot move the cursor, however the file is written', () => {
  const exported = exportStory(whole)
  const { out } = run(
    JSON.stringify({ ...exported, instance_id: 'a\u001b[2J\r\nWHOLE\u202e', program: '\u009b\ud800' }),
  )
  assert.ok(out.includes('a\\u{1b}[2J\\u{d}\\u{a}WHOLE\\u{202e}'), out)
  assert.match(out.replaceAll('\n', ''), /^[\x20-\x7e…]*$/)
})

for (const [what, text] of [
  ['no JSON', '{'],
  ['no export', '{"format":"something"}'],
  ['a list', '[]'],
  ['an export without its tables', '{"format":"cognitive-core/export/1"}'],
  ['not UTF-8', Buffer.from([0x22, 0xff, 0x22])],
  ['not there', undefined],
  ['nested without end', '['.repeat(200_000)],
  ['an export with one field twice', JSON.stringify(exportStory(whole)).replace('{', '{"simulated":false,')],
  [
    'an export with one field twice, further in',
    JSON.stringify(exportStory(whole)).replace('"entry"', '"s\\u0065q":1,"entry"'),
  ],
] as const) {
  test(`a file that is ${what}: exit 2 and a line that says so`, () => {
    const { exit, out, err } = run(text)
    assert.deepEqual([exit, out], [2, ''])
    assert.match(err, /^The file cannot be read as an exported case: .*\n$/)
  })
}
