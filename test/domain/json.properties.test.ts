import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { judgeNumber } from '../../src/domain/json-number.ts'
import { canonicalJson, isStorableText, type Json, parseJson } from '../../src/domain/json.ts'

const settings = { seed: 20260101, numRuns: 1000 }

function assertFails<T>(property: fc.IProperty<T>): void {
  assert.throws(() => fc.assert(property, settings), /Property failed/)
}

// --- values and texts -----------------------------------------------------------------------------------------------

const text = fc.string({ unit: 'binary', maxLength: 12 }).filter(isStorableText)
const name = fc
  .oneof(text, fc.constantFrom('a', 'b', 'constructor', '1', '10', '9', '€', '😀', '\ufb33'))
  .filter((key) => key !== '__proto__')
const number = fc
  .oneof(fc.double({ noNaN: true, noDefaultInfinity: true }), fc.maxSafeInteger(), fc.integer({ min: -9, max: 9 }))
  .map((value) => (value === 0 ? 0 : value))

const { value: json } = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small' },
    fc.constantFrom<Json>(null, true, false),
    number,
    text,
    fc.array(tie('value'), { maxLength: 5 }),
    fc.dictionary(name, tie('value'), { maxKeys: 20, noNullPrototype: true }),
  ),
}))

interface Printing {
  readonly space: string
  readonly escape: boolean
}
const printing: fc.Arbitrary<Printing> = fc.record({
  space: fc.constantFrom('', ' ', '\n\t', '\r\n '),
  escape: fc.boolean(),
})

