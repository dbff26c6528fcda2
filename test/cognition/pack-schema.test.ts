import assert from 'node:assert/strict'
import { readdir, readFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { parse } from 'yaml'
import { packSchema, type SchemaKind, schemaKinds } from '../../src/cognition/pack-schema.ts'
import { brokenPacks, goodPack } from './broken-packs.ts'

interface Validators {
  readonly Ajv2020: new (options: object) => { compile(schema: object): (value: unknown) => boolean }
}

/** A judge that is not the one by which the schemas were written; the service brings it along. */
const ofService = createRequire(createRequire(import.meta.url).resolve('@fastify/ajv-compiler'))
const { Ajv2020 } = ofService('ajv/dist/2020.js') as Validators

const ajv = new Ajv2020({ strict: true, strictRequired: false, allErrors: true })
const validators = Object.fromEntries(schemaKinds.map((kind) => [kind, ajv.compile(packSchema(kind))]))

function accepts(kind: SchemaKind, text: string): boolean {
  return validators[kind]!(parse(text, { uniqueKeys: false }))
}

function kindOf(file: string): SchemaKind | undefined {
  if (file === 'coordinator_config.yaml') return 'config'
  if (file.startsWith('workflows/')) return 'workflow'
  return file.startsWith('domains/') ? 'domain' : undefined
}

test('the schemas accept the files of packs that load', async () => {
  const packs = join(import.meta.dirname, '../../packs')
  for (const name of await readdir(packs)) {
    const dir = join(packs, name)
    for (const file of await readdir(dir, { recursive: true })) {
      if (!file.endsWith('.yaml') || ['scripted.yaml', 'demo.yaml'].includes(file)) continue
      // Domains of the sample packs stand in their root.
      const kind = kindOf(file) ?? 'domain'
      assert.ok(accepts(kind, await readFile(join(dir, file), 'utf8')), `${name}/${file}`)
    }
  }
  for (const [file, text] of Object.entries(goodPack)) {
    const kind = kindOf(file)
    if (kind) assert.ok(accepts(kind, text), file)
  }
})

const ofType = brokenPacks.filter(({ isOfType }) => isOfType)
assert.ok(ofType.length >= 20)

for (const { name, file, text } of ofType) {
  test(`the schema of its file refuses a pack with ${name}`, () => {
    assert.equal(accepts(kindOf(file)!, text.replace('«', '')), false)
  })
}

test('editors are told what the settings mean', () => {
  const text = JSON.stringify(packSchema('workflow'))
  for (const words of ['a step, or __end__', 'how long one attempt may take', 'unique in the workflow']) {
    assert.ok(text.includes(words), words)
  }
})
