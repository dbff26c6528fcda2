import assert from 'node:assert/strict'
import { test } from 'node:test'
import { isStorableText, maxJsonBytes, mergePatch, type Json, parseJson, sameJson } from '../../src/domain/json.ts'
import { CoreError, type ErrorCode } from '../../src/errors.ts'

/** Texts as strings are also tried as bytes: the door is the same for both. */
const hostile: readonly (readonly [what: string, source: string | Uint8Array, code: ErrorCode, place?: string])[] = [
  ['a raw NUL in a string', '{"a": "x\0y"}', 'CC_ERR_JSON_NUL', '1:9'],
  ['an escaped NUL', '"x\\u0000"', 'CC_ERR_JSON_NUL', '1:3'],
  ['a NUL between values', '[1,\0 2]', 'CC_ERR_JSON_NUL', '1:4'],
  ['an escaped high half', '["\\ud83d"]', 'CC_ERR_JSON_SURROGATE', '1:3'],
  ['an escaped low half', '["a\\ude00"]', 'CC_ERR_JSON_SURROGATE', '1:4'],
  ['halves the wrong way round', '"\\ude00\\ud83d"', 'CC_ERR_JSON_SURROGATE', '1:2'],
  ['two high halves', '"\\ud83d\\ud83d\\ude00"', 'CC_ERR_JSON_SURROGATE', '1:2'],
  ['half a pair in a key', '{"\\ud83d": 1}', 'CC_ERR_JSON_SURROGATE', '1:3'],
  ['bytes that are not UTF-8', Buffer.from([0x22, 0x61, 0xff, 0x22]), 'CC_ERR_JSON_UTF8'],
  ['a half pair as bytes', Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]), 'CC_ERR_JSON_UTF8'],
  ['an overlong NUL', Buffer.from([0x22, 0xc0, 0x80, 0x22]), 'CC_ERR_JSON_UTF8'],
  ['a character cut at the end', Buffer.from([0x22, 0xe2, 0x82]), 'CC_ERR_JSON_UTF8'],
  ['UTF-16', Buffer.from('"a"', 'utf16le'), 'CC_ERR_JSON_NUL'],
  ['a byte order mark', '\u{FEFF}{}', 'CC_ERR_JSON_BOM'],
  ['a key twice', '{\n  "a": 1,\n  "a": 2\n}', 'CC_ERR_JSON_DUPLICATE_KEY', '3:3'],
  ['a key twice, once escaped', '{"a": 1, "\\u0061": 2}', 'CC_ERR_JSON_DUPLICATE_KEY', '1:10'],
  ['a key twice, deep down', '[{"x": [{"k": {}, "k": {}}]}]', 'CC_ERR_JSON_DUPLICATE_KEY', '1:19'],
  ['2^53 + 1', '{"id": 9007199254740993}', 'CC_ERR_JSON_NUMBER_INEXACT', '1:8'],
  ['-(2^53 + 1)', '-9007199254740993', 'CC_ERR_JSON_NUMBER_INEXACT', '1:1'],
  ['more digits than a double has', '0.1000000000000000055', 'CC_ERR_JSON_NUMBER_INEXACT', '1:1'],
  ['half of the least double', '[2.4e-324, 3e-324]', 'CC_ERR_JSON_NUMBER_RANGE', '1:2'],
  ['almost the least double', '3e-324', 'CC_ERR_JSON_NUMBER_INEXACT', '1:1'],
  ['1e999', '[1e999]', 'CC_ERR_JSON_NUMBER_RANGE', '1:2'],
  ['1e-999', '1e-999', 'CC_ERR_JSON_NUMBER_RANGE', '1:1'],
  ['NaN', '[NaN]', 'CC_ERR_JSON_NOT_A_NUMBER', '1:2'],
  ['Infinity', '{"a": Infinity}', 'CC_ERR_JSON_NOT_A_NUMBER', '1:7'],
  ['-Infinity', '-Infinity', 'CC_ERR_JSON_NOT_A_NUMBER', '1:1'],
  ['lists 10,000 deep', '['.repeat(10_000) + ']'.repeat(10_000), 'CC_ERR_JSON_DEPTH', '1:65'],
  ['maps 65 deep', '{"a":'.repeat(65) + '1' + '}'.repeat(65), 'CC_ERR_JSON_DEPTH', '1:321'],
  ['__proto__', '{"__proto__": {"admin": true}}', 'CC_ERR_JSON_PROTO', '1:2'],
  ['__proto__, escaped', '{"a": {"__pr\\u006fto__": 1}}', 'CC_ERR_JSON_PROTO', '1:8'],
  ['50 MB', Buffer.alloc(50_000_000, '['), 'CC_ERR_JSON_TOO_LARGE'],
  ['a byte too much', `"${'x'.repeat(maxJsonBytes - 1)}"`, 'CC_ERR_JSON_TOO_LARGE'],
  ['characters within the bound, bytes beyond it', `"${'€'.repeat(400_000)}"`, 'CC_ERR_JSON_TOO_LARGE'],
  ['a second value', '{} {}', 'CC_ERR_JSON_TRAILING', '1:4'],
  ['a bracket too much', '[1]]', 'CC_ERR_JSON_TRAILING', '1:4'],
  ['nothing', '', 'CC_ERR_JSON_SYNTAX', '1:1'],
  ['nothing but space', ' \n ', 'CC_ERR_JSON_SYNTAX', '2:2'],
  ['a comma before the end', '[1,\n 2,\n]', 'CC_ERR_JSON_SYNTAX', '3:1'],
  ['a comma before the end of a map', '{"a": 1,}', 'CC_ERR_JSON_SYNTAX', '1:9'],
  ['a comma alone', '[,]', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['the wrong bracket', '{"a": [1}', 'CC_ERR_JSON_SYNTAX', '1:9'],
  ['a key without a value', '{"a"}', 'CC_ERR_JSON_SYNTAX', '1:5'],
  ['a key without quotes', '{a: 1}', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['single quotes', "['a']", 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['a comment', '[1] // one', 'CC_ERR_JSON_TRAILING', '1:5'],
  ['a list that does not end', '[1, 2', 'CC_ERR_JSON_SYNTAX', '1:6'],
  ['a string that does not end', '"abc', 'CC_ERR_JSON_SYNTAX', '1:5'],
  ['a string that ends in a backslash', '"abc\\', 'CC_ERR_JSON_SYNTAX', '1:6'],
  ['a raw line break in a string', '"a\nb"', 'CC_ERR_JSON_SYNTAX', '1:3'],
  ['an unknown escape', '"\\x41"', 'CC_ERR_JSON_SYNTAX', '1:3'],
  ['a short escape', '"\\u12"', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['a leading zero', '[01]', 'CC_ERR_JSON_SYNTAX', '1:3'],
  ['a plus sign', '[+1]', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['a point without digits', '[1.]', 'CC_ERR_JSON_SYNTAX', '1:4'],
  ['an exponent without digits', '[1e+]', 'CC_ERR_JSON_SYNTAX', '1:5'],
  ['a minus alone', '-', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['an unknown word', '[yes]', 'CC_ERR_JSON_SYNTAX', '1:2'],
  ['a word cut short', 'tru', 'CC_ERR_JSON_SYNTAX', '1:1'],
  ['a space of another kind', '[1,\u{A0}2]', 'CC_ERR_JSON_SYNTAX', '1:4'],
]

for (const [what, source, code, place] of hostile) {
  test(`${what} is refused as ${code}`, () => {
    const forms = typeof source === 'string' ? [source, Buffer.from(source)] : [source]
    for (const form of forms) {
      assert.throws(
        () => parseJson(form),
        (error) => {
          assert.ok(error instanceof CoreError, String(error))
          assert.equal(error.code, code)
          assert.equal(error.exit, 2)
          assert.equal(error.status, code === 'CC_ERR_JSON_TOO_LARGE' ? 413 : 400)
          if (place !== undefined) assert.equal(`${error.facts.line}:${error.facts.column}`, place)
          // Every fact of the sentence was given.
          assert.doesNotMatch(`${error.message} ${error.remedy}`, /\{\w+\}/)
          return true
        },
      )
    }
  })
}

test('half of a surrogate pair, raw, is refused', () => {
  for (const text of ['"\ud83d"', '"\ude00"', '"\ud83dx"', '{"\ud83d": 1}']) {
    assert.throws(() => parseJson(text), { code: 'CC_ERR_JSON_SURROGATE' })
  }
})

test('bytes that are not UTF-8 are named by their place', () => {
  const bytes = Buffer.from('["€", "x"]')
  // The last begins a character that the byte after it does not go on with.
  for (const [at, wrong, named] of [
    [0, 0xff, 1],
    [3, 0x28, 4],
    [8, 0xc3, 10],
  ] as const) {
    const changed = Buffer.from(bytes)
    changed[at] = wrong
    assert.throws(() => parseJson(changed), { code: 'CC_ERR_JSON_UTF8', message: new RegExp(`byte ${named} `) })
  }
})

test('what is only unusual passes', () => {
  const unusual = [
    '0.50',
    '1.0',
    '1e2',
    '-0',
    '0e999',
    '0.000e-999999999999999999999',
    '9007199254740992',
    '123456789012345680000',
    '1E+2',
    '5e-324',
    '1.7976931348623157e308',
    '0.1',
    '100000000000000000000000000000000e-32',
    '"\\ud83d\\ude00"',
    '"😀"',
    '"\ud83d\\ude00"',
    '"\\/\\b\\f\\n\\r\\t\\"\\\\"',
    '" "',
    '{"": {"": []}, "a": {"a": 1}}',
    '[{"a": 1}, {"a": 1}]',
    '{"constructor": 1, "toString": 2, "hasOwnProperty": 3, "prototype": 4}',
    ' \t\r\n[ ] ',
    '['.repeat(64) + ']'.repeat(64),
    `"${'x'.repeat(maxJsonBytes - 2)}"`,
  ]
  for (const text of unusual) {
    assert.deepEqual(parseJson(text), JSON.parse(text))
    if (text.isWellFormed()) assert.deepEqual(parseJson(Buffer.from(text)), JSON.parse(text))
  }
})

test('a caller may set another bound', () => {
  assert.deepEqual(parseJson('[1, 2]', 6), [1, 2])
  assert.throws(() => parseJson('[1, 2]', 5), { code: 'CC_ERR_JSON_TOO_LARGE', facts: { bytes: 6, maxBytes: 5 } })
})

test('texts made to be slow cost no more than others of their size', () => {
  const size = maxJsonBytes - 100
  const slow: Record<string, string> = {
    digits: '1'.repeat(size),
    'zeros before a digit': `0.${'0'.repeat(size)}1`,
    'zeros on both sides of a digit': `0.${'0'.repeat(size / 2)}1${'0'.repeat(size / 2 - 10)}`,
    'an exponent of zeros': `1e${'0'.repeat(size)}1`,
    backslashes: `"${'\\\\'.repeat(size / 2)}"`,
    'lines before a fault': `${'\n'.repeat(size)}x`,
    'empty lists': `[${'[],'.repeat(size / 3)}1]`,
    keys: `{${Array.from({ length: size / 14 }, (_, index) => `"k${index}":1`).join(',')}}`,
    'lists within lists without an end': '['.repeat(size),
  }
  for (const [what, text] of Object.entries(slow)) {
    const startedAt = performance.now()
    try {
      parseJson(text)
    } catch (error) {
      assert.ok(error instanceof CoreError, `${what}: ${String(error)}`)
    }
    // Some 10 ms on an ordinary machine; anything quadratic takes minutes.
    assert.ok(performance.now() - startedAt < 2000, what)
  }
})

test('a merge patch changes what RFC 7396 says it changes, and neither argument', () => {
  const table: readonly (readonly [target: Json, patch: Json, result: Json])[] = [
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [
      ['a', 'b'],
      ['c', 'd'],
      ['c', 'd'],
    ],
    [{ a: 'b' }, ['c'], ['c']],
    [{ a: 'foo' }, null, null],
    [{ a: 'foo' }, 'bar', 'bar'],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [[1, 2], { a: 'b', c: null }, { a: 'b' }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ]
  for (const [target, patch, result] of table) {
    const before = JSON.stringify([target, patch])
    assert.deepEqual(mergePatch(target, patch), result)
    assert.equal(JSON.stringify([target, patch]), before)
  }
  assert.deepEqual(mergePatch(undefined, { a: { b: null } }), { a: {} })
})

test('JSON values are the same whatever the order of their keys', () => {
  assert.ok(sameJson({ a: [1, { b: null, c: 'x' }] }, { a: [1.0, { c: 'x', b: null }] }))
  assert.ok(sameJson(0, -0))
  const different: readonly (readonly [Json, Json])[] = [
    [1, '1'],
    [0, false],
    [null, {}],
    [[], {}],
    [[1], [1, 1]],
    [{ a: 1 }, { b: 1 }],
    [{ a: 1 }, { a: 1, b: 1 }],
    [{ toString: 1 }, {}],
    [{}, { toString: 1 }],
  ]
  for (const [a, b] of different) assert.ok(!sameJson(a, b), JSON.stringify([a, b]))
})

test('text that a database would not keep is told', () => {
  assert.ok(isStorableText('naïve 😀 \u{FFFF}'))
  assert.ok(!isStorableText('a\0b'))
  assert.ok(!isStorableText('a\ud83d'))
})
