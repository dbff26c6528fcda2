import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import type { Model } from '../../src/cognition/model.ts'
import type { Primitive, StepResult } from '../../src/cognition/primitive.ts'
import type { Json, JsonObject } from '../../src/domain/json.ts'
import type { CaseView, Core, SubmitRequest } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'
import { type ErrorCode, isCoreError } from '../../src/errors.ts'
import { temporaryFolder } from './record-store.ts'

const root = join(import.meta.dirname, '../..')
const folder = temporaryFolder()
after(() => folder[Symbol.dispose]())

/** How many rows each table of a store has. */
function countRows(path: string): Record<string, number> {
  const store = new DatabaseSync(path, { readOnly: true })
  try {
    const tables = store.prepare(`select name from sqlite_master where type = 'table' order by name`).all()
    return Object.fromEntries(
      tables.map(({ name }) => [name, store.prepare(`select count(*) as count from ${name as string}`).get()!.count]),
    ) as Record<string, number>
  } finally {
    store.close()
  }
}

// The command line

const database = join(folder.path, 'cases.db')
const pack = join(root, 'packs/travel-claims')
const measuring = `data:text/javascript,${encodeURIComponent(
  `process.on('exit', () => process.stderr.write('\\nmemory ' + process.resourceUsage().maxRSS + '\\n'))`,
)}`

interface Answer {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  readonly memoryBytes: number
}

/** Submits what is in a file, or on standard input, through the program itself. */
async function submitFile(file: string, input?: Buffer): Promise<Answer> {
  const words = ['submit', 'travel_claim_settlement', '--domain', 'travel_insurance', '--input', file, '--json']
  const child = spawn(process.execPath, ['--import', measuring, 'src/main.ts', ...words], {
    cwd: root,
    env: {
      PATH: process.env.PATH,
      HOME: folder.path,
      NODE_COMPILE_CACHE: join(folder.path, 'compiled'),
      CC_DB_PATH: database,
      CC_PACKS: pack,
      CC_MODEL: `scripted:${join(pack, 'scripted.yaml')}`,
    },
  })
  // Who refuses early does not read to the end.
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  const [code, stdout, stderr] = await Promise.all([exitOf(child), textOf(child.stdout), textOf(child.stderr)])
  const memory = /\nmemory (\d+)\n$/.exec(stderr)
  return { code, stdout, stderr, memoryBytes: Number(memory?.[1]) * 1024 }
}

async function exitOf(child: ChildProcess): Promise<number | null> {
  return await new Promise((resolve) => child.once('close', resolve))
}

async function textOf(stream: NodeJS.ReadableStream): Promise<string> {
  let text = ''
  for await (const chunk of stream.setEncoding('utf8')) text += String(chunk)
  return text
}

const nested = (depth: number, [open, close]: readonly [string, string], inmost = '1') =>
  open.repeat(depth) + inmost + close.repeat(depth)

/** Bytes that are no text in UTF-8, between two halves of a document. */
const around = (...bytes: readonly number[]) =>
  Buffer.concat([Buffer.from('{"case_id":"'), Buffer.from(bytes), Buffer.from('"}')])

