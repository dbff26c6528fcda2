import { meaning } from './nearest.ts'
import type { Checked, DomainText, StepText, WorkflowText } from './pack-shapes.ts'
import type { Findings } from './pack-source.ts'
import { unreadPrimitive } from './pack-texts.ts'

/** Checks what one workflow says by itself: names, primitives, and transitions beside each other. */
export function checkWorkflow(
  { source, text }: Checked<WorkflowText>,
  registered: ReadonlySet<string>,
  findings: Findings,
): void {
  const seen = new Set<string>()
  for (const step of text.steps) {
    const place = (...path: PropertyKey[]) => source.locate(['steps', step.at, ...path])
    if (seen.has(step.name)) {
      findings.refuse(place('name'), `two steps are called '${step.name}'`, 'give each step a name of its own')
    }
    seen.add(step.name)
    if (reservedNames.has(step.name)) {
      findings.refuse(place('name'), `'${step.name}' has a meaning in conditions and references`, 'choose another name')
    }
    if (!registered.has(step.primitive) && step.primitive !== unreadPrimitive && step.primitive !== 'reflect') {
      const otherwise = `use one of ${[...registered].join(', ')}, or register it with the program`
      const right = meaning(step.primitive, registered, otherwise)
      findings.refuse(place('primitive'), `there is no primitive '${step.primitive}'`, right)
    }
    checkTransitions({ source, text }, step, findings)
  }
}

function checkTransitions({ source }: Checked<WorkflowText>, step: StepText, findings: Findings): void {
  const place = (...path: PropertyKey[]) => source.locate(['steps', step.at, 'transitions', ...path])
  const { transitions } = step
  for (const key of ['default', 'agent_decide'] as const) {
    const given = transitions.filter((item) => item[key] !== undefined)
    if (given.length > 1) {
      findings.refuse(place(given[1]!.at), `more than one \`${key}\``, 'keep the one that is meant')
    }
  }
  const byDefault = transitions.find((item) => item.default !== undefined)
  if (byDefault && transitions.some((item) => item.agent_decide)) {
    findings.warn(place(byDefault.at), '`default` is never reached beside `agent_decide`', 'leave it out')
  }
  const conditions = new Set<string>()
  for (const { when, at } of transitions) {
    if (when === undefined) continue
    if (conditions.has(when.trim())) {
      findings.warn(place(at, 'when'), 'the same condition stands before this one: it never decides', 'leave one out')
    }
    conditions.add(when.trim())
  }
}

/** Words that a condition or a reference would take for something else than a step. */
const reservedNames = new Set([
  ...['input', 'previous', 'output', 'domain', 'accumulated'],
  ...['and', 'or', 'not', 'in', 'len', 'true', 'false', 'null', 'none', 'True', 'False', 'None'],
])

/** Refuses two texts of one kind with one name, at the second. */
export function checkDistinct(
  texts: readonly Checked<WorkflowText | DomainText>[],
  key: 'name' | 'domain_name',
  findings: Findings,
): void {
  const files = new Map<unknown, string>()
  for (const { source, text } of texts) {
    const name = (text as Readonly<Record<string, unknown>>)[key]
    const earlier = files.get(name)
    if (earlier !== undefined) {
      findings.refuse(
        source.locate([key]),
        `'${String(name)}' is the name in ${earlier} too`,
        'give each a name of its own',
      )
    }
    files.set(name, source.file)
  }
}
