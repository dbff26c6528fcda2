import { CoreError } from '../errors.ts'
import type { CaseReader, CaseView } from './core.ts'
import type { Engine } from './execution.ts'
import { requireInstance } from './intervening.ts'
import { refuseUnrunnable } from './runnable.ts'

/**
 * Until the case has ended or is held. The store is read once at the start and once for each hint, never polled. Refuses a
 * case that this process cannot run, for which it would wait in vain.
 */
export async function waitUntilRest(
  reader: Pick<CaseReader, 'getCase'>,
  engine: Engine,
  instanceId: string,
  { timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal },
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
      await refuseUnrunnable(engine, await engine.definition(definitionHash))
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

class TimeUp extends Error {}
