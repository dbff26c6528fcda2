import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { fillDomain, resolveParams, resolveStepParams } from '../../src/cognition/interpolation.ts'
import type { Primitive } from '../../src/cognition/primitive.ts'
import type { RunContext } from '../../src/cognition/run-context.ts'
import { summarizeSteps, summaryCharacters } from '../../src/cognition/summary.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import { routedStep, runSoFar } from './run-so-far.ts'

// --- phase 1 --------------------------------------------------------------------------------------------------------

const domain = {
  domain_name: 'd',
  goal: 'settle',
  assess: { criteria: 'own criteria', goal: 'own goal', when: "output.category == 'a'" },
  other: { criteria: 'other criteria', limits: { cap: 100, list: [1, { a: true }] }, nothing: null },
  runtime: { text: 'Ask ${input.name}, then ${domain.goal}' },
}

function fill(value: unknown) {
  return fillDomain(value, domain, 'assess')
}

test("a single name is looked up under the step's own name first, then at the top; longer ones are paths", () => {
  const table: readonly (readonly [text: string, filled: string])[] = [
    ['${domain.criteria}', 'own criteria'],
    ['${domain.goal}', 'own goal'],
    ['${domain.domain_name}', 'd'],
    ['${domain.other.criteria}', 'other criteria'],
    ['${domain.other.limits.cap}', '100'],
    ['${domain.other.limits.list.1.a}', 'True'],
    ['${domain.other.limits.list.1}', '{\n  "a": true\n}'],
    ['${domain.other.nothing}', 'None'],
    ['${ domain.assess.when }!', "output.category == 'a'!"],
    ['a ${domain.goal} b ${domain.goal}', 'a own goal b own goal'],
  ]
  for (const [text, filled] of table) assert.deepEqual(fill(text), { value: filled, unresolved: [] })
})

test("a step's own map is not needed", () => {
  assert.equal(fillDomain('${domain.goal}', domain, 'elsewhere').value, 'settle')
})

test('what the domain lacks is said in the text and listed once', () => {
  assert.deepEqual(fill(['${domain.gone}', '${domain.gone} ${domain.other.gone.x}', '${domain.toString}']), {
    value: [
      '[domain.gone not found]',
      '[domain.gone not found] [domain.other.gone.x not found]',
      '[domain.toString not found]',
    ],
    unresolved: ['gone', 'other.gone.x', 'toString'],
  })
})

test('texts are filled at any depth; keys, numbers and other references stay', () => {
  const value = { a: [{ 'k${domain.goal}': '${domain.goal}' }, 1, null, true], b: '${input.x} ${domain.goal}' }
  assert.deepEqual(fill(value).value, {
    a: [{ 'k${domain.goal}': 'own goal' }, 1, null, true],
    b: '${input.x} own goal',
  })
})

test('texts of the domain are not filled again, and their references to the case stand', () => {
  assert.equal(fill('${domain.runtime.text}').value, 'Ask ${input.name}, then ${domain.goal}')
})

// --- phase 2 --------------------------------------------------------------------------------------------------------

const context = runSoFar(
  {
    case_id: 'C-1',
    amount: 12.5,
    tiny: 1e-5,
    small: 1e-4,
    none: 0,
    large: 1e7,
    urgent: true,
    nobody: null,
    people: [{ name: 'Ann', _note: 'x' }, { name: 'Bob' }],
    document: '{"parts": [{"price": 3, "_secret": 1}]}',
    description: 'reads like fraud',
    fraud_type: 'account_takeover',
    delegation: { review: { description: 'done', outcome: 'fine' } },
    _expected: { tier: 'gate' },
    ground_truth_tier: 'gate',
    correct_answer: 'a',
    failure_mode: 'b',
  },
  [
    { step: 'gather', primitive: 'retrieve', output: { data: { get_policy: { limit: 5 } } }, wentTo: 'sort' },
    { step: 'sort', primitive: 'classify', output: { category: 'a', confidence: 0.9 }, run: 2, wentTo: 'sort_again' },
    { step: 'weigh', primitive: 'deliberate', output: { recommended_action: 'pay' }, wentTo: 'sort_again' },
    { step: 'sort_again', primitive: 'classify', output: { category: 'b', steps: ['x'] }, run: 3, wentTo: 'now' },
  ],
)

