import assert from 'node:assert/strict'
import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { canonicalJson, maxJsonBytes, parseJson } from '../../src/domain/json.ts'
import { onEachBackend, type OpenStore } from '../storage/fixture.ts'
import { type ApiFixture, type Asking, checkProblem, desk, openApi, speak, withEach } from './fixture.ts'

/** A refused request is refused with these, and leaves no row. */
type Refusal = readonly [status: number, code: string]

interface Spoiled {
  readonly body: string | Uint8Array
  readonly code: string
}

/** What takes the place of `"SLOT"` in a body that would be taken, and what it is refused with. */
const values: Readonly<Record<string, readonly [value: string, code: string]>> = {
  'a key twice': ['{"a": 1, "a": 2}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  'a key twice, once escaped': ['{"a": 1, "\\u0061": 2}', 'CC_ERR_JSON_DUPLICATE_KEY'],
  'a key twice, far inside': ['[[{"b": {"a": 1, "c": 0, "a": 1}}]]', 'CC_ERR_JSON_DUPLICATE_KEY'],
  'a huge key twice': [`{"${'k'.repeat(100_000)}": 1, "${'k'.repeat(100_000)}": 2}`, 'CC_ERR_JSON_DUPLICATE_KEY'],
  __proto__: ['{"__proto__": {"isAdmin": true}}', 'CC_ERR_JSON_PROTO'],
  '__proto__, escaped': ['{"__pr\\u006fto__": 1}', 'CC_ERR_JSON_PROTO'],
  'more depth than anybody needs': [`${'['.repeat(65)}${']'.repeat(65)}`, 'CC_ERR_JSON_DEPTH'],
  'more depth than a stack bears': ['['.repeat(500_000), 'CC_ERR_JSON_DEPTH'],
  NUL: ['"a\0b"', 'CC_ERR_JSON_NUL'],
  'NUL, escaped': ['"a\\u0000b"', 'CC_ERR_JSON_NUL'],
  'NUL in a key': ['{"a\\u0000": 1}', 'CC_ERR_JSON_NUL'],
  'NUL between values': ['[1,\0 2]', 'CC_ERR_JSON_NUL'],
  'half of a surrogate pair': ['"\\ud83d"', 'CC_ERR_JSON_SURROGATE'],
  'the other half': ['"\\ude00"', 'CC_ERR_JSON_SURROGATE'],
  'halves in the wrong order': ['"\\ude00\\ud83d"', 'CC_ERR_JSON_SURROGATE'],
  'half of a pair in a key': ['{"\\ud83d": 1}', 'CC_ERR_JSON_SURROGATE'],
  '2^53 + 1': ['9007199254740993', 'CC_ERR_JSON_NUMBER_INEXACT'],
  'more digits than a double has': ['0.1000000000000000055511151231257827', 'CC_ERR_JSON_NUMBER_INEXACT'],
  'a sum of money in digits that get lost': ['123456789012345678.99', 'CC_ERR_JSON_NUMBER_INEXACT'],
  '1e999': ['1e999', 'CC_ERR_JSON_NUMBER_RANGE'],
  '-1e999': ['-1e999', 'CC_ERR_JSON_NUMBER_RANGE'],
  '1e-999': ['1e-999', 'CC_ERR_JSON_NUMBER_RANGE'],
  NaN: ['NaN', 'CC_ERR_JSON_NOT_A_NUMBER'],
  Infinity: ['Infinity', 'CC_ERR_JSON_NOT_A_NUMBER'],
  '-Infinity': ['-Infinity', 'CC_ERR_JSON_NOT_A_NUMBER'],
  'a leading zero': ['012', 'CC_ERR_JSON_SYNTAX'],
  'hexadecimal digits': ['0x10', 'CC_ERR_JSON_SYNTAX'],
  'a line break inside of a text': ['"a\nb"', 'CC_ERR_JSON_SYNTAX'],
  'an unknown escape': ['"\\x41"', 'CC_ERR_JSON_SYNTAX'],
  'single quotes': ["'a'", 'CC_ERR_JSON_SYNTAX'],
  'a comma too many': ['[1, 2, ]', 'CC_ERR_JSON_SYNTAX'],
  'a comment': ['/* nothing */ 1', 'CC_ERR_JSON_SYNTAX'],
  undefined: ['undefined', 'CC_ERR_JSON_SYNTAX'],
}

/** What is done to the whole body. */
const spoilings: Readonly<Record<string, (text: string) => Spoiled>> = {
  'a byte order mark': (text) => ({ body: `\u{FEFF}${text}`, code: 'CC_ERR_JSON_BOM' }),
  'text after its end': (text) => ({ body: `${text} {}`, code: 'CC_ERR_JSON_TRAILING' }),
  'one brace too many': (text) => ({ body: `${text}}`, code: 'CC_ERR_JSON_TRAILING' }),
  'its end cut off': (text) => ({ body: text.slice(0, -2), code: 'CC_ERR_JSON_SYNTAX' }),
  'nothing in it': () => ({ body: '', code: 'CC_ERR_JSON_SYNTAX' }),
  'blanks alone': () => ({ body: ' \r\n\t ', code: 'CC_ERR_JSON_SYNTAX' }),
  'a byte that is no UTF-8': (text) => ({ body: inserted(text, [0xff]), code: 'CC_ERR_JSON_UTF8' }),
  'NUL in two bytes': (text) => ({ body: inserted(text, [0xc0, 0x80]), code: 'CC_ERR_JSON_UTF8' }),
  'a surrogate in UTF-8': (text) => ({ body: inserted(text, [0xed, 0xa0, 0x80]), code: 'CC_ERR_JSON_UTF8' }),
  'letters of Latin-1': (text) => ({ body: inserted(text, [0xe9]), code: 'CC_ERR_JSON_UTF8' }),
  'UTF-16': (text) => ({ body: Buffer.from(text, 'utf16le'), code: 'CC_ERR_JSON_NUL' }),
  'the half of a character at its end': (text) => ({
    body: Buffer.concat([Buffer.from(text), Buffer.from([0xf0, 0x9f])]),
    code: 'CC_ERR_JSON_UTF8',
  }),
}

function inserted(text: string, bytes: readonly number[]): Uint8Array {
  const [before = '', after = ''] = text.split('SLOT')
  return Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)])
}

