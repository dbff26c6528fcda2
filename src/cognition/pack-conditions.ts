import type { Json } from '../domain/json.ts'
import type { Step } from '../domain/workflow.ts'
import type { Condition, Operand, Operator, Path } from './condition-parser.ts'
import { parseCondition } from './conditions.ts'
import type { Field } from './pack-fields.ts'
import type { Known, Oddity } from './pack-known.ts'
import { wholeWord } from './whole-word.ts'

/** One comparison of a condition in which something is odd, by the text at which that shows. */
export interface OddComparison extends Oddity {
  readonly shows: string
}

/** What can never hold, or never be otherwise, in a condition that can be read. */
export function oddComparisons(text: string, step: Step, known: Known): OddComparison[] {
  const condition = readable(text)
  if (!condition) return []
  return comparisonsOf(condition).flatMap(({ operator, left, right }) =>
    [...pathsOf(left), ...pathsOf(right)]
      .map((path) => ({ shows: showPath(path), oddity: oddPath(path, step, known) }))
      .concat([
        { shows: show(left), oddity: oddLiteral(operator, left, right, step, known) },
        { shows: show(left), oddity: oddCount(operator, left, right, step) },
      ])
      .flatMap(({ shows, oddity }) => (oddity ? [{ shows, ...oddity }] : [])),
  )
}

/** What cannot be read was refused where it was merged. */
function readable(text: string): Condition | undefined {
  try {
    return parseCondition(text)
  } catch {
    return undefined
  }
}

type Comparison = Condition & { readonly kind: 'compare' }

function comparisonsOf(condition: Condition): readonly Comparison[] {
  if (condition.kind === 'compare') return [condition]
  return condition.kind === 'not' ? comparisonsOf(condition.of) : condition.of.flatMap(comparisonsOf)
}

function pathsOf(operand: Operand): readonly Path[] {
  if (operand.kind === 'path') return [operand]
  if (operand.kind === 'length') return [operand.of]
  return operand.kind === 'list' ? operand.items.flatMap(pathsOf) : []
}

function oddPath({ head, parts }: Path, step: Step, known: Known): Oddity | undefined {
  if (head === 'output') return known.inOutput(step.name, parts)
  if (head === 'input') return known.inInput(parts)
  if (known.steps.has(head)) return known.inStep(head, parts, { step: step.name, isAfter: true })
  const { right } = known.inStep(head, parts, { step: step.name, isAfter: true })!
  return { what: `'${head}' names no step of this workflow: what reads it never holds`, right }
}

/** A field of a known kind that is compared with something of another kind. */
function oddLiteral(operator: Operator, left: Operand, right: Operand, step: Step, known: Known): Oddity | undefined {
  if (left.kind !== 'path' || left.parts.length !== 1) return undefined
  const owner = left.head === 'output' ? step.name : left.head
  const name = left.parts[0]!
  const field = known.field(owner, name)
  const literals = literalsOf(right)
  const isOrder = ['<', '<=', '>', '>='].includes(operator)
  for (const value of field ? literals : []) {
    if (fitsKind(field!, value, isOrder)) continue
    const written = JSON.stringify(value)
    return { what: `'${showPath(left)}' is never ${written}`, right: rightLiteral(field!) }
  }
  const isCategory = name === 'category' && known.primitive(owner)?.name === 'classify'
  return isCategory ? oddCategory(literals, known.steps.get(owner)!) : undefined
}

function literalsOf(operand: Operand): readonly Json[] {
  if (operand.kind === 'literal') return [operand.value]
  return operand.kind === 'list' ? operand.items.flatMap(literalsOf) : []
}

function fitsKind({ type, values }: Field, value: Json, isOrder: boolean): boolean {
  if (isOrder) return type !== 'boolean' && type !== 'array' && type !== 'object'
  if (values) return values.includes(value)
  if (type === 'array' || type === 'object') return false
  return type === undefined || typeof value === type
}

function rightLiteral({ type, values }: Field): string {
  if (values) return `it is one of ${values.join(', ')}`
  if (type === 'boolean') return 'write true or false, without quotes'
  if (type === 'array' || type === 'object') return 'count what is in it, as in len(output.violations) == 0'
  return type === 'number' ? 'write a number, without quotes' : 'write a text in quotes'
}

/** A category that the step's own list does not name, as far as that list is known. */
function oddCategory(literals: readonly Json[], { name, params }: Step): Oddity | undefined {
  const categories = [params.categories].flat().map(String).join('\n')
  if (categories.includes('${') || categories.includes('[domain.')) return undefined
  const isListed = (value: string) => wholeWord(value, { hyphensJoin: true }).test(categories)
  const missing = literals.find((value) => typeof value === 'string' && !isListed(value))
  return missing === undefined
    ? undefined
    : { what: `'${String(missing)}' is not among the categories of ${name}`, right: 'spell it as in `categories`' }
}

/** A count that the bound of the step never lets it reach. */
function oddCount(operator: Operator, left: Operand, right: Operand, { maxLoops }: Step): Oddity | undefined {
  if (left.kind !== 'loop_count' || right.kind !== 'literal' || typeof right.value !== 'number') return undefined
  const least = { '>=': right.value, '==': right.value, '>': right.value + 1 }[operator as string]
  if (least === undefined || maxLoops === undefined || least < maxLoops) return undefined
  return {
    what: `\`max_loops\` ends the loop before _loop_count is ${least}`,
    right: `compare with less than ${maxLoops}`,
  }
}

function show(operand: Operand): string {
  if (operand.kind === 'path') return showPath(operand)
  return operand.kind === 'loop_count' ? '_loop_count' : ''
}

function showPath({ head, parts }: Path): string {
  return [head, ...parts].join('.')
}