function resolve(text: string, from: RunContext = context): string {
  return resolveParams({ text }, from, { step: 'now', run: 4 }).text!
}

const references: readonly (readonly [text: string, resolved: string])[] = [
  ['${input.case_id}', 'C-1'],
  ['${input.amount} and ${ input.urgent } and ${input.nobody}', '12.5 and True and None'],
  ['${input.tiny} ${input.small} ${input.none} ${input.large}', '1e-05 0.0001 0 10000000'],
  ['${input.people.1.name}', 'Bob'],
  ['${input.people.1}', '{\n  "name": "Bob"\n}'],
  ['${input.document.parts.0.price}', '3'],
  ['${input.delegation.review.outcome}', 'fine'],
  ['${gather.data.get_policy.limit}', '5'],
  ['${sort.category}, then ${sort_again.category}', 'a, then b'],
  ['${weigh}', '{\n  "recommended_action": "pay"\n}'],
  ['${previous.category}', 'b'],
  ['${_last_classify.category}', 'b'],
  ['${_last_deliberate.recommended_action}', 'pay'],
  ['${_last_think.recommended_action}', 'pay'],
  ['${_loop_count}', '4'],
  ['${_loop_count.sort}', '2'],
  ['${_loop_count.now}', '4'],
  ['${_loop_count.never_ran}', '0'],
  ['${input.gone}', "[field 'gone' not found]"],
  ['${input.people.2.name}', "[invalid index '2']"],
  ['${input.people.first}', "[invalid index 'first']"],
  ['${input.case_id.x}', '[cannot navigate into str]'],
  ['${input.amount.x}', '[cannot navigate into float]'],
  ['${input.nobody.x}', '[cannot navigate into NoneType]'],
  ['${sort.gone}', "[field 'gone' not found]"],
  ['${never_ran.category}', "[step 'never_ran' not found]"],
  ['${never_ran}', "[step 'never_ran' not found]"],
  ['${_last_verify.conforms}', "[step '_last_verify' not found]"],
  ['${classification}', "[step 'classification' not found]"],
  ['${toString}', "[step 'toString' not found]"],
  ['no reference, ${ not closed, $input.x, {input.x}, ${}', 'no reference, ${ not closed, $input.x, {input.x}, ${}'],
  // Labels may be asked for by name; nothing brings the hidden keys out.
  ['${input.description}', 'reads like fraud'],
  ['${input._expected}', "[field '_expected' not found]"],
  ['${input._expected.tier}', "[field '_expected' not found]"],
  ['${input.ground_truth_tier}', "[field 'ground_truth_tier' not found]"],
  ['${input.correct_answer}', "[field 'correct_answer' not found]"],
  ['${input.failure_mode}', "[field 'failure_mode' not found]"],
  ['${input.people.0._note}', "[field '_note' not found]"],
  ['${input.people.0}', '{\n  "name": "Ann"\n}'],
  ['${input.document.parts.0}', '{\n  "price": 3\n}'],
]
for (const [text, resolved] of references) {
  test(`${text} becomes ${JSON.stringify(resolved)}`, () => {
    assert.equal(resolve(text), resolved)
  })
}

test('what a step keeps for the record alone is shown to no other', () => {
  const said = runSoFar({}, [
    { step: 'look', output: { found: 'a', _route: { chosen_step: 'b' }, deeper: [{ _x: 1, y: '{"_z": 1, "w": 2}' }] } },
  ])
  assert.deepEqual(JSON.parse(resolve('${look}', said)), { found: 'a', deeper: [{ y: '{"w":2}' }] })
  assert.equal(
    resolve('${look._route} ${previous._route.chosen_step}', said),
    "[field '_route' not found] [field '_route' not found]",
  )
  assert.doesNotMatch(resolve('${accumulated}', said), /_route|_x|_z/)
})

