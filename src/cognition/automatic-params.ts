import type { Json, JsonObject } from '../domain/json.ts'
import type { Step } from '../domain/workflow.ts'
import { visibleInput } from './hidden-keys.ts'
import type { Primitive } from './primitive.ts'
import type { RunContext } from './run-context.ts'
import { summarizeSteps } from './summary.ts'

/**
 * What a step that asks a model is given without asking. Without a `context` of its own: the date, the case's visible
 * input and a summary of the steps before. A `context` that takes nothing from the case gets that summary appended; one
 * with references says what it wants and is left alone. The case stands in the prompt once: `input` is filled in only
 * where the context does not show it, and points to the `subject` where the pack gives one.
 */
export function withAutomaticParams(
  params: Record<string, string>,
  written: Step['params'],
  context: RunContext,
  primitive: Pick<Primitive, 'needsModel'>,
  nowMs: number,
): Record<string, string> {
  if (!primitive.needsModel) return params
  const own = params.context?.trim() ? params.context : undefined
  if (own === undefined) {
    const parts = [
      `Today is ${new Date(nowMs).toISOString().slice(0, 10)}.`,
      `The case:\n${showCase(context.input)}`,
      summarizeSteps(context),
    ]
    return { ...params, context: parts.join('\n\n') }
  }
  const takesFromCase = JSON.stringify(written.context).includes('${')
  return {
    input: params.subject?.trim() ? 'The material is in `subject`.' : showCase(context.input),
    ...params,
    context: takesFromCase ? own : `${own}\n\n${summarizeSteps(context)}`,
  }
}

/** Longer texts of a case are documents: for retrieve, and for the steps whose packs name them. */
const shownCharacters = 2000

function showCase(input: JsonObject): string {
  const shown = Object.entries(visibleInput(input)).map(([key, value]) => [key, isDocument(value) ? notShown : value])
  return JSON.stringify(Object.fromEntries(shown), undefined, 2)
}

const notShown = '[a longer text, not shown here]'

function isDocument(value: Json | undefined): boolean {
  return typeof value === 'string' && value.length > shownCharacters
}
