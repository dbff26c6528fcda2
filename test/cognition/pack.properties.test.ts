import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, test } from 'node:test'
import fc from 'fast-check'
import { parse, stringify } from 'yaml'
import { thenDecide } from '../../src/cognition/agent-decide.ts'
import { resolveStepParams } from '../../src/cognition/interpolation.ts'
import type { Model } from '../../src/cognition/model.ts'
import { loadPack } from '../../src/cognition/pack.ts'
import { checkPack } from '../../src/cognition/pack-report.ts'
import { StepFailure } from '../../src/cognition/primitive.ts'
import { builtIn } from '../../src/cognition/primitives/index.ts'
import { chooseRoute } from '../../src/cognition/routing.ts'
import type { StepOutput } from '../../src/cognition/run-context.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { endOfWorkflow, type Definition } from '../../src/domain/workflow.ts'
import { isCoreError } from '../../src/errors.ts'
import { goodPack } from './broken-packs.ts'
import { packFolder, soundPack } from './pack-folder.ts'
import { stepCall } from './step-call.ts'

const settings = { seed: 20260103, numRuns: 1000 }

const absent = Object.fromEntries(Object.keys(soundPack).map((name) => [name, undefined]))
const folder = await packFolder({ ...absent, ...goodPack })
after(() => folder[Symbol.asyncDispose]())

/** The findings of the good pack with one file changed, and the pack as it loads, if it does. */
async function changed(file: string, text: string) {
  await writeFile(join(folder.dir, file), text)
  try {
    const { findings } = await checkPack(folder.dir)
    const pack = await loadPack(folder.dir).catch((error: unknown) => {
      assert.ok(isCoreError(error, 'CC_ERR_PACK') || isCoreError(error, 'CC_ERR_NOT_YET'), String(error))
      return undefined
    })
    assert.equal(
      pack === undefined,
      findings.some(({ severity }) => severity === 'error'),
    )
    return { findings, pack }
  } finally {
    await writeFile(join(folder.dir, file), goodPack[file as keyof typeof goodPack])
  }
}

// --- any change at all ------------------------------------------------------------------------------------------------

const yamlFiles = Object.keys(goodPack).filter((file) => file.endsWith('.yaml'))
const fileName = fc.constantFrom(...(Object.keys(goodPack) as (keyof typeof goodPack)[]))
const scrap = fc.oneof(
  fc.constantFrom(
    '',
    ' ',
    '\n',
    '  ',
    '\t',
    ':',
    '- ',
    '"',
    "'",
    '${',
    '}',
    '{',
    '[',
    ']',
    '#',
    '&a ',
    '*a',
    '|',
    '__end__',
  ),
  fc.constantFrom(
    'sort',
    'weigh',
    'output',
    'default',
    'when',
    'true',
    '0',
    '-1',
    '1e999',
    '\0',
    '\ud800',
    '…',
    '\u2028',
  ),
  fc.string({ maxLength: 6 }),
)

/** Somewhere in a file something is cut out and something else put in, or a line moves, or the file ends. */
const edit = fc.record({
  file: fileName,
  at: fc.double({ min: 0, max: 1, noNaN: true }),
  cut: fc.nat({ max: 30 }),
  put: scrap,
  kind: fc.constantFrom('replace', 'replace', 'replace', 'lines', 'end'),
})

function applyEdit({ file, at, cut, put, kind }: { file: string; at: number; cut: number; put: string; kind: string }) {
  const text = goodPack[file as keyof typeof goodPack]
  const place = Math.floor(at * text.length)
  if (kind === 'end') return text.slice(0, place)
  if (kind === 'replace') return text.slice(0, place) + put + text.slice(place + cut)
  const lines = text.split('\n')
  const [line = ''] = lines.splice(Math.floor(at * lines.length), 1)
  lines.splice(cut % (lines.length + 1), 0, line)
  return lines.join('\n')
}

