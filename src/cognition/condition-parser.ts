import type { Json } from '../domain/json.ts'
import { readTokens, refuseCondition as refuse, showToken as show, type Token } from './condition-tokens.ts'

export const operators = ['==', '!=', '<', '<=', '>', '>=', 'in', 'not in'] as const
export type Operator = (typeof operators)[number]

/** `head`: `output`, `input` or the name of a step. */
export interface Path {
  readonly kind: 'path'
  readonly head: string
  readonly parts: readonly string[]
}

export type Operand =
  | { readonly kind: 'literal'; readonly value: Json }
  | { readonly kind: 'loop_count' }
  | { readonly kind: 'length'; readonly of: Path }
  | { readonly kind: 'list'; readonly items: readonly Operand[] }
  | Path

/** A condition as data: what is compared, and how the comparisons are joined. */
export type Condition =
  | { readonly kind: 'compare'; readonly operator: Operator; readonly left: Operand; readonly right: Operand }
  | { readonly kind: 'and' | 'or'; readonly of: readonly Condition[] }
  | { readonly kind: 'not'; readonly of: Condition }

/** Conditions come from packs and their domains; a longer one is a mistake or an attack. */
export const maxConditionCharacters = 4000
export const maxConditionDepth = 32

/**
 * Reads a condition; nothing of it is ever run as code. Throws CC_ERR_CONDITION with the place and what would be right.
 *
 * A word without quotes on the right of an operator, or in a list, is a text (`output.category == high_risk`), unless it
 * is true, false, null, none or a number. A word with a dot in it is a path wherever it stands; the parser does not know
 * which steps there are, and a text that is one thing in one workflow and another in the next would be a trap. So texts
 * with dots need quotes.
 */
export function parseCondition(text: string): Condition {
  if (text.length > maxConditionCharacters) {
    refuse(maxConditionCharacters, `it is longer than ${maxConditionCharacters} characters`, 'a shorter condition')
  }
  return new Parser(readTokens(text)).whole()
}

const joiners = ['and', 'or', 'not', 'in']
const constants: ReadonlyMap<string, Json> = new Map<string, Json>([
  ...(['true', 'True'] as const).map((word) => [word, true] as const),
  ...(['false', 'False'] as const).map((word) => [word, false] as const),
  ...(['null', 'none', 'None'] as const).map((word) => [word, null] as const),
])
/** Words of interpolation that say nothing in a condition, with what to say instead. */
const elsewhere: ReadonlyMap<string, string> = new Map([
  ['domain', 'a reference that is filled in when the pack is loaded: ${domain.…}'],
  ['previous', 'the name of the step, or output for the one that just ran'],
  ['accumulated', 'the name of the step and a field of it'],
])

class Parser {
  private readonly tokens: readonly Token[]
  private next = 0
  private depth = 0

  constructor(tokens: readonly Token[]) {
    this.tokens = tokens
  }

  whole(): Condition {
    const condition = this.joined('or')
    const rest = this.peek()
    if (rest.kind === 'end') return condition
    const right =
      this.operatorHere() === undefined ? 'and or or before it, or quotes around a text' : 'and between two comparisons'
    return refuse(rest.at, `${show(rest)} cannot follow`, right)
  }

  private joined(joiner: 'and' | 'or'): Condition {
    const of = [this.inner(joiner)]
    while (this.take('word', joiner)) of.push(this.inner(joiner))
    return of.length === 1 ? of[0]! : { kind: joiner, of }
  }

  private inner(joiner: 'and' | 'or'): Condition {
    return joiner === 'or' ? this.joined('and') : this.negated()
  }

  private negated(): Condition {
    const { at } = this.peek()
    if (this.take('word', 'not')) {
      return this.deeper(at, () => ({ kind: 'not', of: this.negated() }))
    }
    if (!this.take('sign', '(')) return this.comparison()
    return this.deeper(at, () => {
      const condition = this.joined('or')
      if (!this.take('sign', ')'))
        refuse(this.peek().at, `${show(this.peek())} stands where ) is due`, 'a ) for each (')
      return condition
    })
  }

