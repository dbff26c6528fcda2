import type { Model } from '../cognition/model.ts'
import type { Primitive } from '../cognition/primitive.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError, isCoreError } from '../errors.ts'

/** What a process brings to the steps it runs. */
export interface Abilities {
  readonly primitives: ReadonlyMap<string, Primitive>
  readonly model: Model | undefined
}

/** Refuses a definition that this process cannot run. Another one may be able to, so its cases are left alone here. */
export function refuseUnrunnable({ primitives, model }: Abilities, { steps }: Definition): void {
  for (const { name: step, primitive } of steps) {
    const known = primitives.get(primitive)
    if (!known) throw new CoreError('CC_ERR_NO_PRIMITIVE', { step, primitive })
    if (known.needsModel && !model) throw new CoreError('CC_ERR_NO_MODEL', { step, primitive })
  }
}

export function isUnrunnable(error: unknown): error is CoreError {
  return isCoreError(error, 'CC_ERR_NO_PRIMITIVE') || isCoreError(error, 'CC_ERR_NO_MODEL')
}
