import type { Json } from '../domain/json.ts'
import { pathInDomain } from './interpolation.ts'
import { meaning } from './nearest.ts'
import type { Known, Oddity } from './pack-known.ts'
import type { Checked, DomainText, StepText, WorkflowText } from './pack-shapes.ts'
import type { Findings, Place, Source } from './pack-source.ts'
import { walkPath } from './paths.ts'
import { isObject } from './tools.ts'

/**
 * Checks what the texts of one step refer to. A reference to nowhere leaves a gap in a prompt, and published packs have
 * them, so each is a warning; what routing reads is refused where the texts are merged.
 */
export class ReferenceCheck {
  private readonly step: StepText
  private readonly domain: Checked<DomainText>
  private readonly known: Known
  private readonly findings: Findings
  private readonly source: Source

  constructor(
    workflow: Checked<WorkflowText>,
    step: StepText,
    domain: Checked<DomainText>,
    known: Known,
    findings: Findings,
  ) {
    this.step = step
    this.domain = domain
    this.known = known
    this.findings = findings
    this.source = workflow.source
  }

  check(): void {
    const path = ['steps', this.step.at]
    for (const [key, value] of Object.entries(this.step.params ?? {})) {
      this.value(value, this.source, [...path, 'params', key], { isAfter: false })
    }
    for (const { agent_decide: decide, at } of this.step.transitions) {
      if (!decide) continue
      this.value(decide.prompt, this.source, [...path, 'transitions', at, 'agent_decide', 'prompt'], { isAfter: true })
    }
  }

  private value(value: unknown, source: Source, path: readonly PropertyKey[], how: { isAfter: boolean }): void {
    if (typeof value === 'string') return this.text(value, source, path, how)
    if (Array.isArray(value))
      for (const [index, item] of value.entries()) this.value(item, source, [...path, index], how)
    else if (isObject(value))
      for (const [key, part] of Object.entries(value)) this.value(part, source, [...path, key], how)
  }

  private text(text: string, source: Source, path: readonly PropertyKey[], how: { isAfter: boolean }): void {
    const placeAt = (offset: number) => source.locateText(path, offset)
    for (const slip of slipsIn(text)) this.warn(placeAt(slip.at), slip)
    for (const match of text.matchAll(/\$\{([^{}]+)\}/g)) {
      const reference = match[1]!.trim()
      const place = placeAt(match.index)
      if (reference.startsWith('domain.')) this.inDomain(reference.slice('domain.'.length), place, source, how)
      else this.warn(place, this.oddity(reference, how))
    }
  }

  private inDomain(reference: string, place: Place, from: Source, how: { isAfter: boolean }): void {
    if (from === this.domain.source) {
      const what = `'\${domain.${reference}}' is not filled in within a text of the domain itself`
      return this.warn(place, { what, right: 'write the text out' })
    }
    const path = pathInDomain(this.domain.text, reference, this.step.name)
    if (!path) {
      const what = `the domain '${this.domain.text.domain_name}' has no '${reference}'`
      return this.warn(place, { what, right: this.rightKey(reference) })
    }
    const walk = walkPath(this.domain.text as Json, path)
    if (walk.found) this.value(walk.value, this.domain.source, path, how)
  }

  private rightKey(reference: string): string {
    const parts = reference.split('.')
    const around = walkPath(this.domain.text as Json, parts.slice(0, -1))
    const own = this.domain.text[this.step.name]
    const keys = [around.found ? around.value : this.domain.text, parts.length === 1 ? own : undefined].flatMap(
      (map) => (isObject(map) ? Object.keys(map) : []),
    )
    return meaning(around.found ? parts.at(-1)! : parts[0]!, keys, `write it in ${this.domain.source.file}`)
  }

  private oddity(reference: string, { isAfter }: { isAfter: boolean }): Oddity | undefined {
    const [head, ...parts] = reference.split('.') as [string, ...string[]]
    const { name } = this.step
    if (head === 'input') return this.known.inInput(parts)
    if (head === 'accumulated') return undefined
    if (head === 'previous')
      return isAfter || this.hasPrevious() ? undefined : { what: 'no step runs before this one', right: 'leave it out' }
    if (head === '_loop_count') {
      const isKnown = parts.length === 0 || this.known.steps.has(parts[0]!)
      return isKnown ? undefined : this.known.inStep(parts[0]!, [], { step: name, isAfter })
    }
    if (head.startsWith('_last_')) return this.known.inLatest(head.slice('_last_'.length), parts, name)
    return this.known.inStep(head, parts, { step: name, isAfter })
  }

  private hasPrevious(): boolean {
    return [...this.known.steps.keys()].some((other) => this.known.flow.canPrecede(other, this.step.name))
  }

  private warn(place: Place, oddity: Oddity | undefined): void {
    if (oddity) this.findings.warn(place, oddity.what, oddity.right)
  }
}

/** What looks like a reference that lost one of its signs: it would stand in the prompt as it is. */
function slipsIn(text: string): (Oddity & { at: number })[] {
  const slips: (Oddity & { at: number })[] = []
  const look = (shape: RegExp, what: string, right: string) => {
    for (const match of text.matchAll(shape)) slips.push({ at: match.index, what, right })
  }
  look(/\$\{(?![^{}]+\})/g, 'a `${` that is no reference: it stays as it is', 'write ${…} around a path')
  look(/\$[A-Za-z_]\w*(?:\.\w+)*\}/g, 'a `$` without its `{`: it stays as it is', 'write ${…} around a path')
  look(/(?<!\$)\{(?:domain|input|previous)\.[\w.]+\}/g, 'a `{` without its `$`: it stays as it is', 'write ${…}')
  return slips
}
