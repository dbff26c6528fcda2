import assert from 'node:assert/strict'
import type { StepOutput } from '../cognition/run-context.ts'
import { caseIdOf, type Checkpoint, type LiveInstance, type Payload, type Work } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import type { Definition, Route } from '../domain/workflow.ts'
import type { Backend } from '../storage/backend.ts'
import { readLatestCheckpoints } from '../storage/checkpoints.ts'
import { readLiveInstance } from '../storage/instances.ts'
import { readPayloads } from '../storage/payloads.ts'
import type { Mishap } from './governing.ts'
import { assertVouched } from './vouching.ts'

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

/** Reads a claimed instance on one snapshot. */
export async function loadInstance(backend: Backend, work: Work, definition: Definition): Promise<Loaded> {
  const steps = definition.steps.map(({ name }) => name)
  const { instance, latest, payloads } = await backend.read(async (reader) => {
    const instance = await readLiveInstance(reader, work.instanceId)
    assert(instance, `instance ${work.instanceId} has a work row and no instance row`)
    const latest = work.stepNo === 0 ? [] : await readLatestCheckpoints(reader, work.instanceId, steps)
    const ids = [instance.inputPayloadId, ...latest.map((checkpoint) => checkpoint.outputPayloadId)]
    const payloads = await readPayloads(reader, work.instanceId, ids)
    await assertVouched(reader, { work, instance, definition, latest, payloads })
    return { instance, latest, payloads }
  })
  const input = contentOf(payloads.get(instance.inputPayloadId))
  return { instance, definition, input, caseId: caseIdOf(input, instance.instanceId), ...recall(latest, payloads) }
}

function recall(latest: readonly Checkpoint[], payloads: ReadonlyMap<string, Payload>) {
  const outputs = new Map<string, StepOutput>()
  const runs = new Map<string, number>()
  const mishaps = new Map<string, Mishap>()
  let previous: string | undefined
  for (const { step, primitive, run, status, route: routeText, outputPayloadId } of latest) {
    const route = JSON.parse(routeText) as Route
    runs.set(step, run)
    if (route.by === 'loop_fallback') mishaps.set(step, { step, what: 'loop_fallback' })
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
