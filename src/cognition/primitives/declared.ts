import type { Primitive } from '../primitive.ts'
import { type Thinking, thinkingPrimitive } from './thinking.ts'

/** A primitive that is one question to a model, and says what it takes and gives, so that packs can be held against it. */
export function declared(thinking: Thinking): Primitive {
  return {
    ...thinkingPrimitive(thinking),
    optionalParams: [...thinking.optionalParams, 'context', 'input'],
    answer: thinking.answer,
  }
}
