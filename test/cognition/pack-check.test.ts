import assert from 'node:assert/strict'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { loadPack } from '../../src/cognition/pack.ts'
import { type Finding, showPlace } from '../../src/cognition/pack-findings.ts'
import { checkPack } from '../../src/cognition/pack-report.ts'
import { brokenPacks, goodPack } from './broken-packs.ts'
import { packFolder, soundPack } from './pack-folder.ts'

/** The files of the good pack, with one of them changed. */
function filesWith(file: string, text: string) {
  const others = Object.fromEntries(Object.keys(soundPack).map((name) => [name, undefined]))
  return { ...others, ...goodPack, [file]: text }
}

/** Line and column of the mark, and the text without it. */
function unmark(text: string): { readonly text: string; readonly at: string | undefined } {
  const [before = '', after] = text.split('«')
  if (after === undefined) return { text, at: undefined }
  const lines = before.split('\n')
  return { text: before + after, at: `${lines.length}:${lines.at(-1)!.length + 1}` }
}

function show(findings: readonly Finding[]): string {
  return findings.map(({ severity, place, what }) => `${severity} ${showPlace(place)}: ${what}`).join('\n')
}

test('the pack on which the broken ones stand has nothing to be said against it', async () => {
  await using folder = await packFolder(filesWith('none.txt', ''))
  const { findings, definitions, hidden, cases } = await checkPack(folder.dir)

  assert.equal(show(findings), '')
  assert.deepEqual(
    definitions.map(({ workflow, domain }) => [workflow, domain]),
    [['review', 'plain']],
  )
  assert.deepEqual(hidden, ['_expected'])
  assert.equal(cases, 2)
})

test('there are at least sixty broken packs, each with a fault of its own', () => {
  assert.ok(brokenPacks.length >= 60)
  assert.equal(new Set(brokenPacks.map(({ name }) => name)).size, brokenPacks.length)
  assert.equal(new Set(brokenPacks.map(({ file, text }) => file + text)).size, brokenPacks.length)
})

for (const { name, file, text: marked, says, right, severity } of brokenPacks) {
  test(`the check names ${name} at its place`, async () => {
    const { text, at } = unmark(marked)
    await using folder = await packFolder(filesWith(file, text))
    const { findings } = await checkPack(folder.dir)

    const meant = findings.filter((finding) => finding.severity === severity && says.test(finding.what))
    const there = at === undefined ? meant : meant.filter(({ place }) => showPlace(place) === `${file}:${at}`)
    assert.ok(there.length > 0, `${file}:${at ?? '?'} ${String(says)}\n${show(findings)}`)
    if (right) assert.match(there[0]!.right!, right)
    assert.ok(there[0]!.place.line !== undefined)
    assert.doesNotMatch(show(findings), /\bundefined\b|\[object/)

    // What the check refuses is what loading refuses, and nothing else is.
    const isRefused = findings.some((finding) => finding.severity === 'error')
    const loading = await loadPack(folder.dir).then(
      ({ warnings }) => ({ warnings }),
      (error: unknown) => ({ error: error as { code: string } }),
    )
    if (isRefused) assert.match('error' in loading ? loading.error.code : 'loaded', /^CC_ERR_(PACK|NOT_YET)$/)
    else assert.deepEqual('warnings' in loading && loading.warnings.length, findings.length)
  })
}

test('all faults are said in one run, by file and line', async () => {
  const workflow = goodPack['workflows/review.yaml']
    .replace('temperature: 0', 'temperature: cold')
    .replace("'odd' and", "'od' and")
    .replace('loop_fallback: weigh', 'loop_fallback: nowhere')
    .replace('scope: all of it', 'scop: all of it')
  await using folder = await packFolder({
    ...filesWith('workflows/review.yaml', workflow),
    'cases/b.json': '[1]',
    'coordinator_config.yaml': goodPack['coordinator_config.yaml'].replace('sla: 3600', 'sla: soon'),
    'domains/plain.yaml': goodPack['domains/plain.yaml'].replace("== 'even'", "= 'even'"),
  })
  const { findings, definitions } = await checkPack(folder.dir)

  const places = findings.map(({ place }) => `${place.file}:${place.line}`)
  assert.deepEqual(places, [
    'cases/b.json:1',
    'coordinator_config.yaml:5',
    'domains/plain.yaml:8',
    'workflows/review.yaml:11',
    'workflows/review.yaml:19',
    'workflows/review.yaml:24',
    'workflows/review.yaml:27',
    'workflows/review.yaml:28',
  ])
  assert.deepEqual(definitions, [])
})

test('links that lead out of the pack are named and not followed, for files and folders', async () => {
  await using other = await packFolder()
  await using folder = await packFolder(filesWith('none.txt', ''))
  await symlink(join(other.dir, 'domains/plain.yaml'), join(folder.dir, 'domains/link.yaml'))
  await symlink(join(other.dir, 'domains'), join(folder.dir, 'documents'))
  const { findings } = await checkPack(folder.dir)

  assert.equal(
    show(findings),
    'error documents: a link that leaves the pack\nerror domains/link.yaml: a link that leaves the pack',
  )
})

test('a file that cannot be opened is a fault, and not a file that is not there', async () => {
  await using folder = await packFolder()
  await symlink('loop.yaml', join(folder.dir, 'domains/loop.yaml'))
  const { findings } = await checkPack(folder.dir)

  assert.equal(show(findings), 'error domains/loop.yaml: it cannot be opened (ELOOP)')
})

test('a fault in a domain is said once, however many workflows ask for it', async () => {
  const workflow = goodPack['workflows/review.yaml']
  await using folder = await packFolder({
    ...filesWith('domains/plain.yaml', goodPack['domains/plain.yaml'].replace("== 'even'", "= 'even'")),
    'workflows/second.yaml': workflow.replace('name: review', 'name: second'),
  })
  const { findings } = await checkPack(folder.dir)

  assert.equal(show(findings), 'error domains/plain.yaml:8:26: the condition is wrong: = means nothing here')
})