/** Everything that the door of JSON refuses, put into this body. */
function spoiled(template: string): Readonly<Record<string, Spoiled>> {
  const spoil = ([value, code]: readonly [string, string]) => ({ body: template.replace('"SLOT"', () => value), code })
  return {
    ...Object.fromEntries(Object.entries(values).map(([what, value]) => [what, spoil(value)])),
    ...Object.fromEntries(Object.entries(spoilings).map(([what, spoilAll]) => [what, spoilAll(template)])),
  }
}

const submission = '{"workflow": "review", "domain": "plain", "input": {"x": "SLOT"}}'

/** The service with a store in which nothing moves by itself. */
const openStill = (open: OpenStore) => openApi(open, { ...desk(), isStarted: false })

async function isRefused(api: ApiFixture, path: string, asking: Asking, expected: Refusal): Promise<void> {
  const before = await api.engine.store.rowCounts()

  checkProblem(await api.ask('POST', path, asking), expected)

  assert.deepEqual(await api.engine.store.rowCounts(), before)
}

onEachBackend(
  'whatever is no JSON, or would be changed by reading it, is no case, and nothing is stored',
  async (open) => {
    await using api = await openStill(open)
    await withEach(spoiled(submission), ({ body, code }) => isRefused(api, '/v1/cases', { body }, [400, code]))
  },
)

const good = { workflow: 'review', domain: 'plain', input: { amount: 7 } }

