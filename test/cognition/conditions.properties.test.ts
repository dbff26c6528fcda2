import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { Operator } from '../../src/cognition/condition-parser.ts'
import {
  type Condition,
  type ConditionScope,
  evaluateCondition,
  parseCondition,
} from '../../src/cognition/conditions.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'

const settings = { seed: 20260101, numRuns: 2000 }

/** A condition of the test: as a tree, so that it can be printed for the parser and evaluated by other means. */
type Tree =
  | { readonly is: 'compare'; readonly left: Operand; readonly operator: Operator; readonly right: Operand }
  | { readonly is: 'and' | 'or'; readonly left: Tree; readonly right: Tree }
  | { readonly is: 'not'; readonly of: Tree }
type Operand =
  | { readonly is: 'path'; readonly path: readonly string[] }
  | { readonly is: 'length'; readonly path: readonly string[] }
  | { readonly is: 'value'; readonly value: Json }
  | { readonly is: 'loop_count' }

const keys = ['a', 'b', 'c'] as const
const heads = ['output', 'first', 'second', 'skipped'] as const
const scalar = fc.oneof(
  fc.constantFrom<Json>(null, true, false, 0, 1, 2, -1.5, '', 'x', 'xy', '1', ' 2 ', 'true', "it's", 'a "b" \\ c'),
)
const value = fc.oneof(scalar, fc.array(scalar, { maxLength: 3 }))
const output: fc.Arbitrary<JsonObject> = fc.dictionary(
  fc.constantFrom(...keys),
  fc.oneof(value, fc.dictionary(fc.constantFrom(...keys), value, { noNullPrototype: true })),
  { noNullPrototype: true },
)
const world = fc.record({ output, first: output, second: output, loopCount: fc.integer({ min: 1, max: 3 }) })
type World = typeof world extends fc.Arbitrary<infer T> ? T : never

const path = fc
  .tuple(fc.constantFrom(...heads), fc.array(fc.constantFrom(...keys, '0'), { minLength: 1, maxLength: 2 }))
  .map(([head, parts]) => [head, ...parts])
const operand: fc.Arbitrary<Operand> = fc.oneof(
  { weight: 4, arbitrary: path.map((path): Operand => ({ is: 'path', path })) },
  { weight: 1, arbitrary: path.map((path): Operand => ({ is: 'length', path })) },
  { weight: 3, arbitrary: value.map((value): Operand => ({ is: 'value', value })) },
  { weight: 1, arbitrary: fc.constant<Operand>({ is: 'loop_count' }) },
)
const operator = fc.constantFrom<Operator>('==', '!=', '<', '<=', '>', '>=', 'in', 'not in')
const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthSize: 'medium' },
    fc.record({ is: fc.constant('compare' as const), left: operand, operator, right: operand }),
    fc.record({ is: fc.constantFrom('and' as const, 'or' as const), left: tie('tree'), right: tie('tree') }),
    fc.record({ is: fc.constant('not' as const), of: tie('tree') }),
  ),
}))

// --- printing -------------------------------------------------------------------------------------------------------

const strength = { or: 1, and: 2, not: 3, compare: 4 } as const

/** With no more parentheses than needed, so that the parser's own order of `not`, `and`, `or` is put to the test. */
function print(tree: Tree): string {
  if (tree.is === 'compare') return `${printOperand(tree.left)} ${tree.operator} ${printOperand(tree.right)}`
  const within = (part: Tree, least: number) => (strength[part.is] < least ? `(${print(part)})` : print(part))
  if (tree.is === 'not') return `not ${within(tree.of, strength.not)}`
  // The right side of `a and (b and c)` needs its own; the left reads the same without.
  return `${within(tree.left, strength[tree.is])} ${tree.is} ${within(tree.right, strength[tree.is] + 1)}`
}

function printOperand(operand: Operand): string {
  switch (operand.is) {
    case 'path':
      return operand.path.join('.')
    case 'length':
      return `len(${operand.path.join('.')})`
    case 'loop_count':
      return '_loop_count'
    case 'value':
      return printValue(operand.value)
  }
}