/** Runs a case as the engine would, with a model that answers as each primitive must; at most so many steps. */
async function walk({ steps, fixtures, documents }: Definition, input: JsonObject): Promise<void> {
  const outputs = new Map<string, StepOutput>()
  let next = steps[0]!.name
  for (let count = 0; next !== endOfWorkflow && count < 20; count++) {
    const step = steps.find(({ name }) => name === next)
    assert.ok(step, `no step '${next}'`)
    const primitive = builtIn.get(step.primitive)!
    const run = (outputs.get(step.name)?.run ?? 0) + 1
    const context = { input, outputs, previous: [...outputs.keys()].at(-1) }
    const params = resolveStepParams(step, primitive, context, run, 0)
    const call = {
      ...stepCall(step.primitive, params, { input, model: agreeable }),
      step,
      run,
      context,
      fixtures,
      documents,
    }
    const { output } = await thenDecide(primitive).run(call)
    next = chooseRoute(step, output, run, context, steps).to
    outputs.delete(step.name)
    outputs.set(step.name, { step: step.name, primitive: step.primitive, run, output, wentTo: next })
  }
}

const said = { confidence: 0.9, reasoning: 'plain' }
const agreeable: Model = {
  name: 'agreeable',
  simulated: true,
  answer: ({ address, schema }) => {
    const [option] =
      (schema as { properties?: Record<string, { enum?: string[] }> }).properties?.chosen_step?.enum ?? []
    const answer = {
      ...{ category: 'odd', finding: 'found', conforms: true, situation_summary: 's', recommended_action: 'a' },
      ...{ artifact: 'text', survives: true, overall_assessment: 'o', tier_applied: 'auto', tier_rationale: 'r' },
      ...{ disposition: 'proceed', sources: ['get_file'], chosen_step: option },
      ...said,
      run: address.run,
    }
    return Promise.resolve({ text: JSON.stringify(answer), model: 'agreeable' })
  },
}

test('whatever is done to a file of a pack, the check says what it finds, and what loads runs its cases', async () => {
  let loaded = 0
  let refused = 0
  await fc.assert(
    fc.asyncProperty(edit, async (made) => {
      const { findings, pack } = await changed(made.file, applyEdit(made))
      for (const { place, what, right } of findings) {
        assert.ok(place.file.length > 0)
        assert.doesNotMatch(`${what} ${right}`, /\[object|\bNaN\b(?! stands)|TypeError|Cannot read/)
      }
      if (!pack) return void refused++
      loaded++
      for (const { definition } of pack.definitions) {
        for (const input of pack.cases.flatMap(({ cases }) => cases)) {
          try {
            await walk(definition, input)
          } catch (error) {
            // A step may fail as it does for any model; what it must not do is to break.
            if (!(error instanceof StepFailure)) throw error
          }
        }
      }
    }),
    settings,
  )
  assert.ok(loaded > 100 && refused > 100, `${loaded} loaded, ${refused} refused`)
})

// --- changes that change what the author meant ------------------------------------------------------------------------

type Path = readonly (string | number)[]

interface Site {
  readonly file: string
  /** What is spoiled, for the message. */
  readonly what: string
  readonly spoil: (data: any, slip: (name: string) => string) => void
}

/** Where a slip of the finger in a name changes what a pack means. */
function sitesOf(file: string): Site[] {
  const sites: Site[] = []
  const visit = (value: unknown, path: Path) => {
    if (Array.isArray(value)) return value.forEach((item, index) => visit(item, [...path, index]))
    if (typeof value === 'object' && value !== null) {
      for (const [key, part] of Object.entries(value)) {
        if (!isFree(file, [...path, key]))
          sites.push({ file, what: `key ${[...path, key].join('.')}`, spoil: renaming(path, key) })
        visit(part, [...path, key])
      }
      return
    }
    if (typeof value !== 'string') return
    for (const word of namesIn(file, path, value)) {
      sites.push({ file, what: `'${word}' in ${path.join('.')}`, spoil: replacing(path, word) })
    }
  }
  visit(parse(goodPack[file as keyof typeof goodPack]), [])
  return sites
}

/** Keys that mean nothing to the program. */
function isFree(file: string, path: Path): boolean {
  const [first, second, third] = path
  if (file === 'scripted.yaml') return path.includes('output') && path.at(-1) === 'reasoning'
  return file === 'coordinator_config.yaml' && first === 'governance_tiers' && second === 'auto' && third !== undefined
}

/** The names within a text: parts of references and conditions, steps, primitives, categories, tiers. */
function namesIn(file: string, path: Path, text: string): string[] {
  const key = String(path.at(-1))
  const names: string[] = []
  for (const [, reference] of text.matchAll(/\$\{([^}]+)\}/g)) names.push(...reference!.split('.'))
  if (key === 'when' || key === 'skip') {
    names.push(...[...text.matchAll(/(?<![\w.])(output|_loop_count)\b/g)].map(([word]) => word))
    for (const [, field] of text.matchAll(/output\.(\w+)/g)) names.push(field!)
    for (const [, category] of text.matchAll(/'(\w+)'/g)) names.push(category!)
  }
  if (['goto', 'default', 'loop_fallback', 'primitive'].includes(key) || (key === 'step' && file !== 'scripted.yaml')) {
    if (!text.includes('${')) names.push(text)
  }
  if (file === 'scripted.yaml' && ['case', 'step'].includes(key)) names.push(text)
  if (key === 'name' && path.includes('steps')) names.push(text)
  if (file === 'coordinator_config.yaml' && ['*', 'escalation_tier'].includes(key)) names.push(text)
  return [...new Set(names)].filter((name) => name.length > 2)
}

