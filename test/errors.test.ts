import assert from 'node:assert/strict'
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { catalogue, CoreError, type ErrorCode, isCoreError } from '../src/errors.ts'
import { catalogueFindings } from './catalogue.ts'

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'errors-'))
after(() => rmSync(folder, { recursive: true }))

test('catalogue, documentation and source agree on every code', async () => {
  assert.deepEqual(await catalogueFindings(root), [])
})

/** What is found in a copy in which the text of one file was changed, beyond what is found anyway. */
async function findingsWith(path: string, change: (text: string) => string): Promise<string[]> {
  const copy = mkdtempSync(join(folder, 'copy-'))
  cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true })
  cpSync(join(root, 'docs/errors.md'), join(copy, 'docs/errors.md'))
  const text = readFileSync(join(copy, path), 'utf8')
  const changed = change(text)
  assert.notEqual(changed, text)
  writeFileSync(join(copy, path), changed)
  const known = new Set(await catalogueFindings(root))
  return (await catalogueFindings(copy)).filter((finding) => !known.has(finding))
}

const secretEntry = "  CC_ERR_ZEBRA: { exit: 1, status: 500, says: '{a} {b}', remedy: 'Look.' },\n"

const planted: readonly (readonly [string, string, (text: string) => string, readonly string[]])[] = [
  [
    'a code that nobody documented or uses',
    'src/errors.ts',
    (text) => text.replace('} as const satisfies', `${secretEntry}} as const satisfies`),
    ['docs/errors.md does not explain CC_ERR_ZEBRA', 'nothing in src refuses with CC_ERR_ZEBRA'],
  ],
  [
    'a code out of order',
    'src/errors.ts',
    (text) => text.replace('catalogue = {\n', `catalogue = {\n${secretEntry}`),
    [
      'src/errors.ts is not in the order of the codes: CC_ERR_ZEBRA',
      'docs/errors.md does not explain CC_ERR_ZEBRA',
      'nothing in src refuses with CC_ERR_ZEBRA',
    ],
  ],
  [
    'an explanation of nothing',
    'docs/errors.md',
    (text) => `${text}\n## CC_ERR_ZEBRA\n\nExit 1 · HTTP 500\n\nA zebra came in.\n`,
    ['docs/errors.md explains CC_ERR_ZEBRA, which is not in the catalogue'],
  ],
  [
    'an explanation that says nothing',
    'docs/errors.md',
    (text) => text.replace(/(## CC_ERR_PACK\n\n.*\n)\n[^#]*/, '$1\n'),
    ['docs/errors.md says nothing about CC_ERR_PACK'],
  ],
  [
    'another exit code',
    'docs/errors.md',
    (text) => text.replace('## CC_ERR_PACK\n\nExit 1', '## CC_ERR_PACK\n\nExit 2'),
    ["docs/errors.md has 'Exit 2 · HTTP 422' for CC_ERR_PACK, the catalogue 'Exit 1 · HTTP 422'"],
  ],
  [
    'facts that are not given',
    'src/clock.ts',
    (text) => `${text}\nthrow new CoreError('CC_ERR_NO_PACK', { dir: '.' })\n`,
    ['src/clock.ts:28: CC_ERR_NO_PACK is not told {why}'],
  ],
]

for (const [what, path, change, expected] of planted) {
  test(`${what} is found in a copy of ${path}`, async () => {
    const findings = await findingsWith(path, change)
    assert.deepEqual(
      findings.map((finding) => finding.replace(/^src\/clock\.ts:\d+/, 'src/clock.ts:28')),
      expected,
    )
  })
}

test('a refusal fills its facts into the sentence and the remedy, and knows both of its codes', () => {
  const error = new CoreError('CC_ERR_UNKNOWN_DOMAIN', { workflow: 'claims', domain: 'home', known: 'travel' })
  assert.equal(error.message, "The workflow 'claims' has no domain 'home'.")
  assert.equal(error.remedy, 'Use one of: travel.')
  assert.deepEqual([error.exit, error.status], [2, 422])
  assert.ok(isCoreError(error, 'CC_ERR_UNKNOWN_DOMAIN') && isCoreError(error))
  assert.ok(!isCoreError(error, 'CC_ERR_PACK') && !isCoreError(new Error('CC_ERR_UNKNOWN_DOMAIN')))
})

test('every sentence ends as one, and every remedy says what to do', () => {
  for (const [code, { says, remedy }] of Object.entries(catalogue)) {
    assert.match(says, /[.}]$/, code)
    assert.match(remedy, /^[A-Z{]/, code)
  }
})

test('exit codes are those of the command line', () => {
  const exits = new Set([1, 2, 3, 4, 5, 6, 10, 11, 124, 130])
  for (const code of Object.keys(catalogue) as ErrorCode[]) assert.ok(exits.has(catalogue[code].exit), code)
})
