import { readFileSync } from 'node:fs'

/** The version of this program, as its package states it; the same file from a checkout and from an installed package. */
export const version = (
  JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
).version