test('before any step there is no previous output', () => {
  assert.equal(
    resolve('${previous.x} ${previous}', runSoFar({})),
    '[no previous step output] [no previous step output]',
  )
})

test('the whole input is shown without hidden keys and without labels; deeper, a label is an ordinary word', () => {
  assert.deepEqual(JSON.parse(resolve('${input}')), {
    case_id: 'C-1',
    amount: 12.5,
    tiny: 1e-5,
    small: 1e-4,
    none: 0,
    large: 1e7,
    urgent: true,
    nobody: null,
    people: [{ name: 'Ann' }, { name: 'Bob' }],
    document: '{"parts":[{"price":3}]}',
    delegation: { review: { description: 'done', outcome: 'fine' } },
  })
})

test('params become texts: lists a line per item, maps as JSON, nothing as nothing', () => {
  const params = {
    text: 'for ${input.case_id}',
    list: ['first ${sort.category}', 2, { rule: '${weigh.recommended_action}' }, ['nested', true]],
    map: { who: '${input.people.0.name}', how: [1] },
    number: 0.5,
    flag: false,
    empty: null,
  }
  assert.deepEqual(resolveParams(params, context, { step: 'now', run: 1 }), {
    text: 'for C-1',
    list: 'first a\n2\n{\n  "rule": "pay"\n}\nnested\nTrue',
    map: '{\n  "who": "Ann",\n  "how": [\n    1\n  ]\n}',
    number: '0.5',
    flag: 'False',
    empty: '',
  })
})

test('text of a case is put in as it is, whatever it looks like', () => {
  const sly = runSoFar({ a: '${input.b} $& $1 $$', b: 'secret', c: '"}, ${_loop_count}' })
  assert.equal(resolve('${input.a}', sly), '${input.b} $& $1 $$')
  assert.deepEqual(JSON.parse(resolveParams({ map: { c: '${input.c}' } }, sly, { step: 's', run: 1 }).map!), {
    c: '"}, ${_loop_count}',
  })
})

// --- what a step is given without asking ----------------------------------------------------------------------------

const thinking = { name: 'verify', needsModel: true } as Primitive
const nowMs = Date.UTC(2026, 5, 15, 23, 59)

function given(params: Record<string, unknown>, primitive = thinking): Record<string, string> {
  return resolveStepParams({ ...routedStep('now'), params }, primitive, context, 1, nowMs)
}

test('a step that asks a model is given the date, the visible case and what happened so far', () => {
  const { context: automatic, rules } = given({ rules: 'r' })
  assert.equal(rules, 'r')
  assert.match(automatic!, /^Today is 2026-06-15\.\n/)
  assert.match(automatic!, /"case_id": "C-1"/)
  assert.match(automatic!, /- sort \(classify, run 2\): category: a; confidence: 0\.9 → sort_again/)
  assert.doesNotMatch(automatic!, /_expected|_note|ground_truth|correct_|failure_mode|reads like fraud|takeover/)
})

test('a context without references gets the summary; one with references is left alone; the case is shown once', () => {
  const plain = given({ context: 'Be brief.' })
  assert.equal(plain.context, `Be brief.\n\n${summarizeSteps(context)}`)
  assert.match(plain.input!, /"case_id": "C-1"/)
  assert.doesNotMatch(plain.input!, /_expected|reads like fraud/)

  const chosen = given({ context: 'About ${input.case_id}', subject: 'the letter' })
  assert.equal(chosen.context, 'About C-1')
  assert.equal(chosen.input, 'The material is in `subject`.')

  assert.equal(given({ context: '', input: 'mine' }).input, 'mine')
  assert.match(given({ context: '  ' }).context!, /^Today is/)
})

test('long documents in the case are not shown without asking, and whole where they are asked for', () => {
  const long = runSoFar({ letter: 'x'.repeat(5000) })
  const step = { ...routedStep('now'), params: { rules: '${input.letter}' } }
  const params = resolveStepParams(step, thinking, long, 1, nowMs)
  assert.equal(params.rules!.length, 5000)
  assert.doesNotMatch(params.context!, /xxx/)
  assert.match(params.context!, /"letter": "\[a longer text, not shown here\]"/)
})

