import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { openCore } from '../src/index.ts'
import { submitMany } from './store.ts'

const root = join(import.meta.dirname, '..')

/** Two steps, both answered from a script, and nobody who has to look at the case. */
const packFiles: Readonly<Record<string, string>> = {
  'workflows/straight.yaml': `name: straight
steps:
  - name: sort
    primitive: classify
    params: { categories: 'a, b', criteria: the first letter }
  - name: check
    primitive: verify
    params: { rules: it has a number, subject: the case }
`,
  'workflows/long.yaml': `name: long
steps:
${Array.from({ length: 10 }, (_, index) => `  - { name: sort_${index}, primitive: classify, params: { categories: a, criteria: b } }`).join('\n')}
`,
  'domains/bench.yaml': 'domain_name: bench\ngovernance: auto\n',
  'scripted.yaml': `- when: { step: sort }
  output: { category: a, confidence: 0.9, reasoning: it begins with it }
- when: { primitive: classify }
  output: { category: a, confidence: 0.9, reasoning: there is no other }
- when: { step: check }
  output: { conforms: true, violations: [], confidence: 0.9, reasoning: it has one }
`,
}

export const straightCase = { workflow: 'straight', domain: 'bench' } as const
/** Ten steps, about as many as real workflows have. */
export const longCase = { workflow: 'long', domain: 'bench' } as const

/** Writes the pack of the benchmark, and returns the settings that name it. */
export function benchPack(folder: string): Readonly<Record<'CC_PACKS' | 'CC_MODEL', string>> {
  const dir = join(folder, 'pack')
  for (const [name, text] of Object.entries(packFiles)) {
    mkdirSync(join(dir, name, '..'), { recursive: true })
    writeFileSync(join(dir, name), text)
  }
  return { CC_PACKS: dir, CC_MODEL: `scripted:${join(dir, 'scripted.yaml')}` }
}

/** Makes a store in which that many cases have ended. */
export async function fillStore(path: string, cases: number, settings: ReturnType<typeof benchPack>): Promise<void> {
  const core = await openCore({
    path,
    packs: settings.CC_PACKS.split(delimiter),
    model: settings.CC_MODEL,
    workerConcurrency: 64,
  })
  let left = cases
  const { promise, resolve } = Promise.withResolvers<void>()
  core.onProgress(({ event }) => {
    if (event === 'case.completed' && --left === 0) resolve()
  })
  core.start()
  await submitMany(core, straightCase.workflow, cases)
  await promise
  await core.close()
}

/** The service as a process of its own. */
export interface BenchService extends AsyncDisposable {
  readonly url: string
  /** From the start of the process until it said that it is ready. */
  readonly readyMs: number
  /** Processor time that it has used so far, in milliseconds. */
  cpuMs(): number
}

export async function startBenchService(
  dbPath: string,
  settings: Readonly<Record<string, string>>,
): Promise<BenchService> {
  const startedAt = performance.now()
  const env = { ...process.env, ...settings, CC_DB_PATH: dbPath, CC_LOG_LEVEL: 'error' }
  const child = spawn(process.execPath, ['src/main.ts', 'serve', '--port', '0', '--json'], {
    cwd: root,
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const { url } = JSON.parse(await firstDocument(child)) as { url: string }
  const answer = await fetch(`${url}/health/ready`)
  if (!answer.ok) throw new Error(`the service is not ready: ${answer.status}`)
  const readyMs = performance.now() - startedAt
  return {
    url,
    readyMs,
    cpuMs: () => cpuMsOf(child.pid!),
    async [Symbol.asyncDispose]() {
      child.kill('SIGTERM')
      if (child.exitCode === null) await once(child, 'exit')
    },
  }
}

async function firstDocument(child: ChildProcess): Promise<string> {
  let text = ''
  for await (const chunk of child.stdout!) {
    text += String(chunk)
    if (text.endsWith('}\n')) break
  }
  child.stdout!.resume()
  return text
}

/** User and system time of a process, as Linux counts it: hundredths of a second. */
function cpuMsOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /s, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}
