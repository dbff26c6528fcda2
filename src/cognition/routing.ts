import { isJsonObject, type JsonObject } from '../domain/json.ts'
import { type AgentDecide, endOfWorkflow, type Route, type Step } from '../domain/workflow.ts'
import { type Condition, type ConditionScope, evaluateCondition, parseCondition } from './conditions.ts'
import { placeOfStep } from './definition.ts'
import type { RunContext } from './run-context.ts'

/**
 * Where the workflow goes after this run of a step, and why. Without transitions to the next step in the list; with
 * only a `default` there, whatever `max_loops` says; otherwise the loop bound is looked at first, so that even a success
 * on the last run goes to the fallback, then each `when` in order, then the model's choice, then `default`, then the next
 * step. What the model chose stands in the output (see `thenDecide`).
 */
export function chooseRoute(
  step: Step,
  output: JsonObject,
  run: number,
  context: RunContext,
  steps: readonly Step[],
): Route {
  if (isOutOfLoops(step, run)) return { to: step.loopFallback ?? endOfWorkflow, by: 'loop_fallback' }
  const { held, missing } = conditionsAfter(step, output, run, context)
  if (held) return { to: held.goto, by: 'when', condition: held.when, ...missing }
  const options = optionsOf(step)
  if (options) return { ...readChoice(output, options), ...missing }
  const fallback = step.transitions.find((transition) => 'default' in transition)
  if (fallback) return { to: fallback.default, by: 'default', ...missing }
  return { to: nextInList(step, steps), by: 'sequence', ...missing }
}

/** The question that is put to the model after this run of a step; none when the rules before it decide. */
export function choiceDue(step: Step, output: JsonObject, run: number, context: RunContext): AgentDecide | undefined {
  const due = optionsOf(step)
  if (!due || isOutOfLoops(step, run)) return undefined
  return conditionsAfter(step, output, run, context).held ? undefined : due
}

function optionsOf(step: Step): AgentDecide | undefined {
  return step.transitions.find((transition) => 'agentDecide' in transition)?.agentDecide
}

/** A bound needs something that could decide otherwise: with a `default` alone it has no effect. */
function isOutOfLoops({ transitions, maxLoops }: Step, run: number): boolean {
  return maxLoops !== undefined && run >= maxLoops && transitions.some((transition) => !('default' in transition))
}

/** Without a valid choice the first option is taken, and the route says so. */
function readChoice({ _route: choice }: JsonObject, { options }: AgentDecide): Pick<Route, 'to' | 'by'> {
  const chosen = isJsonObject(choice) && choice.fell_back === undefined ? choice.chosen_step : undefined
  const option = options.find(({ step }) => step === chosen)
  return option ? { to: option.step, by: 'agent' } : { to: options[0]!.step, by: 'agent_fallback' }
}

/** The first condition that holds, and what was missing on the way to it. */
function conditionsAfter(step: Step, output: JsonObject, run: number, context: RunContext) {
  const scope = scopeAfter(step, output, run, context)
  const missing = new Set<string>()
  for (const transition of step.transitions) {
    if (!('when' in transition)) continue
    const evaluation = evaluateCondition(parsed(transition.when), scope)
    for (const operand of evaluation.missing) missing.add(operand)
    if (evaluation.holds) return { held: transition, missing: listed(missing) }
  }
  return { held: undefined, missing: listed(missing) }
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
