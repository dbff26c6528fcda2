import { type Json, isJsonObject, type JsonObject } from '../domain/json.ts'

/**
 * Keys that carry a test's metadata or its answer. No model, tool or reference ever sees them, at any depth.
 */
const hidden = /^(_.*|ground_truth.*|correct_.*|failure_mode.*)$/

/**
 * Ordinary fields of a case that in sample packs give its answer away. They are left out where the whole input is shown;
 * a pack that means one of them names it (`${input.description}`). Deeper in the input these words mean other things.
 */
const labels: ReadonlySet<string> = new Set(['description', 'fraud_type', 'alert_type', 'risk_score'])

/** True for a key that stands for nothing outside of tests. */
export function isHiddenKey(key: string): boolean {
  return hidden.test(key)
}

/** A copy without the hidden keys, at any depth. */
export function withoutHidden<T extends Json>(value: T): T {
  return strip(value) as T
}

/** The case's input as the pack's texts may show it whole: without hidden keys and without labels. */
export function visibleInput(input: JsonObject): JsonObject {
  const shown = Object.entries(input).filter(([key]) => !labels.has(key))
  return withoutHidden(Object.fromEntries(shown))
}

function strip(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(strip)
  if (!isJsonObject(value)) return value
  const kept = Object.entries(value).filter(([key]) => !isHiddenKey(key))
  return Object.fromEntries(kept.map(([key, part]) => [key, strip(part)]))
}
