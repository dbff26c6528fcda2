import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import { test } from 'node:test'
import Fastify from 'fastify'
import { access } from '../../src/api/access.ts'
import { KeysFile } from '../../src/api/keys.ts'
import { guardRoutes } from '../../src/api/route.ts'
import { startService } from '../../src/api/service.ts'
import { roles, type Role } from '../../src/domain/role.ts'
import { silentLog } from '../../src/log.ts'
import { onEachBackend, temporaryFolder } from '../storage/fixture.ts'
import { type Answer, type ApiFixture, type Asking, desk, keysOf, openApi, serviceOn } from './fixture.ts'

/**
 * Who may do what, written down from the contract and not from the program: what each role is answered with. `own` is the
 * answer for a case of one's own; those of others do not exist to a submitter.
 */
type Row = 'open' | Readonly<Record<Role, number>>

const row = (submitter: number, reviewer: number, auditor: number, operator: number): Row => ({
  submitter,
  reviewer,
  auditor,
  operator,
})

const table: Readonly<Record<string, Row>> = {
  //                                 submitter reviewer auditor operator
  'POST /v1/cases': /*            */ row(202, 403, 403, 403),
  'GET /v1/cases': /*             */ row(200, 200, 200, 403),
  'GET /v1/cases/:id': /*         */ row(200, 200, 200, 403),
  'GET /v1/cases/:id/steps': /*   */ row(200, 200, 200, 403),
  'GET /v1/cases/:id/audit': /*   */ row(200, 200, 200, 403),
  'GET /v1/cases/:id/export': /*  */ row(200, 200, 200, 403),
  'GET /v1/cases/:id/verify': /*  */ row(200, 200, 200, 403),
  'GET /v1/cases/:id/stream': /*  */ row(200, 200, 200, 403),
  'POST /v1/cases/:id/cancel': /* */ row(403, 403, 403, 200),
  'POST /v1/cases/:id/retry': /*  */ row(403, 403, 403, 200),
  'POST /v1/cases/:id/erase': /*  */ row(403, 403, 403, 200),
  'GET /v1/stream': /*            */ row(403, 200, 200, 403),
  'GET /v1/tasks': /*             */ row(403, 200, 200, 403),
  'GET /v1/tasks/:id': /*         */ row(403, 200, 200, 403),
  'POST /v1/tasks/:id/claim': /*  */ row(403, 200, 403, 403),
  'POST /v1/tasks/:id/decision': /**/ row(403, 200, 403, 403),
  'GET /v1/workflows': /*         */ row(200, 200, 200, 200),
  'GET /v1/me': /*                */ row(200, 200, 200, 200),
  // Not part of this version yet, which only those are told who may ask.
  'GET /v1/limits': /*            */ row(403, 403, 501, 501),
  'GET /v1/graduation': /*        */ row(403, 403, 501, 501),
  'GET /metrics': /*              */ row(403, 403, 200, 200),
  'GET /health/live': 'open',
  'GET /health/ready': 'open',
  'GET /openapi.json': 'open',
  'GET /': 'open',
}

const people = { kim: 'submitter', lena: 'submitter', ann: 'reviewer', aude: 'auditor', olga: 'operator' } as const
const holders: Readonly<Record<Role, string>> = { submitter: 'kim', reviewer: 'ann', auditor: 'aude', operator: 'olga' }

/** What a route is asked for, on a case that it fits, which `submitter` has submitted. */
async function requestFor({ engine }: ApiFixture, route: string, submitter = 'kim') {
  const [method = '', path = ''] = route.split(' ')
  const run = (domain: string, input = {}) => engine.run({ domain, input, actor: submitter })
  const to = (id: string, body?: object) => ({ method, path: path.replace(':id', id), ...(body && { body }) })
  switch (route) {
    case 'POST /v1/cases':
      return to('', { workflow: 'review', domain: 'plain', input: {} })
    case 'POST /v1/cases/:id/cancel':
      return to((await run('gated')).instanceId, { reason: 'withdrawn' })
    case 'POST /v1/cases/:id/retry':
      return to((await run('plain', { fails: 1 })).instanceId)
    case 'POST /v1/cases/:id/erase': {
      const { instanceId } = await run('plain')
      const [submitted] = await engine.envelopes(instanceId, 'case.submitted')
      return to(instanceId, { payload_id: submitted!.payload!.id, reason: 'asked for' })
    }
    case 'POST /v1/tasks/:id/decision':
      return to((await run('gated')).openTasks[0]!, { decision: 'approve', reason: 'seen' })
    case 'POST /v1/tasks/:id/claim':
    case 'GET /v1/tasks/:id':
      return to((await run('gated')).openTasks[0]!)
    default:
      return to(path.includes(':id') ? (await run('gated')).instanceId : '')
  }
}

