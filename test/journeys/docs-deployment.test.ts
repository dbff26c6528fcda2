import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn, spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { after, before, test } from 'node:test'
import { promisify } from 'node:util'
import { parseAllDocuments } from 'yaml'
import { access } from '../../src/api/access.ts'
import { maxJsonBytes } from '../../src/domain/json.ts'
import { blocksOf, freePort, root } from './docs-pages.ts'
import { ask, eventually } from './serving.ts'

const page = 'docs/deployment.md'

/** How long steps under way have when the service is told to end. */
const drainSeconds = 30

/** What the page names, below a folder of this test: nobody's machine is changed. */
const folder = await mkdtemp(join(tmpdir(), 'cc-deployment-'))
after(() => rm(folder, { recursive: true, force: true }))

/** The same text for this folder in place of a machine. */
function here(text: string): string {
  return text
    .replaceAll('/usr/bin/node', process.execPath)
    .replaceAll(/\/(opt|etc|var\/lib|var\/backups|usr\/local\/s?bin)\//g, (path) => folder + path)
}

before(
  async () => {
    const program = here('/opt/cognitive-core')
    await mkdir(program, { recursive: true })
    for (const name of ['console', 'docs', 'node_modules', 'packs', 'package.json', 'tools']) {
      await symlink(join(root, name), join(program, name))
    }
    // As `npm run build` does, to another place: this test must not meet one that packs the project.
    const compiler = join(root, 'node_modules/typescript/bin/tsc')
    const output = ['--outDir', join(program, 'dist')]
    await promisify(execFile)(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json'), ...output])
    for (const name of ['/var/lib/', '/var/backups/', '/etc/']) {
      await mkdir(here(`${name}cognitive-core`), { recursive: true, mode: 0o700 })
    }
    for (const name of ['/usr/local/bin/', '/usr/local/sbin/']) await mkdir(here(name), { recursive: true })
    const [settings] = await unitsNamed('/etc/cognitive-core/environment')
    await writeFile(here('/etc/cognitive-core/environment'), here(settings!))
    await writeScript('sh command', here('/usr/local/bin/cognitive-core'))
    await writeScript('sh backup', here('/usr/local/sbin/cognitive-core-backup'))
  },
  { timeout: 120_000 },
)

async function writeScript(fence: string, path: string): Promise<void> {
  const [script] = await blocksOf(page, fence)
  assert.ok(script!.split('\n')[1]!.includes(path.slice(folder.length)), `${fence} says where it belongs`)
  await writeFile(path, here(script!))
  await chmod(path, 0o755)
}

/** Files that the page shows: the first line of each says where it belongs. */
async function unitsNamed(path: string): Promise<string[]> {
  return (await blocksOf(page, 'ini')).filter((block) => block.startsWith(`# ${path}`))
}

type Unit = Readonly<Record<string, Readonly<Record<string, string>>>>

function parseUnit(text: string): Unit {
  const unit: Record<string, Record<string, string>> = {}
  let section: Record<string, string> | undefined
  for (const line of text.split('\n')) {
    const [, name] = /^\[(\w+)\]$/.exec(line) ?? []
    if (name !== undefined) section = unit[name] = {}
    else if (line !== '' && !line.startsWith('#')) {
      const [, key, value] = /^(\w+)=(.*)$/.exec(line) ?? []
      assert.ok(key !== undefined && section && !(key in section), `a line of a unit: ${line}`)
      section[key] = value!
    }
  }
  return unit
}

/** The settings of the environment file, as systemd and the shell read it. */
async function environment(): Promise<Record<string, string>> {
  const [text] = await unitsNamed('/etc/cognitive-core/environment')
  const lines = here(text!)
    .split('\n')
    .filter((line) => /^CC_/.test(line))
  return Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2)))
}

interface Running {
  readonly url: string
  readonly child: ChildProcess
  readonly ended: Promise<number | null>
}

/** Starts a command that serves, on a port that is free, and waits until it is ready. */
async function start(words: readonly string[], env: Readonly<Record<string, string>>, cwd = folder): Promise<Running> {
  const port = await freePort()
  const [command, ...args] = words
  const child = spawn(command!, args, { cwd, env: { PATH: path, ...env, CC_PORT: `${port}` }, stdio: 'pipe' })
  let said = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (text) => (said += text))
  const { promise: ended, resolve } = Promise.withResolvers<number | null>()
  child.once('close', resolve)
  const url = `http://127.0.0.1:${port}`
  await eventually(async () => {
    assert.equal(child.exitCode, null, said)
    const answer = await ask(`${url}/health/ready`).catch(() => undefined)
    return answer?.status === 200
  }, 'the start of the service')
  return { url, child, ended }
}

/** The scripts of the page before all others, and the project's Node. */
const path = [here('/usr/local/sbin/'), here('/usr/local/bin/'), dirname(process.execPath), process.env.PATH].join(
  delimiter,
)