const documents: readonly (readonly [what: string, document: string | Buffer, code: ErrorCode])[] = [
  ['nothing', '', 'CC_ERR_JSON_SYNTAX'],
  ['white space', ' \n\t\r ', 'CC_ERR_JSON_SYNTAX'],
  ['NUL in a text', '{"case_id":"a\0b"}', 'CC_ERR_JSON_NUL'],
  ['NUL in a text, escaped', '{"case_id":"a\\u0000b"}', 'CC_ERR_JSON_NUL'],
  ['NUL in a key, escaped', '{"case\\u0000":1}', 'CC_ERR_JSON_NUL'],
  ['NUL between values', '{"case_id":\0 1}', 'CC_ERR_JSON_NUL'],
  ['NUL behind the end', '{}\0', 'CC_ERR_JSON_TRAILING'],
  ['the first half of a surrogate pair', '{"case_id":"\\ud83d"}', 'CC_ERR_JSON_SURROGATE'],
  ['the second half of a surrogate pair', '{"case_id":"\\ude00"}', 'CC_ERR_JSON_SURROGATE'],
  ['a surrogate pair the wrong way round', '{"case_id":"\\ude00\\ud83d"}', 'CC_ERR_JSON_SURROGATE'],
  ['half of a surrogate pair in a key', '{"\\ud83d":1}', 'CC_ERR_JSON_SURROGATE'],
  ['a surrogate as bytes', around(0xed, 0xa0, 0xbd), 'CC_ERR_JSON_UTF8'],
  ['a byte that begins nothing', around(0xff), 'CC_ERR_JSON_UTF8'],
  ['a character that is cut', around(0xe2, 0x82), 'CC_ERR_JSON_UTF8'],
  ['a character written longer than needed', around(0xc0, 0xaf), 'CC_ERR_JSON_UTF8'],
  ['a character beyond the last', around(0xf4, 0x90, 0x80, 0x80), 'CC_ERR_JSON_UTF8'],
  ['Latin-1', Buffer.from('{"name":"Zoë"}', 'latin1'), 'CC_ERR_JSON_UTF8'],
  ['UTF-16', Buffer.from('\u{FEFF}{"case_id":"a"}', 'utf16le'), 'CC_ERR_JSON_UTF8'],
  ['a byte order mark', '\u{FEFF}{"case_id":"a"}', 'CC_ERR_JSON_BOM'],
  ['a key twice', '{"amount":1,"amount":1000000}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  ['a key twice, once escaped', '{"amount":1,"\\u0061mount":1000000}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  ['a key twice, further in', '{"a":[{"b":{"c":1,"d":2,"c":3}}]}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  ['2^53 + 1', '{"amount":9007199254740993}', 'CC_ERR_JSON_NUMBER_INEXACT'],
  ['-(2^53 + 1)', '{"amount":-9007199254740993}', 'CC_ERR_JSON_NUMBER_INEXACT'],
  ['more digits than a number keeps', '{"amount":0.1000000000000000055}', 'CC_ERR_JSON_NUMBER_INEXACT'],
  ['1e999', '{"amount":1e999}', 'CC_ERR_JSON_NUMBER_RANGE'],
  ['-1e999', '{"amount":-1e999}', 'CC_ERR_JSON_NUMBER_RANGE'],
  ['1e-999', '{"amount":1e-999}', 'CC_ERR_JSON_NUMBER_RANGE'],
  ['NaN', '{"amount":NaN}', 'CC_ERR_JSON_NOT_A_NUMBER'],
  ['Infinity', '{"amount":Infinity}', 'CC_ERR_JSON_NOT_A_NUMBER'],
  ['-Infinity', '{"amount":-Infinity}', 'CC_ERR_JSON_NOT_A_NUMBER'],
  ['lists 10,000 deep', `{"a":${nested(10_000, ['[', ']'])}}`, 'CC_ERR_JSON_DEPTH'],
  ['objects 10,000 deep', nested(10_000, ['{"a":', '}']), 'CC_ERR_JSON_DEPTH'],
  ['lists that never end', '['.repeat(100_000), 'CC_ERR_JSON_DEPTH'],
  ['one level too many', nested(65, ['{"a":', '}']), 'CC_ERR_JSON_DEPTH'],
  ['__proto__', '{"__proto__":{"isAdmin":true}}', 'CC_ERR_JSON_PROTO'],
  ['__proto__, escaped', '{"\\u005f_proto__":{"isAdmin":true}}', 'CC_ERR_JSON_PROTO'],
  ['__proto__, further in', '{"a":[{"__proto__":null}]}', 'CC_ERR_JSON_PROTO'],
  ['text behind the end', '{"case_id":"a"} x', 'CC_ERR_JSON_TRAILING'],
  ['two documents', '{"case_id":"a"}\n{"case_id":"b"}', 'CC_ERR_JSON_TRAILING'],
  ['a comma too many', '{"case_id":"a",}', 'CC_ERR_JSON_SYNTAX'],
  ['a comment', '{/* none */}', 'CC_ERR_JSON_SYNTAX'],
  ['single quotes', "{'case_id':'a'}", 'CC_ERR_JSON_SYNTAX'],
  ['a line break in a text', '{"case_id":"a\nb"}', 'CC_ERR_JSON_SYNTAX'],
  ['an escape that nobody knows', '{"case_id":"\\x41"}', 'CC_ERR_JSON_SYNTAX'],
  ['a zero in front', '{"amount":007}', 'CC_ERR_JSON_SYNTAX'],
  ['hexadecimal', '{"amount":0x1F}', 'CC_ERR_JSON_SYNTAX'],
  ['a document that breaks off', '{"case_id":"a', 'CC_ERR_JSON_SYNTAX'],
  ['a text', '"case"', 'CC_ERR_CASE_FILE'],
  ['null', 'null', 'CC_ERR_CASE_FILE'],
  ['an empty list', '[]', 'CC_ERR_CASE_FILE'],
  ['a list with something else in it', '[{"case_id":"a"},1]', 'CC_ERR_CASE_FILE'],
  ['a good case before a bad one', '[{"case_id":"a"},{"amount":1e999}]', 'CC_ERR_JSON_NUMBER_RANGE'],
  ['one case of more than 1 MiB', `{"a":"${'x'.repeat(1_048_576)}"}`, 'CC_ERR_JSON_TOO_LARGE'],
]

test('the command line stores a sound document, so that what follows is refused for what it is', async () => {
  const file = join(folder.path, 'sound.json')
  writeFileSync(file, nested(64, ['{"a":', '}'], '[]').replace('[]', '0.50'))
  const { code, stdout } = await submitFile(file)
  assert.equal(code, 0, stdout)
  assert.equal(countRows(database).instances, 1)
})

for (const [what, document, code] of documents) {
  test(`the command line refuses ${what} with ${code}, and writes no row`, async () => {
    const before = countRows(database)
    const file = join(folder.path, 'hostile.json')
    writeFileSync(file, document)
    const answer = await submitFile(file)
    assert.equal(answer.code, 2, answer.stderr)
    const { code: said, detail, remedy } = JSON.parse(answer.stdout) as Record<string, string>
    assert.equal(said, code)
    assert.ok(detail!.length > 10 && remedy!.length > 10, 'it says what is wrong and what to do')
    assert.deepEqual(countRows(database), before)
  })
}

const hugeBytes = 50 * 1024 * 1024
const fill = (head: string, unit: string, tail: string) =>
  Buffer.concat([Buffer.from(head), Buffer.alloc(hugeBytes, unit), Buffer.from(tail)])

const huge: readonly (readonly [what: string, document: () => Buffer])[] = [
  ['one text', () => fill('{"a":"', 'x', '"}')],
  ['one number', () => fill('{"a":', '1', '}')],
  ['a list of numbers', () => fill('{"a":[', '1,', '1]}')],
  ['small objects', () => fill('{"a":[', '{"b":1},', '1]}')],
  ['small cases', () => fill('[', '{"b":1},', '{"b":1}]')],
]
const allowedBytes = 300 * 1024 * 1024

for (const [what, document] of huge) {
  test(`50 MB of ${what} are refused in little memory, from a file and from standard input`, async () => {
    const before = countRows(database)
    const file = join(folder.path, 'huge.json')
    const bytes = document()
    writeFileSync(file, bytes)
    for (const answer of [await submitFile(file), await submitFile('-', bytes)]) {
      assert.equal(answer.code, 2, answer.stderr)
      assert.equal((JSON.parse(answer.stdout) as { code: string }).code, 'CC_ERR_JSON_TOO_LARGE')
      assert.ok(answer.memoryBytes < allowedBytes, `${answer.memoryBytes} bytes`)
    }
    assert.deepEqual(countRows(database), before)
  })
}

// The library

const workflow = {
  name: 'door',
  steps: [
    { name: 'say', primitive: 'saying', retry: { max_attempts: 1 } },
    {
      name: 'sort',
      primitive: 'classify',
      params: { categories: 'a, b', criteria: 'any' },
      retry: { max_attempts: 1 },
    },
  ],
}
const doorPack = { name: 'door', workflows: [workflow], domains: [{ domain_name: 'door', governance: 'auto' }] }
const soundAnswer = '{"confidence":0.9,"reasoning":"it is so","category":"a"}'

interface Saying {
  readonly result?: () => unknown
  readonly answer?: () => unknown
}

function sayingPrimitive(result: () => unknown): Primitive {
  return {
    name: 'saying',
    needsModel: false,
    requiredParams: [],
    defaultParams: {},
    run: () => Promise.resolve(result() as StepResult),
  }
}

/** A core whose step and whose model say what a test wants them to. */
async function openDoor(name: string, { result = () => ({ output: {} }), answer }: Saying = {}): Promise<Core> {
  const model: Model = {
    name: 'ours/1',
    simulated: false,
    answer: () => Promise.resolve((answer ?? (() => ({ text: soundAnswer, model: 'ours-1' })))() as never),
  }
  return await openCore({
    path: join(folder.path, `${name}.db`),
    packs: [doorPack],
    primitives: [sayingPrimitive(result)],
    model,
  })
}

class Claim {
  readonly amount = 1
}

const cyclic: { self?: unknown } = {}
cyclic.self = cyclic
const deep = (depth: number): unknown => (depth === 0 ? 1 : { a: deep(depth - 1) })
const veryDeep = () => {
  let value: unknown = 1
  for (let level = 0; level < 10_000; level++) value = [value]
  return value
}
const sparse = [1, , 3]

const values: readonly (readonly [what: string, input: () => unknown, code: ErrorCode])[] = [
  ['nothing', () => undefined, 'CC_ERR_INPUT'],
  ['null', () => null, 'CC_ERR_INPUT'],
  ['a text', () => 'case', 'CC_ERR_INPUT'],
  ['a list', () => [{}], 'CC_ERR_INPUT'],
  ['NaN', () => ({ amount: NaN }), 'CC_ERR_INPUT'],
  ['Infinity', () => ({ amount: [Infinity] }), 'CC_ERR_INPUT'],
  ['undefined in a list', () => ({ a: [undefined] }), 'CC_ERR_INPUT'],
  ['a list with a hole', () => ({ a: sparse }), 'CC_ERR_INPUT'],
  ['a list of nothing but holes', () => ({ a: new Array(3) }), 'CC_ERR_INPUT'],
  ['a function', () => ({ a: () => 1 }), 'CC_ERR_INPUT'],
  ['a method that would say something else', () => ({ toJSON: () => ({}) }), 'CC_ERR_INPUT'],
  ['a symbol', () => ({ a: Symbol('a') }), 'CC_ERR_INPUT'],
  ['a bigint', () => ({ a: 1n }), 'CC_ERR_INPUT'],
  ['a date', () => ({ a: new Date(0) }), 'CC_ERR_INPUT'],
  ['a map', () => ({ a: new Map([['b', 1]]) }), 'CC_ERR_INPUT'],
  ['bytes', () => ({ a: new Uint8Array(3) }), 'CC_ERR_INPUT'],
  ['a text in an object', () => ({ a: new String('b') }), 'CC_ERR_INPUT'],
  ['an instance of a class', () => new Claim(), 'CC_ERR_INPUT'],
  ['what contains itself', () => cyclic, 'CC_ERR_INPUT'],
  ['half of a surrogate pair', () => ({ a: 'x\ud83d' }), 'CC_ERR_INPUT'],
  ['half of a surrogate pair in a key', () => ({ 'x\ude00': 1 }), 'CC_ERR_INPUT'],
  ['NUL', () => ({ a: 'x\0' }), 'CC_ERR_INPUT'],
  ['NUL in a key', () => ({ 'x\0': 1 }), 'CC_ERR_INPUT'],
  ['__proto__ as a key', () => JSON.parse('{"__proto__":{"isAdmin":true}}') as unknown, 'CC_ERR_INPUT'],
  ['65 levels', () => deep(65), 'CC_ERR_JSON_DEPTH'],
  ['10,000 levels', () => ({ a: veryDeep() }), 'CC_ERR_INPUT'],
  ['a text of more than 1 MiB', () => ({ a: 'x'.repeat(1_048_576) }), 'CC_ERR_JSON_TOO_LARGE'],
  ['a text of 50 MB', () => ({ a: 'x'.repeat(hugeBytes) }), 'CC_ERR_JSON_TOO_LARGE'],
  ['a million numbers', () => ({ a: new Array<number>(1_000_000).fill(1) }), 'CC_ERR_JSON_TOO_LARGE'],
  [
    'a value that cannot be read',
    () => ({
      get a(): never {
        throw new Error('not for you')
      },
    }),
    'CC_ERR_INPUT',
  ],
]

const requests: readonly (readonly [what: string, request: object, code: ErrorCode])[] = [
  ['a workflow that is no text', { workflow: 7 }, 'CC_ERR_INPUT'],
  ['a workflow with NUL', { workflow: 'door\0' }, 'CC_ERR_INPUT'],
  ['a workflow of every object', { workflow: 'constructor' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  ['a domain of every object', { domain: '__proto__' }, 'CC_ERR_UNKNOWN_DOMAIN'],
  ['a domain with half of a surrogate pair', { domain: 'x\ud83d' }, 'CC_ERR_INPUT'],
  ['a key that is no text', { key: 7 }, 'CC_ERR_INPUT'],
  ['an empty key', { key: '' }, 'CC_ERR_INPUT'],
  ['a key of 201 characters', { key: 'k'.repeat(201) }, 'CC_ERR_INPUT'],
  ['a key with NUL', { key: 'k\0' }, 'CC_ERR_INPUT'],
  ['a key with half of a surrogate pair', { key: '\ud83d' }, 'CC_ERR_INPUT'],
  ['a priority that is no number', { priority: NaN }, 'CC_ERR_INPUT'],
  ['a priority that is not whole', { priority: 0.5 }, 'CC_ERR_INPUT'],
  ['no actor', { actor: '' }, 'CC_ERR_ACTOR'],
  ['an actor with a line break', { actor: 'kim\nann' }, 'CC_ERR_ACTOR'],
  ['an actor who turns the line round', { actor: 'kim\u202egnir' }, 'CC_ERR_ACTOR'],
  ['an actor with half of a surrogate pair', { actor: 'kim\ud83d' }, 'CC_ERR_ACTOR'],
]

const sound = { workflow: 'door', domain: 'door', input: { case_id: 'a' }, actor: 'kim' }

test('the library refuses every value that is no plain JSON, and writes no row', async (t) => {
  await using closing = await closingDoor('values')
  const { core } = closing
  await core.submit({ ...sound, key: 'first' })
  const path = join(folder.path, 'values.db')
  const before = countRows(path)
  const table = [
    ...values.map(([what, input, code]) => [what, () => ({ ...sound, input: input() }), code] as const),
    ...requests.map(([what, request, code]) => [what, () => ({ ...sound, ...request }), code] as const),
  ]
  for (const [what, request, code] of table) {
    await t.test(`${what}: ${code}`, async () => {
      const submitting = core.submit(request() as SubmitRequest)
      await assert.rejects(submitting, (error) => isCoreError(error, code) || assert.fail(String(error)))
      assert.deepEqual(countRows(path), before)
    })
  }
})

test('what a double holds as it is written goes in, and comes out the same', async () => {
  await using closing = await closingDoor('numbers')
  const input = { a: -0, b: 2 ** 53 + 2, c: 1.7976931348623157e308, d: 5e-324, e: undefined, f: '😀', g: [null, {}] }
  const { instanceId } = await closing.core.submit({ ...sound, input: input as unknown as JsonObject })
  const { audit_events, payloads } = (await closing.core.exportCase(instanceId)) as Record<
    string,
    readonly JsonObject[]
  >
  assert.equal(audit_events!.length, 1)
  assert.deepEqual(JSON.parse(payloads![0]!.text as string), {
    a: 0,
    b: 9_007_199_254_740_994,
    c: 1.7976931348623157e308,
    d: 5e-324,
    f: '😀',
    g: [null, {}],
  })
})

async function closingDoor(
  name: string,
  saying?: Saying,
): Promise<{ core: Core; [Symbol.asyncDispose]: () => Promise<void> }> {
  const core = await openDoor(name, saying)
  return { core, [Symbol.asyncDispose]: () => core.close() }
}

// What steps and models say

async function runOne(name: string, saying: Saying): Promise<CaseView> {
  await using closing = await closingDoor(name, saying)
  const { core } = closing
  core.start()
  const { instanceId } = await core.submit(sound)
  const view = await core.waitFor(instanceId, { timeoutMs: 5000 })
  const report = await core.verify()
  assert.deepEqual(report.findings, [], 'what was recorded of it is whole')
  return view
}

const results: readonly (readonly [what: string, result: () => unknown])[] = [
  ['nothing', () => undefined],
  ['no output', () => ({})],
  ['a text', () => ({ output: 'done' })],
  ['a list', () => ({ output: [] })],
  ['NaN', () => ({ output: { a: NaN } })],
  ['undefined in a list', () => ({ output: { a: [undefined] } })],
  ['a function', () => ({ output: { a: () => 1 } })],
  ['a bigint', () => ({ output: { a: 1n } })],
  ['an instance of a class', () => ({ output: new Claim() })],
  ['what contains itself', () => ({ output: cyclic })],
  ['10,000 levels', () => ({ output: { a: veryDeep() } })],
  ['NUL', () => ({ output: { a: '\0' } })],
  ['half of a surrogate pair', () => ({ output: { a: '\ud83d' } })],
  ['__proto__ as a key', () => ({ output: JSON.parse('{"__proto__":1}') as Json })],
  ['a text of 50 MB', () => ({ output: { a: 'x'.repeat(hugeBytes) } })],
  ['a model with NUL', () => ({ output: {}, model: 'a\0' })],
  ['a model with half of a surrogate pair', () => ({ output: {}, model: '\ud83d' })],
  ['a model that is no text', () => ({ output: {}, model: 7 })],
  ['a model of 100,000 characters', () => ({ output: {}, model: 'm'.repeat(100_000) })],
  ['tokens that are no number', () => ({ output: {}, inputTokens: NaN })],
  ['tokens beyond what can be counted', () => ({ output: {}, outputTokens: 2 ** 60 })],
  ['a part of a token', () => ({ output: {}, inputTokens: 0.5 })],
]

test('a step of a program that answers with anything but plain JSON has failed, and the record stays whole', async (t) => {
  for (const [index, [what, result]] of results.entries()) {
    await t.test(what, async () => {
      const view = await runOne(`result-${index}`, { result })
      assert.equal(view.status, 'failed')
      assert.equal(view.failure?.code, 'primitive_error')
      assert.deepEqual(view.path, ['say'])
    })
  }
})

test('a step that throws whatever it likes has failed, and what it threw is recorded as far as it can be', async (t) => {
  const thrown: readonly (readonly [what: string, value: () => unknown])[] = [
    ['an error with NUL', () => new Error('a\0b')],
    ['an error with half of a surrogate pair', () => new Error('x\ud83d')],
    ['an error of 50 MB', () => new Error('x'.repeat(hugeBytes))],
    ['a text', () => 'no'],
    ['nothing', () => undefined],
    ['an object without a prototype', () => Object.create(null) as unknown],
    ['a symbol', () => Symbol('no')],
  ]
  for (const [index, [what, value]] of thrown.entries()) {
    await t.test(what, async () => {
      const result = () => {
        throw value()
      }
      const view = await runOne(`thrown-${index}`, { result })
      assert.equal(view.status, 'failed')
      assert.equal(view.failure?.code, 'primitive_error')
    })
  }
})

const members = '"confidence":0.9,"reasoning":"it is so","category":"a"'
const answers: readonly (readonly [what: string, text: unknown])[] = [
  ['nothing', ''],
  ['prose', 'I would say category a.'],
  ['NUL', `{${members},"note":"a\0"}`],
  ['NUL, escaped', `{${members},"note":"\\u0000"}`],
  ['half of a surrogate pair', `{${members},"note":"x\ud83d"}`],
  ['half of a surrogate pair, escaped', `{${members},"note":"\\ud83d"}`],
  ['a key twice', `{${members},"category":"b"}`],
  ['2^53 + 1', `{${members},"note":9007199254740993}`],
  ['1e999', `{${members},"note":1e999}`],
  ['NaN', '{"confidence":NaN,"reasoning":"it is so","category":"a"}'],
  ['10,000 levels', `{${members},"note":${nested(10_000, ['[', ']'])}}`],
  ['10,000 objects', `{${members},"note":${nested(10_000, ['{"a":', '}'])}}`],
  ['50 MB', `{${members},"note":"${'x'.repeat(hugeBytes)}"}`],
  ['__proto__', `{${members},"__proto__":{"category":"b"}}`],
  ['a byte order mark within', `{\u{FEFF}${members}}`],
  ['two answers', `{${members}}\n{${members}}`],
  ['an answer and another in a fence', `{${members}}\n\`\`\`json\n{${members}}\n\`\`\`\n\`\`\`\n{}\n\`\`\``],
  ['an answer that breaks off', `{${members}`],
  ['a comma too many', `{${members},}`],
]

test('a model that answers with anything but one sound object has failed the step', async (t) => {
  const sane = await runOne('answer', {})
  assert.equal(sane.status, 'completed', 'a sound answer is taken')
  for (const [index, [what, text]] of answers.entries()) {
    await t.test(what, async () => {
      const view = await runOne(`answer-${index}`, { answer: () => ({ text, model: 'ours-1' }) })
      assert.equal(view.status, 'failed')
      assert.equal(view.failure?.code, 'unparseable')
      assert.deepEqual(view.path, ['say', 'sort'])
    })
  }
  const shapeless: readonly (readonly [what: string, answer: unknown])[] = [
    ['no answer at all', undefined],
    ['an answer without text', { model: 'ours-1' }],
    ['an answer whose text is a number', { text: 7, model: 'ours-1' }],
    ['an answer of a model with NUL', { text: soundAnswer, model: 'a\0' }],
    ['an answer with tokens that are no number', { text: soundAnswer, model: 'ours-1', inputTokens: NaN }],
  ]
  for (const [index, [what, answer]] of shapeless.entries()) {
    await t.test(what, async () => {
      const view = await runOne(`shapeless-${index}`, { answer: () => answer })
      assert.equal(view.status, 'failed')
      assert.equal(view.failure?.code, 'primitive_error')
    })
  }
})

// Scripts

const entry = (output: string) => `[{"when":{"step":"sort"},"output":${output}}]`
const scripts: readonly (readonly [what: string, name: string, text: string | Buffer])[] = [
  ['nothing', 'a.json', ''],
  ['NUL', 'a.json', entry('{"note":"\\u0000"}')],
  ['half of a surrogate pair', 'a.json', entry('{"note":"\\ud83d"}')],
  ['bad UTF-8', 'a.json', around(0xff)],
  ['a key twice', 'a.json', entry('{"category":"a","category":"b"}')],
  ['2^53 + 1', 'a.json', entry('{"note":9007199254740993}')],
  ['1e999', 'a.json', entry('{"note":1e999}')],
  ['NaN', 'a.json', entry('{"confidence":NaN}')],
  ['10,000 levels', 'a.json', entry(nested(10_000, ['{"a":', '}']))],
  ['50 MB', 'a.json', entry(`{"note":"${'x'.repeat(hugeBytes)}"}`)],
  ['__proto__', 'a.json', entry('{"__proto__":{"category":"b"}}')],
  ['a byte order mark', 'a.json', `\u{FEFF}${entry('{}')}`],
  ['text behind the end', 'a.json', `${entry('{}')} x`],
  ['nothing', 'a.yaml', ''],
  ['NUL', 'a.yaml', '- when: { step: sort }\n  output: { note: "\\0" }\n'],
  ['half of a surrogate pair', 'a.yaml', '- when: { step: sort }\n  output: { note: "\\ud83d" }\n'],
  ['bad UTF-8', 'a.yaml', around(0xff)],
  ['a key twice', 'a.yaml', '- when: { step: sort }\n  output: { category: a, category: b }\n'],
  [
    'an entry with two outputs',
    'a.yaml',
    '- when: { step: sort }\n  output: { category: a }\n  output: { category: b }\n',
  ],
  ['2^53 + 1', 'a.yaml', '- when: { step: sort }\n  output: { note: 9007199254740993 }\n'],
  ['more digits than a number keeps', 'a.yaml', '- when: { step: sort }\n  output: { note: 0.1000000000000000055 }\n'],
  ['1e999', 'a.yaml', '- when: { step: sort }\n  output: { note: 1e999 }\n'],
  ['1e-999', 'a.yaml', '- when: { step: sort }\n  output: { note: 1e-999 }\n'],
  ['NaN', 'a.yaml', '- when: { step: sort }\n  output: { confidence: .nan }\n'],
  ['infinity', 'a.yaml', '- when: { step: sort }\n  output: { confidence: .inf }\n'],
  ['10,000 levels', 'a.yaml', `- when: { step: sort }\n  output: ${nested(10_000, ['{a: ', '}'])}\n`],
  ['50 MB', 'a.yaml', `- when: { step: sort }\n  output: { note: "${'x'.repeat(hugeBytes)}" }\n`],
  ['__proto__', 'a.yaml', '- when: { step: sort }\n  output: { __proto__: { category: b } }\n'],
  ['a tag of its own', 'a.yaml', '- when: { step: sort }\n  output: !secret { category: b }\n'],
  ['two documents', 'a.yaml', '- when: { step: sort }\n  output: {}\n---\n[]\n'],
  [
    'aliases that multiply',
    'a.yaml',
    `- &a { when: { step: s }, output: { x: ${'y'.repeat(10)} } }\n- [${'*a, '.repeat(200)}]\n`,
  ],
]

test('scripted answers come through the same door: what is wrong with them is refused before a store is made', async (t) => {
  const path = join(folder.path, 'scripted.db')
  const open = async (name: string, text: string | Buffer) => {
    const file = join(folder.path, name)
    writeFileSync(file, text)
    const primitives = [sayingPrimitive(() => ({ output: {} }))]
    return await openCore({ path, packs: [doorPack], primitives, model: `scripted:${file}` })
  }
  for (const [what, name, text] of scripts) {
    await t.test(`${what} in ${name}`, async () => {
      await assert.rejects(
        open(name, text),
        (error) => isCoreError(error, 'CC_ERR_SCRIPT') || assert.fail(String(error)),
      )
      assert.ok(!existsSync(path))
    })
  }
  const sane = await open('a.json', entry(soundAnswer))
  await sane.close()
})
