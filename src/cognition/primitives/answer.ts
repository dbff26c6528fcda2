import { type JsonObject, parseJson } from '../../domain/json.ts'
import { StepFailure } from '../primitive.ts'
import { isObject } from '../tools.ts'

/**
 * The JSON object in a model's answer: the whole text, or the only fenced block, or the only object among its prose.
 * Nothing is repaired or completed: what is broken, cut off or said twice is a failure, and the step is tried again.
 */
export function readAnswer(text: string): JsonObject {
  const trimmed = text.trim()
  const parts = trimmed.startsWith('{') && trimmed.endsWith('}') ? [trimmed] : partsOf(trimmed)
  if (parts.length !== 1) throw unparseable(parts.length === 0 ? 'it holds none' : 'it holds several')
  let value: unknown
  try {
    value = parseJson(parts[0]!)
  } catch (error) {
    throw unparseable((error as Error).message, error)
  }
  if (!isObject(value)) throw unparseable('it is another kind of value')
  return value as JsonObject
}

function unparseable(why: string, cause?: unknown): StepFailure {
  return new StepFailure('unparseable', `the answer is not one JSON object: ${why}`, { retryable: true, cause })
}

function partsOf(text: string): string[] {
  const fenced = [...text.matchAll(/```(?:json)?[ \t]*\r?\n([\s\S]*?)\r?\n[ \t]*```/gi)].map((match) =>
    match[1]!.trim(),
  )
  return fenced.length > 0 ? fenced : objectsIn(text)
}

/** The outermost `{…}` of a text, in one pass that knows strings; an object that does not end is none. */
function objectsIn(text: string): string[] {
  const found: string[] = []
  let depth = 0
  let start = 0
  let inString = false
  for (let index = 0; index < text.length; index++) {
    const character = text[index]
    if (inString) {
      if (character === '\\') index++
      else if (character === '"') inString = false
    } else if (character === '"') {
      inString = depth > 0
    } else if (character === '{') {
      if (depth++ === 0) start = index
    } else if (character === '}' && depth > 0 && --depth === 0) {
      found.push(text.slice(start, index + 1))
    }
  }
  return found
}
