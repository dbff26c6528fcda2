import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Lines } from '../../src/cli/lines.ts'
import { cutTo, padTo, widthOf, wrap } from '../../src/cli/text.ts'
import { safeJson, visible } from '../../src/visible.ts'
import { contentLines } from '../../src/cli/value-lines.ts'

test('whatever could act on a terminal is shown as an escape', () => {
  assert.equal(visible('\u001b[31mred\u001b[0m'), '\\u001b[31mred\\u001b[0m')
  assert.equal(visible('one\r\ntwo\ttabs'), 'one\\r\\ntwo\\ttabs')
  assert.equal(
    visible('\u0000 \u007f \u009b \u202e \u2066 \u200f \u2028 \ufeff'.replaceAll(' ', '')),
    ['\\u0000', '\\u007f', '\\u009b', '\\u202e', '\\u2066', '\\u200f', '\\u2028', '\\ufeff'].join(''),
  )
  assert.equal(visible('half \ud83d, half \ude00'), 'half \\ud83d, half \\ude00')
  assert.equal(visible('whole 😀, é, 審査, שלום'), 'whole 😀, é, 審査, שלום')
})

test('JSON is escaped further than JSON.stringify does it, and means the same', () => {
  const value = { text: 'a\u007fb\u009bc\u202ed\ne', 'k\u0085': ['\u2028'] }
  const text = safeJson(value, 2)
  assert.doesNotMatch(text.replaceAll('\n', ''), /[\u0000-\u001f\u007f-\u009f\u2028\u202e]/)
  assert.deepEqual(JSON.parse(text), value)
  assert.equal(safeJson({ a: 1 }, 2).split('\n').length, 3, 'the breaks of the indentation stay')
})

test('columns are counted as a terminal counts them', () => {
  assert.equal(widthOf('審査'), 4)
  assert.equal(widthOf('é and e\u0301'), 7)
  assert.equal(padTo('審査', 6), '審査  ')
  assert.equal(cutTo('審査の結果', 6), '審査…')
  assert.deepEqual(wrap('one two three', 7), ['one two', 'three'])
})

test('content is written down as a person would, with nothing left out', () => {
  const content = {
    letter: 'Dear Ms A,\n\nwe pay.',
    hits: [{ kind: 'receipt', amount: 12.5 }],
    conforms: true,
    missing: null,
    rules: ['1', '2'],
    one: { key: 'value' },
  }
  assert.deepEqual(contentLines(content, 60), [
    'letter:',
    '  Dear Ms A,',
    '  ',
    '  we pay.',
    'hits:',
    '  - kind: receipt, amount: 12.5',
    'conforms: yes',
    'missing: none',
    'rules: 1, 2',
    'one:',
    '  key: value',
  ])
})

test('styles are the only escape codes, and only where colours are', () => {
  const written: string[] = []
  const lines = new Lines((line) => written.push(line), { colors: true, columns: 80 })
  lines.line({ text: 'evil\u001b[2J', style: 'bad' }, ' plain\u001b[2J')
  assert.deepEqual(written, ['\u001b[31mevil\\u001b[2J\u001b[0m plain\\u001b[2J'])

  const plain: string[] = []
  new Lines((line) => plain.push(line), { colors: false, columns: undefined }).line({ text: 'calm', style: 'good' })
  assert.deepEqual(plain, ['calm'])
})
