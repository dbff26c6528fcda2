import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { test } from 'node:test'
import { catalogue } from '../../src/errors.ts'
import { settings as known } from '../../src/setting-sources.ts'
import { runHere } from '../cli/cli.ts'
import { readPage, root, tableOf } from './docs-pages.ts'

/** Every page that people read, by its path in the project. */
const pages = [
  ...readdirSync(root).filter((name) => name.endsWith('.md')),
  ...readdirSync(join(root, 'docs'), { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith('.md'))
    .map((name) => join('docs', name)),
  ...readdirSync(join(root, 'packs')).map((name) => join('packs', name, 'README.md')),
]

/** The text of a page without what stands between fences. */
const proseOf = (text: string) => text.replaceAll(/^```[\s\S]*?^```/gm, '')

/** As the pages of a forge name the headings of a text. */
function anchorsOf(text: string): Set<string> {
  const headings = [...proseOf(text).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading!)
  return new Set(
    headings.map((heading) =>
      heading
        .toLowerCase()
        .replaceAll(/[^\w\- ]/g, '')
        .replaceAll(' ', '-'),
    ),
  )
}

/** What is wrong with the links of one page. */
function brokenLinks(page: string, text: string): string[] {
  const targets = [...proseOf(text).matchAll(/\]\(([^)\s]+)\)/g)].map(([, target]) => target!)
  return targets.flatMap((target) => {
    const [path = '', anchor] = target.split('#')
    if (/^[a-z]+:/.test(path)) return [`${page}: ${target} leads out of the project`]
    const file = path === '' ? page : join(dirname(page), path)
    if (!existsSync(join(root, file))) return [`${page}: ${target} leads nowhere`]
    if (anchor === undefined || statSync(join(root, file)).isDirectory()) return []
    const there = anchorsOf(readFileSync(join(root, file), 'utf8'))
    return there.has(anchor) ? [] : [`${page}: ${target} names no heading`]
  })
}

test('every link between pages leads to a page, and to a heading of it', async () => {
  assert.ok(pages.length > 20, 'the check looked at all of them')
  const found = await Promise.all(pages.map(async (page) => brokenLinks(page, await readPage(page))))
  assert.deepEqual(found.flat(), [])
  const planted = '[a](nowhere.md) [b](docs/cli.md#no-such-heading) [c](docs/cli.md#exit-codes)'
  assert.deepEqual(brokenLinks('README.md', planted), [
    'README.md: nowhere.md leads nowhere',
    'README.md: docs/cli.md#no-such-heading names no heading',
  ])
})

test('no page speaks of one machine, or of where packages come from', async () => {
  for (const page of pages) assert.doesNotMatch(await readPage(page), /\/(work|root|home)\/|\bregistry\./, page)
})

test('the README leads to every page of docs', async () => {
  const text = await readPage('README.md')
  const own = pages.filter((page) => page.startsWith('docs/') && !page.startsWith('docs/decisions/'))
  for (const page of own) assert.ok(text.includes(`](${page})`), page)
})

const settings = new Set(Object.keys(known))

test('every setting and code that a page names is there', async () => {
  // What only the tests read has no row among the settings.
  const ofTests = await readPage('test/storage/postgres-server.ts')
  for (const page of pages) {
    for (const [name] of (await readPage(page)).matchAll(/\bCC_[A-Z_]*[A-Z]\b/g)) {
      if (name.startsWith('CC_ERR_')) assert.ok(name in catalogue || name === 'CC_ERR_JSON', `${page}: ${name}`)
      else if (name.startsWith('CC_TEST_')) assert.ok(ofTests.includes(`process.env.${name}`), `${page}: ${name}`)
      else assert.ok(settings.has(name), `${page}: ${name}`)
    }
  }
})

test('the table of settings has all that are read', async () => {
  const rows = (await tableOf('docs/cli.md', 'variable')).flatMap(([names]) => names!.split(', '))
  assert.deepEqual(rows.filter((name) => name.startsWith('CC_')).sort(), [...settings].sort())
})

