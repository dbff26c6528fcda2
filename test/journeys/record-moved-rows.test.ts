import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import type { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { type AuditEventDraft, newPayload, sealEvent, sealEvents } from '../../src/domain/audit.ts'
import type { Fault } from '../../src/domain/chain.ts'
import { newId } from '../../src/domain/identity.ts'
import { changesOf, type RecordTable, recordTables, type Row } from './record-damages.ts'
import { assertJudged, Evidence } from './record-evidence.ts'
import type { CaseName } from './record-store.ts'

const evidence = await Evidence.record()
after(() => evidence[Symbol.dispose]())
const { cases, original } = evidence

const looked: readonly CaseName[] = ['completed', 'changed', 'retried', 'erased', 'sleeping']

async function expectFound(
  instanceId: string,
  damage: string,
  expected: readonly [seq: number | undefined, what: Fault | readonly Fault[], where: RegExp],
  act: (store: DatabaseSync) => void,
): Promise<void> {
  const [seq, what, where] = expected
  const faults: readonly Fault[] = typeof what === 'string' ? [what] : what
  assertJudged(await evidence.judge(instanceId, act), { seq, what: faults, where }, { instanceId, damage })
}

async function expectUnseen(instanceId: string, damage: string, act: (store: DatabaseSync) => void): Promise<void> {
  assertJudged(await evidence.judge(instanceId, act), 'unseen', { instanceId, damage })
}

function rowsOf(table: string, name: CaseName): Row[] {
  return original.rowsOf(table, cases[name])
}

/** Writes a row as it is, in place of whatever the columns said before. */
function insert(store: DatabaseSync, table: string, row: Record<string, string | number | null>): void {
  const { rowid: _, ...columns } = row
  const names = Object.keys(columns)
  const places = names.map(() => '?').join(', ')
  store.prepare(`insert into ${table} (${names.join(', ')}) values (${places})`).run(...Object.values(columns))
}

function remove(store: DatabaseSync, table: string, row: Row): void {
  store.prepare(`delete from ${table} where rowid = ?`).run(row.rowid)
}

/** Exchanges what two rows have in some columns; by way of a third value, since the columns may be keys. */
function swap(store: DatabaseSync, table: string, [a, b]: readonly [Row, Row], columns: readonly string[]): void {
  const set = (row: Row, values: readonly (string | number | null)[]) =>
    store
      .prepare(`update ${table} set ${columns.map((name) => `${name} = ?`).join(', ')} where rowid = ?`)
      .run(...values, row.rowid)
  const valuesOf = (row: Row) => columns.map((name) => row[name]!)
  set(
    a,
    columns.map((name) => (typeof a[name] === 'number' ? 999_999 : 'meanwhile')),
  )
  set(b, valuesOf(a))
  set({ ...a, rowid: columns.includes('entry') ? 999_999 : a.rowid }, valuesOf(b))
}

const nowhere = newId(1_790_000_000_000)

for (const table of recordTables) {
  test(`a row that is gone from ${table} is missed, whichever it is`, async () => {
    for (const name of looked) {
      for (const row of rowsOf(table, name)) {
        const seq = original.seqOf(table, row)
        const damage = `${table} row ${row.rowid} of ${name} removed`
        await expectFound(cases[name], damage, [seq, 'missing', new RegExp(`^${table}$`)], (store) =>
          remove(store, table, row),
        )
      }
    }
  })

  test(`a copy of a row of ${table} under a new key is found, in its own case and in another`, async () => {
    for (const name of looked) {
      const rows = rowsOf(table, name)
      for (const row of [rows[0]!, rows.at(-1)!]) {
        const { own, other, none } = copiesOf(table, row)
        await expectFound(cases[name], `copy of ${table} row ${row.rowid}`, own.expected, (store) =>
          insert(store, table, own.row),
        )
        await expectFound(cases.held, `copy of ${table} row ${row.rowid} into another case`, other.expected, (store) =>
          insert(store, table, other.row),
        )
        await expectFound(nowhere, `copy of ${table} row ${row.rowid} into no case`, none.expected, (store) =>
          insert(store, table, none.row),
        )
      }
    }
  })
}

/** The row once more in its own case, in another one, and in a case that is not there; each with what must be found. */
function copiesOf(table: RecordTable, row: Row) {
  const { entry: _, ...columns } = row
  const heldRows = rowsOf(table, 'held')
  const last = (rows: readonly Row[], column: string) => Math.max(...rows.map((other) => other[column] as number))
  const inserted = (where: RegExp, seq?: number) => [seq, 'inserted', where] as const
  const isAnyOf = ['inserted', 'missing'] as const
  const anywhere = /^(audit_events|instances|checkpoints|payloads)$/
  const none = { row: { ...columns, instance_id: nowhere }, expected: [1, isAnyOf, anywhere] as const }
  if (table === 'payloads') {
    const payload_id = newId(1_790_000_000_001)
    return {
      own: { row: { ...columns, payload_id }, expected: inserted(/^payloads$/) },
      other: { row: { ...columns, instance_id: cases.held, payload_id }, expected: inserted(/^payloads$/) },
      none,
    }
  }
  if (table === 'checkpoints') {
    const ownNo = last(original.rowsOf(table, row.instance_id as string), 'step_no') + 1
    const otherNo = last(heldRows, 'step_no') + 1
    return {
      own: { row: { ...columns, step_no: ownNo, run: 9 }, expected: inserted(/^checkpoints$/) },
      other: {
        row: { ...columns, instance_id: cases.held, step_no: otherNo, run: 9 },
        expected: inserted(/^checkpoints$/),
      },
      none,
    }
  }
  const ownSeq = last(original.rowsOf(table, row.instance_id as string), 'seq') + 1
  const otherSeq = last(heldRows, 'seq') + 1
  const isLast = row.seq === ownSeq - 1
  return {
    // A copy of the last event claims to follow the same one as the last, and nobody can say which of them is the copy.
    own: { row: { ...columns, seq: ownSeq }, expected: inserted(/^audit_events$/, isLast ? ownSeq - 1 : ownSeq) },
    other: {
      row: { ...columns, instance_id: cases.held, seq: otherSeq },
      expected: inserted(/^audit_events$/, otherSeq),
    },
    none,
  }
}

/** What an honest program would write next, but nobody did. */
function forge(name: CaseName, after: Row, draft: Partial<AuditEventDraft> = {}) {
  const { definition } = JSON.parse(after.envelope as string) as { definition: string }
  const event = sealEvent(
    { seq: after.seq as number, hash: after.hash as string },
    {
      instanceId: cases[name],
      type: 'task.claimed',
      atMs: (after.at_ms as number) + 1,
      actor: 'mallory',
      definition,
      simulated: false,
      facts: { task: 'task', until_ms: 1 },
      ...draft,
    },
  )
  return {
    instance_id: event.instanceId,
    seq: event.seq,
    type: event.type,
    at_ms: event.atMs,
    payload_id: event.payloadId ?? null,
    envelope: event.envelope,
    prev_hash: event.prevHash,
    hash: event.hash,
  }
}

test('a forged event is found at the end of a chain and within it', async () => {
  for (const name of looked) {
    const rows = rowsOf('audit_events', name)
    const last = rows.at(-1)!
    const next = (last.seq as number) + 1
    await expectFound(cases[name], `${name}: a forged end`, [next, 'inserted', /^audit_events$/], (store) =>
      insert(store, 'audit_events', forge(name, last)),
    )

    const [, second] = rows
    await expectFound(cases[name], `${name}: a forged third event`, [3, 'inserted', /^audit_events$/], (store) => {
      makeRoom(store, rows.slice(2))
      insert(store, 'audit_events', { ...forge(name, second!), entry: (second!.entry as number) * 1000 + 1 })
    })
  }
})

/** Moves events to the next number, and everything written so far apart, so that something fits in between. */
function makeRoom(store: DatabaseSync, later: readonly Row[]): void {
  for (const row of later.toReversed()) {
    store.prepare('update audit_events set seq = seq + 1 where rowid = ?').run(row.rowid)
  }
  store.exec('update audit_events set entry = -entry * 1000')
  store.exec('update audit_events set entry = -entry')
}

test('an event that was written anew with its own hash is found by the next one, or by the head', async () => {
  for (const name of looked) {
    const rows = rowsOf('audit_events', name)
    for (const [index, row] of rows.entries()) {
      const isLast = index === rows.length - 1
      const envelope = (row.envelope as string).replace(/"actor":"[^"]*"/, '"actor":"mallory"')
      const expected = isLast
        ? ([row.seq as number, 'head_differs', /^(instances|work)\.audit_head$/] as const)
        : ([row.seq as number, 'changed', /^audit_events\.envelope$/] as const)
      // Who submitted a case stands in its own row too, which is looked at once the chain is through.
      await expectFound(cases[name], `${name}: event ${row.seq} anew`, expected, (store) =>
        store
          .prepare('update audit_events set envelope = ?, hash = ? where rowid = ?')
          .run(envelope, hash('sha256', `cc/event/v1\n${envelope}`), row.rowid),
      )
    }
  }
})

test('events that have changed places are found at the first of them', async () => {
  for (const name of looked) {
    const rows = rowsOf('audit_events', name)
    const pairs = [
      [rows[0]!, rows[1]!],
      [rows[1]!, rows.at(-1)!],
      [rows.at(-2)!, rows.at(-1)!],
      [rows[0]!, rows.at(-1)!],
    ] as const
    for (const pair of pairs) {
      const [a, b] = pair
      const which = `${name}: events ${a.seq} and ${b.seq}`
      await expectFound(
        cases[name],
        `${which} swapped`,
        [a.seq as number, 'reordered', /^audit_events\.seq$/],
        (store) => swap(store, 'audit_events', pair, ['seq']),
      )
      await expectFound(
        cases[name],
        `${which} swapped with their entries`,
        [a.seq as number, 'reordered', /^audit_events\.seq$/],
        (store) => swap(store, 'audit_events', pair, ['seq', 'entry']),
      )
      await expectFound(
        cases[name],
        `${which} written in another order`,
        [(a.seq as number) + 1, 'reordered', /^audit_events\.entry$/],
        (store) => swap(store, 'audit_events', pair, ['entry']),
      )
    }
  }
})

test('rows of two cases that have changed places are found in both', async () => {
  const pairs = { audit_events: /^audit_events$/, payloads: /^payloads/, checkpoints: /^checkpoints/ } as const
  for (const table of recordTables) {
    const [a, b] = [rowsOf(table, 'completed')[1]!, rowsOf(table, 'erased')[1]!]
    for (const [name, row] of [
      ['completed', a],
      ['erased', b],
    ] as const) {
      const faults = ['inserted', 'missing', 'payload_differs', 'checkpoint_differs'] as const
      const expected = [original.seqOf(table, row), faults, pairs[table]] as const
      await expectFound(cases[name], `${table} of two cases swapped`, expected, (store) =>
        swap(store, table, [a, b], ['instance_id']),
      )
    }
  }
})

test('checkpoints that have changed places are found at the first of their events', async () => {
  for (const name of ['completed', 'changed', 'retried', 'erased'] as const) {
    const rows = rowsOf('checkpoints', name)
    const pair = [rows[0]!, rows.at(-1)!] as const
    const seq = original.seqOf('checkpoints', pair[0])
    await expectFound(cases[name], `${name}: swapped`, [seq, 'checkpoint_differs', /^checkpoints$/], (store) =>
      swap(store, 'checkpoints', pair, ['step_no']),
    )
    await expectFound(cases[name], `${name}: steps swapped`, [seq, 'checkpoint_differs', /^checkpoints$/], (store) =>
      swap(store, 'checkpoints', pair, ['step', 'run']),
    )
    const second = original.seqOf('checkpoints', rows[1]!)
    await expectFound(cases[name], `${name}: entries swapped`, [second, 'reordered', /^checkpoints\.entry$/], (store) =>
      swap(store, 'checkpoints', pair, ['entry']),
    )
  }
})

test('contents that have changed places are found at the first of their events', async () => {
  for (const name of ['completed', 'changed', 'retried'] as const) {
    const [a, b] = rowsOf('payloads', name) as [Row, Row]
    const seq = Math.min(original.seqOf('payloads', a), original.seqOf('payloads', b))
    for (const columns of [['payload_id'], ['text'], ['salt'], ['text', 'salt']]) {
      const damage = `${name}: ${columns.join(' and ')} of two payloads swapped`
      await expectFound(cases[name], damage, [seq, 'payload_differs', /^payloads\./], (store) =>
        swap(store, 'payloads', [a, b], columns),
      )
    }
  }
})

test('content that was erased without a word is found, and so is content that came back', async () => {
  for (const name of looked) {
    for (const row of rowsOf('payloads', name)) {
      const damage = `${name}: payload ${row.payload_id} `
      const expected = [original.seqOf('payloads', row), 'payload_differs', /^payloads\./] as const
      if (row.text === null) {
        await expectFound(cases[name], `${damage} came back`, expected, (store) =>
          store
            .prepare(`update payloads set text = '{}', salt = ?, erased_at_ms = null where rowid = ?`)
            .run('00'.repeat(16), row.rowid),
        )
      } else {
        // The one change that the table lets through by itself.
        await expectFound(cases[name], `${damage} erased`, expected, (store) =>
          store
            .prepare('update payloads set text = null, salt = null, erased_at_ms = 1790000000999 where rowid = ?')
            .run(row.rowid),
        )
      }
    }
  }
})

const headColumns = [
  ['audit_seq', 99],
  ['audit_head', 'ab'.repeat(32)],
  ['step_count', 1],
] as const

test('a head that differs from its chain is found, on the instance and on the hot row', async () => {
  for (const name of ['changed', 'erased', 'retried'] as const) {
    const last = rowsOf('audit_events', name).at(-1)!.seq as number
    for (const [column, value] of headColumns) {
      const expected = [last, 'head_differs', new RegExp(`^instances\\.${column}$`)] as const
      await expectFound(cases[name], `${name}: ${column} := ${value}`, expected, (store) =>
        store.prepare(`update instances set ${column} = ? where instance_id = ?`).run(value, cases[name]),
      )
    }
    // A head that names an earlier event does not vouch for those behind it.
    const expected = [4, 'inserted', /^audit_events$/] as const
    await expectFound(cases[name], `${name}: audit_seq := 3`, expected, (store) =>
      store.prepare('update instances set audit_seq = 3 where instance_id = ?').run(cases[name]),
    )
  }
  const last = rowsOf('audit_events', 'sleeping').at(-1)!.seq as number
  for (const [column, value] of [
    ['audit_seq', 99],
    ['audit_head', 'ab'.repeat(32)],
    ['step_no', 7],
  ] as const) {
    const expected = [last, 'head_differs', new RegExp(`^work\\.${column}$`)] as const
    await expectFound(cases.sleeping, `work.${column} := ${value}`, expected, (store) =>
      store.prepare(`update work set ${column} = ? where instance_id = ?`).run(value, cases.sleeping),
    )
  }
})

/** Columns of the instance that no event states. */
const unstated = ['correlation_id', 'updated_at_ms', 'ended_at_ms']

test('what the instance says of itself is found where its chain says otherwise, in every column that an event states', async () => {
  for (const name of ['changed', 'denied', 'retried', 'disputed', 'held'] as const) {
    const [row] = original.rowsOf('instances', cases[name])
    const others = original.rowsOf('instances').filter((other) => other.rowid !== row!.rowid)
    for (const column of original.columnsOf('instances')) {
      // Flags with another number than 0 and 1 mean 0 to every program.
      if (column.name === 'simulated' || column.name === 'disputed') continue
      for (const { kind, sql, params } of changesOf(column, row!, others)) {
        let isRefused = false
        const { report, offline } = await evidence.judge(cases[name], (store) => {
          const update = `update or ignore instances set ${column.name} = ${sql} where rowid = ?`
          isRefused = store.prepare(update).run(...params, row!.rowid).changes === 0
        })
        if (isRefused) continue
        const said = `${name}: ${column.name} := ${kind}: ${JSON.stringify([report.findings, offline])}`
        assert.equal(report.valid, unstated.includes(column.name), said)
        if (column.name === 'instance_id') continue
        assert.equal(offline === undefined, report.valid, said)
        const [finding] = report.findings
        if (finding)
          assert.match(finding.where, new RegExp(`^(instances\\.${column.name}|audit_events|definitions)$`), said)
      }
    }
  }
})

/** Columns of the hot row and of tasks that events state, beside the keys. */
const statedElsewhere = {
  work: ['definition_hash', 'step', 'run', 'step_no', 'audit_seq', 'audit_head'],
  tasks: [
    'tier',
    'queue',
    'status',
    'submitted_by',
    'barred',
    'opened_at_ms',
    'escalated_at_ms',
    'decision',
    'decided_by',
    'decided_at_ms',
    'decision_payload_id',
  ],
} as const

for (const [table, names] of [
  ['work', ['sleeping']],
  ['tasks', ['held', 'denied', 'disputed', 'canceled']],
] as const) {
  test(`a change of ${table} is found where an event states the column, and only there`, async () => {
    const stated: readonly string[] = statedElsewhere[table]
    for (const [name, row] of names.flatMap((name) => rowsOf(table, name).map((row) => [name, row] as const))) {
      const others = original.rowsOf(table).filter((other) => other.rowid !== row.rowid)
      const columns = original.columnsOf(table)
      for (const column of columns.filter(({ name }) => name !== 'task_id' && name !== 'instance_id')) {
        for (const { kind, sql, params, isBeyondJson } of changesOf(column, row, others)) {
          const { report, offline } = await evidence.judge(cases[name], (store) =>
            store.prepare(`update ${table} set ${column.name} = ${sql} where rowid = ?`).run(...params, row.rowid),
          )
          const said = `${name}: ${table}.${column.name} := ${kind}: ${JSON.stringify([report.findings, offline])}`
          assert.equal(report.valid, !stated.includes(column.name), said)
          assert.equal(offline === undefined, report.valid, said)
          const [finding] = report.findings
          if (finding) assert.match(finding.where, new RegExp(`^(${table}\\.${column.name}|audit_events)$`), said)
          if (!isBeyondJson) assert.equal(finding?.seq, offline?.seq, said)
        }
      }
    }
  })
}

test('whatever stands in the other tables, verification and export give an answer', async () => {
  for (const table of ['instances', 'tasks', 'work', 'definitions', 'submission_keys']) {
    for (const column of original.columnsOf(table)) {
      const [row, ...others] = original.rowsOf(table)
      for (const { kind, sql, params } of changesOf(column, row!, others)) {
        const judging = evidence.judge(cases.completed, (store) =>
          store
            .prepare(`update or ignore ${table} set ${column.name} = ${sql} where rowid = ?`)
            .run(...params, row!.rowid),
        )
        await assert.doesNotReject(judging, `${table}.${column.name} := ${kind}`)
      }
    }
  }
})

test('the end of a chain that was cut without its head is missed', async () => {
  for (const name of looked) {
    const rows = rowsOf('audit_events', name)
    for (const cut of rows.slice(1)) {
      await expectFound(
        cases[name],
        `${name}: cut from event ${cut.seq}`,
        [cut.seq as number, 'missing', /^audit_events$/],
        (store) =>
          store.prepare('delete from audit_events where instance_id = ? and seq >= ?').run(cases[name], cut.seq!),
      )
    }
  }
})

/** What no chain can show, each with the words in which verification says so itself. */
const unseen: readonly {
  readonly said: string
  readonly name: CaseName
  readonly act: (store: DatabaseSync) => void
}[] = [
  {
    said: 'a case that was removed with all of its rows',
    name: 'denied',
    act: (store) => {
      for (const table of ['instances', 'audit_events', 'checkpoints', 'payloads', 'tasks', 'submission_keys']) {
        store.prepare(`delete from ${table} where instance_id = ?`).run(cases.denied)
      }
    },
  },
  {
    said: 'the end of a chain that was cut together with its head and all that belongs to it',
    name: 'denied',
    act: (store) => cutDecision(store),
  },
  {
    said: 'a chain that was written anew from some event to its end, hashes and head included',
    name: 'completed',
    act: (store) => writeAnew(store),
  },
  {
    said: 'entry numbers that were shifted without changing the order of the events of a case',
    name: 'completed',
    act: (store) => store.exec('update audit_events set entry = -entry * 10; update audit_events set entry = -entry'),
  },
  {
    said: 'columns of instances that no event is compared with: correlation_id, updated_at_ms, ended_at_ms',
    name: 'held',
    act: (store) => store.exec(`update instances set correlation_id = 'x', updated_at_ms = 1, ended_at_ms = 1`),
  },
  {
    said: 'columns of work that no event is compared with: state, priority, due_ms, token, claimed_by, claimed_at_ms, attempt, cancel_requested, and step until a step is recorded',
    name: 'sleeping',
    act: (store) =>
      store.exec(`update work set state = 'claimed', priority = 9, due_ms = 1, token = 'x', claimed_by = 'x',
        claimed_at_ms = 1, attempt = 9, cancel_requested = 1`),
  },
  {
    said: 'columns of tasks that no event is compared with: escalation_queue, because, due_ms, claimed_by, claimed_until_ms, decision_digest',
    name: 'denied',
    act: (store) =>
      store.exec(`update tasks set escalation_queue = 'x', because = 'x', due_ms = 1, claimed_by = 'x',
        claimed_until_ms = 1, decision_digest = 'x'`),
  },
  {
    said: 'other tables: submission_keys with its digests, work_orders, workers, meta beside its mark of a simulation',
    name: 'completed',
    act: (store) => store.exec(`update submission_keys set digest = 'x'; update meta set epoch = epoch + 1`),
  },
]

for (const { said, name, act } of unseen) {
  test(`verification does not see ${said}, and says so`, async () => {
    await expectUnseen(cases[name], said, act)
    const { report } = await evidence.judge(cases[name], act)
    assert.ok(report.cannotShow.includes(said), report.cannotShow.join('\n'))
  })
}

/** A case that was denied becomes one that waits for its decision, as if nobody had said anything yet. */
function cutDecision(store: DatabaseSync): void {
  const id = cases.denied
  const rows = rowsOf('audit_events', 'denied')
  const decided = rows.find(({ type }) => type === 'task.decided')!
  const head = rows[rows.indexOf(decided) - 1]!
  store.prepare('delete from audit_events where instance_id = ? and seq >= ?').run(id, decided.seq!)
  store.prepare('delete from payloads where instance_id = ? and payload_id = ?').run(id, decided.payload_id!)
  store
    .prepare(
      `update tasks set status = 'open', decision = null, decided_by = null, decided_at_ms = null,
         decision_digest = null, decision_payload_id = null where instance_id = ?`,
    )
    .run(id)
  store
    .prepare(
      `update instances set status = 'suspended', ended_at_ms = null, audit_seq = ?, audit_head = ? where instance_id = ?`,
    )
    .run(head.seq!, head.hash!, id)
}

/** What the case came to is another thing, and the chain agrees with it, hash by hash. */
function writeAnew(store: DatabaseSync): void {
  const id = cases.completed
  const rows = rowsOf('audit_events', 'completed')
  const at = rows.findIndex(({ type }) => type === 'case.completed')
  const ended = rows[at]!
  const forged = newPayload({
    instanceId: id,
    kind: 'outcome',
    value: { artifact: 'forged' },
    nowMs: 1_790_000_000_500,
  })
  const { payload, reference } = forged
  const drafts = rows.slice(at).map((row): AuditEventDraft => {
    const envelope = JSON.parse(row.envelope as string) as AuditEventDraft & { at: number }
    const { type, actor, definition, tier, facts } = envelope
    return {
      instanceId: id,
      type,
      atMs: envelope.at,
      actor,
      definition,
      simulated: false,
      tier: tier!,
      facts: facts!,
      payload: reference,
    }
  })
  const before = rows[at - 1]!
  const events = sealEvents({ seq: before.seq as number, hash: before.hash as string }, drafts)
  store.prepare('delete from payloads where instance_id = ? and payload_id = ?').run(id, ended.payload_id!)
  insert(store, 'payloads', {
    payload_id: payload.payloadId,
    instance_id: id,
    kind: payload.kind,
    text: payload.text!,
    salt: payload.salt!,
    erased_at_ms: null,
  })
  for (const event of events) {
    store
      .prepare(
        'update audit_events set envelope = ?, hash = ?, prev_hash = ?, payload_id = ? where instance_id = ? and seq = ?',
      )
      .run(event.envelope, event.hash, event.prevHash, event.payloadId!, id, event.seq)
  }
  const head = events.at(-1)!
  store
    .prepare(
      'update instances set audit_head = ?, outcome_payload_id = ?, proposed_payload_id = ? where instance_id = ?',
    )
    .run(head.hash, payload.payloadId, payload.payloadId, id)
}
