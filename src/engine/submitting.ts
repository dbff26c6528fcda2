import { hash } from 'node:crypto'
import type { PinnedDefinition } from '../cognition/definition.ts'
import { chainStart, newPayload, nextHead, sealEvent } from '../domain/audit.ts'
import { newId } from '../domain/identity.ts'
import type { Instance } from '../domain/instance.ts'
import { canonicalJson, isJsonObject, isStorableText, type JsonObject, parseJson } from '../domain/json.ts'
import { CoreError, isCoreError } from '../errors.ts'
import type { Reader } from '../storage/backend.ts'
import type { Submission } from '../storage/hot-path.ts'
import { readInstance } from '../storage/instances.ts'
import { readSubmissionKey } from '../storage/submission-keys.ts'
import type { SubmitRequest, Submitted } from './core.ts'

const maxKeyCharacters = 200

/** A case on its way into the store: made once, however often its transaction has to be tried. */
export interface NewCase {
  readonly instanceId: string
  readonly request: SubmitRequest
  readonly input: JsonObject
  /** Covers workflow, domain and input: what must be the same when a key comes again. */
  readonly digest: string
  readonly nowMs: number
}

/** Takes a request through the door: everything about it that can be refused without looking into the store. */
export function takeCase(request: SubmitRequest, nowMs: number): NewCase {
  const { workflow, domain, key, priority = 0 } = request
  for (const [what, name] of Object.entries({ workflow, domain })) {
    if (typeof name === 'string' && isStorableText(name)) continue
    throw new CoreError('CC_ERR_INPUT', { what, why: 'it is not a name' })
  }
  if (!Number.isSafeInteger(priority)) {
    throw new CoreError('CC_ERR_INPUT', { what: 'priority', why: 'it must be a whole number' })
  }
  if (key !== undefined && !isKey(key)) {
    throw new CoreError('CC_ERR_INPUT', { what: 'key', why: `it must have 1 to ${maxKeyCharacters} characters` })
  }
  const input = takeObject(request.input, 'input')
  const digest = hash('sha256', `cc/submission/v1\n${canonicalJson({ workflow, domain, input })}`)
  return { instanceId: newId(nowMs), request, input, digest, nowMs }
}

/** Programs without types pass whatever they have. */
function isKey(key: unknown): boolean {
  return typeof key === 'string' && key !== '' && key.length <= maxKeyCharacters && isStorableText(key)
}

/** An object of a program's own, held to what the door lets in from outside. */
export function takeObject(value: unknown, what: string): JsonObject {
  let taken
  try {
    taken = parseJson(canonicalJson(value))
  } catch (error) {
    if (isCoreError(error)) throw error
    throw new CoreError('CC_ERR_INPUT', { what, why: (error as Error).message }, { cause: error })
  }
  if (!isJsonObject(taken)) throw new CoreError('CC_ERR_INPUT', { what, why: 'it is not an object' })
  return taken
}

/** What a key was used for before; undefined when it is new. Refuses a key that came with another body. */
export async function findSubmission(
  reader: Reader,
  { request: { actor, key }, digest }: NewCase,
): Promise<Submitted | undefined> {
  const seen = key === undefined ? undefined : await readSubmissionKey(reader, actor, key)
  if (!seen) return undefined
  if (seen.digest !== digest) throw new CoreError('CC_ERR_KEY_REUSED', { key, instanceId: seen.instanceId })
  const { instanceId } = seen
  const instance = await readInstance(reader, instanceId)
  return { instanceId, status: instance!.status, seen: true }
}

/** What a new case writes: instance, hot row, input, first event and key. */
export function recordCase(newCase: NewCase, pinned: PinnedDefinition, simulated: boolean): Submission {
  const { instanceId, request, input, digest, nowMs } = newCase
  const { workflow, domain, actor, key, priority = 0 } = request
  const { payload, reference } = newPayload({ instanceId, kind: 'input', value: input, nowMs })
  const event = sealEvent(chainStart(instanceId), {
    instanceId,
    type: 'case.submitted',
    atMs: nowMs,
    actor,
    definition: pinned.hash,
    simulated,
    payload: reference,
    facts: { workflow, domain, ...(key === undefined ? {} : { key }) },
  })
  const head = nextHead(event)
  const instance: Instance = {
    instanceId,
    correlationId: instanceId,
    workflow,
    domain,
    definitionHash: pinned.hash,
    submittedBy: actor,
    inputPayloadId: payload.payloadId,
    status: 'running',
    tier: undefined,
    tierContributions: [],
    proposedPayloadId: undefined,
    outcomePayloadId: undefined,
    failureCode: undefined,
    resumeStep: undefined,
    simulated,
    disputed: false,
    auditSeq: head.seq,
    auditHead: head.hash,
    stepCount: 0,
    submittedAtMs: nowMs,
    updatedAtMs: nowMs,
    endedAtMs: undefined,
  }
  const work = {
    instanceId,
    priority,
    definitionHash: pinned.hash,
    step: pinned.definition.steps[0]!.name,
    run: 1,
    stepNo: 0,
    auditSeq: head.seq,
    auditHead: head.hash,
  }
  return {
    instance,
    work,
    input: payload,
    event,
    key: key === undefined ? undefined : { actor, key, digest, instanceId },
  }
}
