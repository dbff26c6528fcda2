import { judgeNumber } from '../domain/json-number.ts'
import { CoreError } from '../errors.ts'
import { isCollection, isMap, isScalar, isSeq, LineCounter, type Node, type Pair, parseDocument, visit } from 'yaml'

/** Where a person finds something in a pack: a file, and line and column where they are known. */
export interface Place {
  readonly file: string
  readonly line?: number
  readonly column?: number
}

/** One text of a pack: its data, and where each part of it stands. */
export interface Source {
  readonly file: string
  readonly data: unknown
  /** The place of the deepest part of the path that exists. */
  locate(path: readonly PropertyKey[]): Place
}

interface Problem {
  readonly place: Place
  readonly what: string
  readonly right: string
}

/** What is wrong with a pack, gathered so that its author sees how much is left, and what is merely odd. */
export class Findings {
  readonly warnings: string[] = []
  private readonly problems: Problem[] = []

  refuse(place: Place, what: string, right: string): void {
    this.problems.push({ place, what, right })
  }

  warn(place: Place, what: string): void {
    const warning = `${showPlace(place)}: ${what}`
    if (!this.warnings.includes(warning)) this.warnings.push(warning)
  }

  get clean(): boolean {
    return this.problems.length === 0
  }

  /** Refuses the pack by its first problem. */
  throwIfAny(): void {
    const [first, ...others] = this.problems
    if (!first) return
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`
    throw new CoreError('CC_ERR_PACK', { where: showPlace(first.place), what: first.what + more, right: first.right })
  }
}

export function showPlace({ file, line, column }: Place): string {
  return line === undefined ? file : `${file}:${line}:${column}`
}

/** An object that a program handed over: it has a name and no lines. */
export function objectSource(file: string, data: unknown): Source {
  return {
    file,
    data,
    locate: (path) => ({ file: path.length === 0 ? file : `${file} ${path.map(String).join('.')}` }),
  }
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
  const placeAt = (offset: number): Place => {
    const { line, col } = lines.linePos(offset)
    return { file, line, column: col }
  }
  const [fault] = [...document.errors, ...document.warnings]
  if (fault) {
    // The parser reports its own recursion as a fault when a text nests endlessly.
    const what = fault.message.includes('call stack') ? 'nested too deeply' : fault.message
    findings.refuse(placeAt(fault.pos[0]), what, 'write plain YAML: one document, no tags')
    return undefined
  }
  if (!checkNodes(document.contents, placeAt, findings)) return undefined
  const locate = (path: readonly PropertyKey[]) => placeAt(deepest(document.contents, path)?.range?.[0] ?? 0)
  try {
    return { file, data: document.toJS({ maxAliasCount: maxAliases }), locate }
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

function deepest(root: Node | null, path: readonly PropertyKey[]): Node | null {
  let node = root
  for (const part of path) {
    const child = isMap(node) || isSeq(node) ? lastChild(node, part) : undefined
    if (!child) break
    node = child
  }
  return node
}

/** The value that counts: of a key that stands twice, the last. */
function lastChild(node: Node, part: PropertyKey): Node | undefined {
  if (isSeq(node)) return node.items[Number(part)] as Node | undefined
  if (!isMap(node)) return undefined
  const pair = node.items.findLast(({ key }) => isScalar(key) && String(key.value) === String(part))
  return (pair?.value ?? pair?.key) as Node | undefined
}
