import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { resolveStepParams } from '../../src/cognition/interpolation.ts'
import { openModel } from '../../src/cognition/models.ts'
import { loadPack, type Pack } from '../../src/cognition/pack.ts'
import { type Primitive, type StepCall, StepFailure } from '../../src/cognition/primitive.ts'
import { builtIn } from '../../src/cognition/primitives/index.ts'
import { chooseRoute } from '../../src/cognition/routing.ts'
import type { StepOutput } from '../../src/cognition/run-context.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { decisions } from '../../src/domain/task.ts'
import { endOfWorkflow } from '../../src/domain/workflow.ts'

const packsDir = join(import.meta.dirname, '../../packs')
const nowMs = Date.UTC(2026, 5, 15)

interface Expected {
  readonly path: readonly string[]
  readonly tier: string | null
  readonly status: string
  readonly decided?: { readonly decision: string }
}

interface Walked {
  readonly path: readonly string[]
  readonly outputs: ReadonlyMap<string, StepOutput>
  readonly retries: number
  readonly failure: string | undefined
}

/** Walks a case through its workflow as the engine would, without a store: the steps and the way between them. */
async function walk(pack: Pack, input: JsonObject): Promise<Walked> {
  const { steps, fixtures } = pack.definitions[0]!.definition
  const model = await openModel(`scripted:${pack.scriptedFile}`)
  const outputs = new Map<string, StepOutput>()
  const runs = new Map<string, number>()
  const path: string[] = []
  let retries = 0
  let next = steps[0]!.name
  while (next !== endOfWorkflow) {
    const step = steps.find(({ name }) => name === next)!
    const primitive = builtIn.get(step.primitive)!
    const run = (runs.get(step.name) ?? 0) + 1
    const context = { input, outputs, previous: path.at(-1) }
    runs.set(step.name, run)
    path.push(step.name)
    assert.ok(path.length < 50, 'the case never ends')

    const params = resolveStepParams(step, primitive, context, run, nowMs)
    const ids = { instanceId: 'i', caseId: String(input.case_id), idempotencyKey: 'k' }
    const call = { ...ids, step, run, params, context, fixtures, model, signal: new AbortController().signal }
    const { output, failure, attempts } = await tryRepeatedly(primitive, call)
    retries += attempts - 1
    if (!output) return { path, outputs, retries, failure }

    const { to } = chooseRoute(step, output, run, context, steps)
    outputs.delete(step.name)
    outputs.set(step.name, { step: step.name, primitive: step.primitive, run, output, wentTo: to })
    next = to
  }
  return { path, outputs, retries, failure: undefined }
}

async function tryRepeatedly(primitive: Primitive, call: Omit<StepCall, 'attempt'>) {
  for (let attempt = 1; ; attempt++) {
    try {
      const { output } = await primitive.run({ ...call, attempt })
      return { output, failure: undefined, attempts: attempt }
    } catch (error) {
      if (!(error instanceof StepFailure)) throw error
      if (error.retryable && attempt < call.step.retry.maxAttempts) continue
      return { output: undefined, failure: error.code, attempts: attempt }
    }
  }
}

for (const name of await readdir(packsDir)) {
  const dir = join(packsDir, name)
  const pack = await loadPack(dir)
  const expected = JSON.parse(await readFile(join(dir, 'expected.json'), 'utf8')) as Record<string, Expected>
  const cases = pack.cases.flatMap(({ cases }) => cases)

  test(`${name}: loads without a warning and says what becomes of each of its cases`, () => {
    assert.deepEqual(pack.warnings, [])
    assert.deepEqual(
      cases.map(({ case_id }) => case_id),
      Object.keys(expected),
    )
    for (const { decided } of Object.values(expected)) {
      if (decided) assert.ok((decisions as readonly string[]).includes(decided.decision))
    }
  })

  for (const input of cases) {
    const { path, status } = expected[String(input.case_id)]!
    test(`${name}: ${String(input.case_id)} goes the way that is expected of it`, async () => {
      const walked = await walk(pack, input)

      assert.deepEqual(walked.path, path)
      assert.equal(walked.failure, status === 'failed' ? 'unparseable' : undefined)
    })
  }
}

test('together the sample packs show every tier, a retry, a loop that ends well, one that does not, and a step that fails', async () => {
  const names = await readdir(packsDir)
  const packs = await Promise.all(names.map((name) => loadPack(join(packsDir, name))))
  const walked = await Promise.all(
    packs.flatMap((pack) => pack.cases.flatMap(({ cases }) => cases.map((input) => walk(pack, input)))),
  )
  const texts = await Promise.all(names.map((name) => readFile(join(packsDir, name, 'expected.json'), 'utf8')))
  const expected = texts.flatMap((text) => Object.values(JSON.parse(text) as Record<string, Expected>))

  const tiers = new Set(expected.map(({ tier }) => tier))
  for (const tier of ['auto', 'spot_check', 'gate', 'hold']) assert.ok(tiers.has(tier), `no case ends at ${tier}`)
  assert.ok(
    expected.some(({ decided }) => decided?.decision === 'deny'),
    'no case is decided against its proposal',
  )
  assert.ok(
    walked.some(({ retries, failure }) => retries > 0 && !failure),
    'no step is tried again with success',
  )
  assert.ok(
    walked.some(({ failure }) => failure),
    'no step fails',
  )
  const lastReviews = walked.map(({ outputs }) => outputs.get('review_letter')).filter((output) => output !== undefined)
  assert.ok(
    lastReviews.some(({ run, output }) => run === 2 && output.conforms === true),
    'no loop ends well',
  )
  assert.ok(
    lastReviews.some(({ run, output }) => run === 3 && output.conforms === false),
    'no loop runs out',
  )
})
