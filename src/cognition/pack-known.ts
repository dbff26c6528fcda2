import type { JsonObject } from '../domain/json.ts'
import { olderNames, type Definition, type Step } from '../domain/workflow.ts'
import { isHiddenKey } from './hidden-keys.ts'
import { meaning } from './nearest.ts'
import { Flow } from './pack-flow.ts'
import { fieldsOf, type Field } from './pack-fields.ts'
import { walkPath } from './paths.ts'
import type { Primitive } from './primitive.ts'
import { caseTools } from './tools.ts'

/** One thing that is odd about a path, and what may have been meant. */
export interface Oddity {
  readonly what: string
  readonly right: string
}

/** What can be said of the texts of one definition before any case runs. */
export class Known {
  readonly steps: ReadonlyMap<string, Step>
  readonly flow: Flow
  private readonly primitives: ReadonlyMap<string, Primitive>
  private readonly cases: readonly JsonObject[]
  private readonly sources: ReadonlySet<string>

  constructor(definition: Definition, primitives: ReadonlyMap<string, Primitive>, cases: readonly JsonObject[]) {
    this.steps = new Map(definition.steps.map((step) => [step.name, step]))
    this.flow = new Flow(definition.steps)
    this.primitives = primitives
    this.cases = cases
    const { fixtures, documents } = definition
    this.sources = new Set(cases.flatMap((input) => [...caseTools(input, fixtures, documents).keys()]))
  }

  primitive(step: string): Primitive | undefined {
    return this.primitives.get(this.steps.get(step)?.primitive ?? '')
  }

  /** A field that a step's primitive declares; undefined where nothing is declared or there is no such field. */
  field(step: string, name: string): Field | undefined {
    const primitive = this.primitive(step)
    return primitive && fieldsOf(primitive)?.get(name)
  }

  /** What is odd about a path into the case, held against the cases that the pack brings along. */
  inInput(parts: readonly string[]): Oddity | undefined {
    const hidden = parts.find(isHiddenKey)
    if (hidden !== undefined) return { what: `'${hidden}' is never shown`, right: 'name a field of the case' }
    // What other cases hand back comes later, and no sample can have it.
    if (this.cases.length === 0 || parts.length === 0 || parts[0] === 'delegation') return undefined
    if (this.cases.some((input) => walkPath(input, parts).found)) return undefined
    const fields = new Set(this.cases.flatMap((input) => Object.keys(input).filter((key) => !isHiddenKey(key))))
    const right = meaning(parts[0]!, fields)
    return { what: `none of the pack's cases has '${parts.join('.')}'`, right }
  }

  /** What is odd about a path into what a step said, for a reader that runs before, or right after, another step. */
  inStep(head: string, parts: readonly string[], reader: { step: string; isAfter: boolean }): Oddity | undefined {
    if (!this.steps.has(head)) return { what: this.saysNoStep(head), right: this.rightStep(head) }
    const isOwn = reader.isAfter && head === reader.step
    if (!isOwn && !this.flow.canPrecede(head, reader.step)) {
      const when =
        head === reader.step ? 'has no output before it has run' : `can never have run before '${reader.step}'`
      return { what: `'${head}' ${when}`, right: 'name a step on the way there' }
    }
    return this.inOutput(head, parts)
  }

  /** What is odd about a path into the output of a step there is. */
  inOutput(step: string, parts: readonly string[]): Oddity | undefined {
    const primitive = this.primitive(step)
    const fields = primitive && fieldsOf(primitive)
    const [name, source] = parts
    if (!primitive || !fields || name === undefined) return undefined
    if (!fields.has(name)) {
      const right = meaning(name, fields.keys())
      return { what: `${primitive.name} declares no field '${name}'`, right }
    }
    const isSource = primitive.name === 'retrieve' && name === 'data' && source !== undefined
    if (!isSource || this.sources.size === 0 || this.sources.has(source)) return undefined
    const right = meaning(source, this.sources)
    return { what: `no case of the pack has the source '${source}'`, right }
  }

  /** What is odd about the latest output of a primitive. */
  inLatest(written: string, parts: readonly string[], reader: string): Oddity | undefined {
    const name = olderNames[written] ?? written
    const steps = [...this.steps.values()].filter((step) => step.primitive === name)
    if (steps.length === 0) {
      const used = new Set([...this.steps.values()].map(({ primitive }) => primitive))
      return { what: `no step of this workflow is a '${written}'`, right: meaning(name, used) }
    }
    if (!steps.some((step) => this.flow.canPrecede(step.name, reader))) {
      return { what: `no ${name} can have run before '${reader}'`, right: 'name a step on the way there' }
    }
    return this.inOutput(steps[0]!.name, parts)
  }

  private saysNoStep(head: string): string {
    return head === 'output'
      ? "'${output…}' means something in conditions only"
      : `'\${${head}…}' names no step of this workflow`
  }

  private rightStep(head: string): string {
    if (head === 'output') return 'write `previous`, or the name of a step'
    const isField = this.cases.some((input) => Object.hasOwn(input, head))
    if (isField) return `did you mean 'input.${head}'?`
    return meaning(head, [...this.steps.keys(), 'input', 'previous', 'accumulated'])
  }
}
