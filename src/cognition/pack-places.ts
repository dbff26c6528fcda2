import { pathInDomain } from './interpolation.ts'
import type { Checked, DomainText, StepText, WorkflowText } from './pack-shapes.ts'
import type { Place } from './pack-source.ts'

/** Where the texts of one step were written: in its workflow, or in the domain that fills them. */
export class StepPlaces {
  private readonly workflow: Checked<WorkflowText>
  private readonly step: StepText
  private readonly domain: Checked<DomainText>

  constructor(workflow: Checked<WorkflowText>, step: StepText, domain: Checked<DomainText>) {
    this.workflow = workflow
    this.step = step
    this.domain = domain
  }

  at(path: readonly PropertyKey[]): Place {
    return this.workflow.source.locate(this.pathTo(path))
  }

  /** The place of a key, or of the step where it has none. */
  key(path: readonly PropertyKey[]): Place {
    return this.workflow.source.locateKey(this.pathTo(path))
  }

  /** Of a character of the text once it is filled: in the domain, when all of it comes from there. */
  character(text: string, path: readonly PropertyKey[], offset: number): Place {
    const reference = /^\s*\$\{\s*domain\.([^{}]+?)\s*\}\s*$/.exec(text)?.[1]
    const inDomain = reference && pathInDomain(this.domain.text, reference, this.step.name)
    if (inDomain) return this.domain.source.locateText(inDomain, offset)
    return text.includes('${') ? this.at(path) : this.workflow.source.locateText(this.pathTo(path), offset)
  }

  private pathTo(path: readonly PropertyKey[]): readonly PropertyKey[] {
    return ['steps', this.step.at, ...path]
  }
}
