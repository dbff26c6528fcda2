import { type Json, isJsonObject, type JsonObject } from '../domain/json.ts'
import { structureIn } from './paths.ts'

/**
 * Keys that carry a test's metadata or its answer. No model, tool or reference ever sees them, at any depth.
 */
const hidden = /^(_.*|ground_truth.*|correct_.*|failure_mode.*)$/

/**
 * Ordinary fields of a case that in sample packs give its answer away. They are left out where the whole input is shown
 * and are no sources; a pack that means one of them names it (`${input.description}`). Deeper in the input these words
 * mean other things.
 */
export const labels: ReadonlySet<string> = new Set(['description', 'fraud_type', 'alert_type', 'risk_score'])

/** True for a key that stands for nothing outside of tests. */
export function isHiddenKey(key: string): boolean {
  return hidden.test(key)
}

/** True for a key of a step's output that is for the record and not for the steps after it. */
export function isPrivateKey(key: string): boolean {
  return key.startsWith('_')
}

/** A copy without the hidden keys, at any depth, also inside of JSON that stands in a text. */
export function withoutHidden<T extends Json>(value: T): T {
  return strip(value, isHiddenKey) as T
}

/** A step's output, or a part of it, as later steps see it. */
export function withoutPrivate<T extends Json>(value: T): T {
  return strip(value, isPrivateKey) as T
}

/** The case's input as the pack's texts may show it whole: without hidden keys and without labels. */
export function visibleInput(input: JsonObject): JsonObject {
  const shown = Object.entries(input).filter(([key]) => !labels.has(key))
  return withoutHidden(Object.fromEntries(shown))
}

function strip(value: Json, isLeftOut: (key: string) => boolean): Json {
  if (typeof value === 'string') return stripText(value, isLeftOut)
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => strip(item, isLeftOut))
  if (!isJsonObject(value)) return value
  const kept = Object.entries(value).filter(([key]) => !isLeftOut(key))
  return Object.fromEntries(kept.map(([key, part]) => [key, strip(part, isLeftOut)]))
}

/** A text stays as it was written unless it holds JSON in which something has to go. */
function stripText(text: string, isLeftOut: (key: string) => boolean): string {
  const inside = structureIn(text)
  if (typeof inside === 'string') return text
  const whole = JSON.stringify(inside)
  const stripped = JSON.stringify(strip(inside!, isLeftOut))
  return stripped === whole ? text : stripped
}
