import assert from 'node:assert/strict'
import type { Definition } from '../../src/domain/workflow.ts'
import { ClaimLost, loadInstance } from '../../src/engine/loading.ts'
import { releaseClaimsOf } from '../../src/storage/work.ts'
import { onEachBackend } from '../storage/fixture.ts'
import { claimOne, readyCase, stepCommit } from '../storage/ready-case.ts'

const definition = { steps: [{ name: 'first' }, { name: 'second' }] } as unknown as Definition

onEachBackend('who slept after a claim and lost it finds that out, and takes nothing for damage', async (open) => {
  await using store = await open()
  const { backend } = store
  await readyCase(backend)
  const next = { to: 'release', step: 'second', run: 1, attempt: 0 } as const
  await backend.hotPath.commitSteps([stepCommit(await claimOne(backend), { next })])
  const sleeper = await claimOne(backend)
  await backend.transaction((tx) => releaseClaimsOf(tx, sleeper.claimedBy!))
  const [other] = await backend.hotPath.claim({ limit: 1, claimedBy: 'other', nowMs: 2_000 })
  await backend.hotPath.commitSteps([stepCommit(other!, { next: { to: 'step', step: 'first', run: 2 } })])

  await assert.rejects(loadInstance(backend, sleeper, definition), ClaimLost)
})
