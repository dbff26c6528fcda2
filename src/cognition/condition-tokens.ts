import { CoreError } from '../errors.ts'

/** One word, number, text or sign of a condition. */
export interface Token {
  readonly kind: 'word' | 'number' | 'text' | 'sign' | 'end'
  /** As written; of a text what stands between the quotes. */
  readonly text: string
  /** Where it begins, from 0. */
  readonly at: number
}

/** Takes a condition apart; the last token is always the end. */
export function readTokens(text: string): Token[] {
  const tokens: Token[] = []
  let at = 0
  for (;;) {
    while (/\s/.test(text.charAt(at))) at++
    if (at >= text.length) return [...tokens, { kind: 'end', text: '', at }]
    const token = readToken(text, at)
    tokens.push(token.kind === 'text' ? { ...token, text: unquote(token.text) } : token)
    at += token.text.length
  }
}

const tokenShapes: readonly (readonly [Token['kind'], RegExp])[] = [
  ['number', /-?(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?(?![\p{L}\p{N}_.])/uy],
  ['word', /[\p{L}_][\p{L}\p{N}_-]*(?:\.[\p{L}\p{N}_-]+)*/uy],
  ['text', /'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"/suy],
  ['sign', /==|!=|<=|>=|[<>()[\],]/y],
]

const slips: readonly (readonly [string, string])[] = [
  ['=', '== to compare'],
  ['&', 'and between comparisons'],
  ['|', 'or between comparisons'],
  ['!', 'not before a comparison, or !='],
  ["'", 'a closing quote too'],
  ['"', 'a closing quote too'],
  ['$', 'the reference without ${ }'],
]

function readToken(text: string, at: number): Token {
  for (const [kind, shape] of tokenShapes) {
    shape.lastIndex = at
    const written = shape.exec(text)?.[0]
    if (written !== undefined) return { kind, text: written, at }
  }
  const character = String.fromCodePoint(text.codePointAt(at)!)
  const right = slips.find(([slip]) => slip === character)?.[1] ?? 'texts in quotes'
  return refuseCondition(at, `${character} means nothing here`, right)
}

function unquote(written: string): string {
  return written.slice(1, -1).replaceAll(/\\(['"\\])/g, '$1')
}

/** A token as a message names it. */
export function showToken(token: Token): string {
  return token.kind === 'end' ? 'the end' : `'${token.text}'`
}

/** Refuses the condition at a place counted from 0. */
export function refuseCondition(at: number, problem: string, right: string): never {
  throw new CoreError('CC_ERR_CONDITION', { column: at + 1, problem, right })
}
