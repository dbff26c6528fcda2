import type { Primitive } from '../primitive.ts'
import { challenge } from './challenge.ts'
import { classify } from './classify.ts'
import { deliberate } from './deliberate.ts'
import { generate } from './generate.ts'
import { govern } from './govern.ts'
import { investigate } from './investigate.ts'
import { retrieve } from './retrieve.ts'
import { verify } from './verify.ts'

/** The primitives of the pack language, by name. Programs that embed the engine register more beside them. */
export const builtIn: ReadonlyMap<string, Primitive> = new Map(
  [retrieve, classify, investigate, verify, deliberate, generate, challenge, govern].map((primitive) => [
    primitive.name,
    primitive,
  ]),
)
