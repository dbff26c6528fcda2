import assert from 'node:assert/strict'
import { CommitUnknownError } from '../../src/storage/backend.ts'
import { readDefinition } from '../../src/storage/definitions.ts'
import type { Submission } from '../../src/storage/hot-path.ts'
import { readMeta } from '../../src/storage/meta.ts'
import { readSubmissionKey } from '../../src/storage/submission-keys.ts'
import { onEachBackend, type StoreFixture } from './fixture.ts'
import { newCase } from './ready-case.ts'

const settled = { definitions: [], simulated: undefined }

const keyed = (key: string, digest = 'a'): Submission => {
  const submission = newCase()
  const { instanceId } = submission.instance
  return { ...submission, key: { actor: 'kim', key, digest, instanceId } }
}

const stored = async (store: StoreFixture): Promise<string[]> => {
  const rows = await store.sql<{ id: string }>('select instance_id as id from instances order by instance_id')
  return rows.map(({ id }) => id)
}

const kinds = (results: readonly { readonly kind: string }[]) => results.map(({ kind }) => kind)
const idsOf = (submissions: readonly Submission[]) => submissions.map(({ instance }) => instance.instanceId).sort()

onEachBackend('new cases of one moment are taken together, each with all of its rows', async (open) => {
  await using store = await open()
  const cases = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? newCase() : keyed(`k${index}`)))

  assert.deepEqual(new Set(kinds(await store.backend.hotPath.submit(cases, settled))), new Set(['submitted']))

  assert.deepEqual(await stored(store), idsOf(cases))
  const { instances, work, payloads, audit_events, submission_keys } = await store.rowCounts()
  assert.deepEqual(
    { instances, work, payloads, audit_events, submission_keys },
    {
      instances: 20,
      work: 20,
      payloads: 20,
      audit_events: 20,
      submission_keys: 10,
    },
  )
  const claimed = await store.backend.hotPath.claim({ limit: 99, claimedBy: 'worker', nowMs: 1 })
  assert.deepEqual(claimed.map(({ submitted }) => submitted?.instanceId).sort(), idsOf(cases))
})

onEachBackend('a key that comes twice in one batch, or was taken before, keeps its case and no other', async (open) => {
  await using store = await open()
  const { hotPath } = store.backend
  const [before, once, twice, again, other] = [keyed('old'), keyed('new'), keyed('new'), keyed('old', 'b'), newCase()]
  await hotPath.submit([before], settled)

  const results = await hotPath.submit([once, twice, again, other], settled)

  assert.deepEqual(kinds(results), ['submitted', 'key_taken', 'key_taken', 'submitted'])
  assert.deepEqual(await stored(store), idsOf([before, once, other]))
  assert.equal((await readSubmissionKey(store.backend, 'kim', 'new'))?.instanceId, once.instance.instanceId)
})

onEachBackend('of two who come with one key at the same time one has the case', async (open) => {
  await using store = await open()
  const rivals = Array.from({ length: 12 }, (_, index) => [keyed(`k${index % 4}`), keyed(`k${(index + 1) % 4}`)])

  const results = await Promise.all(rivals.map((cases) => store.backend.hotPath.submit(cases, settled)))

  assert.equal(kinds(results.flat()).filter((kind) => kind === 'submitted').length, 4)
  assert.equal((await stored(store)).length, 4)
})

onEachBackend('a case that is refused stands alone with its error, and the others are taken', async (open) => {
  await using store = await open()
  const [first, second, third] = [newCase(), newCase(), keyed('k')]
  const instance = { ...second.instance, status: 'dreaming' as 'running' }

  const results = await store.backend.hotPath.submit([first, { ...second, instance }, third], settled)

  assert.deepEqual(kinds(results), ['submitted', 'poisoned', 'submitted'])
  assert.deepEqual(await stored(store), idsOf([first, third]))
})

onEachBackend('a definition is kept with the first case that needs it, and never without one', async (open) => {
  await using store = await open()
  const { hash } = { hash: newCase().instance.definitionHash }
  const definitions = [
    { hash, text: '{"steps":[]}' },
    { hash: 'e'.repeat(64), text: '{}' },
  ]
  await store.backend.hotPath.submit([keyed('k')], settled)

  await store.backend.hotPath.submit([keyed('k')], { ...settled, definitions })
  assert.equal(await readDefinition(store.backend, hash), undefined)

  await store.backend.hotPath.submit([newCase(), newCase()], { ...settled, definitions })
  await store.backend.hotPath.submit([newCase()], { ...settled, definitions })
  assert.equal(await readDefinition(store.backend, hash), '{"steps":[]}')
  assert.equal((await store.rowCounts()).definitions, 1)
})

onEachBackend('the first case settles what the store is, and one that comes too late takes nothing', async (open) => {
  await using store = await open()
  const { hotPath } = store.backend
  assert.deepEqual(kinds(await hotPath.submit([newCase()], { ...settled, simulated: true })), ['submitted'])

  const late = await hotPath.submit([newCase(), keyed('k')], { ...settled, simulated: false })

  assert.deepEqual(kinds(late), ['otherwise_settled', 'otherwise_settled'])
  assert.equal((await readMeta(store.backend)).simulated, true)
  assert.equal((await stored(store)).length, 1)
  assert.equal((await store.rowCounts()).submission_keys, 0)
})

onEachBackend('a lost answer is passed on as unknown, and the cases were taken', async (open) => {
  let isLost = false
  const after = () => {
    if (isLost) throw new Error('the connection broke')
  }
  await using store = await open({ probe: { after } })
  const cases = [newCase(), newCase()]
  isLost = true

  await assert.rejects(store.backend.hotPath.submit(cases, settled), CommitUnknownError)

  isLost = false
  assert.deepEqual(await stored(store), idsOf(cases))
})
