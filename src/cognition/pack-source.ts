import { parseJson } from '../domain/json.ts'
import { judgeNumber } from '../domain/json-number.ts'
import {
  isCollection,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  type Pair,
  parseDocument,
  type Scalar,
  visit,
} from 'yaml'
import { type Findings, type Place } from './pack-findings.ts'

export { Findings, type Place, placeNamed, showPlace } from './pack-findings.ts'

/** One text of a pack: its data, and where each part of it stands. */
export interface Source {
  readonly file: string
  readonly data: unknown
  /** The place of the deepest part of the path that exists. */
  locate(path: readonly PropertyKey[]): Place
  /** The place of the key at the end of the path. */
  locateKey(path: readonly PropertyKey[]): Place
  /** The place of one character, counted from 0, of the text at the path. */
  locateText(path: readonly PropertyKey[], offset: number): Place
}

/** An object that a program handed over: it has a name and no lines. */
export function objectSource(file: string, data: unknown): Source {
  const locate = (path: readonly PropertyKey[]) => ({
    file: path.length === 0 ? file : `${file} ${path.map(String).join('.')}`,
  })
  return { file, data, locate, locateKey: locate, locateText: locate }
}

/** JSON, read through its own door; where something stands is looked up only when somebody asks. */
export function jsonSource(file: string, text: string): Source {
  const data = parseJson(text)
  let places: Pick<Source, 'locate' | 'locateKey' | 'locateText'> | undefined
  const look = () => (places ??= placesIn(file, text))
  return {
    file,
    data,
    locate: (path) => look().locate(path),
    locateKey: (path) => look().locateKey(path),
    locateText: (path, offset) => look().locateText(path, offset),
  }
}

/** JSON is YAML, and its parser knows where each part of a text stands. */
function placesIn(file: string, text: string): Pick<Source, 'locate' | 'locateKey' | 'locateText'> {
  const lines = new LineCounter()
  const { contents } = parseDocument(text, { lineCounter: lines, uniqueKeys: false, schema: 'core' })
  return locating(contents, text, (offset) => placeOf(file, lines, offset))
}

function placeOf(file: string, lines: LineCounter, offset: number): Place {
  const { line, col } = lines.linePos(offset)
  return { file, line, column: col }
}

/** Aliases stand for a handful of repeated texts; more of them multiply a small file into a large one. */
const maxAliases = 100
const maxDepth = 64

/**
 * Reads YAML by its core schema: no tags of somebody's own, one document, plain data. A key that stands twice keeps its
 * last value, as published packs expect, and says so; with `uniqueKeys` it is refused. Undefined when the text is refused.
 */
export function parseYaml(
  file: string,
  text: string,
  findings: Findings,
  { uniqueKeys = false }: { readonly uniqueKeys?: boolean } = {},
): Source | undefined {
  const lines = new LineCounter()
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys, schema: 'core', prettyErrors: false })
  const placeAt = (offset: number) => placeOf(file, lines, offset)
  const [fault] = [...document.errors, ...document.warnings]
  if (fault) {
    // The parser reports its own recursion as a fault when a text nests endlessly.
    const what = fault.message.includes('call stack') ? 'nested too deeply' : fault.message
    findings.refuse(placeAt(fault.pos[0]), what, 'write plain YAML: one document, no tags')
    return undefined
  }
  if (!checkNodes(document.contents, placeAt, findings)) return undefined
  try {
    return {
      file,
      data: document.toJS({ maxAliasCount: maxAliases }),
      ...locating(document.contents, text, placeAt),
    }
  } catch (error) {
    findings.refuse({ file }, (error as Error).message, `use fewer aliases: at most ${maxAliases}`)
    return undefined
  }
}

/** Walks every node once: what JSON cannot carry is refused where it stands, before anything is built from it. */
function checkNodes(root: Node | null, placeAt: (offset: number) => Place, findings: Findings): boolean {
  let sound = true
  const refuse = (node: Node, what: string, right: string) => {
    findings.refuse(placeAt(node.range?.[0] ?? 0), what, right)
    sound = false
    return visit.BREAK
  }
  visit(root, {
    Scalar: (_, node) => {
      const fault = scalarFault(node.value, node.source)
      return fault ? refuse(node, fault.what, fault.right) : undefined
    },
    Pair: (_, pair) => {
      if (!isScalar(pair.key)) return refuse(pair.key as Node, 'a list or map as a key', 'use a text as the key')
      if (pair.key.value === '__proto__') return refuse(pair.key, "the key '__proto__'", 'choose another name')
      return undefined
    },
    Collection: (_, node, ancestors) => {
      const levels = ancestors.filter(isCollection).length
      if (levels >= maxDepth) return refuse(node, 'nested too deeply', `stay within ${maxDepth} levels`)
      if (isMap(node)) warnOfDuplicates(node.items, placeAt, findings)
      return undefined
    },
  })
  return sound
}

