import assert from 'node:assert/strict'
import test from 'node:test'
import { eventHash, sealEvent } from '../../src/domain/audit.ts'
import type { StoredEvent } from '../../src/domain/chain.ts'
import { checkRecord, recordInstance, storedRows, type Story, type StoredRecord } from './recorded-instance.ts'

const completed: Story = { steps: 3, ending: 'completed' }

/** The finding in the record of a story after `change`, shortened to what a person is told first. */
function found(change: (record: StoredRecord) => StoredRecord, story: Story = completed): string {
  const finding = checkRecord(change(storedRows(recordInstance(story))))
  return finding ? `${finding.seq ?? '-'} ${finding.what} ${finding.where}` : 'valid'
}

function withEvents(record: StoredRecord, events: readonly StoredEvent[]): StoredRecord {
  return { ...record, events }
}

const at = <T>(list: readonly T[], index: number, change: (item: T) => T): T[] =>
  list.map((item, place) => (place === index ? change(item) : item))

const without = <T>(list: readonly T[], index: number): T[] => list.filter((_, place) => place !== index)

/** Rewrites an event with what it says changed, hash and columns included, as somebody with the whole file could. */
function rewrite(event: StoredEvent, change: object): StoredEvent {
  const said = { ...(JSON.parse(event.envelope) as object), ...change } as { prev: string; seq: number; at: number }
  const envelope = JSON.stringify(said)
  const columns = { prevHash: said.prev, seq: said.seq, atMs: said.at, envelopeBytes: Buffer.byteLength(envelope) }
  return { ...event, ...columns, envelope, hash: eventHash(envelope) }
}

for (const ending of ['running', 'completed', 'held', 'decided', 'referred', 'failed', 'retried'] as const) {
  for (const erased of [false, true]) {
    test(`the record of a case that is ${ending}${erased ? ' and partly erased' : ''} is valid`, () => {
      assert.equal(
        found((record) => record, { steps: 3, ending, erased }),
        'valid',
      )
      assert.equal(
        found((record) => record, { steps: 1, ending, erased }),
        'valid',
      )
    })
  }
}

test('an event that was removed is missing, wherever it stood', () => {
  for (const [index, seq] of [0, 1, 2, 3, 4].entries()) {
    assert.equal(
      found((record) => withEvents(record, without(record.events, index))),
      `${seq + 1} missing audit_events`,
    )
  }
})

test('an event that was removed is missing, also when those after it were renumbered', () => {
  const close = (record: StoredRecord) =>
    withEvents(
      record,
      without(record.events, 2).map((event, index) => ({ ...event, seq: index + 1 })),
    )
  assert.equal(found(close), '3 missing audit_events')
})

test('an event that changed places is reordered', () => {
  const swap = (record: StoredRecord) => {
    const [first, second] = [record.events[1]!, record.events[3]!]
    const moved = at(record.events, 1, () => ({ ...second, seq: 2, entry: first.entry }))
    return withEvents(
      record,
      at(moved, 3, () => ({ ...first, seq: 4, entry: second.entry })),
    )
  }
  assert.equal(found(swap), '2 reordered audit_events.seq')
})

test('an event that was put in between is inserted', () => {
  const insert = (record: StoredRecord) => {
    const { events } = record
    const forged = rewrite(events[2]!, { actor: 'mallory' })
    const later = events.slice(2).map((event) => ({ ...event, seq: event.seq + 1, entry: event.entry + 1 }))
    return withEvents(record, [...events.slice(0, 2), forged, ...later])
  }
  assert.equal(found(insert), '3 inserted audit_events')
})

test('an event behind the end that the head names is inserted', () => {
  const append = (record: StoredRecord) => {
    const last = record.events.at(-1)!
    const draft = { type: 'case.retried', atMs: last.atMs, actor: 'mallory', definition: 'd', simulated: true } as const
    const forged = sealEvent(last, { ...draft, instanceId: last.instanceId })
    const envelopeBytes = Buffer.byteLength(forged.envelope)
    return withEvents(record, [...record.events, { ...forged, entry: 99, payloadId: null, envelopeBytes }])
  }
  assert.equal(found(append), '6 inserted audit_events')
})

test('the event of another instance is inserted', () => {
  const other = storedRows(recordInstance(completed))
  assert.equal(
    found((record) =>
      withEvents(
        record,
        at(record.events, 1, () => other.events[1]!),
      ),
    ),
    '2 inserted audit_events',
  )
})

