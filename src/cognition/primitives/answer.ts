import { isJsonObject, type Json, type JsonObject, parseJson } from '../../domain/json.ts'
import { StepFailure } from '../primitive.ts'

/**
 * The JSON object in a model's answer: the whole text, else the only fenced one, else the only one among its prose. What
 * stands word for word in the `material` is a quotation of the case and not an answer. Of several others nobody can say
 * which is meant. Nothing is repaired or completed: what is broken, cut off or said twice is a failure, and the step is
 * tried again.
 */
export function readAnswer(text: string, material = ''): JsonObject {
  const trimmed = text.trim()
  const isWhole = trimmed.startsWith('{') && trimmed.endsWith('}')
  const parts = isWhole ? [trimmed] : partsOf(trimmed, material)
  if (parts.length > 1) throw unparseable('it holds several')
  if (parts.length === 0) throw unparseable(trimmed === '' ? 'it is empty' : 'it holds none')
  let value: Json
  try {
    value = parseJson(parts[0]!)
  } catch (error) {
    throw unparseable((error as Error).message, error)
  }
  if (!isJsonObject(value)) throw unparseable('it is another kind of value')
  return value
}

function unparseable(why: string, cause?: unknown): StepFailure {
  return new StepFailure('unparseable', `the answer is not one JSON object: ${why}`, { retryable: true, cause })
}

function partsOf(text: string, material: string): string[] {
  const isOwn = (part: string) => !isQuoted(part, material)
  const fenced = fencedIn(text).filter((block) => block.startsWith('{') && isOwn(block))
  return fenced.length > 0 ? fenced : objectsIn(text).filter(isOwn)
}

/** As the case has it, or as it looks inside of a JSON text of the prompt. Two braces alone quote nothing. */
function isQuoted(part: string, material: string): boolean {
  if (/^\{\s*\}$/.test(part)) return false
  return material.includes(part) || material.includes(JSON.stringify(part).slice(1, -1))
}

/** What stands between two lines of backticks. No JSON text has such a line inside of it: its strings have no line ends. */
function fencedIn(text: string): string[] {
  const blocks: string[] = []
  let block: string[] | undefined
  for (const line of text.split(/\r?\n/)) {
    if (!line.trimStart().startsWith('```')) block?.push(line)
    else if (block) {
      blocks.push(block.join('\n').trim())
      block = undefined
    } else block = []
  }
  return blocks
}

/** The outermost `{…}` of a text, in one pass that knows strings. One that does not end spoils them all: the text is cut. */
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
  if (depth > 0) throw unparseable('it breaks off')
  return found
}