  private comparison(): Condition {
    const left = this.operand('left')
    const operator = this.operatorHere()
    if (operator === undefined) {
      const found = this.peek()
      refuse(found.at, `${show(found)} stands where an operator is due`, `one of ${operators.join(' ')} and a value`)
    }
    this.next += operator === 'not in' ? 2 : 1
    return { kind: 'compare', operator, left, right: this.operand('right') }
  }

  private operatorHere(): Operator | undefined {
    const { kind, text } = this.peek()
    const after = this.tokens[this.next + 1]
    if (kind === 'word' && text === 'not') return after?.kind === 'word' && after.text === 'in' ? 'not in' : undefined
    if (kind !== 'sign' && kind !== 'word') return undefined
    return operators.find((operator) => operator === text)
  }

  private operand(side: 'left' | 'right'): Operand {
    const token = this.peek()
    this.next++
    if (token.kind === 'text') return { kind: 'literal', value: token.text }
    if (token.kind === 'number') return { kind: 'literal', value: finite(token) }
    if (token.kind === 'word' && !joiners.includes(token.text)) return this.word(token, side)
    if (token.kind === 'sign' && token.text === '[') return this.deeper(token.at, () => this.list())
    return refuse(token.at, `${show(token)} stands where a value is due`, 'a path such as output.category, or a value')
  }

  private word(token: Token, side: 'left' | 'right'): Operand {
    const constant = constants.get(token.text)
    if (constant !== undefined) return { kind: 'literal', value: constant }
    if (token.text === '_loop_count') return { kind: 'loop_count' }
    if (token.text === 'len' && this.take('sign', '(')) return this.length()
    if (token.text.includes('.')) return path(token)
    if (side === 'right') return { kind: 'literal', value: token.text }
    return refuse(token.at, `'${token.text}' has no field`, `output.${token.text}, or ${token.text} and a field of it`)
  }

  private length(): Operand {
    const token = this.peek()
    if (token.kind !== 'word' || !token.text.includes('.')) {
      refuse(token.at, `${show(token)} stands where a path is due`, 'len(output.violations)')
    }
    this.next++
    if (!this.take('sign', ')'))
      refuse(this.peek().at, `${show(this.peek())} stands where ) is due`, 'a ) after the path')
    return { kind: 'length', of: path(token) }
  }

  private list(): Operand {
    const items: Operand[] = []
    if (this.take('sign', ']')) return { kind: 'list', items }
    do items.push(this.operand('right'))
    while (this.take('sign', ','))
    if (!this.take('sign', ']')) {
      refuse(this.peek().at, `${show(this.peek())} stands where , or ] is due`, 'a , between values and a ] at the end')
    }
    return { kind: 'list', items }
  }

  private deeper<T>(at: number, read: () => T): T {
    if (++this.depth > maxConditionDepth) {
      refuse(at, `it nests deeper than ${maxConditionDepth} levels`, 'a flatter condition')
    }
    const result = read()
    this.depth--
    return result
  }

  private take(kind: Token['kind'], text: string): boolean {
    const found = this.peek()
    if (found.kind !== kind || found.text !== text) return false
    this.next++
    return true
  }

  private peek(): Token {
    return this.tokens[Math.min(this.next, this.tokens.length - 1)]!
  }
}

function path(token: Token): Path {
  const [head, ...parts] = token.text.split('.') as [string, ...string[]]
  const right = elsewhere.get(head) ?? (head.startsWith('_') ? '_loop_count, or the name of a step' : undefined)
  if (right !== undefined) refuse(token.at, `'${head}' means nothing in a condition`, right)
  return { kind: 'path', head, parts }
}

function finite(token: Token): number {
  const value = Number(token.text)
  return Number.isFinite(value) ? value : refuse(token.at, `${token.text} is too large`, 'a smaller number')
}
