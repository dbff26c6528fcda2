import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CallAddress, Model } from '../../src/cognition/model.ts'
import { openModel } from '../../src/cognition/models.ts'
import { objectSource } from '../../src/cognition/pack-source.ts'
import { StepFailure } from '../../src/cognition/primitive.ts'
import { scriptedModel } from '../../src/cognition/scripted-model.ts'
import type { CoreError } from '../../src/errors.ts'

const anywhere: CallAddress = { case: 'A-1', step: 'sort', primitive: 'classify', call: 'main', run: 1, attempt: 1 }

/** What a model says to a call: its answer's text, or the code of its failure. */
async function hear(model: Model, address: Partial<CallAddress> = {}): Promise<string> {
  const request = { alias: undefined, temperature: undefined, instructions: '', prompt: '', schema: {} }
  try {
    const signal = new AbortController().signal
    return (await model.answer({ ...request, signal, address: { ...anywhere, ...address } })).text
  } catch (error) {
    if (error instanceof StepFailure) return error.code
    throw error
  }
}

const script = (entries: unknown) => scriptedModel('scripted:test', [objectSource('test', entries)])

test('an answer is found by what its entry says about the call', async () => {
  const model = script([
    { when: { case: 'A-1', step: 'sort' }, output: { from: 'case and step' } },
    { when: { step: 'sort', call: 'assess' }, output: { from: 'assess' } },
  ])

  assert.equal(await hear(model), '{"from":"case and step"}')
  assert.equal(await hear(model, { call: 'assess' }), '{"from":"assess"}')
  assert.equal(model.simulated, true)
})

test('a call that no entry answers fails, names the call, and is not tried again', async () => {
  const model = script([{ when: { step: 'other' }, output: {} }])
  const signal = new AbortController().signal
  const request = {
    address: anywhere,
    alias: undefined,
    temperature: undefined,
    instructions: '',
    prompt: '',
    schema: {},
    signal,
  }

  await assert.rejects(model.answer(request), (error: StepFailure) => {
    assert.equal(error.code, 'no_script_entry')
    assert.equal(error.retryable, false)
    assert.match(error.message, /case A-1, step sort \(classify\), call main, run 1, attempt 1/)
    return true
  })
})

test('the entry that says most about a call answers; among equals the case comes first, then step, run, attempt', async () => {
  const model = script([
    { when: {}, output: { n: 0 } },
    { when: { attempt: 1 }, output: { n: 1 } },
    { when: { step: 'sort' }, output: { n: 2 } },
    { when: { case: 'A-1' }, output: { n: 3 } },
    { when: { step: 'weigh', run: 2 }, output: { n: 4 } },
    { when: { case: 'A-1', run: 2 }, output: { n: 5 } },
  ])

  assert.equal(await hear(model, { case: 'B', step: 'x', attempt: 2 }), '{"n":0}')
  assert.equal(await hear(model, { case: 'B', step: 'x' }), '{"n":1}')
  assert.equal(await hear(model, { case: 'B' }), '{"n":2}')
  assert.equal(await hear(model), '{"n":3}')
  assert.equal(await hear(model, { case: 'B', step: 'weigh', run: 2 }), '{"n":4}')
  assert.equal(await hear(model, { step: 'weigh', run: 2 }), '{"n":5}')
})

test('a fault strikes every attempt, or the first so many of each run', async () => {
  const model = script([
    { when: { step: 'slow' }, error: 'timeout' },
    { when: { step: 'busy' }, error: 'rate_limit', times: 2, output: { n: 1 } },
    { when: { step: 'torn' }, error: 'unparseable', times: 1 },
    { when: { step: 'torn' }, output: { n: 2 } },
  ])

  assert.equal(await hear(model, { step: 'slow', attempt: 99 }), 'timeout')
  assert.equal(await hear(model, { step: 'busy', attempt: 2 }), 'rate_limit')
  assert.equal(await hear(model, { step: 'busy', attempt: 3 }), '{"n":1}')
  assert.equal(await hear(model, { step: 'busy', attempt: 1, run: 2 }), 'rate_limit')
  const torn = await hear(model, { step: 'torn' })
  assert.throws(() => JSON.parse(torn) as unknown, SyntaxError)
  assert.equal(await hear(model, { step: 'torn', attempt: 2 }), '{"n":2}')
})