test('what is read of the environment elsewhere is a setting too', () => {
  const elsewhere = readFileSync(join(root, 'src/cognition/providers/providers.ts'), 'utf8').matchAll(/\bCC_[A-Z_]+/g)
  for (const [name] of elsewhere) assert.ok(settings.has(name), name)
})

/** How the program is called, but for the names of users and containers, and the words that follow. */
const invocation =
  /(?<!-u )(?:\bcognitive-core|npm run --silent cli --|\bcore|dist\/bin\.js) (?!node\b)((?:[a-z]+\b(?![-:/]) ?)+)/g

test('every command that a page tells people to type is there', async () => {
  const asked = new Set<string>()
  for (const page of pages) {
    const text = await readPage(page)
    const code = [...text.matchAll(/^```sh[\s\S]*?^```|`[^`\n]+`/gm)].map(([span]) => span).join('\n')
    for (const [, words] of code.matchAll(invocation)) asked.add(commandIn(words!))
  }
  asked.delete('')
  for (const command of ['keys add', 'backup', 'restore', 'audit verify', 'demo'])
    assert.ok(asked.has(command), command)
  for (const command of asked) {
    const { code, stdout } = await runHere([...command.split(' '), '--help'], {})
    assert.equal(code, 0, command)
    assert.ok(stdout.startsWith(`Usage: cognitive-core ${command}`), `${command}\n${stdout}`)
  }
})

/** Of the words behind the program's name those that name a command. */
function commandIn(words: string): string {
  const [first = '', second] = words.trim().split(' ')
  return ['audit', 'db', 'keys', 'pack', 'provision'].includes(first) && second ? `${first} ${second}` : first
}

test('the table of commands has every command', async () => {
  const written = (await tableOf('docs/cli.md', 'command')).flatMap(([commands]) =>
    commands!.split(', ').map((command) => /^[a-z]+(?: [a-z]+)*/.exec(command)![0]),
  )
  const commands: string[] = []
  for (const name of await subcommands([])) {
    const below = await subcommands([name])
    commands.push(...(below.length === 0 ? [name] : below.map((other) => `${name} ${other}`)))
  }
  assert.deepEqual(written.sort(), commands.sort())
})

async function subcommands(command: readonly string[]): Promise<string[]> {
  const { stdout } = await runHere([...command, '--help'], {})
  const lists = stdout.split('\n\n').filter((block) => !/^(Usage|Options|Every command|Examples?):?/.test(block))
  const names = lists.flatMap((block) => [...block.matchAll(/^ {2}([a-z]+)(?= )/gm)].map(([, name]) => name!))
  return names.filter((name) => name !== 'help')
}

test('every package has a page that says why it is there', async () => {
  const manifest = JSON.parse(await readPage('package.json')) as Record<string, Record<string, string>>
  const decisions = await Promise.all(pages.filter((page) => /decisions\/01/.test(page)).map(readPage))
  for (const name of Object.keys({ ...manifest.dependencies, ...manifest.devDependencies })) {
    assert.ok(
      decisions.some((text) => text.includes(`\`${name}\``)),
      name,
    )
  }
})

test('decisions are numbered once each, and each asks, chooses and says what it costs', async () => {
  const decisions = pages.filter((page) => page.startsWith('docs/decisions/'))
  const numbers = decisions.map((page) => relative('docs/decisions', page).slice(0, 4))
  assert.equal(new Set(numbers).size, numbers.length)
  for (const page of decisions) {
    const text = await readPage(page)
    assert.match(text, /^# 0*(\d+)[.:] /, page)
    assert.equal(Number(/^# 0*(\d+)/.exec(text)![1]), Number(relative('docs/decisions', page).slice(0, 4)), page)
    assert.match(text, /^\*\*Question\.\*\*/m, page)
  }
})
