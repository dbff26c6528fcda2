import { existsSync, writeFileSync } from 'node:fs'
import { registerHooks } from 'node:module'
import { setTimeout as delay } from 'node:timers/promises'
import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import { scriptedModel as plainModel } from '../../src/cognition/scripted-model.ts'

/** Loaded before the program: where it asks for the scripted model, it is given the one below. See `held-steps.ts`. */
registerHooks({
  resolve: (specifier, context, nextResolve) => {
    const isWanted = specifier === './scripted-model.ts' && context.parentURL?.endsWith('/src/cognition/models.ts')
    return nextResolve(isWanted ? import.meta.url : specifier, context)
  },
})

const { HELD_STEP: step, HELD_REACHED: reached = '', HELD_RELEASED: released = '' } = process.env

/** Answers as the script says, those of one step only once that is allowed. */
export function scriptedModel(...given: Parameters<typeof plainModel>): Model {
  const model = plainModel(...given)
  const answer = async (request: ModelRequest) => {
    if (request.address.step === step) {
      writeFileSync(reached, '')
      while (!existsSync(released)) await delay(5, undefined, { signal: request.signal })
    }
    return await model.answer(request)
  }
  return { ...model, answer }
}
