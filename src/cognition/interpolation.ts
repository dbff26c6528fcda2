import { type Json, isJsonObject } from '../domain/json.ts'
import { olderNames, type Step } from '../domain/workflow.ts'
import { withAutomaticParams } from './automatic-params.ts'
import { isHiddenKey, isPrivateKey, visibleInput, withoutHidden, withoutPrivate } from './hidden-keys.ts'
import { type Walk, walkPath } from './paths.ts'
import type { Primitive } from './primitive.ts'
import type { RunContext, StepOutput } from './run-context.ts'
import { summarizeSteps } from './summary.ts'

/**
 * Phase 1, when a pack is loaded: fills `${domain.REF}` in every text of a value, however deep. `REF` alone is looked up
 * under the step's own name in the domain, then at its top; `a.b` and longer are paths from the top. What is missing
 * becomes `[domain.REF not found]` and is listed. Other references stay for phase 2, those in the domain's texts too.
 */
export function fillDomain(
  value: unknown,
  domain: object,
  stepName: string,
): { value: unknown; unresolved: readonly string[] } {
  const unresolved = new Set<string>()
  const filled = mapTexts(value, (text) =>
    text.replaceAll(/\$\{\s*domain\.([^{}]+)\}/g, (_, written: string) => {
      const reference = written.trim()
      const path = pathInDomain(domain, reference, stepName)
      const walk = walkPath(domain as Json, path ?? [reference])
      if (walk.found) return showValue(walk.value)
      unresolved.add(reference)
      return `[domain.${reference} not found]`
    }),
  )
  return { value: filled, unresolved: [...unresolved] }
}

/** Where in the domain a reference leads; undefined when nothing is there. */
export function pathInDomain(domain: object, reference: string, stepName: string): readonly string[] | undefined {
  const parts = reference.split('.')
  const paths = parts.length === 1 ? [[stepName, ...parts], parts] : [parts]
  return paths.find((path) => walkPath(domain as Json, path).found)
}

/** The step that is about to run, for the references that mean it: `_loop_count` is its `run`. */
export interface RunningStep {
  readonly step: string
  readonly run: number
}

/**
 * Phase 2, before each run: fills every other reference with what the case has said so far. Maps and lists are shown as
 * JSON indented by 2, scalars as Python spells them (`True`, `None`), since packs speak of them so; what is missing is
 * said in brackets, for the model to see. What was put in is never looked at again, so a case cannot smuggle a reference
 * in. Hidden keys of the input, and keys of outputs that are for the record alone, count as absent.
 */
export function resolveParams(
  params: Step['params'],
  context: RunContext,
  running: RunningStep,
): Record<string, string> {
  const resolve = (text: string) => resolveText(text, context, running)
  return Object.fromEntries(Object.entries(params).map(([key, value]) => [key, showParam(mapTexts(value, resolve))]))
}

/** One text with its references filled in. */
export function resolveText(text: string, context: RunContext, running: RunningStep): string {
  return text.replaceAll(/\$\{([^{}]+)\}/g, (_, reference: string) =>
    resolveReference(reference.trim(), context, running),
  )
}

/**
 * Everything a step is given as text: its params with references filled in, and for a step that thinks what it is given
 * without asking (see `withAutomaticParams`).
 */
export function resolveStepParams(
  step: Step,
  primitive: Primitive,
  context: RunContext,
  run: number,
  nowMs: number,
): Record<string, string> {
  const params = resolveParams(step.params, context, { step: step.name, run })
  return withAutomaticParams(params, step.params, context, primitive, nowMs)
}

function resolveReference(reference: string, context: RunContext, running: RunningStep): string {
  const [head, ...parts] = reference.split('.') as [string, ...string[]]
  switch (head) {
    case 'input':
      return parts.length === 0 ? showValue(visibleInput(context.input)) : showInput(context.input, parts)
    case 'previous': {
      const previous = context.previous === undefined ? undefined : context.outputs.get(context.previous)
      return previous ? showOutput(previous.output, parts) : '[no previous step output]'
    }
    case 'accumulated':
      return summarizeSteps(context)
    case '_loop_count':
      return String(runsOf(parts[0] ?? running.step, context, running))
  }
  const said = head.startsWith('_last_') ? latestOf(head.slice('_last_'.length), context) : context.outputs.get(head)
  return said ? showOutput(said.output, parts) : `[step '${head}' not found]`
}

function showOutput(output: StepOutput['output'], parts: readonly string[]): string {
  const walk = walkPath(output, parts, isPrivateKey)
  return showWalk(walk.found ? { ...walk, value: withoutPrivate(walk.value) } : walk)
}

function showInput(input: RunContext['input'], parts: readonly string[]): string {
  const walk = walkPath(input, parts, isHiddenKey)
  return showWalk(walk.found ? { ...walk, value: withoutHidden(walk.value) } : walk)
}

/** How often a step has run; none for one that has not, since a pack asks this to see whether it did. */
function runsOf(step: string, context: RunContext, running: RunningStep): number {
  return step === running.step ? running.run : (context.outputs.get(step)?.run ?? 0)
}

function latestOf(primitive: string, context: RunContext): StepOutput | undefined {
  const name = olderNames[primitive] ?? primitive
  return [...context.outputs.values()].findLast((said) => said.primitive === name)
}

function showWalk(walk: Walk): string {
  if (walk.found) return showValue(walk.value)
  switch (walk.why) {
    case 'field':
      return `[field '${walk.part}' not found]`
    case 'index':
      return `[invalid index '${walk.part}']`
    case 'into':
      return `[cannot navigate into ${walk.kind}]`
  }
}

/** A value as prompts show it. */
function showValue(value: Json): string {
  if (typeof value === 'string') return value
  if (value === null) return 'None'
  if (typeof value === 'boolean') return value ? 'True' : 'False'
  return typeof value === 'number' ? showNumber(value) : JSON.stringify(value, undefined, 2)
}

/** Python takes to exponents earlier than JavaScript, and writes two digits of them. */
function showNumber(value: number): string {
  if (value === 0 || Math.abs(value) >= 1e-4) return String(value)
  return value.toExponential().replace(/e-(\d)$/, 'e-0$1')
}

/** A list is one line per item, as packs write rules and constraints; nothing at all is the empty text. */
function showParam(value: unknown): string {
  if (value === null || value === undefined) return ''
  return Array.isArray(value) ? value.map((item) => showParam(item)).join('\n') : showValue(value as Json)
}

/** The same value with every text in it replaced. */
function mapTexts(value: unknown, change: (text: string) => string): unknown {
  if (typeof value === 'string') return change(value)
  if (Array.isArray(value)) return value.map((item) => mapTexts(item, change))
  if (!isJsonObject(value as Json)) return value
  return Object.fromEntries(Object.entries(value as object).map(([key, part]) => [key, mapTexts(part, change)]))
}