const wrongScripts: readonly (readonly [name: string, entries: unknown, says: RegExp])[] = [
  ['no list', { when: {} }, /a script is a list/],
  ['an entry without an answer', [{ when: { step: 's' } }], /0: neither `output` nor `error`/],
  ['an unknown field in `when`', [{ when: { stage: 's' }, output: {} }], /0: when: /],
  ['an unknown fault', [{ when: {}, error: 'explosion' }], /0: error: /],
  ['`times` without a fault', [{ when: {}, output: {}, times: 2 }], /`times` without `error`/],
  ['an output that is no object', [{ when: {}, output: 'yes' }], /0: output: /],
  [
    'two entries for the same calls',
    [
      { when: { step: 's' }, output: { a: 1 } },
      { when: { step: 's', call: 'main' }, output: { a: 2 } },
    ],
    /answers the same calls as test 0/,
  ],
]

for (const [name, entries, says] of wrongScripts) {
  test(`a script with ${name} is refused`, () => {
    assert.throws(
      () => script(entries),
      (error: CoreError) => error.code === 'CC_ERR_SCRIPT' && says.test(error.message.replace('0.', '0: ')),
    )
  })
}

test('a model is opened by its setting: scripts of both kinds, several at once', async () => {
  const dir = await mkdtemp(join(tmpdir(), 'script-'))
  try {
    await writeFile(join(dir, 'a.yaml'), '- when: {case: 1001, step: sort}\n  output: {from: yaml}\n')
    await writeFile(join(dir, 'b.json'), '[{"when": {"step": "weigh"}, "output": {"from": "json"}}]')
    const spec = `scripted:a.yaml${delimiter}b.json`
    const model = await openModel(spec, { dir })

    assert.equal(model.name, spec)
    assert.equal(await hear(model, { case: '1001' }), '{"from":"yaml"}')
    assert.equal(await hear(model, { step: 'weigh' }), '{"from":"json"}')
    await writeFile(join(dir, 'c.json'), '[{"when": {}, "when": {}, "output": {}}]')
    await assert.rejects(openModel('scripted:c.json', { dir }), { code: 'CC_ERR_SCRIPT' })
    await assert.rejects(openModel('scripted:none.yaml', { dir }), { code: 'CC_ERR_SCRIPT' })
  } finally {
    await rm(dir, { recursive: true })
  }
})

test('a script without a file is no model', async () => {
  for (const spec of ['scripted:', `scripted:${delimiter}`]) {
    await assert.rejects(openModel(spec), { code: 'CC_ERR_UNKNOWN_MODEL' })
  }
})

// --- answers never depend on the order of calls, nor of entries ------------------------------------------------------

const pick = <T>(...values: T[]) => fc.constantFrom(...values)
const address: fc.Arbitrary<CallAddress> = fc.record({
  case: pick('A', 'B'),
  step: pick('s', 't'),
  primitive: pick('classify', 'verify'),
  call: pick('main', 'assess'),
  run: pick(1, 2),
  attempt: pick(1, 2, 3),
})
const when = address.chain((all) =>
  fc
    .subarray(Object.keys(all))
    .map((keys) => Object.fromEntries(Object.entries(all).filter(([key]) => keys.includes(key)))),
)
const fault = fc.record({ error: pick('timeout', 'rate_limit'), times: pick(1, 2) })
const entries = fc
  .uniqueArray(fc.record({ when, fault: fc.option(fault, { nil: undefined }) }), {
    maxLength: 8,
    selector: ({ when }) => JSON.stringify(Object.entries({ call: 'main', ...when }).sort()),
  })
  .map((list) => list.map(({ when, fault }, index) => ({ when, output: { entry: index }, ...fault })))

