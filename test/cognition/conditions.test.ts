import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxConditionCharacters, maxConditionDepth } from '../../src/cognition/condition-parser.ts'
import {
  conditionReferences,
  type ConditionScope,
  evaluateCondition,
  parseCondition,
} from '../../src/cognition/conditions.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { CoreError } from '../../src/errors.ts'

const said: Record<string, JsonObject> = {
  classify_content: { category: 'spam', confidence: 0.9, ranks: [3, 'b', { c: null }] },
  'check-terms': { conforms: false },
}
const scope: ConditionScope = {
  output: {
    category: 'high_risk',
    conforms: true,
    confidence: 0.85,
    score: '12.5',
    percent: '85%',
    none: null,
    tags: ['urgent', 'night'],
    violations: [],
    deep: { list: [{ name: 'first' }, { name: 'second' }], empty: {} },
    artifact: ' {"decision": {"amount": 1200}} ',
    text: 'naïve 😀',
    straße: 1,
  },
  outputs: (step) => said[step],
  input: { amount: 250, _expected: { tier: 'gate' }, ground_truth_tier: 'gate' },
  loopCount: 2,
}

const evaluate = (text: string) => evaluateCondition(parseCondition(text), scope)

const holding = [
  "output.category == 'high_risk'",
  'output.category == "high_risk"',
  'output.category == high_risk',
  'output.category != low_risk',
  "output.category in ['high_risk', low_risk]",
  'output.category in [high_risk]',
  "output.category not in ['a', 'b']",
  "output.category in 'no high_risk here'",
  "'urgent' in output.tags",
  "'day' not in output.tags",
  'output.conforms == true',
  'output.conforms == True',
  'true == output.conforms',
  'output.none == null',
  'output.none == None',
  'output.none == none',
  'output.conforms == true and classify_content.confidence >= 0.85',
  'output.conforms == true and len(output.violations) == 0',
  'output.violations == []',
  'classify_content.ranks != []',
  'output.confidence >= 0.85',
  'output.confidence < 1e3 and output.confidence > -1 and output.confidence <= .85',
  'output.score > 9',
  "output.score == '12.5'",
  'output.score <= 12.50',
  '_loop_count == 2',
  '_loop_count >= 2 and _loop_count < 3',
  'len(output.tags) == _loop_count',
  'len(output.deep) == 2',
  'len(output.text) == 7',
  'output.deep.list.1.name == second',
  'output.artifact.decision.amount > 1000',
  'classify_content.category == spam',
  'check-terms.conforms == false',
  'output.category in [classify_content.category, output.category]',
  "classify_content.ranks.2 in classify_content.ranks and 'b' in classify_content.ranks",
  '3 in classify_content.ranks',
  'output.straße == 1',
  'input.amount > 100',
  'not output.conforms == false',
  'not not output.conforms == true',
  'not (output.conforms == false or output.category == low)',
  'output.category == low or output.conforms == true and _loop_count == 2',
  'output.conforms == true or output.category == low and output.category == lower',
  '(output.conforms == true)',
  '((output.conforms == true) and (not (_loop_count > 5)))',
  '  output.conforms==true  ',
  'output.category\n  == high_risk',
  "output.text != 'it\\'s'",
  'gone.category == a or output.conforms == true',
]
for (const text of holding) {
  test(`holds: ${text.replaceAll('\n', ' ')}`, () => {
    assert.equal(evaluate(text).holds, true)
  })
}

const notHolding: readonly (readonly [text: string, ...missing: string[]])[] = [
  ["output.category == 'low_risk'"],
  ["output.conforms == 'true'"],
  ['output.score == 12.5'],
  ['output.category == HIGH_RISK'],
  ['output.conforms == 1'],
  ['output.none == false'],
  ['output.tags == urgent'],
  ['output.conforms == true and output.category == low'],
  ['(output.conforms == true or output.conforms == true) and output.category == low'],
  ['not output.conforms == true and output.category == low'],
  ['gone.category == a', 'gone.category'],
  ['gone.category != a', 'gone.category'],
  ['not gone.category == a', 'gone.category'],
  ['not (gone.category == a)', 'gone.category'],
  ['not (gone.category == a or output.category == low)', 'gone.category'],
  ['not (output.conforms == true and gone.category == a)', 'gone.category'],
  ['gone.category in [a, b]', 'gone.category'],
  ['gone.category not in [a, b]', 'gone.category'],
  ['output.category in [gone.category]', 'gone.category'],
  ['output.category not in [gone.category]', 'gone.category'],
  ['output.gone > 1 and output.away == null', 'output.gone', 'output.away'],
  ['output.gone == output.gone', 'output.gone'],
  ['output.category.deeper == a', 'output.category.deeper'],
  ['output.tags.7 == a', 'output.tags.7'],
  ['output.tags.first == a', 'output.tags.first'],
  ['output.none.x == a', 'output.none.x'],
  ['output.toString == a', 'output.toString'],
  ['output.__proto__.x == a', 'output.__proto__.x'],
  ['len(output.gone) == 0', 'output.gone'],
  ['not len(output.gone) == 0', 'output.gone'],
  ['len(output.confidence) == 1', 'len(output.confidence) (has no length)'],
  ['output.category > 1', 'output.category (not a number)'],
  ['not output.category > 1', 'output.category (not a number)'],
  ['output.percent >= 80', 'output.percent (not a number)'],
  ['output.conforms > 0', 'output.conforms (not a number)'],
  ['output.none < 1', 'output.none (not a number)'],
  ['output.confidence > high', '"high" (not a number)'],
  ['output.category in output.conforms', 'output.conforms (not a list, or not a text to look for a text in)'],
  ['1 in output.category', 'output.category (not a list, or not a text to look for a text in)'],
  // A text with a dot in it and without quotes is a path, and this step does not exist.
  ['output.category == v1.2', 'v1.2'],
  ['input._expected.tier == gate', 'input._expected.tier'],
  ['input.ground_truth_tier == gate', 'input.ground_truth_tier'],
]
for (const [text, ...missing] of notHolding) {
  test(`does not hold${missing.length > 0 ? ', and says what is missing' : ''}: ${text}`, () => {
    assert.deepEqual(evaluate(text), { holds: false, missing })
  })
}

