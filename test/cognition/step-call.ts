import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import { objectSource } from '../../src/cognition/pack-source.ts'
import type { StepCall } from '../../src/cognition/primitive.ts'
import { scriptedModel } from '../../src/cognition/scripted-model.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Fixture, Step } from '../../src/domain/workflow.ts'

/** One attempt of a step as the engine would make it, with what the test cares about. */
export function stepCall(
  primitive: string,
  params: Record<string, string>,
  {
    model,
    input = {},
    fixtures = [],
    attempt = 1,
  }: { model?: Model; input?: JsonObject; fixtures?: Fixture[]; attempt?: number } = {},
): StepCall {
  return {
    instanceId: 'instance-1',
    caseId: 'A-1',
    step: step(primitive, params),
    run: 1,
    attempt,
    params,
    context: { input, outputs: new Map(), previous: undefined },
    fixtures,
    idempotencyKey: 'instance-1/the_step/1',
    signal: new AbortController().signal,
    model,
  }
}

function step(primitive: string, params: Record<string, string>): Step {
  return {
    name: 'the_step',
    primitive,
    params,
    model: undefined,
    temperature: undefined,
    transitions: [],
    maxLoops: undefined,
    loopFallback: undefined,
    timeoutMs: 1000,
    retry: { maxAttempts: 1, backoffMs: 0, maxBackoffMs: 0 },
    externalEffect: false,
  }
}

/** A scripted model that always gives this answer, and keeps what it was asked. */
export function answering(output: unknown, call = 'main'): Model & { readonly asked: ModelRequest[] } {
  const model = scriptedModel('scripted:test', [objectSource('test', [{ when: { call }, output }])])
  return recording(model)
}

/** A model that writes exactly this text. */
export function writing(text: string): Model & { readonly asked: ModelRequest[] } {
  return recording({ name: 'text', simulated: true, answer: () => Promise.resolve({ text, model: 'text' }) })
}

function recording(model: Model): Model & { readonly asked: ModelRequest[] } {
  const asked: ModelRequest[] = []
  const answer: Model['answer'] = (request) => {
    asked.push(request)
    return model.answer(request)
  }
  return { name: model.name, simulated: model.simulated, asked, answer }
}
