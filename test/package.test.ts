import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { after, before, test } from 'node:test'

const root = join(import.meta.dirname, '..')
const folder = mkdtempSync(join(tmpdir(), 'package-'))
after(() => rmSync(folder, { recursive: true }))

/** A program of somebody else, with the package installed. */
const program = join(folder, 'program')
mkdirSync(program)
const installed = join(program, 'node_modules/cognitive-core')

before(
  () => {
    run(root, 'npm', ['pack', '--silent', '--pack-destination', folder])
    const [tarball] = readdirSync(folder).filter((name) => name.endsWith('.tgz'))
    writeProgram('package.json', '{ "name": "program", "private": true, "type": "module" }')
    const options = ['--prefer-offline', '--no-audit', '--no-fund', '--ignore-scripts', '--no-package-lock']
    run(program, 'npm', ['install', ...options, join(folder, tarball!)])
  },
  { timeout: 300_000 },
)

test('the package holds what a program and an auditor need, and none of the source', () => {
  const holds = readdirSync(installed)
  for (const name of ['dist', 'console', 'packs', 'docs', 'tools', 'package.json'])
    assert.ok(holds.includes(name), name)
  for (const name of ['src', 'test', 'bench', 'node_modules']) assert.ok(!holds.includes(name), name)
  assert.deepEqual(readdirSync(join(installed, 'tools')), ['verify-export.mjs'])
  assert.ok(statSync(join(installed, 'dist/bin.js')).mode & 0o111, 'the command can be started')
})

test('a program opens a store with a pack and a primitive of its own and runs a case to its end', () => {
  writeProgram('run.mjs', ownProgram)
  const answer = JSON.parse(run(program, process.execPath, ['run.mjs'])) as Record<string, unknown>
  assert.deepEqual(answer, {
    status: 'completed',
    tier: 'auto',
    path: ['weigh', 'decide'],
    weighed: 3,
    decidedBy: 'program',
    valid: true,
    events: 4,
    cannotReplace: 'CC_ERR_PRIMITIVE',
    schemas: ['coordinator', 'audit', 'checkpoint'].map((name) => [name, ['postgres', 'sqlite']]),
  })
})

test('the command runs from the package', () => {
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const help = run(program, 'npx', ['--no-install', 'cognitive-core', '--help'])
  assert.match(help, /cognitive-core/)
  for (const command of ['submit', 'cases', 'decide', 'audit']) assert.match(help, new RegExp(`^ +${command}\\b`, 'm'))
  assert.ok(run(program, 'npx', ['--no-install', 'cognitive-core', '--version']).includes(version))
})

test('the service runs from the package, with its page, and its store is copied while it does', async () => {
  const env = { ...process.env, CC_DB_PATH: 'served.db', CC_PACKS: join(installed, 'packs/travel-claims') }
  const bin = join(installed, 'dist/bin.js')
  const service = spawn(process.execPath, [bin, 'serve', '--port', '0', '--json'], { cwd: program, env })
  const ended = once(service, 'exit')
  try {
    let document = ''
    for await (const chunk of service.stdout) if ((document += String(chunk)).endsWith('}\n')) break
    const { url } = JSON.parse(document) as { url: string }
    const page = await (await fetch(url)).text()
    const script = readFileSync(join(root, 'console/page.js'), 'utf8')
    assert.ok(page.includes(script), 'the page has come along')
    assert.equal((await fetch(`${url}/openapi.json`)).status, 200)
    const options = { cwd: program, env, encoding: 'utf8' } as const
    const copied = spawnSync(process.execPath, [bin, 'backup', 'copy.db', '--json'], options)
    assert.equal(copied.status, 0, copied.stderr)
  } finally {
    service.kill('SIGTERM')
  }
  assert.deepEqual(await ended, [0, null])
})

test('an exported case is checked by the tool of the package alone', () => {
  writeProgram('export.mjs', exportingProgram)
  run(program, process.execPath, ['export.mjs'])
  const verdict = run(program, process.execPath, [join(installed, 'tools/verify-export.mjs'), 'case.json'])
  assert.match(verdict, /^WHOLE /)
})

