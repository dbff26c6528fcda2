import type { Model } from '../cognition/model.ts'
import type { Primitive } from '../cognition/primitive.ts'
import type { Definition } from '../domain/workflow.ts'
import { CoreError, type ErrorCode, isCoreError } from '../errors.ts'

/** What a process brings to the steps it runs. */
export interface Abilities {
  readonly primitives: ReadonlyMap<string, Primitive>
  readonly model: Model | undefined
}

/** Refuses a definition that this process cannot run. Another one may be able to, so its cases are left alone here. */
export async function refuseUnrunnable({ primitives, model }: Abilities, { steps }: Definition): Promise<void> {
  for (const { name: step, primitive, transitions, model: alias } of steps) {
    const known = primitives.get(primitive)
    if (!known) throw new CoreError('CC_ERR_NO_PRIMITIVE', { step, primitive })
    const asksModel = known.needsModel || transitions.some((transition) => 'agentDecide' in transition)
    if (asksModel && !model) throw new CoreError('CC_ERR_NO_MODEL', { step, primitive })
    if (alias !== undefined) await model?.prepare?.(alias)
  }
}

/** The refusal of a model that would mix written answers and real ones in one store. */
export function refuseModel(location: string, isSimulation: boolean, model: string): CoreError {
  return new CoreError(isSimulation ? 'CC_ERR_SIMULATED_STORE' : 'CC_ERR_REAL_STORE', { location, model })
}

const unrunnable: ReadonlySet<string> = new Set<ErrorCode>([
  'CC_ERR_NO_PRIMITIVE',
  'CC_ERR_NO_MODEL',
  'CC_ERR_UNKNOWN_MODEL',
  'CC_ERR_MODEL_KEY',
  'CC_ERR_MODEL_PACKAGE',
  'CC_ERR_SIMULATED_STORE',
  'CC_ERR_REAL_STORE',
])

export function isUnrunnable(error: unknown): error is CoreError {
  return isCoreError(error) && unrunnable.has(error.code)
}
