import assert from 'node:assert/strict'
import type { StepOutput } from '../cognition/run-context.ts'
import { caseIdOf, type Checkpoint, type LiveInstance, type Payload, type Work } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Definition, Route } from '../domain/workflow.ts'
import type { Backend, Reader } from '../storage/backend.ts'
import { readLatestCheckpoints } from '../storage/checkpoints.ts'
import type { Claimed } from '../storage/claimed.ts'
import { readPayloads } from '../storage/payloads.ts'
import { readWork } from '../storage/work.ts'
import { fallbackIn, type Mishap } from './governing.ts'
import { assertPointer, assertRecorded, vouchedSubmission } from './vouching.ts'

/** What an execution needs to go on, read once per claim: its size follows the workflow, not the history. */
export interface Loaded {
  readonly instance: LiveInstance
  readonly definition: Definition
  readonly input: JsonObject
  readonly caseId: string
  readonly outputs: Map<string, StepOutput>
  readonly runs: Map<string, number>
  readonly mishaps: Map<string, Mishap>
  readonly previous: string | undefined
}

/** What the steps so far have said. */
interface Recorded {
  readonly latest: readonly Checkpoint[]
  readonly payloads: ReadonlyMap<string, Payload>
}

/** Between the claim and the look at the record somebody else has got the instance. */
export class ClaimLost extends Error {
  override readonly name = 'ClaimLost'
}

const nothingRecorded: Recorded = { latest: [], payloads: new Map() }

/** Brings a claimed instance to where it goes on. A case of which only the submission is recorded is read already. */
export async function loadInstance(backend: Backend, work: Claimed, definition: Definition): Promise<Loaded> {
  const { instance, input } = vouchedSubmission(work)
  const { latest, payloads } = isFresh(work)
    ? nothingRecorded
    : await backend.read((reader) => readRecorded(reader, work, definition))
  assertPointer(work, definition, latest)
  return { instance, definition, input, caseId: caseIdOf(input, instance.instanceId), ...recall(latest, payloads) }
}

function isFresh({ auditSeq }: Work): boolean {
  return auditSeq === 1
}

async function readRecorded(reader: Reader, work: Work, { steps }: Definition): Promise<Recorded> {
  const { instanceId } = work
  // Whoever slept since the claim may read what the next holder of the instance has recorded.
  if ((await readWork(reader, instanceId))?.token !== work.token) throw new ClaimLost()
  const names = steps.map(({ name }) => name)
  const latest = work.stepNo === 0 ? [] : await readLatestCheckpoints(reader, instanceId, names)
  const outputs = latest.map(({ outputPayloadId: payloadId }) => ({ instanceId, payloadId }))
  const payloads = await readPayloads(reader, outputs)
  await assertRecorded(reader, work, latest, payloads)
  return { latest, payloads }
}

function recall(latest: readonly Checkpoint[], payloads: ReadonlyMap<string, Payload>) {
  const outputs = new Map<string, StepOutput>()
  const runs = new Map<string, number>()
  const mishaps = new Map<string, Mishap>()
  let previous: string | undefined
  for (const { step, primitive, run, status, route: routeText, outputPayloadId } of latest) {
    const route = JSON.parse(routeText) as Route
    runs.set(step, run)
    const fallback = fallbackIn(route)
    if (fallback) mishaps.set(step, { step, what: fallback })
    // A failed run leaves no output behind; `retry` runs the step again, and its success takes this place.
    if (status === 'failed') continue
    outputs.set(step, { step, primitive, run, output: contentOf(payloads.get(outputPayloadId)), wentTo: route.to })
    previous = step
  }
  return { outputs, runs, mishaps, previous }
}

function contentOf(payload: Payload | undefined): JsonObject {
  assert(payload?.text !== undefined, 'a live instance has all of its content')
  return JSON.parse(payload.text) as JsonObject
}