test('the types of the package lead somewhere', () => {
  writeProgram('typed.ts', typedProgram)
  const options = {
    module: 'nodenext',
    target: 'es2024',
    strict: true,
    noEmit: true,
    exactOptionalPropertyTypes: true,
    skipLibCheck: false,
    typeRoots: [join(root, 'node_modules/@types')],
    types: ['node'],
  }
  writeProgram('tsconfig.json', JSON.stringify({ compilerOptions: options, files: ['typed.ts'] }))
  run(program, process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-p', '.'])
})

test('every package is pinned, and the lock file leaves it to the machine where packages come from', () => {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<
    string,
    Record<string, string>
  >
  for (const [name, version] of Object.entries({ ...manifest.dependencies, ...manifest.devDependencies })) {
    assert.match(version, /^\d+\.\d+\.\d+(-beta\.\d+)?$/, name)
  }
  assert.doesNotMatch(readFileSync(join(root, 'package-lock.json'), 'utf8'), /"resolved"/)
})

const pack = `{
  name: 'own',
  workflows: [
    {
      name: 'weighing',
      steps: [
        { name: 'weigh', primitive: 'weigh', params: { things: '\${input.things}' } },
        { name: 'decide', primitive: 'conclude', params: { weight: '\${weigh.weight}' } },
      ],
    },
  ],
  domains: [{ domain_name: 'scales', governance: 'auto' }],
}`

const ownProgram = `
import assert from 'node:assert/strict'
import { createBackend, openCore, schemas } from 'cognitive-core'

const primitive = (name, run) => ({ name, needsModel: false, requiredParams: [], defaultParams: {}, run })
const primitives = [
  primitive('weigh', async ({ params }) => ({ output: { weight: JSON.parse(params.things).length } })),
  primitive('conclude', async ({ params }) => ({ output: { decided_by: 'program', weight: Number(params.weight) } })),
]
const refused = await openCore({ path: 'other.db', primitives: [primitive('classify')] }).catch((error) => error)

const backend = await createBackend({ backend: 'sqlite', path: 'cases.db' })
const core = await openCore({ backend, packs: [${pack}], primitives })
core.start()
const input = { case_id: 'c-1', things: ['a', 'b', 'c'] }
const { instanceId } = await core.submit({ workflow: 'weighing', domain: 'scales', input, actor: 'program' })
const { status, tier, path } = await core.waitFor(instanceId, { timeoutMs: 30_000 })
const [, last] = await core.getSteps(instanceId)
const { valid, events } = await core.verify({ instanceId })
await core.drain()
await core.close()

const kinds = (name) => Object.keys(schemas[name]).sort()
console.log(
  JSON.stringify({
    status, tier, path, valid, events,
    weighed: last.output.weight,
    decidedBy: last.output.decided_by,
    cannotReplace: refused.code,
    schemas: ['coordinator', 'audit', 'checkpoint'].map((name) => [name, kinds(name)]),
  }),
)
for (const name of Object.keys(schemas)) assert.match(schemas[name].postgres, /create table/i)
`

const exportingProgram = `
import { writeFileSync } from 'node:fs'
import { openCore } from 'cognitive-core'

const core = await openCore({ path: 'cases.db' })
const { items } = await core.listCases()
writeFileSync('case.json', JSON.stringify(await core.exportCase(items[0].instanceId)))
await core.close()
`

const typedProgram = `
import { type Core, createBackend, openCore, type Primitive, schemas } from 'cognitive-core'

const weigh: Primitive = {
  name: 'weigh',
  needsModel: false,
  requiredParams: ['things'],
  defaultParams: {},
  run: ({ params }) => Promise.resolve({ output: { weight: params.things?.length ?? 0 } }),
}

export async function open(path: string): Promise<Core> {
  const core = await openCore({ backend: await createBackend({ path }), packs: [${pack}], primitives: [weigh] })
  const { instanceId, seen } = await core.submit({ workflow: 'weighing', domain: 'scales', input: {}, actor: 'kim' })
  const isSeen: boolean = seen
  // @ts-expect-error an id is a text
  const id: number = instanceId
  // @ts-expect-error every submission names its actor
  await core.submit({ workflow: 'weighing', domain: 'scales', input: {} })
  console.log(isSeen, id, schemas.coordinator.postgres.length)
  return core
}
`

function writeProgram(name: string, text: string): void {
  writeFileSync(join(program, name), text)
}

/** What the command prints; fails with all that it said when it fails. */
function run(cwd: string, command: string, args: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, env: environment(), encoding: 'utf8' })
  assert.equal(status, 0, `${command} ${args.join(' ')}\n${error?.message ?? ''}${stdout}${stderr}`)
  return stdout
}

/** As a shell of its own has it: what npm tells the scripts it runs would make another npm work on this project. */
function environment(): NodeJS.ProcessEnv {
  const isOurs =
    /^(npm_(config_local_prefix|package_|lifecycle_|command|execpath|node_execpath)|NODE_OPTIONS$|NODE_TEST|CC_)/i
  const kept = Object.entries(process.env).filter(([name]) => !isOurs.test(name))
  return { ...Object.fromEntries(kept), PATH: `${dirname(process.execPath)}:${process.env.PATH}` }
}