test('a step that asks no model is given what it asked for and nothing else', () => {
  assert.deepEqual(given({ specification: 'all' }, { name: 'retrieve', needsModel: false } as Primitive), {
    specification: 'all',
  })
})

test('the summary tells each step in a line, with what counts for its primitive', () => {
  const said = runSoFar({}, [
    { step: 'g', primitive: 'retrieve', output: { data: { get_a: 1, get_b: 2 }, confidence: 1 }, wentTo: 'c' },
    {
      step: 'v',
      primitive: 'verify',
      output: { conforms: false, violations: [{}, {}], reasoning: 'long' },
      wentTo: 'l',
    },
    { step: 'l', primitive: 'generate', output: { artifact: 'Dear\n\n  Ann' }, wentTo: '__end__' },
    { step: 'x', primitive: 'custom', output: { any: ['thing'] } },
    { step: 'e', primitive: 'govern', output: {} },
  ])
  assert.equal(
    summarizeSteps(said),
    [
      'Steps so far:',
      '- g (retrieve): data: get_a, get_b; confidence: 1 → c',
      '- v (verify): conforms: false; violations: 2 → l',
      '- l (generate): artifact: Dear Ann → end',
      '- x (custom): {"any":["thing"]}',
      '- e (govern): said nothing that can be shown here',
    ].join('\n'),
  )
  assert.equal(resolve('${accumulated}', said), summarizeSteps(said))
  assert.equal(summarizeSteps(runSoFar({})), 'No step has run before this one.')
})

test('the summary is bounded, and keeps the latest', () => {
  const many = Array.from({ length: 200 }, (_, index) => ({
    step: `step_${index}`,
    primitive: 'classify',
    output: { category: `c${index}`, reasoning: 'r'.repeat(5000) },
  }))
  const summary = summarizeSteps(runSoFar({}, many))
  assert.ok(summary.length <= summaryCharacters)
  assert.match(summary, /^Steps so far:\n\(\d+ earlier steps are left out\)\n/)
  assert.match(summary, /step_199 .*r… \(cut\)$/)
  assert.doesNotMatch(summary, /step_1 /)
})

// --- properties -----------------------------------------------------------------------------------------------------

const settings = { seed: 20260101, numRuns: 1000 }
const heads = [
  'input.a',
  'input.b.c',
  'input',
  'first',
  'first.a',
  'previous.a',
  '_loop_count',
  'accumulated',
  'gone.x',
]
/** Texts of a case that try to be more than texts. */
const slyText = fc.oneof(
  fc.constantFrom(...heads.map((head) => `\${${head}}`), '$&', '$$', '${', '}', '\\', '"', '\n', 'plain'),
  fc.string({ maxLength: 5 }),
)
const sly: fc.Arbitrary<JsonObject> = fc.record({ a: slyText, b: fc.record({ c: slyText }) })
const template = fc.array(
  fc.oneof(fc.constantFrom(...heads.map((head) => `\${${head}}`)), fc.constantFrom(' ', 'and', '$', '{}')),
  {
    maxLength: 6,
  },
)

type Resolve = typeof resolveParams

/** Each piece resolved by itself and put together afterwards: nothing in one piece can have changed another. */
function whatIsPutInIsNotScanned(resolveAll: Resolve) {
  return fc.property(template, sly, sly, (pieces, input, output) => {
    const said = runSoFar(input, [{ step: 'first', output }])
    const running = { step: 'now', run: 2 }
    const alone = pieces.map((piece) => {
      const expected: Record<string, Json | undefined> = {
        '${input.a}': input.a,
        '${input.b.c}': (input.b as JsonObject).c,
        '${input}': JSON.stringify(input, undefined, 2),
        '${first}': JSON.stringify(output, undefined, 2),
        '${first.a}': output.a,
        '${previous.a}': output.a,
        '${_loop_count}': '2',
        '${accumulated}': summarizeSteps(said),
        '${gone.x}': "[step 'gone' not found]",
      }
      return expected[piece] ?? piece
    })
    // Two pieces of plain text must not make a reference between them.
    const text = pieces.join('|')
    assert.equal(resolveAll({ text }, said, running).text, alone.join('|'))
  })
}