const run = (command: string, ...args: readonly string[]) =>
  promisify(execFile)(command, args, { cwd: folder, env: { PATH: path, HOME: folder } })

test('the unit starts the service, which has keys, serves, is backed up and drains on its signal', async () => {
  const [text] = await unitsNamed('/etc/systemd/system/cognitive-core.service')
  const { Service } = parseUnit(here(text!))
  const words = Service!.ExecStart!.split(' ')
  assert.equal(words[0], process.execPath, 'node itself, so that the signal reaches it')
  assert.ok(Number(Service!.TimeoutStopSec) > drainSeconds)
  const env = await environment()

  const { stdout: secret } = await run('cognitive-core', 'keys', 'add', 'claims-portal', '--role', 'submitter')
  const { url, child, ended } = await start(words, env, here('/var/lib/cognitive-core'))
  const body = { workflow: 'travel_claim_settlement', domain: 'travel_insurance', input: { case_id: 'TC-101' } }
  const headers = { authorization: `Bearer ${secret.trim()}` }
  const submitted = await ask(`${url}/v1/cases`, { body, headers })
  assert.equal(submitted.status, 202)
  const { body: view } = await ask(`${url}/v1/cases/${submitted.body.instance_id}?wait=30`, { headers })
  assert.equal(view.status, 'completed')

  const old = here('/var/backups/cognitive-core/cases-20200101T000000Z.db')
  await writeFile(old, '')
  await utimes(old, new Date(0), new Date(0))
  const { stdout } = await run('cognitive-core-backup', here('/var/backups/cognitive-core'))
  assert.match(stdout, /Wrote 1 case to/)
  assert.match(stdout, /The record is valid/)
  const [backup, ...others] = await readdir(here('/var/backups/cognitive-core'))
  assert.match(backup!, /^cases-\d{8}T\d{6}Z\.db$/)
  assert.deepEqual(others, [], 'what is old is gone, and nothing stands beside the copy')

  child.kill(Service!.KillSignal as NodeJS.Signals)
  assert.equal(await ended, 0)
})

test('a backup that does not verify removes nothing', async () => {
  const backups = join(folder, 'bad-backups')
  await mkdir(backups)
  const old = join(backups, 'cases-20200101T000000Z.db')
  await writeFile(old, '')
  await utimes(old, new Date(0), new Date(0))
  const command = here('/usr/local/bin/cognitive-core')
  const refusing = join(folder, 'refusing')
  await mkdir(refusing)
  await writeFile(
    join(refusing, 'cognitive-core'),
    `#!/bin/sh\nif [ "$1" = audit ]; then exit 4; fi\nexec ${command} "$@"\n`,
    { mode: 0o755 },
  )
  const script = here('/usr/local/sbin/cognitive-core-backup')
  await run(command, 'db', 'init')
  const env = { PATH: `${refusing}${delimiter}${path}`, HOME: folder }
  await assert.rejects(promisify(execFile)(script, [backups], { env }), { code: 4 })
  assert.ok(existsSync(old))
})

test('the units are ones that systemd understands', async () => {
  const blocks = (await blocksOf(page, 'ini')).filter((block) => block.startsWith('# /etc/systemd/system/'))
  const units = new Map(blocks.map((block) => [/[^/\n]+(?=\n)/.exec(block)![0], block]))
  assert.deepEqual([...units.keys()].sort(), [
    'cognitive-core-backup.service',
    'cognitive-core-backup.timer',
    'cognitive-core.service',
  ])
  for (const [name, text] of units) {
    const unit = parseUnit(text)
    assert.ok(unit.Unit?.Description, name)
    if (name.endsWith('.timer')) assert.ok(unit.Timer?.OnCalendar && units.has(name.replace('.timer', '.service')))
    else assert.equal(unit.Service?.User, 'cognitive-core', name)
  }
  // What systemd has to say itself, where it is at hand; without it the check above is what there is.
  if (spawnSync('systemd-analyze', ['--version']).status !== 0) return
  const unitFolder = join(folder, 'units')
  await mkdir(unitFolder)
  for (const [name, text] of units) await writeFile(join(unitFolder, name), here(text))
  const files = [...units.keys()].map((name) => join(unitFolder, name))
  const { status, stdout, stderr } = spawnSync('systemd-analyze', ['verify', ...files], {
    encoding: 'utf8',
    env: { PATH: process.env.PATH, SYSTEMD_UNIT_PATH: `${unitFolder}:` },
  })
  const about = `${stdout}${stderr}`.split('\n').filter((line) => line.includes('cognitive-core'))
  assert.deepEqual([status, about], [0, []])
})