async function askFor(api: ApiFixture, route: string, asking: Asking, submitter?: string): Promise<Answer> {
  const { method, path, ...body } = await requestFor(api, route, submitter)
  return await api.ask(method, path, { ...body, ...asking })
}

const sorted = (routes: readonly string[]) => [...routes].sort()

/** Routes that nobody has thought about, and rows of routes that are not there. */
function differences(served: readonly string[], rows: readonly string[]): readonly string[] {
  const missing = served.filter((route) => !rows.includes(route)).map((route) => `${route} has no row`)
  return [...missing, ...rows.filter((route) => !served.includes(route)).map((route) => `${route} is not served`)]
}

onEachBackend('every route that is served has a row in this table, and in that of the program', async (open) => {
  await using api = await openApi(open)
  const { body } = await api.ask('GET', '/openapi.json')
  const served = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ':$1')}`),
  )

  assert.deepEqual(sorted(served), sorted(Object.keys(access)))
  assert.deepEqual(differences(served, Object.keys(table)), [])
  assert.deepEqual(differences([...served, 'GET /v1/secrets'], Object.keys(table)), ['GET /v1/secrets has no row'])
})

test('a route without a row in the table of the program cannot be written', async () => {
  const app = Fastify({ exposeHeadRoutes: false })
  guardRoutes(app, { keys: undefined, defaultActor: 'olga' })
  const answer = () => Promise.resolve('secret')

  assert.throws(() => app.get('/v1/secrets', answer), /GET \/v1\/secrets is not in the table of access/)
  assert.throws(() => app.post('/v1/me', answer), /POST \/v1\/me is not in the table of access/)

  app.get('/v1/me', answer)
  await app.close()
})

for (const [route, expected] of Object.entries(table)) {
  onEachBackend(`${route} is for those whom the contract names`, async (open) => {
    await using api = await openApi(open, { ...desk(), people })
    for (const role of roles) {
      const { status, body } = await askFor(api, route, { as: holders[role] })
      assert.equal(status, expected === 'open' ? 200 : expected[role], role)
      if (status === 403) assert.equal(body.code, 'CC_ERR_ROLE')
    }

    for (const [what, asking, code] of strangers) {
      const { status, body, headers } = await askFor(api, route, asking)
      if (expected === 'open') assert.equal(status, 200, what)
      else assert.deepEqual([status, body.code, headers['www-authenticate']], [401, code, 'Bearer'], what)
    }

    await using keyless = await serviceOn(api.engine)
    const best = expected === 'open' ? 200 : Math.max(...Object.values(expected).filter((status) => status !== 403))
    assert.equal((await askFor(keyless, route, { as: 'bob' })).status, best, 'without keys')
  })
}

const strangers: readonly (readonly [what: string, asking: Asking, code: string])[] = [
  ['no key', {}, 'CC_ERR_KEY_MISSING'],
  ['a name alone', { headers: { 'x-actor': 'olga' } }, 'CC_ERR_KEY_MISSING'],
  ['an empty header', { headers: { authorization: '' } }, 'CC_ERR_KEY_MISSING'],
  ['another scheme', { headers: { authorization: 'Basic b2xnYTpvbGdh' } }, 'CC_ERR_KEY_MISSING'],
  ['no key behind the scheme', { headers: { authorization: 'Bearer ' } }, 'CC_ERR_KEY_MISSING'],
  ['two keys', { headers: { authorization: 'Bearer a b' } }, 'CC_ERR_KEY_MISSING'],
  ['an unknown key', { key: `cc_${'x'.repeat(43)}` }, 'CC_ERR_KEY_UNKNOWN'],
  ['the name of a prototype', { key: '__proto__' }, 'CC_ERR_KEY_UNKNOWN'],
]

onEachBackend('a refused caller changes nothing', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const { engine } = api
  for (const [route, expected] of Object.entries(table)) {
    const { method, path, ...body } = await requestFor(api, route)
    const before = await engine.store.rowCounts()

    for (const role of roles) {
      if (expected === 'open' || expected[role] !== 403) continue
      assert.equal((await api.ask(method, path, { ...body, as: holders[role] })).status, 403)
    }
    if (expected !== 'open') assert.equal((await api.ask(method, path, body)).status, 401)

    assert.deepEqual(await engine.store.rowCounts(), before, route)
  }
  await engine.verify()
})

onEachBackend('to a submitter the cases of others do not exist', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const unknown = '019b8d62-7a80-7000-8000-000000000000'

  for (const route of Object.keys(table).filter((name) => name.startsWith('GET /v1/cases/:id'))) {
    const { path } = await requestFor(api, route, 'kim')
    assert.equal((await api.ask('GET', path, { as: 'kim' })).status, 200, route)

    const [others, nobodys] = await Promise.all(
      [path, route.replace('GET ', '').replace(':id', unknown)].map((asked) => api.ask('GET', asked, { as: 'lena' })),
    )

    assert.deepEqual([others!.status, others!.body.code], [404, 'CC_ERR_UNKNOWN_CASE'], route)
    // The one answer must not be told from the other.
    const blank = ({ text }: Answer) => text.replace(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'id')
    assert.equal(blank(others!), blank(nobodys!))
  }
})

onEachBackend('a submitter lists their own cases and no others, on every page', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const submitters = ['kim', 'lena', 'kim', 'bob', 'lena', 'kim']
  for (const actor of submitters) await api.engine.run({ actor, domain: 'gated' })

  for (const [as, expected] of [
    ['kim', 3],
    ['lena', 2],
    ['ann', 6],
    ['aude', 6],
  ] as const) {
    const listed: string[] = []
    let cursor = ''
    do {
      const { body } = await api.ask('GET', `/v1/cases?limit=1&status=suspended${cursor}`, { as })
      listed.push(...body.items.map((item: { submitted_by: string }) => item.submitted_by))
      cursor = body.next_cursor === null ? '' : `&cursor=${body.next_cursor}`
    } while (cursor !== '')
    assert.deepEqual(new Set(listed), new Set(as === 'kim' || as === 'lena' ? [as] : submitters))
    assert.equal(listed.length, expected, as)
  }
})

onEachBackend(
  'a key that is revoked opens nothing from the next request on, and one that is made does',
  async (open) => {
    using folder = temporaryFolder()
    const keys = new KeysFile(folder.file('keys.json'))
    const secrets = new Map<Role, string>()
    for (const role of roles) secrets.set(role, await keys.add({ name: holders[role], role }, Date.now()))
    await using api = await openApi(open, { ...desk(), settings: { keys } })
    const me = (key: string) => api.ask('GET', '/v1/me', { key })
    for (const [role, key] of secrets) {
      const { actor, roles: held } = (await me(key)).body
      assert.deepEqual([actor, held], [holders[role], [role]])
    }

    for (const role of roles) await new KeysFile(folder.file('keys.json')).revoke(holders[role])

    for (const [route, expected] of Object.entries(table)) {
      if (expected === 'open') continue
      for (const [role, key] of secrets) {
        const { status, body } = await askFor(api, route, { key })
        assert.deepEqual([status, body.code], [401, 'CC_ERR_KEY_UNKNOWN'], `${route} as ${role}`)
      }
    }
    const again = await new KeysFile(folder.file('keys.json')).add({ name: 'kim', role: 'auditor' }, Date.now())
    assert.deepEqual((await me(again)).body.roles, ['auditor'])
  },
)

onEachBackend('who has a key acts under its name, whatever they call themselves', async (open) => {
  await using api = await openApi(open, { ...desk(), people })
  const body = { workflow: 'review', domain: 'plain', input: {} }

  const { body: submitted } = await api.ask('POST', '/v1/cases', { as: 'kim', body, headers: { 'x-actor': 'ann' } })

  const view = await api.engine.core.getCase(submitted.instance_id as string)
  assert.equal(view.submittedBy, 'kim')
  const me = await api.ask('GET', '/v1/me', { as: 'ann', headers: { 'x-actor': '%00 not even a name' } })
  assert.deepEqual([me.status, me.body.actor], [200, 'ann'])
})

const broken = {
  'is not there': undefined,
  'is cut short': '[{"name": "kim", "role": "sub',
  'is no list': '{"kim": "submitter"}',
}

for (const [what, text] of Object.entries(broken)) {
  onEachBackend(`with a file of keys that ${what} nobody comes in, and nobody is told where it is`, async (open) => {
    using folder = temporaryFolder()
    const path = folder.file('secret-place.json')
    const keys = new KeysFile(path)
    const key = await keys.add({ name: 'kim', role: 'submitter' }, Date.now())
    const whole = readFileSync(path)
    await using api = await openApi(open, { ...desk(), settings: { keys } })
    if (text === undefined) folder[Symbol.dispose]()
    else writeFileSync(path, text)

    const refused = await api.ask('GET', '/v1/me', { key, headers: { 'x-request-id': 'asked-1' } })

    assert.deepEqual([refused.status, refused.body.code], [503, 'CC_ERR_KEYS_FILE'])
    assert.doesNotMatch(JSON.stringify([refused.text, refused.headers]), /secret-place|store-|"kim|submitter|column/)
    const [logged] = api.lines.filter(({ level }) => level === 'error')
    assert.equal(logged!.fields.request_id, 'asked-1')
    assert.match(JSON.stringify(logged!.fields), /secret-place\.json/)
    for (const route of ['/health/live', '/health/ready', '/openapi.json', '/']) {
      assert.equal((await api.ask('GET', route, { key })).status, 200, route)
    }
    if (text === undefined) return
    writeFileSync(path, whole)
    assert.equal((await api.ask('GET', '/v1/me', { key })).status, 200)
  })
}

onEachBackend('without keys everybody has every role and says who they are', async (open) => {
  await using api = await openApi(open, desk())
  const me = async (headers: Record<string, string>) => (await api.ask('GET', '/v1/me', { headers })).body

  const named = {
    kim: 'unverified:kim',
    'J%C3%BCrgen%20Gro%C3%9F': 'unverified:Jürgen Groß',
    '%E5%B1%B1%E7%94%B0': 'unverified:山田',
    '100%': 'unverified:100%',
    'unverified:kim': 'unverified:kim',
    'unverified:%20unverified:kim': 'unverified:kim',
    '': 'unverified:olga',
  }
  for (const [given, actor] of Object.entries(named)) {
    assert.deepEqual(await me({ 'x-actor': given }), {
      actor,
      roles: ['submitter', 'reviewer', 'auditor', 'operator'],
      simulated: null,
      version: (await me({})).version,
    })
  }
  assert.equal((await me({})).actor, 'unverified:olga')
  assert.equal((await me({ authorization: 'Bearer cc_anything' })).actor, 'unverified:olga')
})

const badActors = {
  'a line break': 'kim%0Aann',
  NUL: 'kim%00',
  'an escape': '%1B[2J',
  'a change of direction': 'kim%E2%80%AEnna',
  'a blank at its end': 'kim%20',
  'only a blank': '%20',
  'only the mark of those without a key': 'unverified:',
  'more than 200 characters': 'k'.repeat(201),
  'no room for the mark': 'k'.repeat(200),
}

for (const [what, actor] of Object.entries(badActors)) {
  onEachBackend(`a name with ${what} is refused before anything is done in it`, async (open) => {
    await using api = await openApi(open, desk())
    const before = await api.engine.store.rowCounts()
    const body = { workflow: 'review', domain: 'plain', input: {} }

    const { status, body: problem } = await api.ask('POST', '/v1/cases', { body, headers: { 'x-actor': actor } })

    assert.deepEqual([status, problem.code], [400, 'CC_ERR_ACTOR'])
    assert.equal((await api.ask('GET', '/v1/me', { headers: { 'x-actor': actor } })).status, 400)
    assert.deepEqual(await api.engine.store.rowCounts(), before)
  })
}

/** The name by which the service is called, whether it answers without keys, and whether with them. */
const hosts = {
  '127.0.0.1:PORT': true,
  'localhost:PORT': true,
  'LOCALHOST:PORT': true,
  '[::1]:PORT': true,
  '127.9.9.9': true,
  'evil.example': false,
  'evil.example:PORT': false,
  'localhost.evil.example': false,
  '127.0.0.1.evil.example:PORT': false,
  '127.0.0.1@evil.example': false,
  'evil.example#127.0.0.1': false,
  '0.0.0.0:PORT': false,
  '192.168.0.7:PORT': false,
  'not a name': false,
}

onEachBackend('without keys the service answers to names of this machine alone', async (open) => {
  await using api = await openApi(open, desk())
  await using keyed = await serviceOn(api.engine, { people })
  for (const [name, isOurs] of Object.entries(hosts)) {
    for (const route of ['/v1/me', '/', '/health/live', '/v1/nothing']) {
      const host = name.replace('PORT', new URL(api.url).port)

      const { status, body } = await api.ask('GET', route, { headers: { host } })

      const expected = route === '/v1/nothing' ? 404 : 200
      if (isOurs) assert.equal(status, expected, `${host} ${route}`)
      else assert.deepEqual([status, body.code], [403, 'CC_ERR_HOST'], `${host} ${route}`)
      assert.equal((await keyed.ask('GET', route, { as: 'ann', headers: { host } })).status, expected, 'with keys')
    }
  }
})

/** Pages that make a browser ask, and whether they may. */
const origins = {
  'http://127.0.0.1:PORT': true,
  'http://127.0.0.1:1': false,
  'http://localhost:PORT': false,
  'http://evil.example': false,
  'http://127.0.0.1:PORT.evil.example': false,
  'https://evil.example:PORT': false,
  'file://': false,
  null: false,
  nonsense: false,
}

for (const keys of [undefined, people]) {
  onEachBackend(`pages of other sites are refused ${keys ? 'with keys as well' : 'without keys'}`, async (open) => {
    await using api = await openApi(open, { ...desk(), isStarted: false, ...(keys && { people: keys }) })
    const submit = { body: { workflow: 'review', domain: 'plain', input: {} } }
    for (const [page, isOurs] of Object.entries(origins)) {
      const headers = { origin: page.replace('PORT', new URL(api.url).port) }
      const before = await api.engine.store.rowCounts()

      const read = await api.ask('GET', '/v1/me', { as: 'kim', headers })
      const posted = await api.ask('POST', '/v1/cases', { as: 'kim', headers, ...submit })
      const asked = await api.ask('OPTIONS', '/v1/cases', { headers })

      if (isOurs) assert.deepEqual([read.status, posted.status, asked.status], [200, 202, 404], page)
      else {
        assert.deepEqual([read.status, posted.status, asked.status], [403, 403, 403], page)
        assert.deepEqual([read.body.code, posted.body.code], ['CC_ERR_ORIGIN', 'CC_ERR_ORIGIN'])
        assert.deepEqual(await api.engine.store.rowCounts(), before)
      }
    }
    const { port } = new URL(api.url)
    const own = { host: `localhost:${port}`, origin: `http://localhost:${port}` }
    assert.equal((await api.ask('GET', '/v1/me', { as: 'kim', headers: own })).status, 200)
  })
}

for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.com', '127.evil.example', '']) {
  test(`without keys the service does not listen on '${host}'`, async () => {
    const settings = { host, port: 0, defaultActor: 'olga', log: silentLog }

    await assert.rejects(startService(settings), { code: 'CC_ERR_OPEN_HOST', exit: 3 })
  })
}

test('with keys the service listens where others can reach it', async () => {
  const settings = { host: '0.0.0.0', port: 0, keys: keysOf(people), defaultActor: 'olga', log: silentLog }

  const service = await startService(settings)

  const { status } = await fetch(`${service.url}/health/live`)
  await service.close()
  assert.equal(status, 200)
})
