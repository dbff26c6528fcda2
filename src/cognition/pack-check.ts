import type { z } from 'zod'
import { builtInPrimitives } from '../domain/workflow.ts'
import { type Checked, type DomainText, rightWay, stepKeys, type WorkflowText } from './pack-shapes.ts'
import type { Findings, Source } from './pack-source.ts'

/** Holds a source against its shape: every mismatch is a finding at its place. */
export function checkShape<T>(source: Source, shape: z.ZodType<T>, findings: Findings): Checked<T> | undefined {
  const parsed = shape.safeParse(source.data ?? {})
  if (parsed.success) return { source, text: parsed.data }
  for (const issue of parsed.error.issues) {
    const key = issue.path.findLast((part) => typeof part === 'string')
    const at = issue.path.length === 0 ? 'this file' : `\`${issue.path.map(String).join('.')}\``
    findings.refuse(source.locate(issue.path), `${at} ${sayIssue(issue)}`, rightWay[String(key)] ?? 'correct the value')
  }
  return undefined
}

function sayIssue({ code, message }: { code: string; message: string }): string {
  if (code === 'invalid_type' && message.endsWith('received undefined')) return 'is missing'
  return `is wrong: ${message.replace('Invalid input: ', '')}`
}

/** Older packs' names for primitives, rewritten before anything looks at them. */
export const olderNames: Readonly<Record<string, string>> = { think: 'deliberate', act: 'govern' }

/** Checks what one workflow says by itself, and gives its primitives their present names. */
export function checkWorkflow(
  { source, text }: Checked<WorkflowText>,
  registered: ReadonlySet<string>,
  findings: Findings,
): Checked<WorkflowText> {
  const steps = text.steps.map((step) => ({ ...step, primitive: olderNames[step.primitive] ?? step.primitive }))
  const seen = new Set<string>()
  for (const [index, step] of steps.entries()) {
    const place = (...path: PropertyKey[]) => source.locate(['steps', index, ...path])
    if (seen.has(step.name)) {
      findings.refuse(place('name'), `two steps are called '${step.name}'`, 'give each step a name of its own')
    }
    seen.add(step.name)
    if (reservedNames.has(step.name)) {
      findings.refuse(place('name'), `'${step.name}' has a meaning in conditions and references`, 'choose another name')
    }
    if (!registered.has(step.primitive)) {
      const right = `use one of ${[...registered].join(', ')}, or register it with the program`
      findings.refuse(place('primitive'), `there is no primitive '${step.primitive}'`, right)
    }
    if ((step.transitions ?? []).filter((item) => item.default !== undefined).length > 1) {
      findings.refuse(place('transitions'), 'more than one `default`', 'keep the one that is meant')
    }
    for (const key of Object.keys(step)) {
      if (!stepKeys.has(key)) findings.warn(place(key), `a step has no setting '${key}': it has no effect`)
    }
  }
  return { source, text: { ...text, steps } }
}

export function primitivesOf(registered: Iterable<string> = []): ReadonlySet<string> {
  return new Set([...builtInPrimitives, ...registered])
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
    const name = text[key]
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