function renaming(path: Path, key: string): Site['spoil'] {
  return (data, slip) => {
    const around = path.reduce((value: any, part) => value[part], data)
    const entries = Object.entries(around).map(([name, part]) => [name === key ? slip(name) : name, part] as const)
    for (const name of Object.keys(around)) delete around[name]
    for (const [name, part] of entries) around[name] = part
  }
}

function replacing(path: Path, word: string): Site['spoil'] {
  return (data, slip) => {
    const around = path.slice(0, -1).reduce((value: any, part) => value[part], data)
    const last = path.at(-1)!
    around[last] = String(around[last]).replaceAll(new RegExp(`(?<!\\w)${word}(?!\\w)`, 'g'), slip(word))
  }
}

const sites = yamlFiles.flatMap(sitesOf)
const known = new Set(['gate', 'hold', 'auto', 'odd', 'even', 'domain', 'input'])

/** One letter lost, doubled, changed, or two swapped. */
const slips = fc.record({
  site: fc.constantFrom(...sites),
  at: fc.nat(),
  kind: fc.constantFrom('lost', 'doubled', 'changed', 'swapped'),
})

function slipOf(name: string, at: number, kind: string): string {
  const place = at % name.length
  const [before, letter, rest] = [name.slice(0, place), name[place]!, name.slice(place + 1)]
  if (kind === 'lost') return before + rest
  if (kind === 'doubled') return before + letter + letter + rest
  if (kind === 'changed') return before + (letter === 'q' ? 'z' : 'q') + rest
  return rest === '' ? letter + before : before + rest[0]! + letter + rest.slice(1)
}

test('a slip in a name never passes in silence', async () => {
  assert.ok(sites.length > 100, `${sites.length} places`)
  const told = new Set<string>()
  await fc.assert(
    fc.asyncProperty(slips, async ({ site, at, kind }) => {
      const data = parse(goodPack[site.file as keyof typeof goodPack])
      let isSlip = true
      site.spoil(data, (name) => {
        const slipped = slipOf(name, at, kind)
        // Swapping two of the same letter changes nothing, and dashes and cases are the same to tiers.
        isSlip &&= slipped !== name && slipped !== '' && !known.has(slipped)
        return slipped
      })
      fc.pre(isSlip)
      const { findings } = await changed(site.file, stringify(data))
      assert.ok(findings.length > 0, `${site.file}: ${site.what}`)
      told.add(site.what)
    }),
    settings,
  )
  assert.ok(told.size > sites.length * 0.8, `${told.size} of ${sites.length} places were tried`)
})