test('what is copied to a machine and into the image is there', async () => {
  const [install] = await blocksOf(page, 'sh install')
  const [, names] = /cp -r (.*) \/opt/.exec(install!)!
  const [dockerfile] = await blocksOf(page, 'dockerfile')
  const copied = [...dockerfile!.matchAll(/^COPY (?!--from)(.*) \S+$/gm)].flatMap(([, sources]) => sources!.split(' '))
  const made = ['dist', 'node_modules']
  for (const name of [...names!.split(' '), ...copied]) {
    assert.ok(made.includes(name) || existsSync(join(root, name)), name)
  }
  const needed = ['console', 'dist', 'node_modules', 'packs', 'package.json']
  const intoImage = [...copied, ...[...dockerfile!.matchAll(/--from=build \/build\/(\S+)/g)].map(([, name]) => name!)]
  for (const name of needed) {
    assert.ok(names!.split(' ').includes(name), `${name} on a machine`)
    assert.ok(intoImage.includes(name), `${name} in the image`)
  }
})

test('the image starts the service as it says, and its check of health tells whether it is ready', async () => {
  const [dockerfile] = await blocksOf(page, 'dockerfile')
  const image = dockerfile!.slice(dockerfile!.lastIndexOf('\nFROM '))
  const instruction = (name: string) => new RegExp(`^${name} (.*)$`, 'm').exec(image)![1]!
  const data = join(folder, 'data')
  await mkdir(data, { mode: 0o700 })
  const env = Object.fromEntries(
    [...image.matchAll(/(CC_\w+)=(\S+)/g)].map(([, name, value]) => [name!, value!.replace('/data', data)]),
  )
  assert.equal(instruction('STOPSIGNAL'), 'SIGTERM')
  assert.equal(instruction('USER'), 'node')
  const entry = JSON.parse(instruction('ENTRYPOINT')) as string[]
  const program = here(instruction('WORKDIR'))
  const inImage = (words: readonly string[]) =>
    promisify(execFile)(words[0]!, words.slice(1), { cwd: program, env: { PATH: path, ...env } })

  const [docker] = await blocksOf(page, 'sh docker')
  const [, keys] = /run --rm .* cognitive-core (keys add .*)$/m.exec(docker!)!
  await inImage([...entry, ...keys!.split(' ')])
  const words = [...entry, ...(JSON.parse(instruction('CMD')) as string[])]
  const { url, child, ended } = await start(words, env, program)

  const [, check] = /HEALTHCHECK .* CMD (\[.*\])$/m.exec(image)!
  const health = (JSON.parse(check!) as string[]).map((word) => word.replace('http://127.0.0.1:8080', url))
  await inImage(health)
  const [, copy] = /exec cognitive-core node dist\/bin\.js (backup \S+)/.exec(docker!)!
  await inImage([...entry, ...copy!.replace('/data', data).split(' ')])
  child.kill('SIGTERM')
  assert.equal(await ended, 0)
  await assert.rejects(inImage(health), { code: 1 })
  const [, stop] = /--stop-timeout (\d+)/.exec(docker!)!
  assert.ok(Number(stop) > drainSeconds)
})

test('what Kubernetes is told can be read, and there is one replica with the routes and the time that it needs', async () => {
  const documents = (await blocksOf(page, 'yaml')).flatMap((block) => [...parseAllDocuments(block)])
  for (const document of documents) assert.deepEqual([...document.errors, ...document.warnings], [])
  const [set, service] = documents.map((document) => document.toJS() as any)
  assert.deepEqual([set.kind, service.kind], ['StatefulSet', 'Service'])
  assert.equal(set.spec.replicas, 1)
  const { containers, volumes, terminationGracePeriodSeconds } = set.spec.template.spec
  assert.ok(terminationGracePeriodSeconds > drainSeconds)
  const [container] = containers
  for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
    assert.equal(access[`GET ${probe.httpGet.path}` as keyof typeof access], 'open')
  }
  const isOfContainer = (name: string) => container.volumeMounts.some((mount: any) => mount.name === name)
  const claims = set.spec.volumeClaimTemplates.map(({ metadata }: any) => metadata.name)
  for (const name of [...claims, ...volumes.map(({ name }: any) => name)]) assert.ok(isOfContainer(name), name)
  const keys = container.env.find(({ name }: any) => name === 'CC_API_KEYS_FILE').value
  assert.equal(dirname(keys), container.volumeMounts.find(({ name }: any) => name === 'keys').mountPath)
  assert.equal(service.spec.selector.app, set.spec.template.metadata.labels.app)
  assert.equal(set.spec.serviceName, service.metadata.name)
})

test('the proxy waits longer than the service lets anybody wait, and leaves the size of bodies to it', async () => {
  const [nginx] = await blocksOf(page, 'nginx')
  const [, seconds] = /proxy_read_timeout (\d+)s;/.exec(nginx!)!
  assert.ok(Number(seconds) > 60)
  const [, megabytes] = /client_max_body_size (\d+)m;/.exec(nginx!)!
  assert.ok(Number(megabytes) * 1_048_576 > maxJsonBytes)
  assert.equal(nginx!.split('{').length, nginx!.split('}').length)
})