/** Numbers as JSON writes them, which the JSON door judges by; YAML has others. */
const jsonNumber = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/

function scalarFault(value: unknown, written = ''): { what: string; right: string } | undefined {
  if (typeof value === 'number' && !Number.isFinite(value)) {
    return { what: `the number ${value}`, right: 'use a finite number, or put the text in quotes' }
  }
  if (Number.isInteger(value) && !Number.isSafeInteger(value)) {
    return { what: 'a number too large to keep exactly', right: 'put it in quotes' }
  }
  if (typeof value === 'number' && jsonNumber.test(written) && judgeNumber(written) !== 'exact') {
    return { what: 'a number that reading it would change', right: 'put it in quotes, or use at most 15 digits' }
  }
  if (typeof value === 'string' && (!value.isWellFormed() || value.includes('\0'))) {
    return { what: 'a text with NUL or half a character', right: 'write whole Unicode characters, without NUL' }
  }
  return undefined
}

function warnOfDuplicates(pairs: readonly Pair[], placeAt: (offset: number) => Place, findings: Findings): void {
  const seen = new Map<string, number>()
  for (const { key } of pairs) {
    if (!isScalar(key)) continue
    const name = String(key.value)
    const offset = key.range?.[0] ?? 0
    const earlier = seen.get(name)
    seen.set(name, offset)
    if (earlier === undefined) continue
    findings.warn(placeAt(offset), `the key '${name}' stands on line ${placeAt(earlier).line} already; this one counts`)
  }
}

function locating(root: Node | null, text: string, placeAt: (offset: number) => Place) {
  const startOf = (node: Node | null | undefined) => placeAt(node?.range?.[0] ?? 0)
  return {
    locate: (path: readonly PropertyKey[]) => startOf(deepest(root, path)),
    locateKey: (path: readonly PropertyKey[]) => {
      const around = deepest(root, path.slice(0, -1))
      const pair = isMap(around) ? lastPair(around.items, path.at(-1)!) : undefined
      return startOf((pair?.key as Node | undefined) ?? deepest(root, path))
    },
    locateText: (path: readonly PropertyKey[], offset: number) => {
      const node = deepest(root, path)
      return isScalar(node) ? placeAt(offsetInFile(text, node, offset)) : startOf(node)
    },
  }
}

/**
 * Where a character of a scalar's value stands in the file. Value and file are walked side by side: quotes, escapes,
 * folded lines and indents are what the file has more. Where they cannot be brought together it is the beginning.
 */
function offsetInFile(text: string, node: Scalar, offset: number): number {
  const [start, end] = node.range!
  const value = String(node.value)
  const isBlock = node.type === 'BLOCK_LITERAL' || node.type === 'BLOCK_FOLDED'
  let at = isBlock ? text.indexOf('\n', start) + 1 : start
  for (let index = 0; index <= offset && index < value.length; index++, at++) {
    const isThere = /\s/.test(value[index]!) ? /[\s\\]/ : undefined
    while (at < end && !(isThere ? isThere.test(text[at]!) : text[at] === value[index])) at++
    if (at >= end) return start
    if (index === offset) return at
  }
  return start
}

function deepest(root: Node | null, path: readonly PropertyKey[]): Node | null {
  let node = root
  for (const part of path) {
    const child = isMap(node) || isSeq(node) ? childAt(node, part) : undefined
    if (!child) break
    node = child
  }
  return node
}

function childAt(node: Node, part: PropertyKey): Node | undefined {
  if (isSeq(node)) return node.items[Number(part)] as Node | undefined
  const pair = isMap(node) ? lastPair(node.items, part) : undefined
  return (pair?.value ?? pair?.key) as Node | undefined
}

/** The one that counts: of a key that stands twice, the last. */
function lastPair(pairs: readonly Pair[], key: PropertyKey): Pair | undefined {
  return pairs.findLast((pair) => isScalar(pair.key) && String(pair.key.value) === String(key))
}
