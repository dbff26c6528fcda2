import type { JsonObject } from '../domain/json.ts'

/**
 * What a case has said so far, as references and conditions see it: the latest output of each step that ran. Bounded by
 * the number of steps in the workflow, not by how often they ran.
 */
export interface RunContext {
  /** The case as submitted. */
  readonly input: JsonObject
  /** Latest output by step name; a step that did not run is absent. Insertion order is the order of the latest runs. */
  readonly outputs: ReadonlyMap<string, StepOutput>
  /** Name of the step that ran last. */
  readonly previous: string | undefined
}

export interface StepOutput {
  readonly step: string
  readonly primitive: string
  /** How often this step has run: `_loop_count`. */
  readonly run: number
  readonly output: JsonObject
  /** Where it went from there and why, for the summary that later steps read. */
  readonly wentTo: string | undefined
}
