import { z } from 'zod'
import type { JsonObject } from '../domain/json.ts'
import type { AgentDecide } from '../domain/workflow.ts'
import { resolveText } from './interpolation.ts'
import { addSpent, type Primitive, type StepCall, StepFailure, type StepResult } from './primitive.ts'
import { ask, writePrompt } from './primitives/thinking.ts'
import { choiceDue } from './routing.ts'
import type { RunContext } from './run-context.ts'
import { summarizeSteps } from './summary.ts'
import { isObject } from './tools.ts'

/**
 * The primitive, and after it the question where to go, if the step leaves that to the model: both are one attempt under
 * one time limit. The answer stands in the step's output under `_route`, where routing reads it and no prompt shows it.
 */
export function thenDecide(primitive: Primitive): Primitive {
  return {
    ...primitive,
    async run(call) {
      const result = await primitive.run(call)
      if (!isObject(result?.output)) return result
      const due = choiceDue(call.step, result.output, call.run, call.context)
      if (!due) return result
      // A primitive that did not listen to its time limit must not ask on behalf of an attempt that is over.
      call.signal.throwIfAborted()
      const { output: choice, ...spent } = await decide(call, due, result.output)
      return { ...addSpent(result, spent), output: { ...result.output, _route: choice } }
    },
  }
}

const instructions = `You choose the step that a case takes next.
Weigh what the last step found against \`prompt\`, and answer in \`chosen_step\` with the name of one of \`options\`, spelled
exactly as there. You choose the way and decide nothing about the case itself.`

/** What the model chose; an answer that is no choice takes the first option, with the reason why. */
async function decide(call: StepCall, { prompt, options }: AgentDecide, output: JsonObject): Promise<StepResult> {
  const context = withOutput(call, output)
  const names = options.map(({ step }) => step)
  const question = writePrompt([
    ['prompt', resolveText(prompt, context, { step: call.step.name, run: call.run })],
    ['options', options.map(({ step, description }) => `- ${step}: ${description}`).join('\n')],
    ['context', summarizeSteps(context)],
  ])
  const answer = z.looseObject({
    chosen_step: z.preprocess((value) => (typeof value === 'string' ? value.trim() : value), z.enum(names)),
    reasoning: z.string().nullish(),
  })
  try {
    return await ask(call, { call: 'route', instructions, prompt: question, answer })
  } catch (error) {
    if (!(error instanceof StepFailure) || !isNoChoice(error)) throw error
    return { output: { chosen_step: names[0]!, fell_back: error.code }, ...error.spent }
  }
}

/** There was an answer and no choice in it. A model that could not be reached may answer the next attempt. */
function isNoChoice({ code }: StepFailure): boolean {
  return code === 'unparseable' || code === 'schema_mismatch' || code === 'refusal' || code === 'truncation'
}

/** The case as it stands once this step has spoken. */
function withOutput({ step, run, context }: StepCall, output: JsonObject): RunContext {
  const others = [...context.outputs].filter(([name]) => name !== step.name)
  const own = { step: step.name, primitive: step.primitive, run, output, wentTo: undefined }
  return { ...context, outputs: new Map([...others, [step.name, own]]), previous: step.name }
}
