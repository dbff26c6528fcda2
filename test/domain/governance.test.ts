import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { isSampled } from '../../src/domain/governance.ts'
import { newId } from '../../src/domain/identity.ts'

const count = 10_000
/** So many standard deviations from the mean are no coincidence: not once in a million runs. */
const maxDeviations = 6

const startMs = Date.UTC(2026, 0, 5, 9)
const ids = {
  'made in one millisecond': Array.from({ length: count }, () => newId(startMs)),
  'made over the years': Array.from({ length: count }, (_, index) => newId(startMs + index * 10_000_000)),
}

for (const [how, made] of Object.entries(ids)) {
  for (const rate of [0.001, 0.01, 0.05, 0.1, 0.5, 0.9, 0.999]) {
    test(`of ${count} cases ${how}, a rate of ${rate} draws as many as chance would`, () => {
      const drawn = made.filter((id) => isSampled(id, rate)).length
      const deviation = Math.sqrt(count * rate * (1 - rate))
      assert.ok(Math.abs(drawn - count * rate) <= maxDeviations * deviation, `${drawn} were drawn`)
    })
  }
}

test('a rate of 0 draws none, and a rate of 1 draws all', () => {
  for (const id of Object.values(ids).flat()) assert.deepEqual([isSampled(id, 0), isSampled(id, 1)], [false, true])
})

test('the draw of a case is the same whenever it is repeated, and whoever is drawn at a rate is drawn at any higher one', () => {
  const rates = [0.01, 0.1, 0.5, 0.9]
  for (const id of Object.values(ids).flat()) {
    const drawn = rates.map((rate) => isSampled(id, rate))
    assert.deepEqual(
      rates.map((rate) => isSampled(id, rate)),
      drawn,
    )
    assert.deepEqual(drawn, drawn.toSorted(), id)
  }
})

test('anybody can repeat the draw by hand: 48 bits of a hash of the id, as a share', () => {
  const share = (id: string) => createHash('sha256').update(`cc/sample/v1\n${id}`).digest().readUIntBE(0, 6) / 2 ** 48
  for (const id of ids['made over the years']) assert.equal(isSampled(id, 0.3), share(id) < 0.3, id)

  // Written down once, so that a later version draws the same cases for as long as the record is kept.
  const known = '01a210a5-55bc-78aa-a264-d8e45c4482dd'
  assert.deepEqual([isSampled(known, 0.2275), isSampled(known, 0.2276)], [false, true])
})
