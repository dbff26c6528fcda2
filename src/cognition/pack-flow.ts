import { endOfWorkflow, type Step } from '../domain/workflow.ts'

/** Which ways there are through a workflow, whatever its conditions say. */
export class Flow {
  private readonly ways: ReadonlyMap<string, ReadonlySet<string>>
  private readonly after = new Map<string, ReadonlySet<string>>()
  /** Steps to which a way leads from the first one. */
  readonly reached: ReadonlySet<string>

  constructor(steps: readonly Step[]) {
    this.ways = new Map(steps.map((step, index) => [step.name, targetsOf(step, steps[index + 1]?.name)]))
    const [first] = steps
    this.reached = new Set(first ? [first.name, ...this.afterwards(first.name)] : [])
  }

  /** True when a step may have run by the time another one begins. */
  canPrecede(earlier: string, later: string): boolean {
    return this.reached.has(earlier) && this.afterwards(earlier).has(later)
  }

  /** Everything to which a way leads from a step, itself only by a loop. */
  afterwards(name: string): ReadonlySet<string> {
    let found = this.after.get(name)
    if (!found) this.after.set(name, (found = this.search(name)))
    return found
  }

  private search(name: string): ReadonlySet<string> {
    const found = new Set<string>()
    const open = [name]
    for (let next = open.pop(); next !== undefined; next = open.pop()) {
      for (const target of this.ways.get(next) ?? []) {
        if (found.has(target)) continue
        found.add(target)
        open.push(target)
      }
    }
    return found
  }
}

function targetsOf({ transitions, maxLoops, loopFallback }: Step, following = endOfWorkflow): Set<string> {
  const targets = transitions.flatMap((transition) => {
    if ('when' in transition) return [transition.goto]
    return 'default' in transition ? [transition.default] : transition.agentDecide.options.map(({ step }) => step)
  })
  const isConditional = transitions.some((transition) => !('default' in transition))
  if (isConditional && maxLoops !== undefined) targets.push(loopFallback ?? endOfWorkflow)
  if (transitions.every((transition) => 'when' in transition)) targets.push(following)
  return new Set(targets)
}

/** What is odd about the ways through a workflow, by the step at which it shows. */
export function oddWays(flow: Flow, names: readonly string[]): { step: string; what: string; right: string }[] {
  return names.flatMap((step) => {
    if (!flow.reached.has(step)) {
      return [{ step, what: `no way leads to '${step}'`, right: 'lead to it from another step, or leave it out' }]
    }
    if (flow.afterwards(step).has(endOfWorkflow)) return []
    return [
      { step, what: `no way leads from '${step}' to the end`, right: `lead to another step, or to ${endOfWorkflow}` },
    ]
  })
}

/** A bound on a loop that never binds, by the key that says it. */
export function oddBound(step: Step, flow: Flow): { key: string; what: string; right: string } | undefined {
  const { transitions, maxLoops, loopFallback, name } = step
  if (maxLoops === undefined) {
    if (loopFallback === undefined) return undefined
    return { key: 'loop_fallback', what: '`loop_fallback` has no effect without `max_loops`', right: 'give both' }
  }
  const key = 'max_loops'
  if (transitions.every((transition) => 'default' in transition)) {
    return { key, what: '`max_loops` has no effect without a `when`', right: 'say when the loop goes on' }
  }
  if (maxLoops === 1) {
    return { key, what: '`max_loops: 1` sends every case to the fallback', right: 'give 2 or more' }
  }
  if (flow.afterwards(name).has(name)) return undefined
  return { key, what: '`max_loops` has no effect: no way leads back to the step', right: 'leave it out' }
}
