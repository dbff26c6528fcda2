import assert from 'node:assert/strict'
import { checkpointDigest, commitPayload, eventHash } from '../domain/audit.ts'
import { readEnvelope } from '../domain/chain.ts'
import type { Checkpoint, LiveInstance, Payload, Work } from '../domain/instance.ts'
import { endOfWorkflow, type Definition, type Route } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { readEnvelopeOf, readEnvelopesAt } from '../storage/audit.ts'
import type { Reader } from '../storage/backend.ts'
import { readPayload } from '../storage/payloads.ts'

/** What a claimed instance goes on from, as it was read. */
export interface Resumption {
  readonly work: Work
  readonly instance: LiveInstance
  readonly definition: Definition
  /** The latest run of each step, in the order in which they ran. */
  readonly latest: readonly Checkpoint[]
  readonly payloads: ReadonlyMap<string, Payload>
}

/**
 * Asserts that an instance goes on from what its chain and its checkpoints vouch for: content, pointer and head. Looks at
 * what is read anyway and at three events, so that it costs the same however long the history is; the whole of it is for
 * `audit verify`. A file that was damaged or changed must not become a completed case.
 */
export async function assertVouched(reader: Reader, resumption: Resumption): Promise<void> {
  const { work, instance, latest, payloads } = resumption
  const { instanceId, auditSeq, auditHead } = work
  assert.equal(work.definitionHash, instance.definitionHash, 'the hot row and the instance name one definition')
  const envelopes = await readEnvelopesAt(reader, instanceId, [1, auditSeq])
  const [first, head] = [envelopes.get(1), envelopes.get(auditSeq)]
  assert(first !== undefined && head !== undefined, 'the chain has its first event and the one that the head names')
  assert.equal(eventHash(head), auditHead, 'the head is the hash of the event that it names')
  assert.equal(readEnvelope(first)?.payload?.id, instance.inputPayloadId, 'the input is the one that was submitted')
  assertContent(payloads.get(instance.inputPayloadId), readEnvelope(first)?.payload?.commitment)
  for (const { status, outputPayloadId, outputCommitment } of latest) {
    if (status === 'completed') assertContent(payloads.get(outputPayloadId), outputCommitment)
  }
  const last = latest.at(-1)
  if (last) assertCheckpoint(last, await readEnvelopeOf(reader, instanceId, last.outputPayloadId))
  assertPointer(resumption)
}

function assertCheckpoint(last: Checkpoint, envelope: string | undefined): void {
  const said = envelope === undefined ? undefined : readEnvelope(envelope)?.checkpoint
  assert.equal(checkpointDigest(last), said, 'the last checkpoint is as recorded')
}

function assertContent(payload: Payload | undefined, commitment: string | undefined): void {
  assert(payload?.text !== undefined && payload.salt !== undefined, 'a live instance has all of its content')
  assert.equal(commitPayload(payload.salt, payload.text), commitment, `payload ${payload.payloadId} is as recorded`)
}

/** The hot row stands where the last recorded step has led, or at that step again when it failed. */
function assertPointer({ work, definition, latest }: Resumption): void {
  const last = latest.at(-1)
  assert.equal(work.stepNo, last?.stepNo ?? 0, 'the last checkpoint is the one that the hot row counts')
  const step = last ? nextOf(last) : definition.steps[0]!.name
  const runs = latest.find((checkpoint) => checkpoint.step === step)?.run ?? 0
  assert.deepEqual([work.step, work.run], [step, runs + 1], 'the hot row stands at the step that is due')
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
