import assert from 'node:assert/strict'
import { test } from 'node:test'
import { exportCannotShow, exportFormat, exportInstance, simulatedNotice } from '../../src/domain/export.ts'
import { canonicalJson } from '../../src/domain/json.ts'
import { exportedAtMs, exportStory, snakeCase } from './exported-instance.ts'
import { definitionHash, definitionText, recordInstance, storedRows } from './recorded-instance.ts'

test('an export holds every row under the names of its columns, envelopes and contents as the texts that were hashed', () => {
  const recorded = recordInstance({ steps: 2, ending: 'decided' })
  const rows = storedRows(recorded)
  const columns = { instance_id: rows.instance.instanceId, workflow: 'claims' }
  const definition = { hash: definitionHash, text: definitionText }
  const exported = exportInstance({ ...rows, columns, definition }, { simulated: true, exportedAtMs, version: '1.2.3' })

  assert.equal(exported.format, exportFormat)
  assert.equal(exported.instance_id, rows.instance.instanceId)
  assert.equal(exported.exported_at, new Date(exportedAtMs).toISOString())
  assert.equal(exported.program, 'cognitive-core 1.2.3')
  assert.deepEqual(exported.instances, columns)
  assert.deepEqual(exported.definition, definition)
  const tables = [
    ['audit_events', rows.events, ['envelopeBytes']],
    ['checkpoints', rows.checkpoints, []],
    ['payloads', rows.payloads, ['textBytes']],
  ] as const
  for (const [table, stored, leftOut] of tables) {
    const expected = (stored as readonly object[]).map((row) =>
      Object.fromEntries(
        Object.entries(row)
          .filter(([name]) => !(leftOut as readonly string[]).includes(name))
          .map(([name, value]) => [snakeCase(name), value as unknown]),
      ),
    )
    const written = (exported[table] as readonly object[]).map((row) => ({ ...row, erased: undefined }))
    assert.deepEqual(
      written,
      expected.map((row) => ({ ...row, erased: undefined })),
    )
  }
  assert.deepEqual((exported.tasks as readonly object[])[0], {
    task_id: rows.tasks[0]!.taskId,
    instance_id: rows.instance.instanceId,
    tier: 'gate',
    queue: 'claims',
    status: 'decided',
    submitted_by: 'kim',
    barred: '[]',
    opened_at_ms: rows.tasks[0]!.openedAtMs,
    escalated_at_ms: null,
    decision: 'approve',
    decided_by: 'ann',
    decided_at_ms: rows.tasks[0]!.decidedAtMs,
    decision_payload_id: rows.tasks[0]!.decisionPayloadId,
  })
})

test('an export says that it is simulated, and only then', () => {
  const rows = { ...storedRows(recordInstance({ steps: 1, ending: 'completed' })), columns: {}, definition: undefined }
  const facts = { exportedAtMs, version: '1.2.3' }
  const simulated = exportInstance(rows, { ...facts, simulated: true })
  assert.deepEqual([simulated.simulated, simulated.notice], [true, simulatedNotice])
  const real = exportInstance(rows, { ...facts, simulated: false })
  assert.deepEqual([real.simulated, real.notice], [false, undefined])
  assert.ok(!('notice' in real))
  assert.equal(real.definition, null)
})

test('erased content is marked, and its place in the export stays', () => {
  const { payloads } = exportStory({ steps: 2, ending: 'completed', erased: true })
  const { erased, text, salt, erased_at_ms: erasedAtMs, kind } = payloads[1]!
  assert.deepEqual([erased, text, salt, kind, typeof erasedAtMs], [true, null, null, 'output', 'number'])
  assert.deepEqual([payloads[0]!.erased, payloads[0]!.erased_at_ms], [false, null])
})

test('the head of a running case stands on the work row, that of any other on the instance', () => {
  const running = recordInstance({ steps: 2, ending: 'running' })
  const { seq, hash } = running.events.at(-1)!
  assert.deepEqual(exportStory({ steps: 2, ending: 'completed' }).work, null)
  const rows = { ...storedRows(running), columns: {}, definition: undefined }
  const { work } = exportInstance(rows, { simulated: true, exportedAtMs, version: '1' })
  const pointer = { definition_hash: definitionHash, step: 'step_3', run: 1, step_no: 2 }
  assert.deepEqual(work, { ...pointer, audit_seq: seq, audit_head: hash })
})

test('an export is JSON that can be stored and hashed, and says what it cannot show', () => {
  const exported = exportStory({ steps: 1, ending: 'held' })
  assert.deepEqual(JSON.parse(canonicalJson(exported)), exported)
  assert.deepEqual(exported.cannot_show, exportCannotShow)
})