function printValue(value: Json): string {
  if (Array.isArray(value)) return `[${(value as readonly Json[]).map(printValue).join(', ')}]`
  if (typeof value !== 'string') return String(value)
  const escaped = value.replaceAll('\\', '\\\\').replaceAll("'", "\\'")
  return `'${escaped}'`
}

// --- the same meaning, written another way --------------------------------------------------------------------------

/** In numbers: 1 true, 0 false, ½ unknown; `and` is the least of its sides, `or` the greatest, `not` the rest to 1. */
function truthOf(tree: Tree, world: World): number {
  if (tree.is === 'not') return 1 - truthOf(tree.of, world)
  if (tree.is !== 'compare') {
    const extreme = tree.is === 'and' ? Math.min : Math.max
    return extreme(truthOf(tree.left, world), truthOf(tree.right, world))
  }
  const [left, right] = [look(tree.left, world), look(tree.right, world)]
  if (left === undefined || right === undefined) return 0.5
  if (tree.operator === '==' || tree.operator === '!=') return Number(equal(left, right) === (tree.operator === '=='))
  if (tree.operator === 'in' || tree.operator === 'not in') {
    const isText = typeof left === 'string' && typeof right === 'string'
    if (!Array.isArray(right) && !isText) return 0.5
    const found = isText ? right.includes(left) : (right as readonly Json[]).some((item) => equal(item, left))
    return Number(found === (tree.operator === 'in'))
  }
  const [a, b] = [numberOf(left), numberOf(right)]
  if (a === undefined || b === undefined) return 0.5
  const sign = Math.sign(a - b)
  return Number({ '<': sign < 0, '<=': sign <= 0, '>': sign > 0, '>=': sign >= 0 }[tree.operator])
}

function equal(a: Json, b: Json): boolean {
  const sorted = (value: Json) =>
    JSON.stringify(value, (_, part: Json) =>
      typeof part === 'object' && part !== null && !Array.isArray(part)
        ? Object.fromEntries(Object.entries(part).sort(([x], [y]) => (x < y ? -1 : 1)))
        : part,
    )
  return sorted(a) === sorted(b)
}

function numberOf(value: Json): number | undefined {
  if (typeof value === 'number') return value
  return typeof value === 'string' && value.trim() !== '' && !Number.isNaN(Number(value)) ? Number(value) : undefined
}

function look(operand: Operand, world: World): Json | undefined {
  if (operand.is === 'value') return operand.value
  if (operand.is === 'loop_count') return world.loopCount
  const [head, ...parts] = operand.path
  let found: unknown = head === 'skipped' ? undefined : world[head as 'output']
  for (const part of parts) {
    const isTree = typeof found === 'object' && found !== null
    found = isTree && Object.hasOwn(found as object, part) ? (found as Record<string, unknown>)[part] : undefined
  }
  if (operand.is === 'path' || found === undefined) return found as Json | undefined
  if (typeof found === 'string') return found.length
  return typeof found === 'object' && found !== null ? Object.keys(found).length : undefined
}

function scopeOf({ output, first, second, loopCount }: World): ConditionScope {
  const outputs = new Map(Object.entries({ first, second }))
  return { output, outputs: (step) => outputs.get(step), loopCount }
}

type Evaluate = (text: string, scope: ConditionScope) => { holds: boolean; missing: readonly string[] }
const real: Evaluate = (text, scope) => evaluateCondition(parseCondition(text), scope)

function assertFails<T>(property: fc.IProperty<T>): void {
  assert.throws(() => fc.assert(property, settings), /Property failed/)
}

// --- properties -----------------------------------------------------------------------------------------------------

function printedMeansTheSame(evaluate: Evaluate) {
  return fc.property(tree, world, (tree, world) => {
    assert.equal(evaluate(print(tree), scopeOf(world)).holds, truthOf(tree, world) === 1, print(tree))
  })
}

test('a condition that is printed and read again means what its tree means', () => {
  fc.assert(printedMeansTheSame(real), settings)
})