/** The same value as another program would write it: other white space, other escapes. */
function print(value: Json, { space, escape }: Printing): string {
  const written = JSON.stringify(value, undefined, space)
  if (!escape) return written
  return written.replaceAll(/[^\x20-\x7e\s]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`)
}

// --- the door -------------------------------------------------------------------------------------------------------

type Door = (source: string | Uint8Array) => unknown

function whatIsSoundComesThrough(door: Door) {
  return fc.property(json, printing, (value, how) => {
    const written = print(value, how)
    assert.deepEqual(door(written), value)
    assert.deepEqual(door(Buffer.from(written)), JSON.parse(written))
  })
}

test('the door gives every sound document back as JSON.parse does', () => {
  fc.assert(whatIsSoundComesThrough(parseJson), settings)
})

test('a door that rounds, or forgets escaped keys, would be caught', () => {
  assertFails(
    whatIsSoundComesThrough((source) =>
      JSON.parse(String(source), (_, part: unknown) => (typeof part === 'number' ? Math.fround(part) : part)),
    ),
  )
  assertFails(whatIsSoundComesThrough((source) => parseJson(String(source).replaceAll('\\u', ''))))
})

const poison = fc.oneof(
  fc.tuple(name, number, number).map(([key, a, b]) => {
    const written = JSON.stringify(key)
    return [`{${written}:${a}, ${written}:${b}}`, 'CC_ERR_JSON_DUPLICATE_KEY'] as const
  }),
  fc.constantFrom(
    ['"\\u0000"', 'CC_ERR_JSON_NUL'] as const,
    ['"\0"', 'CC_ERR_JSON_NUL'] as const,
    ['"\\udc00"', 'CC_ERR_JSON_SURROGATE'] as const,
    ['{"x\\ud800": 1}', 'CC_ERR_JSON_SURROGATE'] as const,
    ['{"__proto__": 1}', 'CC_ERR_JSON_PROTO'] as const,
    ['NaN', 'CC_ERR_JSON_NOT_A_NUMBER'] as const,
    ['1e999', 'CC_ERR_JSON_NUMBER_RANGE'] as const,
    [`${'['.repeat(65)}${']'.repeat(65)}`, 'CC_ERR_JSON_DEPTH'] as const,
  ),
  fc
    .bigInt({ min: 2n ** 53n, max: 2n ** 60n })
    // Odd beyond 2^53: no double is that number.
    .map((big) => [String(big | 1n), 'CC_ERR_JSON_NUMBER_INEXACT'] as const),
)
const place = '"the place of the poison"'
/** A sound document with one value in it that is about to be replaced. */
const around = fc
  .array(fc.tuple(fc.boolean(), json, json), { maxLength: 5 })
  .map((layers) =>
    layers.reduce<Json>(
      (inner, [isList, before, after]) => (isList ? [before, inner, after] : { a: before, b: inner, c: after }),
      'the place of the poison',
    ),
  )

function whatIsPoisonedIsRefused(door: Door) {
  return fc.property(around, printing, poison, (value, how, [wrong, code]) => {
    const written = print(value, how).replace(place, () => wrong)
    assert.throws(() => door(written), { code })
    if (written.isWellFormed()) assert.throws(() => door(Buffer.from(written)), { code })
  })
}

test('one poisoned value, wherever it stands, closes the door with its own code', () => {
  fc.assert(whatIsPoisonedIsRefused(parseJson), settings)
})

test("Node's own parser in place of the door would be caught", () => {
  assertFails(whatIsPoisonedIsRefused((source) => JSON.parse(String(source)) as unknown))
})

// --- numbers --------------------------------------------------------------------------------------------------------

const digits = fc.string({ unit: fc.constantFrom(...'0123456789'), minLength: 1, maxLength: 25 })
const whole = digits.map((written) => written.replace(/^0+(?=\d)/, ''))
const exponent = fc.integer({ min: -340, max: 320 })
const writtenNumber = fc.oneof(
  fc
    .tuple(fc.constantFrom('', '-'), whole, fc.option(digits), fc.option(exponent))
    .map(([sign, before, after, power]) => {
      return sign + before + (after === null ? '' : `.${after}`) + (power === null ? '' : `e${power}`)
    }),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map((value) => `${value}0`.replace(/^(-?\d+)0$/, '$1.0')),
  // The exact value of a double, which mostly has more digits than its shortest text.
  fc.double({ noNaN: true, min: 1e-5, max: 1e5 }).map((value) => value.toFixed(20)),
)

/** The same judgement by arithmetic on whole numbers: slow, and right by looking at it. */
function judgeSlowly(written: string): string {
  const value = Number(written)
  const isZero = !/[1-9]/.test(written.split(/e/i)[0]!)
  if (!Number.isFinite(value) || (value === 0 && !isZero)) return 'range'
  return scaled(written) === scaled(String(value)) ? 'exact' : 'inexact'
}

/** Times ten to the 700, which makes a whole number of every text that is made here. */
function scaled(written: string): bigint {
  const [mantissa = '', power = '0'] = written.toLowerCase().split('e')
  const [before = '', after = ''] = mantissa.split('.')
  const magnitude = BigInt((before + after).replace('-', '')) * 10n ** BigInt(700 - after.length + Number(power))
  return written.startsWith('-') ? -magnitude : magnitude
}

function numbersAreJudgedByTheirValue(judge: (written: string) => string) {
  return fc.property(writtenNumber, (written) => {
    fc.pre(/^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/.test(written))
    assert.equal(judge(written), judgeSlowly(written))
    const accepted = judgeNumber(written) === 'exact'
    if (accepted) assert.equal(parseJson(written), JSON.parse(written))
    else assert.throws(() => parseJson(written))
  })
}

test('a number passes exactly when its shortest text has the same decimal value', () => {
  fc.assert(numbersAreJudgedByTheirValue(judgeNumber), settings)
})

test('judging a number by its spelling, or by counting digits, would be caught', () => {
  const bySpelling = (written: string) => (String(Number(written)) === written ? 'exact' : 'inexact')
  const byDigits = (written: string) => (written.replaceAll(/\D/g, '').length <= 17 ? 'exact' : 'inexact')
  assertFails(numbersAreJudgedByTheirValue(bySpelling))
  assertFails(numbersAreJudgedByTheirValue(byDigits))
})

// --- canonical JSON -------------------------------------------------------------------------------------------------

type Canonical = (value: unknown) => string

/** RFC 8785 word by word: recursion, keys compared code unit by code unit. */
function canonicalSlowly(value: Json): string {
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(canonicalSlowly).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const fields = Object.entries(value).sort(([a], [b]) => compareUnits(a, b))
  return `{${fields.map(([key, part]) => `${JSON.stringify(key)}:${canonicalSlowly(part as Json)}`).join(',')}}`
}

function compareUnits(a: string, b: string): number {
  for (let at = 0; at < Math.min(a.length, b.length); at++) {
    if (a.charCodeAt(at) !== b.charCodeAt(at)) return a.charCodeAt(at) - b.charCodeAt(at)
  }
  return a.length - b.length
}

function reordered(value: Json): Json {
  if (Array.isArray(value)) return (value as readonly Json[]).map(reordered)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value)
      .toReversed()
      .map(([key, part]) => [key, reordered(part as Json)]),
  )
}

function oneTextForOneValue(canonical: Canonical) {
  return fc.property(json, (value) => {
    const written = canonical(value)
    assert.equal(written, canonicalSlowly(value))
    assert.equal(canonical(reordered(value)), written)
    assert.deepEqual(JSON.parse(written), value)
    assert.deepEqual(parseJson(written), value)
  })
}

test('canonical JSON is one text for one value, and that text is the value', () => {
  fc.assert(oneTextForOneValue(canonicalJson), settings)
})

test('keys left in their order, or sorted as people sort them, would be caught', () => {
  const asSorted = (compare: (a: string, b: string) => number): Canonical =>
    function write(value): string {
      if (Array.isArray(value)) return `[${value.map(write).join(',')}]`
      if (typeof value !== 'object' || value === null) return JSON.stringify(value)
      const names = Object.keys(value).sort(compare)
      return `{${names.map((key) => `${JSON.stringify(key)}:${write((value as Record<string, unknown>)[key])}`).join(',')}}`
    }
  const byCodePoint = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))
  assertFails(oneTextForOneValue((value) => JSON.stringify(value)))
  assertFails(oneTextForOneValue(asSorted((a, b) => a.localeCompare(b))))
  assertFails(oneTextForOneValue(asSorted(byCodePoint)))
})
