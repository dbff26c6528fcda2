import { z } from 'zod'
import type { Json, JsonObject } from '../../domain/json.ts'
import { addSpent, type Primitive, type StepCall, StepFailure, type StepResult } from '../primitive.ts'
import { caseTools, isEmpty, toolsNamedIn, type Tools } from '../tools.ts'
import { base, listOf } from './shapes.ts'
import { ask, requireParams, writePrompt } from './thinking.ts'

const requiredParams = ['specification']
const optionalParams = ['sources', 'additional_instructions', 'context']
const defaultParams = { strategy: 'deterministic' }

const assessment = z.looseObject({ ...base, complete: z.boolean().nullish() })

/** What a retrieval leaves behind: the rating, and the data that it rated. */
const gathering = assessment.extend({
  data: z.looseObject({}),
  sources_queried: listOf({ source: z.string(), status: z.string() }),
  sources_skipped: listOf({}),
  retrieval_plan: z.string(),
})

/**
 * Gathers the data of a case. The specification decides which sources are asked, or with `strategy: agentic` a model
 * does, among those that `sources` names or else all; a model also rates whether what came back is enough. None ever
 * touches the data.
 */
export const retrieve: Primitive = {
  name: 'retrieve',
  // Without a model, or without a scripted opinion, what came back counts as complete.
  needsModel: false,
  requiredParams,
  optionalParams,
  defaultParams,
  answer: gathering,
  async run(call) {
    const params = requireParams(call, requiredParams, defaultParams)
    const tools = caseTools(call.context.input, call.fixtures, call.documents)
    const within = sourcesWithin(params.sources ?? '', tools)
    const agentic = params.strategy?.trim().toLowerCase() === 'agentic'
    const { names, ...spentOnChoice } = agentic
      ? await selectTools(call, params, within)
      : { names: toolsNamedIn(params.specification!, within) }
    const gathered = gather(tools, names, agentic ? 'agentic' : 'deterministic')
    const { output: rating, ...spent } = await assess(call, params, gathered)
    return addSpent({ output: { ...rating, ...gathered }, ...spent }, spentOnChoice)
  },
}

type Params = Readonly<Record<string, string>>

/** The sources that a pack's list names; all of them where it names none there is, as in `all_available`. */
function sourcesWithin(written: string, tools: Tools): Tools {
  const words = new Set(written.split(/[\s,]+/))
  const named = [...tools].filter(([name]) => words.has(name))
  return named.length > 0 ? new Map(named) : tools
}

const selection = z.looseObject({ sources: z.array(z.string()), reasoning: z.string().nullish() })

const selectInstructions = `You choose which sources to ask for the data of a case.
Read \`specification\` and list in \`sources\` every source that may hold something it asks for, by its exact name. Leave out a
source only when it plainly has nothing to give.`

/** A choice that names no source there is counts as all of them: data that are not needed do less harm than a gap. */
async function selectTools(call: StepCall, params: Params, tools: Tools) {
  const names = [...tools.keys()]
  const prompt = writePrompt([...wishes(params), ['sources', names.join('\n')]])
  const { output, ...spent } = await ask(call, {
    call: 'select',
    instructions: selectInstructions,
    prompt,
    answer: selection,
  })
  const chosen = names.filter((name) => (output.sources as readonly string[]).includes(name))
  return { names: chosen.length > 0 ? chosen : names, ...spent }
}

/** What the pack asks of the retrieval, as both questions show it. */
function wishes(params: Params): [name: string, text: string][] {
  const shown = ['specification', 'additional_instructions', 'context']
  return shown.flatMap((key) => (params[key] ? [[key, params[key]]] : []))
}

interface Gathered extends JsonObject {
  readonly data: JsonObject
  readonly sources_queried: readonly JsonObject[]
  readonly sources_skipped: readonly string[]
  readonly retrieval_plan: string
}

function gather(tools: Tools, asked: readonly string[], strategy: string): Gathered {
  const answers = asked.map((source): [string, Json] => [source, tools.get(source)!])
  const data = Object.fromEntries(answers.filter(([, value]) => !isEmpty(value)))
  return {
    data,
    // The data stand once, under `data`; a source here only says how it fared.
    sources_queried: answers.map(([source, value]) => ({ source, status: isEmpty(value) ? 'empty' : 'success' })),
    sources_skipped: [...tools.keys()].filter((source) => !asked.includes(source)),
    retrieval_plan: `${strategy}: ${asked.length} of ${tools.size} sources`,
  }
}

const instructions = `You judge whether the data gathered for a case are enough to work with.
Compare what \`specification\` asks for with what the sources gave. Name each part that is absent, empty or contradictory in
\`evidence_missing\`; a part that the specification calls optional is not missing. \`confidence\` is how complete the data are,
\`complete\` whether the case can go on with them. You do not judge the case, and you do not repeat the data.`

async function assess(call: StepCall, params: Params, { data, sources_queried }: Gathered): Promise<StepResult> {
  if (Object.keys(data).length === 0) return rated(0, 'No source had data.')
  const complete = rated(1, 'Taken as complete: nobody rated it.')
  if (!call.model) return complete
  const prompt = writePrompt([
    ...wishes(params),
    ['sources', JSON.stringify(sources_queried, undefined, 2)],
    ['data', cut(JSON.stringify(data, undefined, 2))],
  ])
  try {
    return await ask(call, { call: 'assess', instructions, prompt, answer: assessment })
  } catch (error) {
    if (error instanceof StepFailure && error.code === 'no_script_entry') return complete
    throw error
  }
}

function rated(confidence: number, reasoning: string): StepResult {
  return { output: assessment.parse({ confidence, reasoning }) as JsonObject }
}

/** Rating completeness needs an impression of the data, not all of it. */
const shownCharacters = 20_000

function cut(text: string): string {
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters).toWellFormed()}\n… (cut)`
}
