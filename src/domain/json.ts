import { isUtf8 } from 'node:buffer'
import { CoreError } from '../errors.ts'
import { scanJson } from './json-scan.ts'

export { canonicalEnvelope, canonicalJson, envelopeWriter } from './json-canonical.ts'

/** A JSON value as it came through the strict door. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/** How large a text the door takes unless its caller says otherwise: 1 MiB. */
export const maxJsonBytes = 1_048_576

/**
 * The one door for JSON from outside: HTTP bodies, files of the command line, scripted answers, model outputs.
 * Refuses, each with its own code, what JSON.parse lets through or silently changes. What comes out can be stored,
 * hashed and read back in any language with the same meaning.
 */
export function parseJson(source: Uint8Array | string, maxBytes: number = maxJsonBytes): Json {
  const bytes = typeof source === 'string' ? Buffer.byteLength(source) : source.byteLength
  if (bytes > maxBytes) throw new CoreError('CC_ERR_JSON_TOO_LARGE', { bytes, maxBytes })
  const text = typeof source === 'string' ? source : decode(source)
  if (text.startsWith('\u{FEFF}')) throw new CoreError('CC_ERR_JSON_BOM')
  scanJson(text)
  return JSON.parse(text) as Json
}

function decode(bytes: Uint8Array): string {
  if (!isUtf8(bytes)) throw new CoreError('CC_ERR_JSON_UTF8', { byte: firstBadByte(bytes) + 1 })
  return new TextDecoder('utf-8', { ignoreBOM: true }).decode(bytes)
}

/** The longest beginning that is whole, or only cut in the middle of a character, ends where the first fault begins. */
function firstBadByte(bytes: Uint8Array): number {
  let good = 0
  let bad = bytes.length
  while (good < bad) {
    const middle = Math.ceil((good + bad) / 2)
    if (isBeginning(bytes.subarray(0, middle))) good = middle
    else bad = middle - 1
  }
  return good
}

function isBeginning(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes, { stream: true })
    return true
  } catch {
    return false
  }
}

/** A map of names to values: not null and not a list. */
export function isJsonObject(value: Json | undefined): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** Equal as JSON values: numbers by their value, maps whatever the order of their keys. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (a === b) return true
  if (Array.isArray(a) && Array.isArray(b)) {
    return a.length === b.length && a.every((item, index) => sameJson(item as Json, b[index] as Json))
  }
  if (!isJsonObject(a) || !isJsonObject(b)) return false
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
}

/** Text that both databases and every reader keep as it is: no NUL, no half of a surrogate pair. */
export function isStorableText(text: string): boolean {
  return text.isWellFormed() && !text.includes('\0')
}

/**
 * The target with a JSON merge patch applied (RFC 7396): null removes a field, an object changes its fields, anything
 * else replaces. Neither argument is changed.
 */
export function mergePatch(target: Json | undefined, patch: Json): Json {
  if (!isJsonObject(patch)) return patch
  const merged = new Map(isJsonObject(target) ? Object.entries(target) : [])
  for (const [key, part] of Object.entries(patch)) {
    if (part === null) merged.delete(key)
    else merged.set(key, mergePatch(merged.get(key), part))
  }
  return Object.fromEntries(merged)
}
