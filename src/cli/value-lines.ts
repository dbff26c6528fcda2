import { isJsonObject, type Json, type JsonObject } from '../domain/json.ts'
import { visible } from '../visible.ts'
import { linesOf, widthOf, wrap } from './text.ts'

/**
 * Content in lines that a person reads: names with their values, lists with dashes, what is short on one line. Nothing
 * is left out; who needs the exact JSON asks for it with --json.
 */
export function contentLines(content: Json, width: number): string[] {
  if (!isJsonObject(content)) return valueLines(content, width)
  return Object.entries(content).flatMap(([key, item]) => field(key, item, width))
}

function valueLines(value: Json, width: number): string[] {
  if (typeof value === 'string') return textLines(value, width)
  const short = onOneLine(value)
  if (short !== undefined && widthOf(short) <= width) return [short]
  if (Array.isArray(value)) {
    return (value as readonly Json[]).flatMap((item) => hang('- ', valueLines(item, Math.max(20, width - 2))))
  }
  return isJsonObject(value) ? Object.entries(value).flatMap(([key, item]) => field(key, item, width)) : [String(value)]
}

function field(key: string, item: Json, width: number): string[] {
  const label = `${visible(key)}: `
  const short = typeof item === 'string' ? item : (onOneLine(item) ?? listOnOneLine(item))
  const isShort = short !== undefined && !short.includes('\n') && widthOf(visible(short)) <= width - widthOf(label)
  if (isShort) return [`${label}${visible(short)}`.trimEnd()]
  return [label.trimEnd(), ...valueLines(item, Math.max(20, width - 2)).map((line) => `  ${line}`)]
}

function textLines(text: string, width: number): string[] {
  return linesOf(text).flatMap((line) => wrap(visible(line), width))
}

/** Numbers, flags, nothing; empty containers; a map of such things. Undefined for what needs more room. */
function onOneLine(value: Json): string | undefined {
  if (value === null) return 'none'
  if (typeof value === 'boolean') return value ? 'yes' : 'no'
  if (typeof value === 'number') return String(value)
  if (typeof value === 'string') return undefined
  if (Array.isArray(value)) return value.length === 0 ? 'none' : undefined
  return mapOnOneLine(value as JsonObject)
}

function mapOnOneLine(map: JsonObject): string | undefined {
  const parts: string[] = []
  for (const [key, item] of Object.entries(map)) {
    const text = typeof item === 'string' ? inline(item) : typeof item === 'object' ? undefined : onOneLine(item)
    if (text === undefined) return undefined
    parts.push(`${visible(key)}: ${text}`)
  }
  // A map of one on the line of its own name would read as two names.
  if (parts.length === 1) return undefined
  return parts.length === 0 ? 'none' : parts.join(', ')
}

function listOnOneLine(value: Json): string | undefined {
  if (!Array.isArray(value)) return undefined
  const items = (value as readonly Json[]).map((item) => (typeof item === 'string' ? inline(item) : onOneLine(item)))
  return items.every((item) => item !== undefined && !item.includes(', ')) ? items.join(', ') : undefined
}

/** A text that may stand among others without being taken for several. */
function inline(text: string): string | undefined {
  return text.length > 0 && text.length <= 60 && !text.includes('\n') && !/, \w+: /.test(text)
    ? visible(text)
    : undefined
}

function hang(mark: string, lines: readonly string[]): string[] {
  return lines.map((line, index) => (index === 0 ? mark : ' '.repeat(mark.length)) + line)
}
