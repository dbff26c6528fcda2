import type { JsonObject } from '../domain/json.ts'
import { endOfWorkflow, type Route, type Step } from '../domain/workflow.ts'
import { type Condition, type ConditionScope, evaluateCondition, parseCondition } from './conditions.ts'
import { placeOfStep } from './definition.ts'
import type { RunContext } from './run-context.ts'

/**
 * Where the workflow goes after this run of a step, and why. Without transitions to the next step in the list; with
 * only a `default` there, whatever `max_loops` says; otherwise the loop bound is looked at first, so that even a success
 * on the last run goes to the fallback, then each `when` in order, then `default`, then the next step.
 */
export function chooseRoute(
  step: Step,
  output: JsonObject,
  run: number,
  context: RunContext,
  steps: readonly Step[],
): Route {
  const conditional = step.transitions.filter((transition) => 'when' in transition)
  const fallback = step.transitions.find((transition) => 'default' in transition)
  if (conditional.length > 0 && step.maxLoops !== undefined && run >= step.maxLoops) {
    return { to: step.loopFallback ?? endOfWorkflow, by: 'loop_fallback' }
  }
  const scope = scopeAfter(step, output, run, context)
  const missing = new Set<string>()
  for (const { when, goto } of conditional) {
    const evaluation = evaluateCondition(parsed(when), scope)
    for (const operand of evaluation.missing) missing.add(operand)
    if (evaluation.holds) return { to: goto, by: 'when', condition: when, ...listed(missing) }
  }
  if (fallback) return { to: fallback.default, by: 'default', ...listed(missing) }
  return { to: nextInList(step, steps), by: 'sequence', ...listed(missing) }
}

function scopeAfter(step: Step, output: JsonObject, run: number, context: RunContext): ConditionScope {
  return {
    output,
    // The step's own name means what it just said, not what it said the run before.
    outputs: (name) => (name === step.name ? output : context.outputs.get(name)?.output),
    input: context.input,
    loopCount: run,
  }
}

function nextInList(step: Step, steps: readonly Step[]): string {
  const place = placeOfStep(steps, step.name)
  return place === undefined ? endOfWorkflow : (steps[place + 1]?.name ?? endOfWorkflow)
}

function listed(missing: ReadonlySet<string>): Pick<Route, 'missing'> {
  return missing.size === 0 ? {} : { missing: [...missing] }
}

/** A condition is parsed once per process and not once per step. */
const parsedConditions = new Map<string, Condition>()
const maxParsedConditions = 1000

function parsed(text: string): Condition {
  const known = parsedConditions.get(text)
  if (known) return known
  const condition = parseCondition(text)
  if (parsedConditions.size >= maxParsedConditions) parsedConditions.clear()
  parsedConditions.set(text, condition)
  return condition
}