/** Evaluates a changed condition, to see that the change would show. */
const changed =
  (change: (condition: Condition) => Condition): Evaluate =>
  (text, scope) =>
    evaluateCondition(change(parseCondition(text)), scope)

test('swapped joiners, a strict comparison too few, or a `not` that turns missing into true would be caught', () => {
  const swapJoiners = (condition: Condition): Condition => {
    if (condition.kind === 'compare') return condition
    if (condition.kind === 'not') return { ...condition, of: swapJoiners(condition.of) }
    return { kind: condition.kind === 'and' ? 'or' : 'and', of: condition.of.map(swapJoiners) }
  }
  const loosen = (condition: Condition): Condition => {
    if (condition.kind === 'not') return { ...condition, of: loosen(condition.of) }
    if (condition.kind !== 'compare') return { ...condition, of: condition.of.map(loosen) }
    return condition.operator === '<' ? { ...condition, operator: '<=' } : condition
  }
  assertFails(printedMeansTheSame(changed(swapJoiners)))
  assertFails(printedMeansTheSame(changed(loosen)))
  assertFails(printedMeansTheSame(twoValued))
})

/** The mistake that this language must not make: what is missing counts as false, and `not` makes it true. */
const twoValued: Evaluate = (text, scope) => {
  const truth = (condition: Condition): boolean => {
    if (condition.kind === 'compare') return evaluateCondition(condition, scope).holds
    if (condition.kind === 'not') return !truth(condition.of)
    return condition.kind === 'and' ? condition.of.every(truth) : condition.of.some(truth)
  }
  const condition = parseCondition(text)
  return { holds: truth(condition), missing: evaluateCondition(condition, scope).missing }
}

/** Every comparison of such a tree looks at a step that did not run. */
function onlyMissing(tree: Tree): Tree {
  if (tree.is === 'not') return { ...tree, of: onlyMissing(tree.of) }
  if (tree.is !== 'compare') return { ...tree, left: onlyMissing(tree.left), right: onlyMissing(tree.right) }
  return { ...tree, left: { is: 'path', path: ['skipped', 'a'] } }
}

function nothingOpensWithoutItsStep(evaluate: Evaluate) {
  return fc.property(tree.map(onlyMissing), world, (tree, world) => {
    const { holds, missing } = evaluate(print(tree), scopeOf(world))
    assert.equal(holds, false)
    assert.ok(missing.includes('skipped.a'))
  })
}

test('a condition over steps that did not run never holds, however it is turned, and says so', () => {
  fc.assert(nothingOpensWithoutItsStep(real), settings)
})

test('a `not` that turns missing into true, or a record that leaves it out, would be caught', () => {
  assertFails(nothingOpensWithoutItsStep(twoValued))
  assertFails(nothingOpensWithoutItsStep((text, scope) => ({ ...real(text, scope), missing: [] })))
})

function noiseIsRefusedOrRead(parse: (text: string) => unknown) {
  const pieces = fc.constantFrom(
    'output.a',
    "'x'",
    '1',
    '==',
    'in',
    'not',
    'and',
    'or',
    '(',
    ')',
    '[',
    ']',
    ',',
    'len',
    'b',
    '"',
    '.',
    '-',
    '$',
    '😀',
  )
  const noise = fc.oneof(
    fc.array(pieces, { maxLength: 12 }).map((parts) => parts.join(' ')),
    fc.string({ unit: 'binary', maxLength: 30 }),
  )
  return fc.property(noise, (text) => {
    try {
      parse(text)
    } catch (error) {
      assert.equal((error as { code?: string }).code, 'CC_ERR_CONDITION')
    }
  })
}

test('whatever stands in a condition, it is read or refused with its code', () => {
  fc.assert(noiseIsRefusedOrRead(parseCondition), settings)
})

test('a parser that stumbles over the end of a text would be caught', () => {
  assertFails(
    noiseIsRefusedOrRead((text) => {
      if (text.endsWith('(')) throw new TypeError('undefined has no kind')
      return parseCondition(text)
    }),
  )
})
