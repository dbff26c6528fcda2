import assert from 'node:assert/strict'
import { test } from 'node:test'
import { toolsNamedIn } from '../../src/cognition/tools.ts'
import { wholeWord } from '../../src/cognition/whole-word.ts'

test('a word is found where it stands by itself, whatever signs are in it or around it', () => {
  for (const text of ['fraud', 'fraud, theft', '(fraud)', 'theft\nfraud', 'non-fraud']) {
    assert.match(text, wholeWord('fraud'), text)
  }
  for (const text of ['defraud', 'frauds', 'fraud_2', 'fraudé', 'Fraud']) {
    assert.doesNotMatch(text, wholeWord('fraud'), text)
  }
  assert.match('a|b (c) [d]', wholeWord('b (c) [d]'))
  assert.doesNotMatch('abc', wholeWord('a.c'))
})

test('where hyphens join, a part of what they join is not found', () => {
  for (const text of ['non-fraud', 'fraud-like']) {
    assert.doesNotMatch(text, wholeWord('fraud', { hyphensJoin: true }), text)
  }
  assert.match('fraud - or theft', wholeWord('fraud', { hyphensJoin: true }))
})

test('a source is named by an entry of a list whose dash touches it', () => {
  const tools = new Map([
    ['get_policy', null],
    ['get_claim', null],
  ])
  assert.deepEqual(toolsNamedIn('Fetch:\n-get_policy', tools), ['get_policy'])
})
