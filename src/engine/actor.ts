import { isStorableText } from '../domain/json.ts'
import { CoreError } from '../errors.ts'

const maxActorCharacters = 200

/** Refuses a name that could not be recorded, or not be read back by people as what it is. */
export function checkActor(actor: string): void {
  const isName =
    typeof actor === 'string' &&
    actor !== '' &&
    actor === actor.trim() &&
    actor.length <= maxActorCharacters &&
    isStorableText(actor) &&
    // Control characters, and those that change how the characters around them are shown.
    !/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u.test(actor)
  if (!isName) throw new CoreError('CC_ERR_ACTOR', { actor: String(actor).slice(0, maxActorCharacters) })
}
