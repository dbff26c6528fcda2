import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { newPayload } from '../../src/domain/audit.ts'
import { openStore } from '../../src/storage/open.ts'
import { erasePayload, insertPayload, readPayload } from '../../src/storage/payloads.ts'
import { onEachBackend, temporaryFolder } from './fixture.ts'
import { readyCase } from './ready-case.ts'

onEachBackend('a payload is erased once, and reads as erased', async (open) => {
  await using store = await open()
  const instanceId = await readyCase(store.backend)
  const [row] = await store.sql<{ id: string }>('select payload_id as id from payloads')
  const erase = (nowMs: number) =>
    store.backend.transaction((tx) => erasePayload(tx, { instanceId, payloadId: row!.id, nowMs }))

  assert.equal(await erase(5_000), true)
  assert.equal(await erase(6_000), false)

  const payload = await store.backend.read((reader) => readPayload(reader, instanceId, row!.id))
  assert.deepEqual([payload!.text, payload!.salt, payload!.erasedAtMs], [undefined, undefined, 5_000])
})

/** From a text that shares its page with others to one that fills many pages. */
for (const characters of [10, 3_000, 50_000]) {
  test(`nothing of an erased text of ${characters} characters is found in the file`, async () => {
    using folder = temporaryFolder()
    const path = folder.file('store.db')
    const { backend } = await openStore({ path, nowMs: 1_000 })
    const instanceId = await readyCase(backend)
    const value = { text: `the beginning ${'x'.repeat(characters)} the end` }
    const { payload } = newPayload({ instanceId, kind: 'output', value, nowMs: 2_000 })
    await backend.transaction((tx) => insertPayload(tx, payload))

    const { payloadId } = payload
    await backend.transaction((tx) => erasePayload(tx, { instanceId, payloadId, nowMs: 3_000 }))
    await backend.close()

    const bytes = readFileSync(path)
    for (const part of ['the beginning', 'the end', payload.salt!]) assert.ok(!bytes.includes(part), part)
  })
}
