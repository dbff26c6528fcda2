import { CoreError, type ErrorCode } from '../errors.ts'
import { judgeNumber } from './json-number.ts'

/** Lists and maps within each other; enough for any case, and far from what a parser's stack bears. */
export const maxJsonDepth = 64

/**
 * Walks a JSON text once, from the left, and refuses what JSON.parse would accept or change: keys that stand twice,
 * `__proto__`, NUL, halves of surrogate pairs, numbers that a double cannot hold, endless nesting. No recursion, and
 * time in proportion to the text whatever it holds.
 */
export function scanJson(text: string): void {
  new Scan(text).document()
}

const code = (character: string): number => character.charCodeAt(0)
const quote = code('"')
const backslash = code('\\')
const comma = code(',')
const colon = code(':')
const openList = code('[')
const closeList = code(']')
const openMap = code('{')
const closeMap = code('}')
const minus = code('-')
const point = code('.')
const zero = code('0')
const nine = code('9')

class Scan {
  private readonly text: string
  private at = 0
  /** One entry per open list or map: the keys a map has had, undefined for a list. */
  private readonly open: (Set<string> | undefined)[] = []

  constructor(text: string) {
    this.text = text
  }

  document(): void {
    do this.value()
    while (this.goesOn())
    this.space()
    if (this.at < this.text.length) this.refuse('CC_ERR_JSON_TRAILING')
  }

  /** Reads one value; of a list or a map only its beginning, up to where its first value is due. */
  private value(): void {
    for (;;) {
      const next = this.space()
      if (next !== openList && next !== openMap) return this.scalar(next)
      if (this.open.length === maxJsonDepth) this.refuse('CC_ERR_JSON_DEPTH', { limit: maxJsonDepth })
      this.at++
      this.open.push(next === openMap ? new Set() : undefined)
      // Left open: the closing bracket is read by `goesOn`.
      if (this.space() === (next === openMap ? closeMap : closeList)) return
      if (next === openMap) this.key()
    }
  }

  /** After a value: closes what ends here. True when another value is due. */
  private goesOn(): boolean {
    while (this.open.length > 0) {
      const keys = this.open.at(-1)
      const next = this.space()
      if (next === comma) {
        this.at++
        if (keys) this.key()
        return true
      }
      if (next !== (keys ? closeMap : closeList)) this.unexpected(keys ? "',' or '}'" : "',' or ']'")
      this.at++
      this.open.pop()
    }
    return false
  }

  private key(): void {
    if (this.space() !== quote) this.unexpected('a key in double quotes')
    const start = this.at
    const escaped = this.string()
    const written = this.text.slice(start, this.at)
    const key = escaped ? (JSON.parse(written) as string) : written.slice(1, -1)
    const keys = this.open.at(-1)!
    if (keys.has(key)) this.refuse('CC_ERR_JSON_DUPLICATE_KEY', { key: shorten(key) }, start)
    if (key === '__proto__') this.refuse('CC_ERR_JSON_PROTO', {}, start)
    keys.add(key)
    if (this.space() !== colon) this.unexpected("':'")
    this.at++
  }

  private scalar(next: number): void {
    if (next === quote) this.string()
    else if (isDigit(next) || (next === minus && !this.isNotANumber())) this.number()
    else this.word()
  }

  private word(): void {
    const word = ['true', 'false', 'null'].find((known) => this.text.startsWith(known, this.at))
    if (word !== undefined) this.at += word.length
    else if (this.isNotANumber()) this.refuse('CC_ERR_JSON_NOT_A_NUMBER')
    else this.unexpected('a value')
  }

  private isNotANumber(): boolean {
    return ['NaN', 'Infinity', '-NaN', '-Infinity'].some((word) => this.text.startsWith(word, this.at))
  }

