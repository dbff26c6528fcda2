import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { goodPack } from '../cognition/broken-packs.ts'
import { packFolder } from '../cognition/pack-folder.ts'
import { root, runHere } from './cli.ts'

const spoiled = {
  ...goodPack,
  'coordinator_config.yaml': goodPack['coordinator_config.yaml'].replace('overrides:', 'overides:'),
  'workflows/review.yaml': goodPack['workflows/review.yaml']
    .replace('goto: decide', 'goto: decode')
    .replace('max_loops: 3', 'max_loops: three'),
}

test('a pack that is right is said to be so, with what it runs and what is hidden of its cases', async () => {
  await using folder = await packFolder(goodPack)
  const { code, stdout, stderr } = await runHere(['pack', 'check', folder.dir], {})

  assert.equal(code, 0)
  assert.equal(stderr, '')
  assert.match(stdout, /^The pack can be loaded: no errors, no warnings\.\n/)
  assert.match(stdout, /runs +review · plain\n.*cases +2\n.*hidden from models +_expected\n/)
})

test('the sample packs have nothing to be said against them', async () => {
  for (const name of ['travel-claims', 'account-appeals']) {
    const { code, stdout } = await runHere(['pack', 'check', join(root, 'packs', name)], {})
    assert.equal(code, 0)
    assert.match(stdout, /^The pack can be loaded: no errors, no warnings\./)
  }
})

test('every fault is a line with file, line and column, then what is wrong and what would be right', async () => {
  await using folder = await packFolder(spoiled)
  const { code, stdout } = await runHere(['pack', 'check', folder.dir], {})

  assert.equal(code, 1)
  const places = stdout.split('\n').filter((line) => /^\S+:\d+:\d+: (error|warning)$/.test(line))
  assert.deepEqual(places, [
    'coordinator_config.yaml:6:1: warning',
    'workflows/review.yaml:22:15: error',
    'workflows/review.yaml:26:16: error',
    // Without a bound that can be read, the fallback has none.
    'workflows/review.yaml:27:5: warning',
  ])
  assert.match(stdout, /there is no step 'decode'\n {2}→ did you mean 'decide'\?/)
  assert.match(stdout, /\nThe pack cannot be loaded: 2 errors, 2 warnings\.\n/)
})

test('warnings alone are no failure', async () => {
  await using folder = await packFolder({ ...goodPack, 'domains/notes.yaml': 'title: notes\n' })
  const { code, stdout } = await runHere(['pack', 'check', folder.dir], {})

  assert.equal(code, 0)
  assert.match(stdout, /domains\/notes\.yaml:1:1: warning/)
  assert.match(stdout, /The pack can be loaded: no errors, 1 warning\./)
})

test('with --json the same as one document', async () => {
  await using folder = await packFolder(spoiled)
  const { code, stdout } = await runHere(['pack', 'check', folder.dir, '--json'], {})
  const { valid, errors, warnings, definitions, hidden_keys: hidden } = JSON.parse(stdout)

  assert.equal(code, 1)
  assert.equal(valid, false)
  assert.deepEqual(errors[0], {
    file: 'workflows/review.yaml',
    line: 22,
    column: 15,
    what: "there is no step 'decode'",
    right: "did you mean 'decide'?",
  })
  assert.equal(errors.length, 2)
  assert.equal(warnings.length, 2)
  assert.deepEqual(definitions, [])
  assert.deepEqual(hidden, ['_expected'])
})

test('a folder that is not there is refused by name', async () => {
  const { code, stderr } = await runHere(['pack', 'check', '/nowhere/at/all'], {})
  assert.equal(code, 1)
  assert.match(stderr, /No pack can be read from \/nowhere\/at\/all/)
})

test('schemas for editors are printed as JSON, and kinds there are not are refused', async () => {
  for (const kind of ['workflow', 'domain', 'config']) {
    const { code, stdout } = await runHere(['pack', 'schema', kind], {})
    assert.equal(code, 0)
    assert.equal(JSON.parse(stdout).type, 'object')
  }
  assert.equal((await runHere(['pack', 'schema', 'case'], {})).code, 2)
})
