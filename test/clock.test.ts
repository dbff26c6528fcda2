import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import { systemClock } from '../src/clock.ts'

test('a timer calls once after its time, unless it was canceled', async () => {
  const called: string[] = []
  systemClock.after(5, () => called.push('late'))
  systemClock.after(1, () => called.push('soon'))
  systemClock.after(1, () => called.push('never'))()

  await delay(30)

  assert.deepEqual(called, ['soon', 'late'])
})

test('a time longer than timers can keep does not go off at once', async () => {
  let isCalled = false
  const cancel = systemClock.after(365 * 86_400_000, () => (isCalled = true))

  await delay(20)
  cancel()

  assert.equal(isCalled, false)
})

test('a sleep ends after its time or with its signal, and never fails', async () => {
  const waking = new AbortController()
  const startedAt = performance.now()

  const sleeping = systemClock.sleep(60_000, waking.signal)
  waking.abort(new Error('enough'))

  await sleeping
  await systemClock.sleep(60_000, AbortSignal.abort())
  await systemClock.sleep(1)
  assert.ok(performance.now() - startedAt < 5_000)
})

test('time is whole milliseconds', () => {
  assert.ok(Number.isInteger(systemClock.nowMs()))
  assert.ok(Math.abs(systemClock.nowMs() - Date.now()) < 1_000)
})
