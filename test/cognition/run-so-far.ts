import type { RunContext, StepOutput } from '../../src/cognition/run-context.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Step } from '../../src/domain/workflow.ts'

/** A case that has said this much: outputs in the order of their latest runs, the last of them the previous step's. */
export function runSoFar(
  input: JsonObject,
  said: readonly (Pick<StepOutput, 'step' | 'output'> & Partial<StepOutput>)[] = [],
): RunContext {
  const outputs = said.map((output): [string, StepOutput] => [
    output.step,
    { primitive: 'custom', run: 1, wentTo: undefined, ...output },
  ])
  return { input, outputs: new Map(outputs), previous: said.at(-1)?.step }
}

/** A step of which only the routing matters. */
export function routedStep(
  name: string,
  routing: Partial<Pick<Step, 'transitions' | 'maxLoops' | 'loopFallback'>> = {},
): Step {
  return {
    name,
    primitive: 'custom',
    params: {},
    model: undefined,
    temperature: undefined,
    transitions: [],
    maxLoops: undefined,
    loopFallback: undefined,
    timeoutMs: 1000,
    retry: { maxAttempts: 1, backoffMs: 0, maxBackoffMs: 0 },
    externalEffect: false,
    ...routing,
  }
}