  private number(): void {
    const start = this.at
    if (this.peek() === minus) this.at++
    if (this.peek() === zero) this.at++
    else this.digits()
    if (this.peek() === point) {
      this.at++
      this.digits()
    }
    const hasExponent = this.peek() === code('e') || this.peek() === code('E')
    if (hasExponent) {
      this.at++
      if (this.peek() === code('+') || this.peek() === minus) this.at++
      this.digits()
    }
    // Up to 15 digits always come back as they were, as long as no exponent takes them out of range.
    if (this.at - start <= 15 && !hasExponent) return
    const written = this.text.slice(start, this.at)
    const verdict = judgeNumber(written)
    if (verdict === 'exact') return
    const facts = { number: shorten(written) }
    this.refuse(verdict === 'inexact' ? 'CC_ERR_JSON_NUMBER_INEXACT' : 'CC_ERR_JSON_NUMBER_RANGE', facts, start)
  }

  private digits(): void {
    const start = this.at
    while (isDigit(this.peek())) this.at++
    if (this.at === start) this.unexpected('a digit')
  }

  /** Reads a string from its opening quote. True when it has escapes. */
  private string(): boolean {
    const { text } = this
    let escaped = false
    // A pair may be written half raw, half escaped: what counts is the string that comes out.
    let halfAt = -1
    for (this.at++; this.at < text.length; this.at++) {
      const start = this.at
      let unit = text.charCodeAt(start)
      if (unit === quote && halfAt < 0) {
        this.at++
        return escaped
      }
      if (unit === backslash) {
        escaped = true
        unit = this.escape()
      } else if (unit < 0x20) {
        this.control(unit)
      }
      const isLow = (unit & 0xfc00) === 0xdc00
      if (isLow !== halfAt >= 0) this.refuse('CC_ERR_JSON_SURROGATE', {}, isLow ? start : halfAt)
      halfAt = (unit & 0xfc00) === 0xd800 ? start : -1
    }
    return this.unexpected("'\"'")
  }

  /** Reads an escape from its backslash, stays on its last character, and returns the code unit it stands for. */
  private escape(): number {
    const start = this.at++
    const letter = this.text[this.at]
    if (letter !== 'u') {
      // All of these stand for ordinary characters, so which of them does not matter here.
      if (letter === undefined || !'"\\/bfnrt'.includes(letter)) this.unexpected('one of "\\/bfnrtu after a backslash')
      return quote
    }
    const hex = this.text.slice(this.at + 1, this.at + 5)
    if (!/^[0-9a-fA-F]{4}$/.test(hex)) this.unexpected('four hexadecimal digits after \\u', start)
    this.at += 4
    const unit = Number.parseInt(hex, 16)
    if (unit === 0) this.refuse('CC_ERR_JSON_NUL', {}, start)
    return unit
  }

  private control(unit: number): never {
    if (unit === 0) this.refuse('CC_ERR_JSON_NUL')
    return this.refuse('CC_ERR_JSON_SYNTAX', {
      problem: `a control character inside a string; write it as \\u${unit.toString(16).padStart(4, '0')}`,
    })
  }

  private peek(): number {
    return this.text.charCodeAt(this.at)
  }

  /** Skips white space and returns the character after it; NaN at the end. */
  private space(): number {
    for (;;) {
      const next = this.peek()
      if (next !== 0x20 && next !== 0x0a && next !== 0x0d && next !== 0x09) return next
      this.at++
    }
  }

  private unexpected(due: string, at = this.at): never {
    const character = this.text.codePointAt(at)
    if (character === 0) this.refuse('CC_ERR_JSON_NUL')
    const found = character === undefined ? 'the end' : `'${String.fromCodePoint(character)}'`
    return this.refuse('CC_ERR_JSON_SYNTAX', { problem: `expected ${due}, found ${found}` }, at)
  }

  private refuse(refusal: ErrorCode, facts: Readonly<Record<string, string | number>> = {}, at = this.at): never {
    const before = this.text.slice(0, at)
    const lineStart = before.lastIndexOf('\n') + 1
    const line = before.split('\n').length
    throw new CoreError(refusal, { ...facts, line, column: at - lineStart + 1 })
  }
}

function isDigit(unit: number): boolean {
  return unit >= zero && unit <= nine
}

const shownCharacters = 60

function shorten(text: string): string {
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters).toWellFormed()}…`
}
