import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseCondition } from '../../src/cognition/conditions.ts'
import { fieldsOf } from '../../src/cognition/pack-fields.ts'
import { builtIn } from '../../src/cognition/primitives/index.ts'
import { scriptedModel } from '../../src/cognition/scripted-model.ts'
import { Findings, parseYaml } from '../../src/cognition/pack-source.ts'
import { runHere } from '../cli/cli.ts'
import { packFolder, soundPack } from '../cognition/pack-folder.ts'

const text = readFileSync(join(import.meta.dirname, '../../docs/packs.md'), 'utf8')

/** The blocks of the page that say which file they are. */
function filesOf(page: string): Record<string, string> {
  const blocks = [...page.matchAll(/^```(?:yaml|json) (parcels\/\S+)\n([^]*?)^```$/gm)]
  return Object.fromEntries(blocks.map(([, file, content]) => [file!.replace('parcels/', ''), content!]))
}

const absent = Object.fromEntries(Object.keys(soundPack).map((name) => [name, undefined]))

test('the pack that docs/packs.md makes has nothing to be said against it, and its cases end as it says', async () => {
  const files = filesOf(text)
  assert.equal(Object.keys(files).length, 5)
  await using folder = await packFolder({ ...absent, ...files })

  const check = await runHere(['pack', 'check', folder.dir], {})
  assert.match(check.stdout, /^The pack can be loaded: no errors, no warnings\./)
  const run = await runHere(['run', folder.dir, '--case', join(folder.dir, 'cases/claims.json'), '--json'], {})
  const { items } = JSON.parse(run.stdout) as {
    items: { case_id: string; status: string; tier: string; path: string[] }[]
  }
  assert.equal(run.code, 6)
  assert.deepEqual(
    items.map(({ case_id, status, tier, path }) => [case_id, status, tier, path.join(' ')]),
    [
      ['LP-1', 'completed', 'auto', 'gather sort decide'],
      ['LP-2', 'suspended', 'gate', 'gather sort look_closer decide'],
    ],
  )
})

test('the conditions of docs/packs.md can be read', () => {
  const [, lines = ''] = /^```conditions\n([^]*?)^```$/m.exec(text)!
  const conditions = lines.trim().split('\n')
  assert.ok(conditions.length >= 5)
  for (const condition of conditions) parseCondition(condition)
})

test('the scripted answers of docs/packs.md are a script', () => {
  const [, script = ''] = /^```yaml\n(- when: \{ case: TC-101[^]*?)^```$/m.exec(text)!
  scriptedModel('docs', [parseYaml('docs/packs.md', script, new Findings())!])
})

test('docs/packs.md names every parameter and every field of every primitive, with its default', () => {
  const rows = new Map([...text.matchAll(/^\| `(\w+)` +\|(.*)$/gm)].map(([, name, row]) => [name!, row!]))
  const ofAll = text.slice(text.indexOf('## Primitives'), text.indexOf('### Sources of retrieve'))
  for (const primitive of builtIn.values()) {
    const row = rows.get(primitive.name)!
    for (const name of primitive.requiredParams) assert.ok(row.includes(`\`${name}\``), `${primitive.name} ${name}`)
    for (const name of primitive.optionalParams!) assert.ok(ofAll.includes(`\`${name}\``), `${primitive.name} ${name}`)
    for (const [name, value] of Object.entries(primitive.defaultParams)) {
      assert.ok(row.includes(`\`${name}\` (${value})`), `${primitive.name} ${name}`)
    }
    for (const name of fieldsOf(primitive)!.keys()) {
      if (primitive.name === 'retrieve' && name === 'complete') continue
      assert.ok(ofAll.includes(`\`${name}\``), `${primitive.name} ${name}`)
    }
  }
})
