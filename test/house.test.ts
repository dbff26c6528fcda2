import assert from 'node:assert/strict'
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, test } from 'node:test'
import { floors, houseFindings, sourcePaths } from './house.ts'

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'house-'))
after(() => rmSync(folder, { recursive: true }))

test('imports lead down, and SQL stands in storage', () => {
  assert.deepEqual(houseFindings(root), [])
  assert.ok(sourcePaths(root).length > 50, 'the check looked at the whole of src')
})

/** What is found in a house of these files alone. */
function findingsIn(files: Readonly<Record<string, string>>): string[] {
  const house = mkdtempSync(join(folder, 'house-'))
  cpSync(join(root, 'package.json'), join(house, 'package.json'))
  plant(house, files)
  return houseFindings(house)
}

function plant(house: string, files: Readonly<Record<string, string>>): void {
  for (const [path, text] of Object.entries(files)) {
    mkdirSync(dirname(join(house, path)), { recursive: true })
    writeFileSync(join(house, path), text)
  }
}

test('an import upwards is the only thing that is found in a copy into which it was planted', () => {
  const copy = mkdtempSync(join(folder, 'copy-'))
  cpSync(join(root, 'src'), join(copy, 'src'), { recursive: true })
  cpSync(join(root, 'package.json'), join(copy, 'package.json'))
  plant(copy, { 'src/domain/planted.ts': "import type { Backend } from '../storage/backend.ts'\n" })
  const expected =
    'src/domain/planted.ts:1: it imports src/storage/backend.ts: domain and storage would be an import upwards'
  assert.deepEqual(houseFindings(copy).sort(), [...houseFindings(root), expected].sort())
})

const upwards = [
  ["import { openSqlite } from '../storage/sqlite.ts'", 1],
  ["\nimport type { Backend } from '../storage/backend.ts'", 2],
  ["import '../storage/sqlite.ts'", 1],
  ["export { openSqlite } from '../storage/sqlite.ts'", 1],
  ["export type * from '../storage/backend.ts'", 1],
  ["const storage = await import('../storage/backend.ts')", 1],
  ['const open = () => import(`../storage/backend.ts`)', 1],
  ["let backend: import('../storage/backend.ts').Backend", 1],
] as const

for (const [text, line] of upwards) {
  test(`an import upwards is found by file and line: ${text.trim()}`, () => {
    const [finding, ...others] = findingsIn({ 'src/domain/planted.ts': text })
    assert.match(finding!, new RegExp(`^src/domain/planted\\.ts:${line}: it imports src/storage/`))
    assert.match(finding!, /domain and storage would be an import upwards$/)
    assert.deepEqual(others, [])
  })
}

test('no room may import one on its own floor or above, and every room may import those below', () => {
  const place = (room: string) => ({ ground: 'src/errors.ts', roof: 'src/main.ts' })[room] ?? `src/${room}/planted.ts`
  for (const [floor, rooms] of floors.entries()) {
    for (const room of rooms) {
      for (const [otherFloor, others] of floors.entries()) {
        for (const other of others) {
          const up = room === 'ground' || room === 'roof' ? './' : '../'
          const text = `import '${place(other).replace('src/', up)}'\n`
          const findings = findingsIn({ [place(other)]: '', [place(room)]: text })
          const isAllowed = room === other || otherFloor < floor
          assert.equal(findings.length, isAllowed ? 0 : 1, `${room} imports ${other}: ${findings.join('\n')}`)
        }
      }
    }
  }
})

const violations = {
  'src/engine/planted.ts': [
    ["import { DatabaseSync } from 'node:sqlite'", 'it uses node:sqlite, which only storage may'],
    ["process.getBuiltinModule('node:sqlite')", 'it uses node:sqlite, which only storage may'],
    ["import '../../test/house.ts'", 'it imports ../../test/house.ts, which is outside of src'],
    ["import manifest from '../../package.json' with { type: 'json' }", 'which is outside of src'],
    ["import '/etc/passwd'", 'it imports /etc/passwd, which is outside of src'],
    ["import 'fast-check'", 'it imports fast-check, which is not among the dependencies'],
    ["import '@types/node'", 'it imports @types/node, which is not among the dependencies'],
    ["import 'zod/v4'", undefined],
    ["import 'fs'", 'it imports fs, which is not among the dependencies'],
    ["import '../cellar/wine.ts'", 'it imports src/cellar/wine.ts, which stands in no room of the house'],
    ['await import(process.argv[2])', 'it imports something whose name is not written there'],
    ['await import(`../storage/${name}.ts`)', 'it imports something whose name is not written there'],
    [
      'query(`select * from ${table}\n where a = $1`)',
      'it holds an SQL statement, which only storage may: select * from',
    ],
    ["query('  insert into work values ($1)')", 'it holds an SQL statement, which only storage may: insert into work'],
    ["query('update tasks set status = $1')", 'it holds an SQL statement'],
    ["query('delete from work')", 'it holds an SQL statement'],
    ["query('CREATE UNIQUE INDEX a ON b (c)')", 'it holds an SQL statement'],
    ["query('alter table work add a text')", 'it holds an SQL statement'],
    ['query(`with due as (select 1) delete from work`)', 'it holds an SQL statement'],
    ["query('pragma synchronous')", 'it holds an SQL statement'],
    ["query('select 1')", 'it holds an SQL statement'],
    ["const call = 'select'; const verb = 'update this page'; const help = 'create a key'", undefined],
    ["const help = 'delete old files, and select those that stay'", undefined],
  ],
  'src/index.ts': [["import './cli/a.ts'\nimport './api/b.ts'", 'it knows both doors']],
  'src/planted.ts': [['', 'src/planted.ts: it stands in no room of the house']],
  'src/cellar/planted.ts': [['', 'src/cellar/planted.ts: it stands in no room of the house']],
} satisfies Record<string, (readonly [string, string | undefined])[]>

for (const [path, planted] of Object.entries(violations)) {
  for (const [text, finding] of planted) {
    test(`${path} with ${JSON.stringify(text)} ${finding ? 'is found' : 'is nothing to find'}`, () => {
      const findings = findingsIn({ [path]: text })
      assert.equal(findings.length, finding ? 1 : 0, findings.join('\n'))
      if (finding) assert.ok(findings[0]!.startsWith(path) && findings[0]!.includes(finding), findings[0])
    })
  }
}
