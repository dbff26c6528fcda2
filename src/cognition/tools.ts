import type { Json, JsonObject } from '../domain/json.ts'
import type { Fixture, PackDocument } from '../domain/workflow.ts'
import { visibleInput, withoutHidden } from './hidden-keys.ts'
import { calculateSettlement, settlementTool } from './settlement.ts'
import { wholeWord } from './whole-word.ts'

/** What retrieve may ask: the names of its sources with what each of them says. */
export type Tools = ReadonlyMap<string, Json>

/** Case fields that say who or what the case is about; they stay within reach beside fixture data. */
const identityKeys = ['claim_id', 'policy_number', 'policyholder']

/**
 * The sources of a case: its own fields when it brings `get_*` data, else the pack's fixture for its id, else its own
 * fields; then the pack's documents, and the calculation of a settlement where there is something to calculate. What is
 * hidden never becomes a source.
 */
export function caseTools(
  input: JsonObject,
  fixtures: readonly Fixture[],
  documents: readonly PackDocument[] = [],
): Tools {
  const data = Object.entries(dataOf(input, fixtures)).map(([key, value]): [string, Json] => [key, asToolAnswer(value)])
  const texts = documents.map(({ name, text }): [string, Json] => [name, { value: text }])
  const tools = new Map([...texts, ...data])
  // A fixture may stand in for the calculation, and never for its result.
  const settlement = calculateSettlement(tools)
  if (settlement) tools.set(settlementTool, settlement)
  return tools
}

function dataOf(input: JsonObject, fixtures: readonly Fixture[]): JsonObject {
  const fields = visibleInput(input)
  const bringsData = Object.entries(fields).some(([key, value]) => key.startsWith('get_') && isStructure(value))
  const ids = [input.case_id, input.claim_id]
  const fixture = bringsData ? undefined : fixtures.find(({ caseId }) => ids.includes(caseId))
  if (!fixture) return fields
  const identity = Object.entries(fields).filter(([key]) => identityKeys.includes(key))
  return { ...Object.fromEntries(identity), ...withoutHidden(fixture.tools as JsonObject) }
}

/** A bare value becomes `{value: x}`, so that every source answers with something that has fields. */
function asToolAnswer(value: Json): Json {
  return value === null || isStructure(value) ? value : { value }
}

/**
 * The tools that a specification names as whole words, or all of them when it names none. A field called by a plain
 * word (`symptoms`) is likely to occur in the prose around, so such words count only beside a name nobody writes by
 * chance (`get_policy`).
 */
export function toolsNamedIn(specification: string, tools: Tools): readonly string[] {
  const names = [...tools.keys()]
  const named = names.filter((name) => wholeWord(name).test(specification))
  return named.some((name) => /[_-]/.test(name)) ? named : names
}

/** Nothing to be seen in it: a source that answers so has no data. */
export function isEmpty(value: Json): boolean {
  if (value === null || value === '') return true
  return isStructure(value) && Object.keys(value).length === 0
}

function isStructure(value: Json): value is readonly Json[] | JsonObject {
  return typeof value === 'object' && value !== null
}

/** A map of names to values: not null and not a list. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
