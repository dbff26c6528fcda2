import assert from 'node:assert/strict'
import { test } from 'node:test'
import { walkPath } from '../../src/cognition/paths.ts'
import type { Json } from '../../src/domain/json.ts'

const value: Json = {
  list: ['a', { name: 'b' }, ['c']],
  none: null,
  yes: true,
  artifact: '\n {"parts": [{"amount": 12}], "__proto": "x"} ',
  listed: '[1, 2]',
  twice: JSON.stringify({ inner: JSON.stringify({ deep: 1 }) }),
  prose: '{this is no JSON}',
  hostile: '{"a": 1, "a": 2}',
}

test('a path goes through maps, lists and JSON text', () => {
  const found: readonly (readonly [path: string, value: Json])[] = [
    ['list.0', 'a'],
    ['list.1.name', 'b'],
    ['list.2.0', 'c'],
    ['none', null],
    ['artifact.parts.0.amount', 12],
    ['listed.1', 2],
    ['twice.inner.deep', 1],
    // Without a part below it a text stays the text that it is.
    ['listed', '[1, 2]'],
  ]
  for (const [path, expected] of found) {
    assert.deepEqual(walkPath(value, path.split('.')), { found: true, value: expected }, path)
  }
  assert.deepEqual(walkPath(value, []), { found: true, value })
})

test('where a path ends too soon, it says at which part and why', () => {
  const absent: readonly (readonly [path: string, why: string, part: string, kind: string])[] = [
    ['gone.further', 'field', 'gone', 'map'],
    ['list.3', 'index', '3', 'list'],
    ['list.-1', 'index', '-1', 'list'],
    ['list.name', 'index', 'name', 'list'],
    ['list.length', 'index', 'length', 'list'],
    ['list.1e0', 'index', '1e0', 'list'],
    ['none.x', 'into', 'x', 'NoneType'],
    ['yes.x', 'into', 'x', 'bool'],
    ['list.0.x', 'into', 'x', 'str'],
    ['prose.x', 'into', 'x', 'str'],
    // Text that the door refuses is text, and not a structure with a meaning of its own.
    ['hostile.a', 'into', 'a', 'str'],
    ['artifact.parts.0.price', 'field', 'price', 'map'],
    ['toString', 'field', 'toString', 'map'],
    ['constructor.name', 'field', 'constructor', 'map'],
    ['__proto__', 'field', '__proto__', 'map'],
    ['', 'field', '', 'map'],
  ]
  for (const [path, why, part, kind] of absent) {
    assert.deepEqual(walkPath(value, path.split('.')), { found: false, why, part, kind }, path)
  }
})

test('hidden keys are absent, inside JSON text too', () => {
  const isHidden = (key: string) => key.startsWith('_')
  const input = { _a: 1, b: { _c: 2 }, text: '{"_d": 3, "e": 4}' }
  for (const path of ['_a', 'b._c', 'text._d']) assert.equal(walkPath(input, path.split('.'), isHidden).found, false)
  assert.equal(walkPath(input, ['text', 'e'], isHidden).found, true)
})

test('nothing at all has no parts', () => {
  assert.equal(walkPath(undefined, []).found, false)
  assert.equal(walkPath(undefined, ['x']).found, false)
})
