import { z } from 'zod'
import type { Json, JsonObject } from '../../domain/json.ts'
import { type Primitive, type StepCall, StepFailure, type StepResult } from '../primitive.ts'
import { caseTools, isEmpty, toolsNamedIn, type Tools } from '../tools.ts'
import { base, confidence } from './shapes.ts'
import { ask, requireParams, writePrompt } from './thinking.ts'

const requiredParams = ['specification']
const defaultParams = { strategy: 'deterministic' }

/**
 * Gathers the data of a case. The specification decides which sources are asked, or with `strategy: agentic` a model
 * does; a model also rates whether what came back is enough. None ever touches the data.
 */
export const retrieve: Primitive = {
  name: 'retrieve',
  // Without a model, or without a scripted opinion, what came back counts as complete.
  needsModel: false,
  requiredParams,
  defaultParams,
  async run(call) {
    const params = requireParams(call, requiredParams, defaultParams)
    const specification = params.specification!
    const tools = caseTools(call.context.input, call.fixtures)
    const agentic = params.strategy === 'agentic'
    const asked = agentic ? await selectTools(call, specification, tools) : toolsNamedIn(specification, tools)
    const gathered = gather(tools, asked, agentic ? 'agentic' : 'deterministic')
    const { output: rating, ...spent } = await assess(call, specification, gathered)
    return { output: { ...rating, ...gathered }, ...spent }
  },
}

const selection = z.looseObject({ sources: z.array(z.string()), reasoning: z.string().nullish() })

const selectInstructions = `You choose which sources to ask for the data of a case.
Read \`specification\` and list in \`sources\` every source that may hold something it asks for, by its exact name. Leave out a
source only when it plainly has nothing to give.`

/** A choice that names no source there is counts as all of them: data that are not needed do less harm than a gap. */
async function selectTools(call: StepCall, specification: string, tools: Tools): Promise<readonly string[]> {
  const names = [...tools.keys()]
  const prompt = writePrompt([
    ['specification', specification],
    ['sources', names.join('\n')],
  ])
  const { output } = await ask(call, { call: 'select', instructions: selectInstructions, prompt, answer: selection })
  const chosen = names.filter((name) => (output.sources as readonly string[]).includes(name))
  return chosen.length > 0 ? chosen : names
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

const assessment = z.looseObject({ ...base, confidence, complete: z.boolean().nullish() })

const instructions = `You judge whether the data gathered for a case are enough to work with.
Compare what \`specification\` asks for with what the sources gave. Name each part that is absent, empty or contradictory in
\`evidence_missing\`; a part that the specification calls optional is not missing. \`confidence\` is how complete the data are,
\`complete\` whether the case can go on with them. You do not judge the case, and you do not repeat the data.`

async function assess(call: StepCall, specification: string, { data, sources_queried }: Gathered): Promise<StepResult> {
  if (Object.keys(data).length === 0) return rated(0, 'No source had data.')
  const complete = rated(1, 'Taken as complete: nobody rated it.')
  if (!call.model) return complete
  const prompt = writePrompt([
    ['specification', specification],
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
  return { output: { confidence, reasoning } }
}

/** Rating completeness needs an impression of the data, not all of it. */
const shownCharacters = 20_000

function cut(text: string): string {
  return text.length <= shownCharacters ? text : `${text.slice(0, shownCharacters).toWellFormed()}\n… (cut)`
}
