import { z } from 'zod'
import { CoreError } from '../errors.ts'
import type { CallAddress, Model, ModelAnswer } from './model.ts'
import { StepFailure } from './primitive.ts'
import type { Source } from './pack-source.ts'
import { showPlace } from './pack-source.ts'

/** Which calls an entry answers: every field that is given must agree. */
export type When = Partial<CallAddress>

/** One answer or one fault of a script. */
export interface Entry {
  readonly when: When
  /** What the model answers; with a fault beside it, what it answers after the fault has passed. */
  readonly output: object | undefined
  readonly error: 'timeout' | 'unparseable' | 'rate_limit' | undefined
  /** The fault strikes the first so many attempts of each run; unset: all of them. */
  readonly times: number | undefined
  /** File and line, for people. */
  readonly where: string
}

const text = z.union([z.string(), z.number()]).transform(String)

const entryShape = z
  .strictObject({
    when: z.strictObject({
      case: text.optional(),
      step: z.string().optional(),
      primitive: z.string().optional(),
      call: z.enum(['main', 'assess', 'select', 'route']).optional(),
      run: z.int().min(1).optional(),
      attempt: z.int().min(1).optional(),
    }),
    output: z.looseObject({}).optional(),
    error: z.enum(['timeout', 'unparseable', 'rate_limit']).optional(),
    times: z.int().min(1).optional(),
  })
  .refine((entry) => entry.output !== undefined || entry.error !== undefined, 'neither `output` nor `error`')
  .refine((entry) => entry.times === undefined || entry.error !== undefined, '`times` without `error`')

/** A model that plays written answers: the same call always gets the same answer, whatever was asked before it. */
export function scriptedModel(name: string, sources: readonly Source[]): Model {
  const entries = sources.flatMap(readEntries)
  refuseAmbiguous(entries)
  return {
    name,
    simulated: true,
    // Every rejection is a StepFailure of the call, so it must not escape as an exception of the caller.
    answer: async ({ address }) => play(entries, address),
  }
}

/** Reads a script: a list of entries. A script that is wrong is refused with CC_ERR_SCRIPT. */
export function readEntries({ data, locate }: Source): Entry[] {
  if (!Array.isArray(data)) refuse(showPlace(locate([])), 'a script is a list of entries')
  return data.map((item: unknown, index): Entry => {
    const parsed = entryShape.safeParse(item)
    if (!parsed.success) {
      const [issue] = parsed.error.issues
      refuse(showPlace(locate([index, ...issue!.path])), [...issue!.path.map(String), issue!.message].join(': '))
    }
    const { when, output, error, times } = parsed.data
    return { when: plain(when), output, error, times, where: showPlace(locate([index])) }
  })
}

function plain(when: Record<string, unknown>): When {
  return Object.fromEntries(Object.entries(when).filter(([, value]) => value !== undefined))
}

/** The entry that answers this call: of those that agree with it, the one that says most about it. */
export function chooseEntry(entries: readonly Entry[], address: CallAddress): Entry | undefined {
  let best: Entry | undefined
  for (const entry of entries) {
    if (answers(entry, address) && (!best || isMoreSpecific(entry, best))) best = entry
  }
  return best
}

function answers({ when, output, error, times }: Entry, address: CallAddress): boolean {
  if ((when.call ?? 'main') !== address.call) return false
  for (const key of fieldsByWeight) {
    if (when[key] !== undefined && when[key] !== address[key]) return false
  }
  // A fault that has passed leaves the call to its own output, or to the next entry.
  return error === undefined || output !== undefined || address.attempt <= (times ?? Infinity)
}

/** Where two entries give equally many fields, the first of these that only one of them gives decides. */
const fieldsByWeight = ['case', 'step', 'run', 'attempt', 'primitive'] as const

function isMoreSpecific(a: Entry, b: Entry): boolean {
  const given = ({ when }: Entry) => fieldsByWeight.filter((key) => when[key] !== undefined)
  const difference = given(a).length - given(b).length
  if (difference !== 0) return difference > 0
  const deciding = fieldsByWeight.find((key) => (a.when[key] === undefined) !== (b.when[key] === undefined))
  if (deciding) return a.when[deciding] !== undefined
  return faultOrder(a) < faultOrder(b)
}

/** Of entries for the very same calls, a passing fault comes before what answers once it has passed. */
function faultOrder({ error, output, times }: Entry): number {
  return error !== undefined && output === undefined ? (times ?? Infinity) : Infinity
}

/** Two entries that would answer the same call with equal right: nobody could say which of them holds. */
function refuseAmbiguous(entries: readonly Entry[]): void {
  const seen = new Map<string, Entry>()
  for (const entry of entries) {
    const { call = 'main', ...fields } = entry.when
    const key = JSON.stringify([call, fieldsByWeight.map((name) => fields[name] ?? null), faultOrder(entry)])
    const earlier = seen.get(key)
    if (earlier) refuse(entry.where, `answers the same calls as ${earlier.where}`)
    seen.set(key, entry)
  }
}

function play(entries: readonly Entry[], address: CallAddress): ModelAnswer {
  const entry = chooseEntry(entries, address)
  if (!entry) {
    throw new StepFailure('no_script_entry', `no scripted answer for ${showAddress(address)}`, { retryable: false })
  }
  const { error, output, times = Infinity } = entry
  if (error === undefined || address.attempt > times) return { text: JSON.stringify(output), model: 'scripted' }
  if (error === 'unparseable') return { text: brokenText, model: 'scripted' }
  throw new StepFailure(error, `scripted ${error} at ${showAddress(address)}`, { retryable: true })
}

/** An answer cut off in the middle, as models give them when they run out of tokens. */
const brokenText = '{"confidence": 0.8, "reasoning": "This answer breaks off in the mid'

function showAddress(address: CallAddress): string {
  const { case: caseId, step, primitive, call, run, attempt } = address
  return `case ${caseId}, step ${step} (${primitive}), call ${call}, run ${run}, attempt ${attempt}`
}

function refuse(where: string, problem: string): never {
  throw new CoreError('CC_ERR_SCRIPT', { where, problem })
}
