import { fillDomain } from './interpolation.ts'
import { meaning } from './nearest.ts'
import type { Checked, DomainText, WorkflowText } from './pack-shapes.ts'
import type { Findings } from './pack-source.ts'

export type WorkflowAndDomain = readonly [Checked<WorkflowText>, Checked<DomainText>]

/**
 * Which domain goes with which workflow: as the domain says by `workflow:`, else wherever it fits. Those that go with
 * nothing are told to the findings, unless there are none because not every text of the pack could be read.
 */
export function pairUp(
  workflows: readonly Checked<WorkflowText>[],
  domains: readonly Checked<DomainText>[],
  findings: Findings | undefined,
): WorkflowAndDomain[] {
  const onlyPair = workflows.length === 1 && domains.length === 1
  const pairs = workflows.flatMap((workflow) =>
    domains
      .filter((domain) =>
        domain.text.workflow === undefined
          ? onlyPair || fits(workflow, domain)
          : domain.text.workflow === workflow.text.name,
      )
      .map((domain): WorkflowAndDomain => [workflow, domain]),
  )
  if (findings) tellOfLoners(workflows, domains, pairs, findings)
  return pairs
}

function tellOfLoners(
  workflows: readonly Checked<WorkflowText>[],
  domains: readonly Checked<DomainText>[],
  pairs: readonly WorkflowAndDomain[],
  findings: Findings,
): void {
  for (const workflow of workflows) {
    if (pairs.some(([paired]) => paired === workflow)) continue
    findings.warn(workflow.source.locate(['name']), 'no domain of this pack goes with it', 'add one that has its texts')
  }
  const names = workflows.map(({ text }) => text.name)
  for (const domain of domains) {
    const { source, text } = domain
    if (text.workflow !== undefined && !names.includes(text.workflow)) {
      const right = meaning(text.workflow, names)
      findings.warn(source.locate(['workflow']), `there is no workflow '${text.workflow}' in this pack`, right)
    } else if (!pairs.some(([, paired]) => paired === domain)) {
      const right = 'give it the texts that a workflow asks for, or name that in `workflow`'
      findings.warn(source.locate(['domain_name']), 'no workflow of this pack goes with it', right)
    }
  }
}

/** A domain fits a workflow when it has every text that routing reads, and any of those that the prompts ask for. */
function fits({ text: workflow }: Checked<WorkflowText>, { text: domain }: Checked<DomainText>): boolean {
  let asked = 0
  let missing = 0
  for (const { name, params, transitions, loop_fallback } of workflow.steps) {
    if (fillDomain([transitions, loop_fallback ?? ''], domain, name).unresolved.length > 0) return false
    asked += new Set(JSON.stringify(params ?? {}).match(/\$\{domain\.[^}]+\}/g)).size
    missing += new Set(fillDomain(params ?? {}, domain, name).unresolved).size
  }
  return asked === 0 || missing < asked
}