test('what is put into a text is never scanned again', () => {
  fc.assert(whatIsPutInIsNotScanned(resolveParams), settings)
})

test('resolving twice, or replacing with patterns, would be caught', () => {
  const twice: Resolve = (params, from, running) => resolveParams(resolveParams(params, from, running), from, running)
  const withPatterns: Resolve = (params, from, running) => ({
    text: [...String(params.text).matchAll(/\$\{[^{}]+\}/g)].reduce(
      (text, [found]) => text.replace(found, resolveParams({ found }, from, running).found!),
      String(params.text),
    ),
  })
  for (const faulty of [twice, withPatterns]) {
    assert.throws(() => fc.assert(whatIsPutInIsNotScanned(faulty), settings), /Property failed/)
  }
})

const key = fc.constantFrom(
  'a',
  'b',
  'description',
  '_x',
  '_expected',
  'ground_truth',
  'correct_tier',
  'failure_mode_1',
)
/** Every leaf says on which way it is reached, so that what was shown can be told from the text alone. */
const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 4, depthSize: 'medium' },
    fc.constant<Json>('leaf'),
    fc.array(tie('tree'), { maxLength: 3 }),
    fc.dictionary(key, tie('tree'), { maxKeys: 4, noNullPrototype: true }),
  ),
}))
const input = fc.dictionary(key, tree, { maxKeys: 5, noNullPrototype: true })
const isHidden = (name: string) => /^(_|ground_truth|correct_|failure_mode)/.test(name)

function marked(value: Json, way: readonly string[] = []): Json {
  if (typeof value === 'string') return `<${way.some(isHidden) ? 'HIDDEN' : 'open'} ${way.join('/')}>`
  if (Array.isArray(value)) return (value as readonly Json[]).map((item) => marked(item, way))
  return Object.fromEntries(
    Object.entries(value as JsonObject).map(([name, part]) => [name, marked(part, [...way, name])]),
  )
}

function hiddenStaysHidden(resolveAll: Resolve) {
  return fc.property(input, fc.array(key, { maxLength: 3 }), fc.boolean(), (plain, path, asText) => {
    const shown = marked(plain) as JsonObject
    // The same behind JSON text in a field, which paths reach into.
    const from = runSoFar(asText ? { text: JSON.stringify(shown) } : shown)
    const reference = ['input', ...(asText ? ['text', ...(path.length > 0 ? path : ['a'])] : path)].join('.')
    const resolved = resolveAll({ text: `\${${reference}}` }, from, { step: 'now', run: 1 }).text!
    assert.doesNotMatch(resolved, /HIDDEN/)
    if (path.length === 0 && !asText) assert.doesNotMatch(resolved, /<open description/)
  })
}

test('no reference to the input brings out what is hidden', () => {
  fc.assert(hiddenStaysHidden(resolveParams), settings)
})

test('hiding at the top only, or in whole inputs only, would be caught', () => {
  const atTheTop: Resolve = (params, from, running) => {
    if (params.text === '${input}') {
      const open = Object.entries(from.input).filter(([name]) => !isHidden(name) && name !== 'description')
      return { text: JSON.stringify(Object.fromEntries(open)) }
    }
    return resolveParams(params, from, running)
  }
  const inWholeInputs: Resolve = (params, from, running) => {
    const path = String(params.text).slice('${input.'.length, -1).split('.')
    if (params.text === '${input}') return resolveParams(params, from, running)
    const found = path.reduce<Json | undefined>((value, part) => (value as JsonObject | undefined)?.[part], from.input)
    return { text: JSON.stringify(found) ?? '' }
  }
  for (const faulty of [atTheTop, inWholeInputs]) {
    assert.throws(() => fc.assert(hiddenStaysHidden(faulty), settings), /Property failed/)
  }
})
