import { type Json, isJsonObject, type JsonObject } from '../domain/json.ts'
import { endOfWorkflow } from '../domain/workflow.ts'
import { isPrivateKey, withoutPrivate } from './hidden-keys.ts'
import type { RunContext, StepOutput } from './run-context.ts'

const textCharacters = 300
/** The whole summary; a prompt has other things to carry. */
export const summaryCharacters = 8000

/**
 * What the steps so far said and where the case went from each: one line a step, in the order of their latest runs. When
 * it gets too long the oldest lines go, and it says how many.
 */
export function summarizeSteps(context: RunContext): string {
  const lines = [...context.outputs.values()].map(summarize)
  if (lines.length === 0) return 'No step has run before this one.'
  const kept: string[] = []
  let room = summaryCharacters - 100
  for (const line of lines.toReversed()) {
    room -= line.length + 1
    if (room < 0) break
    kept.unshift(line)
  }
  const left = lines.length - kept.length
  const note = left === 0 ? [] : [`(${left} earlier steps are left out)`]
  return ['Steps so far:', ...note, ...kept].join('\n')
}

function summarize({ step, primitive, run, output, wentTo }: StepOutput): string {
  const again = run > 1 ? `, run ${run}` : ''
  const said = keyFields[primitive]
    ? pick(output, keyFields[primitive])
    : cutText(oneLine(withoutPrivate(output)), textCharacters)
  return `- ${step} (${primitive}${again}): ${said}${showWay(wentTo)}`
}

function showWay(wentTo: string | undefined): string {
  if (wentTo === undefined) return ''
  return wentTo === endOfWorkflow ? ' → end' : ` → ${wentTo}`
}

/** What of each primitive's output tells the next steps most; of maps and lists only their size. */
const keyFields: Readonly<Record<string, readonly string[]>> = {
  retrieve: ['data', 'confidence'],
  classify: ['category', 'confidence', 'reasoning'],
  investigate: ['finding', 'confidence'],
  verify: ['conforms', 'violations', 'confidence'],
  deliberate: ['recommended_action', 'warrant', 'confidence'],
  generate: ['artifact', 'confidence'],
  challenge: ['survives', 'vulnerabilities', 'overall_assessment', 'confidence'],
  govern: ['tier_applied', 'disposition', 'tier_rationale'],
}

function pick(output: JsonObject, fields: readonly string[]): string {
  const said = fields.flatMap((field) => {
    const value = output[field]
    return value === undefined || value === null ? [] : [`${field}: ${cutText(showField(value), textCharacters)}`]
  })
  return said.length === 0 ? 'said nothing that can be shown here' : said.join('; ')
}

function showField(value: Json): string {
  if (Array.isArray(value)) return value.length === 0 ? 'none' : `${value.length}`
  if (!isJsonObject(value)) return oneLine(withoutPrivate(value))
  const keys = Object.keys(value).filter((key) => !isPrivateKey(key))
  return keys.join(', ') || 'none'
}

function oneLine(value: Json): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return text.replaceAll(/\s+/g, ' ').trim()
}

/** At most that many characters of a text, and a mark where it was cut. */
export function cutText(text: string, characters: number): string {
  return text.length <= characters ? text : `${text.slice(0, characters).toWellFormed()}… (cut)`
}
