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
    const inside: Json | undefined = typeof value === 'string' ? structureIn(value) : value
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
  if (value === undefined) return { found: false, why: 'field', part: '', kind: 'undefined' }
  return { found: true, value }
}

/** The map or list that a text holds, if it holds one and nothing else. */
function structureIn(text: string): Json | undefined {
  if (!/^\s*[[{]/.test(text)) return text
  try {
    return parseJson(text)
  } catch {
    return text
  }
}

function kindOf(value: Json | undefined): string {
  return value === null ? 'null' : typeof value
}
