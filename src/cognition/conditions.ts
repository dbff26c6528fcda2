import { type Json, isJsonObject, type JsonObject, sameJson } from '../domain/json.ts'
import type { Condition, Operand, Operator } from './condition-parser.ts'
import { isHiddenKey } from './hidden-keys.ts'
import { walkPath } from './paths.ts'

export { type Condition, parseCondition } from './condition-parser.ts'

/** What a condition may look at. */
export interface ConditionScope {
  /** Of the step that just ran. */
  readonly output: JsonObject
  /** Latest output of a step, or undefined while it has not run. */
  readonly outputs: (step: string) => JsonObject | undefined
  /** The case as submitted; its hidden keys count as absent. */
  readonly input?: JsonObject
  /** Which run of its step this was: `_loop_count`. */
  readonly loopCount: number
}

export interface Evaluation {
  readonly holds: boolean
  /** Operands that were not there, or were of a kind that cannot be compared so, each once, in order of appearance. */
  readonly missing: readonly string[]
}

/**
 * Whether a condition holds. A comparison with a missing operand is neither true nor false but unknown, and what is
 * unknown does not hold, not even when turned round by `not`; so a step that did not run never opens a way. Every
 * comparison is looked at, so that the record names all that was missing.
 *
 * `==` compares by JSON value. `<` and its kin compare numbers, and texts that spell one. `in` looks for a value in a
 * list or for a text in a text.
 */
export function evaluateCondition(condition: Condition, scope: ConditionScope): Evaluation {
  const evaluation = new Evaluator(scope)
  const holds = evaluation.truth(condition) === true
  return { holds, missing: [...evaluation.missing] }
}

/** Names of the steps whose outputs a condition looks at, each once. */
export function conditionReferences(condition: Condition): readonly string[] {
  const heads = operandsOf(condition).flatMap(headsOf)
  return [...new Set(heads)].filter((head) => head !== 'output' && head !== 'input')
}

function operandsOf(condition: Condition): readonly Operand[] {
  if (condition.kind === 'compare') return [condition.left, condition.right]
  return condition.kind === 'not' ? operandsOf(condition.of) : condition.of.flatMap(operandsOf)
}

function headsOf(operand: Operand): readonly string[] {
  if (operand.kind === 'path') return [operand.head]
  if (operand.kind === 'length') return [operand.of.head]
  return operand.kind === 'list' ? operand.items.flatMap(headsOf) : []
}

/** Kleene's three values: undefined is unknown. */
type Truth = boolean | undefined

class Evaluator {
  readonly missing = new Set<string>()
  private readonly scope: ConditionScope

  constructor(scope: ConditionScope) {
    this.scope = scope
  }

  truth(condition: Condition): Truth {
    if (condition.kind === 'compare') return this.compare(condition.operator, condition.left, condition.right)
    if (condition.kind === 'not') return negate(this.truth(condition.of))
    const parts = condition.of.map((part) => this.truth(part))
    const decisive = condition.kind === 'or'
    if (parts.includes(decisive)) return decisive
    return parts.includes(undefined) ? undefined : !decisive
  }

  private compare(operator: Operator, leftOperand: Operand, rightOperand: Operand): Truth {
    const left = this.value(leftOperand)
    const right = this.value(rightOperand)
    if (left === undefined || right === undefined) return undefined
    switch (operator) {
      case '==':
        return sameJson(left, right)
      case '!=':
        return !sameJson(left, right)
      case 'in':
        return this.contains(rightOperand, right, left)
      case 'not in':
        return negate(this.contains(rightOperand, right, left))
      default: {
        const a = this.number(leftOperand, left)
        const b = this.number(rightOperand, right)
        return a === undefined || b === undefined ? undefined : order[operator](a, b)
      }
    }
  }

  private contains(operand: Operand, whole: Json, part: Json): Truth {
    if (Array.isArray(whole)) return (whole as readonly Json[]).some((item) => sameJson(item, part))
    if (typeof whole === 'string' && typeof part === 'string') return whole.includes(part)
    return this.note(`${show(operand)} (not a list, or not a text to look for a text in)`)
  }

  private number(operand: Operand, value: Json): number | undefined {
    if (typeof value === 'number') return value
    if (typeof value === 'string' && spellsNumber.test(value.trim())) return Number(value)
    return this.note(`${show(operand)} (not a number)`)
  }

  /** The operand's value; undefined, and noted, when there is none. */
  private value(operand: Operand): Json | undefined {
    switch (operand.kind) {
      case 'literal':
        return operand.value
      case 'loop_count':
        return this.scope.loopCount
      case 'list': {
        const items = operand.items.map((item) => this.value(item))
        return items.includes(undefined) ? undefined : (items as Json[])
      }
      case 'length':
        return this.length(operand)
      case 'path': {
        const walk = walkPath(
          this.root(operand.head),
          operand.parts,
          operand.head === 'input' ? isHiddenKey : undefined,
        )
        return walk.found ? walk.value : this.note(show(operand))
      }
    }
  }

  private root(head: string): JsonObject | undefined {
    if (head === 'output') return this.scope.output
    return head === 'input' ? this.scope.input : this.scope.outputs(head)
  }

  private length(operand: Operand & { kind: 'length' }): number | undefined {
    const value = this.value(operand.of)
    if (value === undefined) return undefined
    if (Array.isArray(value)) return value.length
    if (isJsonObject(value)) return Object.keys(value).length
    return typeof value === 'string' ? [...value].length : this.note(`${show(operand)} (has no length)`)
  }

  private note(what: string): undefined {
    this.missing.add(what)
  }
}

const order = {
  '<': (a: number, b: number) => a < b,
  '<=': (a: number, b: number) => a <= b,
  '>': (a: number, b: number) => a > b,
  '>=': (a: number, b: number) => a >= b,
} as const

/** Models write numbers as texts now and then. Percent signs and thousands separators are not guessed at. */
const spellsNumber = /^[+-]?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?$/

function negate(truth: Truth): Truth {
  return truth === undefined ? undefined : !truth
}

/** An operand for the record: names and literals of the pack, never content of the case. */
function show(operand: Operand): string {
  switch (operand.kind) {
    case 'literal':
      return JSON.stringify(operand.value)
    case 'loop_count':
      return '_loop_count'
    case 'length':
      return `len(${show(operand.of)})`
    case 'list':
      return `[${operand.items.map(show).join(', ')}]`
    case 'path':
      return [operand.head, ...operand.parts].join('.')
  }
}
