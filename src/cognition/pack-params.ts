import type { Step } from '../domain/workflow.ts'
import { meaning } from './nearest.ts'
import type { Checked, StepText, WorkflowText } from './pack-shapes.ts'
import type { Findings } from './pack-source.ts'
import type { Primitive } from './primitive.ts'

/** Holds a step's parameters against what its primitive needs and knows. */
export function checkParams(
  { source }: Checked<WorkflowText>,
  text: StepText,
  step: Step,
  { requiredParams, defaultParams, optionalParams }: Primitive,
  findings: Findings,
): void {
  const written = text.params ?? {}
  const place = (key: string) =>
    source.locateKey(['steps', text.at, ...(Object.hasOwn(written, key) ? ['params', key] : [])])
  for (const key of requiredParams) {
    if (!isBlank(step.params[key]) || key in defaultParams) continue
    const what = Object.hasOwn(written, key) ? `\`${key}\` is empty` : `\`${key}\` is missing`
    const meant = Object.keys(written).filter((name) => !requiredParams.includes(name))
    const right = `give it in \`params\`: ${step.primitive} needs ${requiredParams.join(', ')}`
    findings.refuse(place(key), `${step.name}: ${what}`, meaning(key, meant, right))
  }
  for (const [key, value] of Object.entries(step.params)) {
    const oddity = oddValue(key, value)
    if (oddity) findings.warn(place(key), `\`${key}\` ${oddity.what}`, oddity.right)
  }
  if (!optionalParams) return
  const known = [...requiredParams, ...Object.keys(defaultParams), ...optionalParams]
  for (const key of Object.keys(step.params)) {
    if (known.includes(key)) continue
    const what = `${step.primitive} has no parameter '${key}': no prompt shows it`
    findings.warn(place(key), what, meaning(key, known))
  }
}

function isBlank(value: unknown): boolean {
  if (Array.isArray(value)) return value.every(isBlank)
  return value === undefined || value === null || (typeof value === 'string' && value.trim() === '')
}

/** Values that mean one of a few things, where they are known before a case runs. */
function oddValue(key: string, value: unknown): { what: string; right: string } | undefined {
  const text = String(value).trim()
  if (text.includes('${')) return undefined
  if (key === 'strategy' && !['deterministic', 'agentic'].includes(text.toLowerCase())) {
    return { what: `'${text}' counts as deterministic`, right: 'write deterministic or agentic' }
  }
  if (key === 'confidence_threshold' && !(Number(text) >= 0 && Number(text) <= 1)) {
    return { what: `'${text}' is no share`, right: 'give a share between 0 and 1' }
  }
  return undefined
}
