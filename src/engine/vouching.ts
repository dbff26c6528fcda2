import assert from 'node:assert/strict'
import { checkpointDigest, commitPayload, eventHash } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import type { Checkpoint, LiveInstance, Payload, Work } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import { endOfWorkflow, type Definition, type Route } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { readEnvelopeAt, readEnvelopeOf } from '../storage/audit.ts'
import type { Reader } from '../storage/backend.ts'
import type { Claimed } from '../storage/claimed.ts'
import { readPayload } from '../storage/payloads.ts'

/*
 * An instance goes on only from what its chain and its checkpoints vouch for: a file that was damaged or changed must not
 * become a completed case. What is looked at is read anyway, with a few events beside it, so that it costs the same however
 * long the history is; the whole of it is for `audit verify`.
 */

/** The case as it was submitted, held against its first event. */
export function vouchedSubmission(work: Claimed): { readonly instance: LiveInstance; readonly input: JsonObject } {
  const { submitted: instance, auditSeq, auditHead } = work
  assert(instance, `instance ${work.instanceId} has a work row and no instance row`)
  assert.equal(work.definitionHash, instance.definitionHash, 'the hot row and the instance name one definition')
  const { firstEnvelope: first, inputPayloadId, inputText: text, inputSalt: salt } = instance
  assert(first !== undefined, 'the chain has its first event')
  if (auditSeq === 1) assert.equal(eventHash(first), auditHead, 'the head is the hash of the event that it names')
  const committed = readEnvelope(first)?.payload
  assert.equal(committed?.id, inputPayloadId, 'the input is the one that was submitted')
  assertContent({ payloadId: inputPayloadId, text, salt }, committed?.commitment)
  return { instance, input: JSON.parse(text!) as JsonObject }
}

/** The latest runs of the steps with their content, held against the last event and their own commitments. */
export async function assertRecorded(
  reader: Reader,
  { instanceId, auditSeq, auditHead }: Work,
  latest: readonly Checkpoint[],
  payloads: ReadonlyMap<string, Payload>,
): Promise<void> {
  const head = await readEnvelopeAt(reader, instanceId, auditSeq)
  assert(head !== undefined, 'the chain has the event that the head names')
  assert.equal(eventHash(head), auditHead, 'the head is the hash of the event that it names')
  for (const { status, outputPayloadId, outputCommitment } of latest) {
    if (status === 'completed') assertContent(payloads.get(outputPayloadId), outputCommitment)
  }
  const last = latest.at(-1)
  if (last) assertCheckpoint(last, await readEnvelopeOf(reader, instanceId, last.outputPayloadId))
}

function assertCheckpoint(last: Checkpoint, envelope: string | undefined): void {
  const said = envelope === undefined ? undefined : readEnvelope(envelope)?.checkpoint
  assert.equal(checkpointDigest(last), said, 'the last checkpoint is as recorded')
}

type Content = Pick<Payload, 'payloadId' | 'text' | 'salt'>

function assertContent(payload: Content | undefined, commitment: string | undefined): void {
  assert(payload?.text !== undefined && payload.salt !== undefined, 'a live instance has all of its content')
  assert.equal(commitPayload(payload.salt, payload.text), commitment, `payload ${payload.payloadId} is as recorded`)
}

/** The hot row stands where the last recorded step has led, or at that step again when it failed. */
export function assertPointer(work: Work, definition: Definition, latest: readonly Checkpoint[]): void {
  const last = latest.at(-1)
  assert.equal(work.stepNo, last?.stepNo ?? 0, 'the last checkpoint is the one that the hot row counts')
  const step = last ? nextOf(last) : definition.steps[0]!.name
  const runs = latest.find((checkpoint) => checkpoint.step === step)?.run ?? 0
  assert.equal(work.step, step, 'the hot row stands at the step that is due')
  assert.equal(work.run, runs + 1, 'the hot row stands at the run that is due')
}

function nextOf({ step, status, route }: Checkpoint): string {
  const { to } = JSON.parse(route) as Route
  return status === 'failed' || to === endOfWorkflow ? step : to
}

/** The content of a payload as its event committed to it; undefined once erased. Refuses what was changed since. */
export async function readVouched(reader: Reader, instanceId: string, payloadId: string): Promise<string | undefined> {
  const payload = await readPayload(reader, instanceId, payloadId)
  if (payload?.text === undefined && payload?.erasedAtMs !== undefined) return undefined
  const envelope = await readEnvelopeOf(reader, instanceId, payloadId)
  const commitment = envelope === undefined ? undefined : readEnvelope(envelope)?.payload?.commitment
  const isSame = payload?.text !== undefined && commitPayload(payload.salt ?? '', payload.text) === commitment
  if (!isSame) throw new CoreError('CC_ERR_CONTENT_DIFFERS', { instanceId, payloadId })
  return payload.text
}
