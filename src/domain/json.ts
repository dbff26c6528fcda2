/** A JSON value as it came through the strict door. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
export interface JsonObject {
  readonly [key: string]: Json
}

/**
 * The one door for JSON from outside: HTTP bodies, files of the command line, scripted answers, model outputs.
 * Refuses, each with its own code, what JSON.parse lets through or silently changes.
 */
export function parseJson(_bytes: Uint8Array | string): Json {
  throw new Error('being written')
}

/** RFC 8785 canonical JSON of any JSON value (ordinary finite numbers allowed). Throws on anything that is not JSON. */
export function canonicalJson(_value: unknown): string {
  throw new Error('being written')
}