type MakeModel = (entries: readonly unknown[]) => Model

/** One script, one set of calls, in two orders of each: every call must hear the same. */
function answersAreOrderless(make: MakeModel) {
  return fc.asyncProperty(
    entries,
    fc.array(address, { maxLength: 6 }),
    fc.infiniteStream(fc.nat()),
    async (list, calls, dice) => {
      const shuffled = <T>(items: readonly T[]) =>
        items
          .map((item) => ({ item, die: dice.next().value as number }))
          .sort((a, b) => a.die - b.die)
          .map(({ item }) => item)
      const listen = async (model: Model, order: readonly CallAddress[]) => {
        const heard = new Map<string, string>()
        for (const call of order) heard.set(JSON.stringify(call), await hear(model, call))
        return heard
      }
      const first = await listen(make(list), calls)
      const second = await listen(make(shuffled(list)), shuffled([...calls, ...calls]))
      for (const [call, answer] of first) assert.equal(second.get(call), answer)
    },
  )
}

const settings = { seed: 20260101, numRuns: 1000 }

test('answers depend on the call alone, whatever was asked before and however the script is sorted', async () => {
  await fc.assert(answersAreOrderless(script), settings)
})

test('a model that counted calls instead of attempts, or took the first entry that fits, would be caught', async () => {
  const counting: MakeModel = (list) => {
    const model = script(list)
    let calls = 0
    return {
      ...model,
      answer: (request) => model.answer({ ...request, address: { ...request.address, attempt: ++calls } }),
    }
  }
  const firstFits: MakeModel = (list) => {
    const models = list.map((entry) => script([entry]))
    const answer: Model['answer'] = async (request) => {
      for (const model of models) {
        const answer = await model.answer(request).catch(() => undefined)
        if (answer) return answer
      }
      throw new StepFailure('no_script_entry', 'none', { retryable: false })
    }
    return { name: 'first', simulated: true, answer }
  }

  await assert.rejects(fc.assert(answersAreOrderless(counting), settings), /Property failed/)
  await assert.rejects(fc.assert(answersAreOrderless(firstFits), settings), /Property failed/)
})

// --- the most specific entry wins -----------------------------------------------------------------------------------

/** The rule of the contract, written another way: no entry that fits says more about the call than the one that answered. */
function mostSpecificWins(make: MakeModel) {
  const outputsOnly = entries.map((list) =>
    list.map(({ when, output }) => ({ when: when as Partial<CallAddress>, output })),
  )
  return fc.asyncProperty(outputsOnly, address, async (list, call) => {
    const fits = list.filter(({ when }) =>
      Object.entries({ call: 'main', ...when }).every(([key, value]) => call[key as keyof CallAddress] === value),
    )
    const said = ({ when }: { when: object }) => Object.keys(when).filter((key) => key !== 'call').length
    const heard = await hear(make(list), call)
    if (fits.length === 0) return assert.equal(heard, 'no_script_entry')
    const answering = list[(JSON.parse(heard) as { entry: number }).entry]!
    assert.ok(fits.includes(answering))
    assert.equal(said(answering), Math.max(...fits.map(said)))
  })
}

test('the entry that answers fits the call, and none that fits says more about it', async () => {
  await fc.assert(mostSpecificWins(script), settings)
})

test('a model that took the least specific entry would be caught', async () => {
  const leastSpecific: MakeModel = (list) => {
    const said = (entry: unknown) => Object.keys((entry as { when: object }).when).length
    const ascending = [...list].sort((a, b) => said(a) - said(b))
    const models = ascending.map((entry) => script([entry]))
    const answer: Model['answer'] = async (request) => {
      for (const model of models) {
        const answer = await model.answer(request).catch(() => undefined)
        if (answer) return answer
      }
      throw new StepFailure('no_script_entry', 'none', { retryable: false })
    }
    return { name: 'least', simulated: true, answer }
  }

  await assert.rejects(fc.assert(mostSpecificWins(leastSpecific), settings), /Property failed/)
})
