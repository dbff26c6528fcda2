import { type Json, isJsonObject, parseJson } from '../domain/json.ts'

/** Where a path led: to a value, or to the part at which it went on no further. */
export type Walk =
  | { readonly found: true; readonly value: Json }
  /** `field`: a map has no such key. `index`: a list has no such place. `into`: a `kind` has no parts at all. */
  | { readonly found: false; readonly why: 'field' | 'index' | 'into'; readonly part: string; readonly kind: string }

/**
 * Follows the parts of a dotted path: keys of maps, places in lists from 0, and on into JSON text inside a string, since
 * models and packs put documents into text fields. A hidden key counts as absent. Never throws, whatever the value is.
 */
export function walkPath(
  start: Json | undefined,
  parts: readonly string[],
  isHidden: (key: string) => boolean = () => false,
): Walk {
  let value = start
  for (const part of parts) {
    const inside = typeof value === 'string' ? structureIn(value) : value
    if (Array.isArray(inside)) {
      const list = inside as readonly Json[]
      value = /^\d+$/.test(part) ? list[Number(part)] : undefined
      if (value === undefined) return { found: false, why: 'index', part, kind: 'list' }
    } else if (isJsonObject(inside)) {
      value = Object.hasOwn(inside, part) && !isHidden(part) ? inside[part] : undefined
      if (value === undefined) return { found: false, why: 'field', part, kind: 'map' }
    } else {
      return { found: false, why: 'into', part, kind: kindOf(value) }
    }
  }
  if (value === undefined) return { found: false, why: 'field', part: '', kind: 'NoneType' }
  return { found: true, value }
}

/** The map or list that a text holds, if it holds one and nothing else; otherwise the text. */
export function structureIn(text: string): Json {
  if (!/^\s*[[{]/.test(text)) return text
  try {
    return parseJson(text)
  } catch {
    return text
  }
}

/** The name of a value's kind as the language spells it in prompts; packs were written beside Python. */
function kindOf(value: Json | undefined): string {
  if (value === null || value === undefined) return 'NoneType'
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float'
  return typeof value === 'boolean' ? 'bool' : 'str'
}
