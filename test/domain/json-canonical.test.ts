import assert from 'node:assert/strict'
import { AssertionError } from 'node:assert'
import { test } from 'node:test'
import { canonicalEnvelope, canonicalJson, envelopeWriter } from '../../src/domain/json.ts'

test('keys are sorted by UTF-16 code units, as in the example of RFC 8785', () => {
  const value = {
    '€': 'Euro Sign',
    '\r': 'Carriage Return',
    '\ufb33': 'Hebrew Letter Dalet With Dagesh',
    1: 'One',
    '😀': 'Emoji: Grinning Face',
    '\u0080': 'Control',
    ö: 'Latin Small Letter O With Diaeresis',
  }
  const names = Object.keys(JSON.parse(canonicalJson({ ...value, 1: undefined, one: 1 })) as object)
  assert.deepEqual(names, ['\r', 'one', '\u0080', 'ö', '€', '😀', '\ufb33'])
  assert.match(canonicalJson(value), /^\{"\\r":"Carriage Return","1":"One",/)
})

test('numbers and strings are spelled as RFC 8785 spells them', () => {
  const numbers = [333333333.33333329, 1e30, 4.5, 2e-3, 1e-27, -0, 1e21, 5e-324, 123456789012345680000]
  assert.equal(canonicalJson(numbers), '[333333333.3333333,1e+30,4.5,0.002,1e-27,0,1e+21,5e-324,123456789012345680000]')
  assert.equal(canonicalJson('€$\u000f\nA\'B"\\\\"/\u007f'), '"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/\u007f"')
  assert.equal(canonicalJson({ b: [true, null, {}], a: undefined, c: [] }), '{"b":[true,null,{}],"c":[]}')
})

const circular: Record<string, unknown> = {}
circular.again = [circular]
const notJson: readonly (readonly [what: string, value: unknown])[] = [
  ['undefined', undefined],
  ['undefined in a list', [undefined]],
  ['a hole in a list', [1, , 2]],
  ['a function', { run: () => 1 }],
  ['a symbol', Symbol('s')],
  ['a bigint', 1n],
  ['NaN', { confidence: NaN }],
  ['an infinity', [-Infinity]],
  ['a date', { at: new Date(0) }],
  ['a map', new Map()],
  ['an instance', new (class Case {})()],
  ['a value within itself', circular],
  ['half of a surrogate pair', 'a\ud800'],
  ['half of a surrogate pair in a key', { '\udc00': 1 }],
  ['NUL', { a: ['\0'] }],
  ['NUL in a key', { 'a\0': 1 }],
  ['__proto__', JSON.parse('{"__proto__": 1}')],
]

for (const [what, value] of notJson) {
  test(`${what} has no canonical form`, () => {
    assert.throws(() => canonicalJson(value), TypeError)
    assert.throws(() => canonicalEnvelope(value), AssertionError)
  })
}

test('a refusal names the field', () => {
  assert.throws(() => canonicalJson({ a: { score: NaN } }), /NaN is not JSON \(at 'score'\)/)
})

test('an envelope has strings, booleans, safe integers, lists and maps, and nothing else', () => {
  const envelope = { seq: 3, atMs: 1_700_000_000_000, simulated: true, facts: { path: ['a', 'b'], gone: undefined } }
  assert.equal(
    canonicalEnvelope(envelope),
    '{"atMs":1700000000000,"facts":{"path":["a","b"]},"seq":3,"simulated":true}',
  )
  for (const value of [null, 0.5, 2 ** 53, { a: null }, { confidence: 0.9 }]) {
    assert.throws(() => canonicalEnvelope(value), AssertionError)
  }
})

test('a writer of envelopes writes what the canonical form is, whichever of its names are there', () => {
  const writeEvent = envelopeWriter({ type: 'type', seq: 'seq', actor: 'actor', facts: 'facts' })
  for (const envelope of [
    { seq: 3, type: 'a "b"', facts: { to: 'x', by: ['y'] }, actor: 'kim' },
    { type: '', seq: 0 },
    { actor: '\u{1F600}', facts: {} },
    {},
  ]) {
    assert.equal(writeEvent(envelope), canonicalEnvelope(envelope))
  }
  assert.equal(writeEvent({ seq: 1, actor: undefined, type: null }), '{"seq":1}')
  assert.throws(() => writeEvent({ seq: 0.5 }), AssertionError)
  assert.throws(() => writeEvent({ actor: 'a\0' }), AssertionError)
})