test('what is missing is listed though the condition holds, and each operand once', () => {
  assert.deepEqual(evaluate('output.conforms == true or gone.a == 1 or gone.a == 2 or gone.b in [1]'), {
    holds: true,
    missing: ['gone.a', 'gone.b'],
  })
})

const broken: readonly (readonly [text: string, column: number, message: RegExp])[] = [
  ['', 1, /the end stands where a value is due/],
  ['output.a', 9, /the end stands where an operator is due/],
  ['output.a = 1', 10, /= means nothing here/],
  ['output.a == ', 13, /the end stands where a value is due/],
  ['output.a == 1 and', 18, /the end stands/],
  ['output.a == 1 && output.b == 2', 15, /& means nothing here/],
  ['!output.a == 1', 1, /! means nothing here/],
  ['output.a == 1 output.b == 2', 15, /'output.b' cannot follow/],
  ['0 < output.a < 1', 14, /'<' cannot follow/],
  ['output.a == high risk', 18, /'risk' cannot follow/],
  ['output.a == 2026-01-31', 17, /'-01' cannot follow|means nothing/],
  ['output.a == 3rd', 13, /3 means nothing here/],
  ["output.a == 'open", 13, /' means nothing here/],
  ['(output.a == 1', 15, /the end stands where \) is due/],
  ['output.a == 1)', 14, /'\)' cannot follow/],
  ['output.a in [1, 2', 18, /the end stands where , or \] is due/],
  ['output.a in [1 2]', 16, /'2' stands where , or \] is due/],
  ['output.a in [1,]', 16, /'\]' stands where a value is due/],
  ['len(output.a == 1', 14, /'==' stands where \) is due/],
  ['len(5) == 1', 5, /'5' stands where a path is due/],
  ['len(category) == 1', 5, /'category' stands where a path is due/],
  ['category == high', 1, /'category' has no field/],
  ['output == high', 1, /'output' has no field/],
  ['not == 1', 5, /'==' stands where a value is due/],
  ['output.a == and', 13, /'and' stands where a value is due/],
  ["output.a not 'in'", 10, /'not' stands where an operator is due/],
  ['output.a is 1', 10, /'is' stands where an operator is due/],
  ['${domain.x} == 1', 1, /\$ means nothing here/],
  ['domain.x == 1', 1, /'domain' means nothing in a condition/],
  ['previous.x == 1', 1, /'previous' means nothing in a condition/],
  ['_last_classify.x == 1', 1, /'_last_classify' means nothing in a condition/],
  ['output.a == 1e999', 13, /1e999 is too large/],
  ['output..a == 1', 7, /\. means nothing here/],
  ['process.exit(1)', 13, /'\(' stands where an operator is due/],
  ['output.a == 1; drop', 14, /; means nothing here/],
  [`output.a == '${'x'.repeat(maxConditionCharacters)}'`, maxConditionCharacters + 1, /longer than/],
  [`${'('.repeat(maxConditionDepth + 1)}`, maxConditionDepth + 1, /nests deeper/],
  [`${'not '.repeat(maxConditionDepth + 1)}`, maxConditionDepth * 4 + 1, /nests deeper/],
  [`output.a in ${'['.repeat(maxConditionDepth + 1)}`, maxConditionDepth + 13, /nests deeper/],
]
for (const [text, column, message] of broken) {
  test(`refused with its place and the way out: ${text.slice(0, 60)}`, () => {
    assert.throws(
      () => parseCondition(text),
      (error) => {
        assert.ok(error instanceof CoreError, String(error))
        assert.equal(error.code, 'CC_ERR_CONDITION')
        assert.match(error.message, message)
        assert.equal(error.facts.column, column)
        assert.match(error.remedy, /^Write .{5,}\.$/)
        return true
      },
    )
  })
}

test('a condition says which steps it looks at', () => {
  const text = "a.x == b.y or (not len(c.z) > 1 and output.v in [d.w, 'e.f']) or input.n == _loop_count and a.z == 1"
  assert.deepEqual(conditionReferences(parseCondition(text)), ['a', 'b', 'c', 'd'])
})

test('a long chain of comparisons is read and evaluated', () => {
  const text = Array.from({ length: 200 }, () => 'output.x == 1').join(' or ')
  assert.deepEqual(evaluate(text), { holds: false, missing: ['output.x'] })
})
