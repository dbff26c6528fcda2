import { hash } from 'node:crypto'
import { canonicalJson } from '../domain/json.ts'
import type { Definition, Step } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'

/** A definition as it is stored: its canonical text, and the hash by which instances refer to it. */
export interface PinnedDefinition {
  readonly hash: string
  readonly text: string
  readonly definition: Definition
}

/** SHA-256("cc/definition/v1\n" ‖ canonical text). */
export function pin(definition: Definition): PinnedDefinition {
  const text = canonicalJson(definition)
  return { hash: definitionHash(text), text, definition: parseDefinition(text) }
}

export function definitionHash(text: string): string {
  return hash('sha256', `cc/definition/v1\n${text}`)
}

/** Reads a pinned text back. Frozen throughout: every case of this definition shares the one value. */
export function parseDefinition(text: string): Definition {
  const definition = JSON.parse(text, (_, value: unknown) => Object.freeze(value)) as Definition
  if (definition.format === 1) return definition
  throw new CoreError('CC_ERR_DEFINITION_FORMAT', { format: String((definition as { format: unknown }).format) })
}

const placesOf = new WeakMap<readonly Step[], ReadonlyMap<string, number>>()

/** Where a step stands in its workflow, from 0; undefined for a name it does not have. Looked up, however long the list. */
export function placeOfStep(steps: readonly Step[], name: string): number | undefined {
  let places = placesOf.get(steps)
  if (!places) placesOf.set(steps, (places = new Map(steps.map((step, index) => [step.name, index]))))
  return places.get(name)
}
