import { CoreError } from '../errors.ts'
import type { CaseReader, CaseView } from './core.ts'
import type { Engine } from './execution.ts'
import { requireInstance } from './intervening.ts'
import { isUnrunnable, refuseUnrunnable } from './runnable.ts'

export interface Waiting {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Whether others have workers too, which may be able to do what this process cannot. */
  readonly isRunElsewhere: () => Promise<boolean>
}

/**
 * Until the case has ended or is held. The store is read once at the start and once for each hint, never polled. Refuses a
 * case that neither this process nor another can run, for which it would wait in vain.
 */
export async function waitUntilRest(
  reader: Pick<CaseReader, 'getCase'>,
  engine: Engine,
  instanceId: string,
  { timeoutMs, signal, isRunElsewhere }: Waiting,
): Promise<CaseView> {
  const { backend, wake, clock } = engine
  let changed = Promise.withResolvers<void>()
  const unsubscribe = wake.onRest(instanceId, () => changed.resolve())
  const cutShort = Promise.withResolvers<never>()
  // Heard in the race below; between two races nobody listens, and it must not count as unheard.
  cutShort.promise.catch(() => {})
  const cancelTimeout =
    timeoutMs === undefined ? undefined : clock.after(timeoutMs, () => cutShort.reject(new TimeUp()))
  const onAbort = () => cutShort.reject(signal!.reason as Error)
  signal?.addEventListener('abort', onAbort, { once: true })
  if (signal?.aborted) onAbort()
  try {
    for (;;) {
      changed = Promise.withResolvers<void>()
      // A look costs one statement; the whole case is read once there is something to see.
      const { status, definitionHash } = await requireInstance(backend, instanceId)
      if (status !== 'running') return await reader.getCase(instanceId)
      if (engine.stuck.has(instanceId)) throw new CoreError('CC_ERR_CASE_STUCK', { instanceId })
      await refuseInVain(engine, definitionHash, isRunElsewhere)
      await Promise.race([changed.promise, cutShort.promise])
    }
  } catch (error) {
    if (!(error instanceof TimeUp)) throw error
    const { status } = await requireInstance(backend, instanceId)
    throw new CoreError('CC_ERR_TIMED_OUT', { instanceId, timeoutMs, status })
  } finally {
    unsubscribe()
    cancelTimeout?.()
    signal?.removeEventListener('abort', onAbort)
  }
}

async function refuseInVain(
  engine: Engine,
  definitionHash: string,
  isRunElsewhere: Waiting['isRunElsewhere'],
): Promise<void> {
  const definition = await engine.definition(definitionHash)
  try {
    await refuseUnrunnable(engine, definition)
  } catch (error) {
    if (!isUnrunnable(error) || !(await isRunElsewhere())) throw error
  }
}

class TimeUp extends Error {}