/** Whole JSON that is no case. */
const misfits: Readonly<Record<string, readonly [body: unknown, code: string]>> = {
  'a list': [[good], 'CC_ERR_BODY'],
  'a text': ['"review"', 'CC_ERR_BODY'],
  'a number': ['7', 'CC_ERR_BODY'],
  null: ['null', 'CC_ERR_BODY'],
  true: ['true', 'CC_ERR_BODY'],
  'an empty object': [{}, 'CC_ERR_BODY'],
  'no workflow': [{ domain: 'plain', input: {} }, 'CC_ERR_BODY'],
  'no domain': [{ workflow: 'review', input: {} }, 'CC_ERR_BODY'],
  'no input': [{ workflow: 'review', domain: 'plain' }, 'CC_ERR_BODY'],
  'a field of another name': [{ ...good, Input: {} }, 'CC_ERR_BODY'],
  'an actor in it': [{ ...good, actor: 'ann' }, 'CC_ERR_BODY'],
  'a priority in it': [{ ...good, priority: 9 }, 'CC_ERR_BODY'],
  'the constructor in it': [{ ...good, constructor: {} }, 'CC_ERR_BODY'],
  'a workflow that is a number': [{ ...good, workflow: 7 }, 'CC_ERR_BODY'],
  'a workflow that is a list': [{ ...good, workflow: ['review'] }, 'CC_ERR_BODY'],
  'a workflow that is null': [{ ...good, workflow: null }, 'CC_ERR_BODY'],
  'a domain that is an object': [{ ...good, domain: { name: 'plain' } }, 'CC_ERR_BODY'],
  'input that is null': [{ ...good, input: null }, 'CC_ERR_BODY'],
  'input that is a list': [{ ...good, input: [good.input] }, 'CC_ERR_BODY'],
  'input that is a text': [{ ...good, input: '{"amount": 7}' }, 'CC_ERR_BODY'],
  'input that is a number': [{ ...good, input: 7 }, 'CC_ERR_BODY'],
  'a workflow with an endless name': [{ ...good, workflow: 'w'.repeat(201) }, 'CC_ERR_BODY'],
  'a domain with an endless name': [{ ...good, domain: 'd'.repeat(201) }, 'CC_ERR_BODY'],
  'a workflow without a name': [{ ...good, workflow: '' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  'a workflow of another spelling': [{ ...good, workflow: 'Review' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  'a workflow of the prototype': [{ ...good, workflow: 'toString' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  'a workflow that is a path': [{ ...good, workflow: '../review' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  'a domain of another workflow': [{ ...good, domain: 'travel' }, 'CC_ERR_UNKNOWN_DOMAIN'],
}

onEachBackend('JSON of another shape is no case, and nothing is stored', async (open) => {
  await using api = await openStill(open)
  await withEach(misfits, ([body, code]) => isRefused(api, '/v1/cases', { body }, [422, code]))
})

onEachBackend('a body without a type is refused, and so is none at all', async (open) => {
  await using api = await openStill(open)
  await isRefused(api, '/v1/cases', {}, [422, 'CC_ERR_BODY'])
  const text = JSON.stringify(good)

  const answer = await speak(
    api.url,
    `POST /v1/cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: ${text.length}\r\nConnection: close\r\n\r\n${text}`,
  )

  assert.match(answer, /^HTTP\/1\.1 415 .*"CC_ERR_MEDIA_TYPE".* is nothing, and only JSON is taken/s)
  assert.equal((await api.engine.store.rowCounts()).instances, 0)
})

const types: Readonly<Record<string, Refusal | 202>> = {
  'application/json': 202,
  'application/json;charset=utf-8': 202,
  'application/json; charset=UTF-8': 202,
  'Application/JSON; charset="utf-8"': 202,
  'text/plain': [415, 'CC_ERR_MEDIA_TYPE'],
  'text/json': [415, 'CC_ERR_MEDIA_TYPE'],
  'text/plain; application/json': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/x-www-form-urlencoded': [415, 'CC_ERR_MEDIA_TYPE'],
  'multipart/form-data; boundary=a': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/jsonp': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/json-patch+json': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/merge-patch+json': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/problem+json': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/xml': [415, 'CC_ERR_MEDIA_TYPE'],
  'application/*': [415, 'CC_ERR_MEDIA_TYPE'],
  json: [415, 'CC_ERR_MEDIA_TYPE'],
  '': [415, 'CC_ERR_MEDIA_TYPE'],
}

onEachBackend('JSON is taken as what it is called, and nothing else is', async (open) => {
  await using api = await openStill(open)
  await withEach(types, async (expected, type) => {
    const asking = { body: good, headers: { 'content-type': type } }
    if (expected !== 202) return await isRefused(api, '/v1/cases', asking, expected)
    assert.equal((await api.ask('POST', '/v1/cases', asking)).status, 202)
  })
})

onEachBackend('bytes count and not what they are said to be', async (open) => {
  await using api = await openStill(open)
  const asking = (name: string, encoding: BufferEncoding, charset: string) => ({
    body: Buffer.from(JSON.stringify({ ...good, input: { name } }), encoding),
    headers: { 'content-type': `application/json; charset=${charset}` },
  })
  await isRefused(api, '/v1/cases', asking('Juergen', 'utf16le', 'utf-16'), [400, 'CC_ERR_JSON_NUL'])
  await isRefused(api, '/v1/cases', asking('Jürgen', 'latin1', 'iso-8859-1'), [400, 'CC_ERR_JSON_UTF8'])
})

onEachBackend('a body that is packed is refused, even if it is plain after all', async (open) => {
  await using api = await openStill(open)
  for (const encoding of ['gzip', 'GZIP', 'br', 'deflate', 'gzip, identity', 'unheard-of']) {
    const headers = { 'content-encoding': encoding }
    await isRefused(api, '/v1/cases', { body: gzipSync(JSON.stringify(good)), headers }, [415, 'CC_ERR_MEDIA_TYPE'])
    await isRefused(api, '/v1/cases', { body: good, headers }, [415, 'CC_ERR_MEDIA_TYPE'])
  }
  const headers = { 'content-encoding': 'identity' }
  assert.equal((await api.ask('POST', '/v1/cases', { body: good, headers })).status, 202)
})

onEachBackend('a body is at most so large, whether it says so before or not', async (open) => {
  await using api = await openStill(open)
  const sized = (bytes: number) => {
    const [start = '', end = ''] = JSON.stringify({ ...good, input: { text: '' } }).split('""')
    return `${start}"${'x'.repeat(bytes - start.length - end.length - 2)}"${end}`
  }
  const chunked = { 'transfer-encoding': 'chunked' }
  for (const headers of [{}, chunked]) {
    const large = { body: sized(maxJsonBytes + 1), headers }
    await isRefused(api, '/v1/cases', large, [413, 'CC_ERR_BODY_TOO_LARGE'])

    const { status, body } = await api.ask('POST', '/v1/cases', { body: sized(maxJsonBytes), headers })
    assert.equal(status, 202)
    const { input } = JSON.parse(sized(maxJsonBytes)) as { input: object }
    assert.deepEqual((await storedInput(api, body.instance_id as string)).input, input)
  }
})

onEachBackend('a body that says that it is too large is refused before it comes', async (open) => {
  await using api = await openStill(open)
  const head = 'POST /v1/cases HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json'

  const answer = await speak(api.url, `${head}\r\nContent-Length: 100000000000\r\n\r\n{`)

  assert.match(answer, /^HTTP\/1\.1 413 .*"CC_ERR_BODY_TOO_LARGE"/s)
})

onEachBackend('large keys, many keys and deep content are stored as they came', async (open) => {
  await using api = await openStill(open)
  let deep: unknown = 'end'
  for (let depth = 0; depth < 60; depth++) deep = [deep]
  const inputs: readonly object[] = [
    { ['k'.repeat(900_000)]: 1 },
    Object.fromEntries(Array.from({ length: 20_000 }, (_, index) => [`key ${index}`, index])),
    { deep },
    {
      constructor: 1,
      toString: { prototype: null },
      hasOwnProperty: [],
      '': '',
      'a.b': 1,
      $ref: '#',
      '\u{1F600}': '\u2028',
    },
    { numbers: [0, -0, 1e21, 5e-324, 1.7976931348623157e308, 0.1, 9007199254740992, -1.5e-7] },
  ]
  for (const input of inputs) {
    const { status, body } = await api.ask('POST', '/v1/cases', { body: { ...good, input } })
    assert.equal(status, 202)
    assert.deepEqual(await storedInput(api, body.instance_id as string), JSON.parse(JSON.stringify({ input })))
  }
})

async function storedInput({ engine }: ApiFixture, instanceId: string): Promise<{ readonly input: unknown }> {
  const [payload] = await engine.store.sql<{ text: string }>(
    `select text from payloads where instance_id = $1 and kind = 'input'`,
    instanceId,
  )
  return { input: JSON.parse(payload!.text) as unknown }
}

/** The other routes that take a body: one that would do, and what does not fit. */
const routes: Readonly<
  Record<string, readonly [template: string, misfits: readonly (readonly [unknown, ...Refusal])[]]>
> = {
  '/v1/tasks/TASK/decision': [
    '{"decision": "approve", "reason": "SLOT"}',
    [
      [undefined, 422, 'CC_ERR_BODY'],
      [{}, 422, 'CC_ERR_BODY'],
      [[], 422, 'CC_ERR_BODY'],
      ['"approve"', 422, 'CC_ERR_BODY'],
      [{ decision: 'approve' }, 422, 'CC_ERR_BODY'],
      [{ reason: 'seen' }, 422, 'CC_ERR_BODY'],
      [{ decision: 'approve', reason: null }, 422, 'CC_ERR_BODY'],
      [{ decision: 'approve', reason: ['seen'] }, 422, 'CC_ERR_BODY'],
      [{ decision: ['approve'], reason: 'seen' }, 422, 'CC_ERR_BODY'],
      [{ decision: 'approve', reason: 'seen', actor: 'bob' }, 422, 'CC_ERR_BODY'],
      [{ decision: 'd'.repeat(201), reason: 'seen' }, 422, 'CC_ERR_BODY'],
      [{ decision: 'approve', reason: '' }, 422, 'CC_ERR_REASON'],
      [{ decision: 'approve', reason: ' \n\t' }, 422, 'CC_ERR_REASON'],
      [{ decision: 'constructor', reason: 'seen' }, 422, 'CC_ERR_DECISION'],
      [{ decision: 'approve', reason: 'seen', changes: {} }, 422, 'CC_ERR_CHANGES'],
      [{ decision: 'approve', reason: 'seen', changes: null }, 422, 'CC_ERR_CHANGES'],
      [{ decision: 'approve_with_changes', reason: 'seen' }, 422, 'CC_ERR_CHANGES'],
      [{ decision: 'approve_with_changes', reason: 'seen', changes: [] }, 422, 'CC_ERR_CHANGES'],
      [{ decision: 'approve_with_changes', reason: 'seen', changes: null }, 422, 'CC_ERR_CHANGES'],
      [{ decision: 'approve_with_changes', reason: 'seen', changes: 'all' }, 422, 'CC_ERR_CHANGES'],
    ],
  ],
  '/v1/tasks/TASK/claim': [
    '{"seconds": "SLOT"}',
    [
      [{ seconds: 0 }, 422, 'CC_ERR_BODY'],
      [{ seconds: -1 }, 422, 'CC_ERR_BODY'],
      [{ seconds: 1.5 }, 422, 'CC_ERR_BODY'],
      [{ seconds: 86_401 }, 422, 'CC_ERR_BODY'],
      [{ seconds: '60' }, 422, 'CC_ERR_BODY'],
      [{ seconds: null }, 422, 'CC_ERR_BODY'],
      [{ minutes: 1 }, 422, 'CC_ERR_BODY'],
      [[], 422, 'CC_ERR_BODY'],
      ['60', 422, 'CC_ERR_BODY'],
    ],
  ],
  '/v1/cases/CASE/cancel': [
    '{"reason": "SLOT"}',
    [
      [undefined, 422, 'CC_ERR_BODY'],
      [{}, 422, 'CC_ERR_BODY'],
      [{ reason: 7 }, 422, 'CC_ERR_BODY'],
      [{ reason: 'twice', status: 'completed' }, 422, 'CC_ERR_BODY'],
      [{ reason: ' ' }, 422, 'CC_ERR_REASON'],
    ],
  ],
  '/v1/cases/CASE/retry': [
    '{"reason": "SLOT"}',
    [
      [{ step: 'first' }, 422, 'CC_ERR_BODY'],
      [[], 422, 'CC_ERR_BODY'],
    ],
  ],
  '/v1/cases/CASE/erase': [
    '{"payload_id": "SLOT", "reason": "asked for"}',
    [
      [undefined, 422, 'CC_ERR_BODY'],
      [{ reason: 'asked for' }, 422, 'CC_ERR_BODY'],
      [{ payload_id: 7, reason: 'asked for' }, 422, 'CC_ERR_BODY'],
      [{ payload_id: 'input', reason: 'asked for' }, 404, 'CC_ERR_UNKNOWN_PAYLOAD'],
      [{ payload_id: 'p'.repeat(100_000), reason: 'asked for' }, 404, 'CC_ERR_UNKNOWN_PAYLOAD'],
      [{ payload_id: 'input', reason: ' ' }, 422, 'CC_ERR_REASON'],
    ],
  ],
}

for (const [route, [template, unfit]] of Object.entries(routes)) {
  onEachBackend(`POST ${route} refuses whatever is no JSON, and nothing comes of it`, async (open) => {
    await using api = await openApi(open, desk())
    const path = await pathOf(api, route)
    await withEach(spoiled(template), ({ body, code }) => isRefused(api, path, { body, as: 'ann' }, [400, code]))
    const packed = { 'content-encoding': 'gzip' }
    await isRefused(api, path, { body: '{}', headers: packed }, [415, 'CC_ERR_MEDIA_TYPE'])
    await isRefused(api, path, { body: '{}', headers: { 'content-type': 'text/plain' } }, [415, 'CC_ERR_MEDIA_TYPE'])
    await isRefused(api, path, { body: ' '.repeat(maxJsonBytes + 1) }, [413, 'CC_ERR_BODY_TOO_LARGE'])
  })

  onEachBackend(`POST ${route} refuses what does not fit, and nothing comes of it`, async (open) => {
    await using api = await openApi(open, desk())
    const path = await pathOf(api, route)
    for (const [body, ...expected] of unfit) await isRefused(api, path, { body, as: 'ann' }, expected)
  })
}

/** The path with a case that is held, and its task. */
async function pathOf({ engine }: ApiFixture, route: string): Promise<string> {
  const { instanceId, openTasks } = await engine.run({ domain: 'gated' })
  return route.replace('CASE', instanceId).replace('TASK', openTasks[0]!)
}

/** What cannot be the id of anything, as it stands in a path. */
const badIds = [
  '..%2f..%2fetc%2fpasswd',
  '%2e%2e',
  '%00',
  'a%00b',
  '%',
  '%zz',
  '%E0%A4%A',
  '%C0%80',
  '%ED%A0%80',
  '%F0%9F%98%80',
  '%0d%0aSet-Cookie:a=b',
  "'%20or%20'1'='1",
  'null',
  'constructor',
  '0',
  '019B8D62-7A80-71B8-AAEB-B9A0D4E560B5',
  '019b8d62-7a80-71b8-aaeb-b9a0d4e560b5%00',
  '019b8d62-7a80-71b8-aaeb-b9a0d4e560b5%0A',
  '019b8d62-7a80-71b8-aaeb-b9a0d4e560b',
  '019b8d62-7a80-71b8-aaeb-b9a0d4e560b5',
  'a'.repeat(201),
  'a'.repeat(10_000),
]

const withId: Readonly<Record<string, unknown>> = {
  'GET /v1/cases/:id': undefined,
  'GET /v1/cases/:id?wait=60': undefined,
  'GET /v1/cases/:id/steps': undefined,
  'GET /v1/cases/:id/audit': undefined,
  'GET /v1/cases/:id/export': undefined,
  'GET /v1/cases/:id/verify': undefined,
  'GET /v1/cases/:id/stream': undefined,
  'POST /v1/cases/:id/cancel': { reason: 'twice' },
  'POST /v1/cases/:id/retry': undefined,
  'POST /v1/cases/:id/erase': { payload_id: 'a', reason: 'asked for' },
  'GET /v1/tasks/:id': undefined,
  'POST /v1/tasks/:id/claim': undefined,
  'POST /v1/tasks/:id/decision': { decision: 'approve', reason: 'seen' },
}

onEachBackend('nothing is known by an id that is none', async (open) => {
  await using api = await openStill(open)
  const before = await api.engine.store.rowCounts()
  await withEach(withId, async (body, route) => {
    const [method = '', path = ''] = route.split(' ')
    const code = path.includes('tasks') ? 'CC_ERR_UNKNOWN_TASK' : 'CC_ERR_UNKNOWN_CASE'
    for (const id of badIds) {
      const answer = await api.ask(method, path.replace(':id', id), { body })
      checkProblem(answer, [404, code])
      assert.equal(answer.headers['set-cookie'], undefined)
    }
  })
  assert.deepEqual(await api.engine.store.rowCounts(), before)
})

const elsewhere = [
  'GET /etc/passwd',
  'GET /../../etc/passwd',
  'GET /v1/cases/../../../etc/passwd',
  'GET /%2e%2e/%2e%2e/etc/passwd',
  'GET //v1/cases',
  'GET /V1/cases',
  'GET /v1/cases/019b8d62-7a80-71b8-aaeb-b9a0d4e560b5/payloads',
  'GET /v1/me/',
  'GET /v1/me%00',
  'GET /%',
  'GET /%ff?%ff',
  'GET /page.js',
  'GET /.git/config',
  'HEAD /v1/me',
  'PUT /v1/cases',
  'DELETE /v1/cases/019b8d62-7a80-71b8-aaeb-b9a0d4e560b5',
  'PATCH /v1/cases/019b8d62-7a80-71b8-aaeb-b9a0d4e560b5',
  'OPTIONS *',
  'TRACE /',
]

onEachBackend('what is no route is not found', async (open) => {
  await using api = await openStill(open)
  for (const route of elsewhere) {
    const [method = '', path = ''] = route.split(' ')
    const answer = await api.ask(method, path)
    assert.equal(answer.status, 404, route)
    if (method !== 'HEAD') checkProblem(answer, [404, 'CC_ERR_NO_ROUTE'])
  }
})

/** Parameters that no route takes, or not like this. */
const badQueries: Readonly<Record<string, readonly string[]>> = {
  '/v1/cases': [
    'limit=0',
    'limit=501',
    'limit=x',
    'limit=-1',
    'limit=1.5',
    'limit=1e2',
    'limit=0x10',
    'limit=',
    'limit=%2010',
    'limit=99999999999999999999',
    'limit=1&limit=2',
    'status=open',
    'status=',
    'status=Running',
    'status=running&status=failed',
    'workflow=review&workflow=other',
    'workflow[]=review',
    'cursor=a&cursor=b',
    'page=2',
    'Limit=1',
    'submittedBy=kim',
    'submitted_by=kim',
    'before=x',
    '__proto__=x',
    'constructor=x',
    '%00=1',
    'a',
    '=',
  ],
  '/v1/tasks': ['limit=0', 'limit=501', 'status=withdrawn', 'status=all', 'queue=a&queue=b', 'tier=gate', 'queues=a'],
  '/v1/cases/CASE': ['wait=61', 'wait=-1', 'wait=x', 'wait=1.5', 'wait=', 'wait=1&wait=2', 'Wait=1'],
  '/v1/cases/CASE/steps': ['limit=1'],
  '/v1/cases/CASE/audit': ['after=1'],
  '/v1/cases/CASE/verify': ['quick=1'],
  '/v1/cases/CASE/export': ['format=csv'],
  '/v1/cases/CASE/stream': ['after=x', 'after=-1', 'after=1.5', 'after=', 'after=1&after=2', 'since=1'],
  '/v1/stream': ['after=1'],
  '/v1/tasks/TASK': ['full=1'],
  '/v1/me': ['a=b'],
  '/v1/workflows': ['limit=1'],
  '/metrics': ['name=a'],
  '/health/ready': ['deep=1'],
  '/openapi.json': ['v=2'],
}

onEachBackend('parameters that a route does not take are refused', async (open) => {
  await using api = await openApi(open, desk())
  await withEach(badQueries, async (queries, route) => {
    const path = await pathOf(api, route)
    for (const query of queries) {
      const answer = await api.ask('GET', `${path}?${query}`)
      assert.equal(answer.status, 400, query)
      checkProblem(answer, [400, 'CC_ERR_REQUEST'])
    }
  })
})

onEachBackend('parameters of a request that changes something are refused, and nothing is changed', async (open) => {
  await using api = await openApi(open, desk())
  const decision = { decision: 'approve', reason: 'seen' }
  for (const [route, body] of [
    ['/v1/cases', good],
    ['/v1/cases/CASE/cancel', { reason: 'twice' }],
    ['/v1/tasks/TASK/claim', undefined],
    ['/v1/tasks/TASK/decision', decision],
  ] as const) {
    await isRefused(api, `${await pathOf(api, route)}?dry_run=true`, { body, as: 'ann' }, [400, 'CC_ERR_REQUEST'])
  }
})

onEachBackend('a cursor that no list gave is refused', async (open) => {
  await using api = await openApi(open, desk())
  await api.engine.run({ domain: 'gated' })
  const cursors = ['x', '%00', "'", '019b8d62', '1.2', '-1.019b8d62-7a80-71b8-aaeb-b9a0d4e560b5', 'a'.repeat(9_000)]
  for (const list of ['/v1/cases', '/v1/tasks']) {
    for (const cursor of cursors) {
      checkProblem(await api.ask('GET', `${list}?cursor=${cursor}`), [422, 'CC_ERR_INPUT'])
    }
  }
})

onEachBackend('names that nothing has find nothing', async (open) => {
  await using api = await openApi(open, desk())
  await api.engine.run({ domain: 'gated' })
  for (const name of ["'%20or%201=1", '%25', '_', '%F0%9F%98%80', 'x'.repeat(9_000), '%E0%A4%A', '*', '']) {
    for (const query of [`/v1/cases?workflow=${name}`, `/v1/tasks?queue=${name}`]) {
      const { status, body } = await api.ask('GET', query)
      assert.deepEqual([status, body], [200, { items: [], next_cursor: null }], query)
    }
  }
})

onEachBackend('a name that no database takes is refused or finds nothing', async (open) => {
  await using api = await openApi(open, desk())
  for (const query of ['/v1/cases?workflow=a%00', '/v1/tasks?queue=a%00']) {
    checkProblem(await api.ask('GET', query), [400, 'CC_ERR_REQUEST'])
  }
})

onEachBackend('a stream does not begin behind an event that cannot be', async (open) => {
  await using api = await openApi(open, desk())
  const { instanceId } = await api.engine.run({ domain: 'gated' })
  for (const id of ['x', '-1', '1.5', '1e3', '0x1', '1, 2', '9'.repeat(16), '1 ; drop']) {
    const headers = { 'last-event-id': id }
    checkProblem(await api.ask('GET', `/v1/cases/${instanceId}/stream`, { headers }), [400, 'CC_ERR_REQUEST'])
  }
})

/** Headers that name somebody or something, and a value that each could have. */
const naming = {
  host: '127.0.0.1',
  authorization: 'Bearer a',
  'x-actor': 'kim',
  'idempotency-key': 'claim-17',
  'last-event-id': '1',
}

onEachBackend(
  'what can be understood in two ways is refused: a header that is there twice, or in other bytes',
  async (open) => {
    await using api = await openStill(open)
    const text = JSON.stringify(good)
    const send = (...headers: readonly string[]) =>
      speak(
        api.url,
        Buffer.from(
          [
            'POST /v1/cases HTTP/1.1',
            ...(headers.some((header) => header.startsWith('host:')) ? [] : ['host: 127.0.0.1']),
            ...['content-type: application/json', `content-length: ${text.length}`, 'connection: close', ...headers],
            `\r\n${text}`,
          ].join('\r\n'),
          'latin1',
        ),
      )
    await withEach(naming, async (value, name) => {
      assert.match(await send(`${name}: ${value}`), /^HTTP\/1\.1 202 /)
      const before = await api.engine.store.rowCounts()
      for (const headers of [
        [`${name}: ${value}`, `${name}: ${value}`],
        [`${name}: ${value}`, `${name.toUpperCase()}: another`],
        [`${name}: ${value}\u00e9`],
        [`${name}: \u009b`],
      ]) {
        assert.match(await send(...headers), /^HTTP\/1\.1 400 .*"CC_ERR_REQUEST"/s)
      }
      assert.deepEqual(await api.engine.store.rowCounts(), before)
    })
  },
)

onEachBackend('what is no request is answered in our own form as well', async (open) => {
  await using api = await openStill(open)
  const head = 'GET /v1/me HTTP/1.1\r\nHost: 127.0.0.1\r\n'
  const broken: Readonly<Record<string, readonly [text: string, status: number, code: string]>> = {
    'a line of words': ['good morning\r\n\r\n', 400, 'CC_ERR_REQUEST'],
    'a line of nothing that we speak': ['GET /v1/me HTTP/9.9\r\n\r\n', 400, 'CC_ERR_REQUEST'],
    'a header without a name': [`${head}: value\r\n\r\n`, 400, 'CC_ERR_REQUEST'],
    'two lengths': [`${head}Content-Length: 1\r\nContent-Length: 2\r\n\r\n`, 400, 'CC_ERR_REQUEST'],
    'a length and chunks': [`${head}Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n`, 400, 'CC_ERR_REQUEST'],
    'a head without end': [`${head}X-Actor: ${'a'.repeat(20_000)}\r\n\r\n`, 431, 'CC_ERR_HEAD_TOO_LARGE'],
  }
  await withEach(broken, async ([text, status, code]) => {
    const [first = '', body = ''] = (await speak(api.url, text)).split('\r\n\r\n')
    const [line, ...lines] = first.split('\r\n')
    const headers = Object.fromEntries(lines.map((header) => header.toLowerCase().split(': ')))
    assert.match(line!, new RegExp(`^HTTP/1\\.1 ${status} `))
    assert.deepEqual([headers['content-type'], headers.connection], ['application/problem+json', 'close'])
    const { detail, remedy, request_id: id, ...problem } = JSON.parse(body)
    assert.deepEqual([problem.code, problem.status, id], [code, status, headers['x-request-id']])
    assert.ok(detail && remedy)
    assert.ok(api.lines.some(({ fields }) => fields.request_id === id))
  })
})

onEachBackend('an idempotency key has 1 to 200 characters', async (open) => {
  await using api = await openStill(open)
  const withKey = (key: string) => ({ body: good, headers: { 'idempotency-key': key } })
  for (const key of ['', ' ', 'k'.repeat(201), 'k'.repeat(5_000)]) {
    await isRefused(api, '/v1/cases', withKey(key), [422, 'CC_ERR_INPUT'])
  }
  for (const key of ['k', 'k'.repeat(200), '%00', 'a b', "'; drop table work; --"]) {
    assert.equal((await api.ask('POST', '/v1/cases', withKey(key))).status, 202)
    assert.equal((await api.ask('POST', '/v1/cases', withKey(key))).status, 200)
  }
})

/** Text that is nearly JSON: JSON with a few characters changed, left out or put in. */
const nearlyJson = fc
  .tuple(
    fc.oneof(fc.json({ maxDepth: 4 }), fc.constant(JSON.stringify(good))),
    fc.array(fc.tuple(fc.nat(), fc.nat(2), fc.oneof(fc.constantFrom(...'{}[]",:0.-eE\\u\0\ufeff'), fc.string())), {
      maxLength: 4,
    }),
  )
  .map(([json, edits]) =>
    edits.reduce((text, [at, gone, put]) => {
      const place = at % (text.length + 1)
      return text.slice(0, place) + put + text.slice(place + gone)
    }, json),
  )
const nearlyCase = fc
  .record(
    {
      workflow: fc.oneof(fc.constant('review'), fc.jsonValue()),
      domain: fc.oneof(fc.constantFrom('plain', 'gated'), fc.jsonValue()),
      input: fc.oneof(fc.dictionary(fc.string(), fc.jsonValue()), fc.jsonValue()),
      more: fc.jsonValue(),
    },
    { requiredKeys: [] },
  )
  .map((value) => JSON.stringify(value))
const anyBody: fc.Arbitrary<string | Uint8Array> = fc.oneof(
  nearlyJson,
  nearlyCase,
  fc.dictionary(fc.string(), fc.jsonValue()).map((input) => JSON.stringify({ ...good, input })),
  fc.uint8Array({ maxLength: 60 }),
)

onEachBackend('whatever somebody sends, it is stored as it is or refused, and nothing breaks', async (open) => {
  await using api = await openStill(open)
  const seen = { taken: 0, refused: 0 }
  const property = fc.asyncProperty(anyBody, async (body) => {
    const before = await api.engine.store.rowCounts()

    const answer = await api.ask('POST', '/v1/cases', { body })

    const after = await api.engine.store.rowCounts()
    if (answer.status === 202) {
      seen.taken++
      const { input } = parseJson(body) as { readonly input: object }
      const stored = await storedInput(api, answer.body.instance_id as string)
      assert.equal(canonicalJson(stored), canonicalJson({ input }))
      assert.equal(after.instances, before.instances! + 1)
    } else {
      seen.refused++
      assert.ok(answer.status >= 400 && answer.status < 500, answer.text)
      checkProblem(answer)
      assert.deepEqual(after, before)
    }
  })
  await fc.assert(property, { numRuns: 400, seed: 20260105 })
  assert.ok(seen.taken > 40 && seen.refused > 150, JSON.stringify(seen))
  assert.deepEqual(
    api.lines.filter(({ level }) => level === 'error'),
    [],
  )
})

onEachBackend('whatever somebody asks for, nothing breaks', async (open) => {
  await using api = await openApi(open, desk())
  const { instanceId, openTasks } = await api.engine.run({ domain: 'gated' })
  const before = await api.engine.store.rowCounts()
  const word = fc.oneof(
    fc.constantFrom('v1', 'cases', 'tasks', 'audit', 'steps', 'verify', 'decision', 'claim', instanceId, openTasks[0]!),
    fc.string({ unit: 'binary', maxLength: 12 }).map(encodeURIComponent),
    fc.constantFrom('..', '%', '%00', '%2f', '%ff', ';', '*', ''),
  )
  const query = fc.array(
    fc
      .tuple(fc.constantFrom('limit', 'cursor', 'status', 'queue', 'workflow', 'wait', 'after', 'x'), word)
      .map(([name, value]) => `${name}=${value.replace(/[?#]/g, '')}`),
    { maxLength: 3 },
  )
  const property = fc.asyncProperty(
    fc.constantFrom('GET', 'GET', 'GET', 'PUT', 'DELETE'),
    fc.array(word, { maxLength: 5 }),
    query,
    async (method, words, parameters) => {
      const path = `/${words.join('/')}?${parameters.join('&')}`
      // Waiting is for its own tests.
      const answer = await api.ask(method, path.replace(/wait=0*[1-9]\d*/g, 'wait=0'))
      assert.ok(answer.status < 500, answer.text)
      if (answer.status >= 400) checkProblem(answer)
    },
  )
  await fc.assert(property, { numRuns: 500, seed: 20260105 })
  assert.deepEqual(await api.engine.store.rowCounts(), before)
})
