import { caseIdOf } from '../domain/instance.ts'
import type { JsonObject } from '../domain/json.ts'
import { type Definition, olderNames, type Step } from '../domain/workflow.ts'
import { isCoreError } from '../errors.ts'
import { meaning } from './nearest.ts'
import { type Findings, placeNamed, type Source } from './pack-source.ts'
import { builtIn } from './primitives/index.ts'
import { type Entry, readEntries, scriptedModel } from './scripted-model.ts'

/** Checks the pack's scripted answers: their form, what they are said to answer, and whether they would be taken. */
export function checkScript(
  source: Source,
  definitions: readonly Definition[],
  cases: readonly JsonObject[],
  findings: Findings,
): void {
  let entries: Entry[]
  try {
    entries = readEntries(source)
    scriptedModel(source.file, [source])
  } catch (error) {
    if (!isCoreError(error, 'CC_ERR_SCRIPT')) throw error
    const { where, problem } = error.facts
    const what = String(problem)
      .replace('Invalid input: ', '')
      .replace(', received undefined', ', and there is nothing')
    findings.refuse(placeNamed(String(where)), `the scripted answers are wrong: ${what}`, rightScript)
    return
  }
  const steps = definitions.flatMap(({ steps }) => steps)
  const names = new Set(steps.map(({ name }) => name))
  const ids = new Set(cases.map((input) => caseIdOf(input, '')).filter((id) => id !== ''))
  for (const [index, { when, output }] of entries.entries()) {
    const place = (key: string) => source.locate([index, 'when', key])
    if (when.step !== undefined && names.size > 0 && !names.has(when.step)) {
      findings.warn(place('step'), `no workflow has a step '${when.step}'`, meaning(when.step, names))
    }
    if (when.case !== undefined && ids.size > 0 && !ids.has(when.case)) {
      findings.warn(place('case'), `the pack has no case '${when.case}'`, meaning(when.case, ids, 'it answers nothing'))
    }
    const misfit = output && misfitOf(output, when, steps)
    if (misfit) findings.warn(source.locate([index, 'output', ...misfit.path]), misfit.what, misfit.right)
  }
}

const rightScript = 'write entries with `when`, and `output` or `error`'

interface Misfit {
  readonly path: readonly PropertyKey[]
  readonly what: string
  readonly right: string
}

/** What would be refused of an answer. One to `assess` or `select` may say anything that fits the case. */
function misfitOf(output: object, when: Entry['when'], steps: Definition['steps']): Misfit | undefined {
  const step = steps.find(({ name }) => name === when.step)
  if (when.call === 'route') return step && noOption(output as { chosen_step?: unknown }, step)
  const name = when.primitive ?? step?.primitive ?? ''
  const primitive = builtIn.get(olderNames[name] ?? name)
  // Retrieve is rated and not answered, so there is nothing of it to hold an answer against.
  if (!primitive?.answer || primitive.name === 'retrieve' || (when.call ?? 'main') !== 'main') return undefined
  const issue = primitive.answer.safeParse(output).error?.issues[0]
  const right = `answer as ${primitive.name} must`
  return issue && { path: issue.path, what: `${primitive.name} would refuse it: ${issue.message}`, right }
}

function noOption({ chosen_step: chosen }: { chosen_step?: unknown }, { name, transitions }: Step): Misfit | undefined {
  const options = transitions.flatMap((item) => ('agentDecide' in item ? item.agentDecide.options : []))
  const names = options.map(({ step }) => step)
  if (names.length === 0 || names.includes(String(chosen))) return undefined
  const right = meaning(String(chosen), names)
  return { path: ['chosen_step'], what: `'${String(chosen)}' is no option of '${name}'`, right }
}
