import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import test from 'node:test'
import {
  type AuditEventDraft,
  chainStart,
  checkpointDigest,
  commitPayload,
  genesisHash,
  newPayload,
  nextHead,
  sealEvent,
  sealEvents,
} from '../../src/domain/audit.ts'
import type { Checkpoint } from '../../src/domain/instance.ts'
import { isCoreError } from '../../src/errors.ts'

const instanceId = '019a0000-0000-7000-8000-000000000001'
const sha256 = (...parts: (string | Buffer)[]) => {
  const digest = createHash('sha256')
  for (const part of parts) digest.update(part)
  return digest.digest('hex')
}
const draft = (fields: Partial<AuditEventDraft> = {}): AuditEventDraft => ({
  instanceId,
  type: 'step.completed',
  atMs: 1_790_000_000_123,
  actor: 'engine',
  definition: 'd'.repeat(64),
  simulated: false,
  ...fields,
})

test('an event is canonical JSON of everything it says, hashed under its own label', () => {
  const payload = { id: 'p-1', kind: 'output', commitment: 'c'.repeat(64) }
  const event = sealEvent(
    chainStart(instanceId),
    draft({
      tier: 'gate',
      step: 'triage',
      model: 'm',
      payload,
      checkpoint: 'e'.repeat(64),
      facts: { run: 2, a: ['ü'] },
    }),
  )
  assert.equal(
    event.envelope,
    `{"actor":"engine","at":1790000000123,"checkpoint":"${'e'.repeat(64)}","definition":"${'d'.repeat(64)}",` +
      `"facts":{"a":["ü"],"run":2},"instance":"${instanceId}","model":"m",` +
      `"payload":{"commitment":"${'c'.repeat(64)}","id":"p-1","kind":"output"},"prev":"${genesisHash(instanceId)}",` +
      `"seq":1,"step":"triage","tier":"gate","type":"step.completed","v":1}`,
  )
  assert.equal(event.hash, sha256('cc/event/v1\n', event.envelope))
  assert.equal(event.prevHash, sha256(`cc/case/v1\n${instanceId}`))
  assert.equal(event.payloadId, 'p-1')
  assert.deepEqual(nextHead(event), { seq: 1, hash: event.hash })
})

test('what is absent is left out, and only a simulation is marked', () => {
  const real = JSON.parse(sealEvent(chainStart(instanceId), draft()).envelope) as object
  assert.deepEqual(Object.keys(real), ['actor', 'at', 'definition', 'instance', 'prev', 'seq', 'type', 'v'])
  const simulated = JSON.parse(sealEvent(chainStart(instanceId), draft({ simulated: true })).envelope) as object
  assert.deepEqual({ ...simulated, simulated: undefined }, { ...real, simulated: undefined })
  assert.equal((simulated as { simulated: unknown }).simulated, true)
})

test('several drafts become one run of links', () => {
  const events = sealEvents({ seq: 7, hash: 'a'.repeat(64) }, [draft(), draft({ type: 'case.completed' }), draft()])
  assert.deepEqual(
    events.map(({ seq, prevHash }) => [seq, prevHash]),
    [
      [8, 'a'.repeat(64)],
      [9, events[0]!.hash],
      [10, events[1]!.hash],
    ],
  )
  assert.deepEqual(sealEvents(chainStart(instanceId), []), [])
})

test('an event of 65,535 bytes is refused, one of 65,534 is not', () => {
  const head = chainStart(instanceId)
  const empty = Buffer.byteLength(sealEvent(head, draft({ step: '' })).envelope)
  const fits = sealEvent(
    head,
    draft({ step: 'é'.repeat(Math.floor((65_534 - empty) / 2)) + 'x'.repeat((65_534 - empty) % 2) }),
  )
  assert.equal(Buffer.byteLength(fits.envelope), 65_534)
  assert.throws(
    () => sealEvent(head, draft({ step: 'x'.repeat(65_535 - empty) })),
    (error) => isCoreError(error, 'CC_ERR_EVENT_TOO_LARGE') && error.message.includes('65535 bytes'),
  )
})

test('a commitment covers the label, the bytes of the salt and the bytes of the text', () => {
  const salt = '00ff10203040506070809a0b0c0d0e0f'
  const text = '{"name":"Zoë 😀"}'
  assert.equal(
    commitPayload(salt, text),
    sha256('cc/payload/v1\n', Buffer.from(salt, 'hex'), Buffer.from(text, 'utf8')),
  )
  assert.equal(commitPayload(salt, ''), sha256('cc/payload/v1\n', Buffer.from(salt, 'hex')))
})

test('the same content twice has two salts and two commitments', () => {
  const make = () => newPayload({ instanceId, kind: 'input', value: { b: 1, a: [0.5] }, nowMs: 1_790_000_000_000 })
  const [one, two] = [make(), make()]
  assert.equal(one.payload.text, '{"a":[0.5],"b":1}')
  assert.match(one.payload.salt!, /^[0-9a-f]{32}$/)
  assert.deepEqual(one.reference, {
    id: one.payload.payloadId,
    kind: 'input',
    commitment: commitPayload(one.payload.salt!, one.payload.text!),
  })
  assert.notEqual(one.payload.salt, two.payload.salt)
  assert.notEqual(one.reference.commitment, two.reference.commitment)
})

test('the digest of a checkpoint covers each of its columns', () => {
  const checkpoint: Checkpoint = {
    instanceId,
    stepNo: 3,
    step: 'triage',
    primitive: 'classify',
    run: 2,
    attempts: 1,
    status: 'failed',
    errorCode: 'timeout',
    outputPayloadId: 'p-1',
    outputCommitment: 'c',
    model: 'm',
    inputTokens: 10,
    outputTokens: 0,
    route: '{"by":"sequence","to":"next"}',
    startedAtMs: 1,
    endedAtMs: 2,
  }
  const row =
    `{"attempts":1,"ended_at_ms":2,"error_code":"timeout","input_tokens":10,"instance_id":"${instanceId}","model":"m",` +
    '"output_commitment":"c","output_payload_id":"p-1","output_tokens":0,"primitive":"classify",' +
    '"route":"{\\"by\\":\\"sequence\\",\\"to\\":\\"next\\"}","run":2,"started_at_ms":1,"status":"failed","step":"triage","step_no":3}'
  assert.equal(checkpointDigest(checkpoint), sha256('cc/checkpoint/v1\n', row))
  const digests = new Set([checkpointDigest(checkpoint)])
  for (const [field, value] of Object.entries(checkpoint) as [keyof Checkpoint, string | number][]) {
    const other = typeof value === 'number' ? value + 1 : `${value}x`
    digests.add(checkpointDigest({ ...checkpoint, [field]: other }))
  }
  digests.add(checkpointDigest({ ...checkpoint, errorCode: undefined }))
  assert.equal(digests.size, Object.keys(checkpoint).length + 2)
})