test('between an event and its hash, the one that the next event vouches for is believed', () => {
  const event = (change: Partial<StoredEvent>) => (record: StoredRecord) =>
    withEvents(
      record,
      at(record.events, 2, (row) => ({ ...row, ...change })),
    )
  assert.equal(found(event({ hash: 'f'.repeat(64) })), '3 changed audit_events.hash')
  assert.equal(found(event({ envelope: '{}', envelopeBytes: 2 })), '3 changed audit_events.envelope')
  const last = (record: StoredRecord) =>
    withEvents(
      record,
      at(record.events, 4, (row) => ({ ...row, hash: '0' })),
    )
  assert.equal(found(last), '5 changed audit_events.hash')
})

test('an event that was rewritten with its hash is named, not its successor', () => {
  const forge = (index: number) => (record: StoredRecord) =>
    withEvents(
      record,
      at(record.events, index, (event) => rewrite(event, { actor: 'mallory' })),
    )
  assert.equal(found(forge(0)), '1 changed audit_events.envelope')
  assert.equal(found(forge(2)), '3 changed audit_events.envelope')
  assert.equal(found(forge(3)), '4 changed audit_events.envelope')
  assert.equal(found(forge(4)), '5 head_differs instances.audit_head')
})

test('a chain that was rewritten from one event to the end still differs from its head', () => {
  const forge = (record: StoredRecord) => {
    const events = record.events.slice(0, 2)
    for (const event of record.events.slice(2)) {
      events.push(rewrite(event, { prev: events.at(-1)!.hash, actor: 'mallory' }))
    }
    return withEvents(record, events)
  }
  assert.equal(found(forge), '5 head_differs instances.audit_head')
})

test('the head stands on the work row while there is one', () => {
  const work = (change: object) => (record: StoredRecord) => ({
    ...record,
    instance: { ...record.instance, ...change },
  })
  const running = { steps: 3, ending: 'running' } as const
  assert.equal(found(work({ auditSeq: 7, auditHead: 'x' }), running), 'valid')
  assert.equal(found(work({ workAuditHead: 'x' }), running), '4 head_differs work.audit_head')
  assert.equal(found(work({ workAuditSeq: 7 }), running), '4 head_differs work.audit_seq')
  assert.equal(found(work({ workStepNo: 2 }), running), '4 head_differs work.step_no')
  assert.equal(
    found(work({ workAuditSeq: null, workAuditHead: null, workStepNo: null }), running),
    '2 inserted audit_events',
  )
  assert.equal(found(work({ stepCount: 2 })), '5 head_differs instances.step_count')
})

test('columns of the instance that the chain states too are compared with it', () => {
  const instance = (change: object) => (record: StoredRecord) => ({
    ...record,
    instance: { ...record.instance, ...change },
  })
  assert.equal(found(instance({ submittedBy: 'mallory' })), '1 changed instances.submitted_by')
  assert.equal(found(instance({ definitionHash: 'e' })), '1 changed instances.definition_hash')
  assert.equal(found(instance({ inputPayloadId: 'e' })), '1 changed instances.input_payload_id')
  assert.equal(found(instance({ status: 'terminated' })), '5 changed instances.status')
  assert.equal(found(instance({ disputed: 1 })), '5 changed instances.disputed')
  assert.equal(found(instance({ submittedAtMs: 1 })), '1 changed instances.submitted_at_ms')
  assert.equal(found(instance({ tierContributions: '[]' })), '5 changed instances.tier_contributions')
  const referred = { steps: 1, ending: 'referred' } as const
  assert.equal(found(instance({ tierContributions: '[]' }), referred), '5 changed instances.tier_contributions')
  assert.equal(found(instance({ simulated: 0 })), '1 changed instances.simulated')
})

test('content that differs from its commitment is named by the event that commits to it', () => {
  const payload =
    (change: object, index = 2) =>
    (record: StoredRecord) => ({
      ...record,
      payloads: at(record.payloads, index, (row) => ({ ...row, ...change })),
    })
  assert.equal(found(payload({ text: '{}', textBytes: 2 })), '3 payload_differs payloads.text')
  assert.equal(found(payload({ salt: '0'.repeat(32) })), '3 payload_differs payloads.text')
  assert.equal(found(payload({ salt: 'F'.repeat(32) })), '3 payload_differs payloads.salt')
  assert.equal(found(payload({ textBytes: 1 })), '3 payload_differs payloads.text')
  assert.equal(found(payload({ kind: 'input' })), '3 payload_differs payloads.kind')
  assert.equal(found(payload({ erasedAtMs: 1 })), '3 payload_differs payloads.erased_at_ms')
  assert.equal(found(payload({ text: null, textBytes: null })), '3 payload_differs payloads.text')
  assert.equal(found(payload({ payloadId: 'other' })), '3 missing payloads')
  assert.equal(
    found((record) => ({ ...record, payloads: without(record.payloads, 0) })),
    '1 missing payloads',
  )
  const extra = (record: StoredRecord) => ({
    ...record,
    payloads: [...record.payloads, { ...record.payloads[0]!, payloadId: 'x' }],
  })
  assert.equal(found(extra), '- inserted payloads')
})

test('an erased payload is what its event says it is', () => {
  const erased = { ...completed, erased: true }
  const payload = (change: object) => (record: StoredRecord) => ({
    ...record,
    payloads: at(record.payloads, 1, (row) => ({ ...row, ...change })),
  })
  assert.equal(found(payload({ erasedAtMs: 5 }), erased), '2 payload_differs payloads.erased_at_ms')
  assert.equal(found(payload({ erasedAtMs: null }), erased), '2 payload_differs payloads.erased_at_ms')
  assert.equal(found(payload({ text: '{}' }), erased), '2 payload_differs payloads.text')
  assert.equal(found(payload({ salt: '00' }), erased), '2 payload_differs payloads.salt')
  assert.equal(
    found((record) => withEvents(record, without(record.events, 3)), erased),
    '4 missing audit_events',
  )
})

test('a checkpoint that differs, is gone or was added is named by its event', () => {
  const checkpoints =
    (change: (rows: StoredRecord['checkpoints']) => StoredRecord['checkpoints']) => (record: StoredRecord) => ({
      ...record,
      checkpoints: change(record.checkpoints),
    })
  assert.equal(
    found(checkpoints((rows) => at(rows, 1, (row) => ({ ...row, run: 2 })))),
    '3 checkpoint_differs checkpoints',
  )
  assert.equal(found(checkpoints((rows) => without(rows, 0))), '2 missing checkpoints')
  assert.equal(found(checkpoints((rows) => without(rows, 2))), '4 missing checkpoints')
  assert.equal(found(checkpoints((rows) => [...rows, { ...rows[0]!, stepNo: 4 }])), '- inserted checkpoints')
  assert.equal(found(checkpoints((rows) => [{ ...rows[0]!, stepNo: -1 }, ...rows])), '- inserted checkpoints')
  const swapped = (rows: StoredRecord['checkpoints']) =>
    at(
      at(rows, 0, () => ({ ...rows[1]!, stepNo: 1 })),
      1,
      () => ({ ...rows[0]!, stepNo: 2 }),
    )
  assert.equal(found(checkpoints(swapped)), '2 checkpoint_differs checkpoints')
  assert.equal(
    found(checkpoints((rows) => at(rows, 2, (row) => ({ ...row, entry: 1 })))),
    '4 reordered checkpoints.entry',
  )
})

test('a decision on a task is the one that was recorded', () => {
  const decided = { steps: 1, ending: 'decided' } as const
  const task = (change: object) => (record: StoredRecord) => ({
    ...record,
    tasks: at(record.tasks, 0, (row) => ({ ...row, ...change })),
  })
  assert.equal(found(task({ decision: 'deny' }), decided), '5 changed tasks.decision')
  assert.equal(found(task({ decidedBy: 'mallory' }), decided), '5 changed tasks.decided_by')
  assert.equal(found(task({ decidedAtMs: 1 }), decided), '5 changed tasks.decided_at_ms')
  assert.equal(found(task({ status: 'open' }), decided), '5 changed tasks.status')
  assert.equal(found(task({ tier: 'hold' }), decided), '4 changed tasks.tier')
  assert.equal(found(task({ taskId: 'x' }), decided), '4 missing tasks')
  assert.equal(found(task({ status: 'decided' }), { steps: 1, ending: 'held' }), '4 changed tasks.status')
})

test('the hot row stands where the events have led', () => {
  const work = (change: object) => (record: StoredRecord) => ({
    ...record,
    instance: { ...record.instance, ...change },
  })
  const running = { steps: 3, ending: 'running' } as const
  assert.equal(found(work({ workStep: 'step_1' }), running), '4 changed work.step')
  assert.equal(found(work({ workRun: 2 }), running), '4 changed work.run')
  assert.equal(found(work({ workDefinitionHash: 'e' }), running), '1 changed work.definition_hash')
  const retried = { steps: 3, ending: 'retried' } as const
  assert.equal(found(work({ workStep: 'step_4' }), retried), '6 changed work.step')
  assert.equal(found(work({ workRun: 1 }), retried), '6 changed work.run')
  const fresh = { steps: 0, ending: 'running' } as const
  assert.equal(found(work({ workRun: 2 }), fresh), '1 changed work.run')
  assert.equal(found(work({ workStep: 'another' }), fresh), 'valid', 'no event names the first step')
})

test('who may decide a task, where it waits and since when is what the events have said', () => {
  const referred = { steps: 1, ending: 'referred' } as const
  const task = (index: number, change: object) => (record: StoredRecord) => ({
    ...record,
    tasks: at(record.tasks, index, (row) => ({ ...row, ...change })),
  })
  assert.equal(found(task(0, { submittedBy: 'mallory' }), referred), '4 changed tasks.submitted_by')
  assert.equal(found(task(0, { barred: '["ann"]' }), referred), '4 changed tasks.barred')
  assert.equal(found(task(0, { openedAtMs: 1 }), referred), '4 changed tasks.opened_at_ms')
  assert.equal(found(task(0, { queue: 'nobody' }), referred), '4 changed tasks.queue')
  assert.equal(found(task(0, { escalatedAtMs: 1 }), referred), '4 changed tasks.escalated_at_ms')
  assert.equal(found(task(1, { barred: '[]' }), referred), '6 changed tasks.barred')
  assert.equal(found(task(1, { queue: 'claims' }), referred), '7 changed tasks.queue')
  assert.equal(found(task(1, { escalatedAtMs: null }), referred), '7 changed tasks.escalated_at_ms')
})

test('a decision by somebody who may not make it is no decision, however right its hashes are', () => {
  const verdict = (decider: string) => found(decidedBy(decider), { steps: 1, ending: 'decided' })
  assert.equal(verdict('ben'), 'valid')
  assert.equal(verdict('kim'), '5 inserted audit_events')
  assert.equal(verdict('unverified:kim'), '5 inserted audit_events')
})

test('who passed a case on does not decide the task that this opened', () => {
  const verdict = (decider: string) => found(decidedAfterAll(decider), { steps: 1, ending: 'referred' })
  assert.equal(verdict('ben'), 'valid')
  assert.equal(verdict('ann'), '8 inserted audit_events')
  assert.equal(verdict('kim'), '8 inserted audit_events')
})

/** The decision by another person, with every event, column and head after it put right. */
function decidedBy(decider: string) {
  return (record: StoredRecord): StoredRecord => {
    const events = record.events.slice(0, 4)
    for (const event of record.events.slice(4)) {
      events.push(rewrite(event, { prev: events.at(-1)!.hash, actor: decider }))
    }
    const instance = { ...record.instance, auditHead: events.at(-1)!.hash }
    return { ...record, events, instance, tasks: record.tasks.map((task) => ({ ...task, decidedBy: decider })) }
  }
}

/** One more event, which decides the task that was opened last. */
function decidedAfterAll(decider: string) {
  return (record: StoredRecord): StoredRecord => {
    const { instanceId, definitionHash: definition } = record.instance
    const last = record.events.at(-1)!
    const task = record.tasks.at(-1)!
    const facts = { task: task.taskId, decision: 'deny' }
    const draft = { instanceId, definition, simulated: true, atMs: last.atMs, actor: decider, facts } as const
    const event = sealEvent(last, { ...draft, type: 'task.decided' })
    const envelopeBytes = Buffer.byteLength(event.envelope)
    const decided = { status: 'decided', decision: 'deny', decidedBy: decider, decidedAtMs: last.atMs } as const
    return {
      ...record,
      events: [...record.events, { ...event, entry: 99, payloadId: null, envelopeBytes }],
      instance: { ...record.instance, auditSeq: event.seq, auditHead: event.hash },
      tasks: at(record.tasks, record.tasks.length - 1, (row) => ({ ...row, ...decided })),
    }
  }
}
