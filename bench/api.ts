import autocannon from 'autocannon'
import { execFileSync } from 'node:child_process'
import { Agent, get } from 'node:http'
import { cpus } from 'node:os'
import { join } from 'node:path'
import { openReader } from '../src/engine/open-reader.ts'
import { openCore } from '../src/index.ts'
import {
  atMost,
  overRounds,
  printTable,
  printVerdicts,
  quantile,
  showRounds,
  showWhole,
  type Verdict,
} from './measure.ts'
import { type BenchService, benchPack, fillStore, longCase, startBenchService, straightCase } from './service.ts'
import { temporaryFolder } from './store.ts'

const rounds = 3
const seconds = 8

const showMs = (value: number) => `${value.toFixed(value < 1 ? 3 : 1)} ms`

/** The service as its clients meet it. True when every target is met. */
export async function benchApi(): Promise<boolean> {
  console.log(`api: ${rounds} interleaved rounds of ${seconds} s; medians (least–most)`)
  console.log(`  Node ${process.version}, ${cpus().length} cores, ${cpus()[0]!.model}; client and service share them`)
  using folder = temporaryFolder()
  const settings = benchPack(folder.path)
  const verdicts = [
    ...(await benchReady(folder.path, settings)),
    ...(await benchSubmissions(folder.path, settings)),
    ...(await benchReads(folder.path, settings)),
    ...(await benchViewers(folder.path, settings)),
    ...(await benchSlowDisk(folder.path, settings)),
  ]
  return printVerdicts(verdicts)
}

type Settings = ReturnType<typeof benchPack>

async function benchReady(folder: string, settings: Settings): Promise<Verdict[]> {
  const times: number[] = []
  for (let round = 0; round <= rounds + 2; round++) {
    await using service = await startBenchService(join(folder, 'ready.db'), settings)
    if (round > 0) times.push(service.readyMs)
  }
  const { most, ...rest } = overRounds(times)
  console.log(`\nFrom the start of node to ready: ${showRounds({ most, ...rest }, showMs)}`)
  return [atMost('serve is ready, the slowest start', most, 1000, showMs)]
}

/** Submissions a second by so many clients, each waiting for its answer, while four workers run the cases. */
async function submit(url: string, connections: number, duration = seconds): Promise<autocannon.Result> {
  let number = 0
  return await autocannon({
    url: `${url}/v1/cases`,
    connections,
    duration,
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    setupClient: (client) => {
      const next = () => client.setBody(JSON.stringify({ ...straightCase, input: { number: (number += 1) } }))
      next()
      client.on('response', next)
    },
  })
}

async function benchSubmissions(folder: string, settings: Settings): Promise<Verdict[]> {
  const sizes = [1, 8, 64] as const
  const rates = new Map<number, number[]>(sizes.map((size) => [size, []]))
  const bare = new Map<number, number[]>(sizes.map((size) => [size, []]))
  for (let round = 0; round < rounds; round++) {
    for (const size of sizes) {
      await using service = await startBenchService(join(folder, `submit-${round}-${size}.db`), settings)
      const { requests, non2xx, errors } = await submit(service.url, size)
      if (non2xx + errors > 0) throw new Error(`${non2xx + errors} submissions were not taken`)
      rates.get(size)!.push(requests.average)
      bare.get(size)!.push(await bareRate(join(folder, `bare-${round}-${size}.db`), size, settings))
    }
  }
  console.log('\nSubmissions per second, 4 workers running the cases meanwhile')
  printTable([
    ['clients', 'over HTTP', 'in the same process', 'ratio'],
    ...sizes.map((size) => [
      String(size),
      showRounds(overRounds(rates.get(size)!), showWhole),
      showRounds(overRounds(bare.get(size)!), showWhole),
      showRounds(overRounds(rates.get(size)!.map((rate, index) => rate / bare.get(size)![index]!)), (x) =>
        x.toFixed(2),
      ),
    ]),
  ])
  return []
}

/** The same work without HTTP, so that the price of the door shows. */
async function bareRate(path: string, callers: number, settings: Settings): Promise<number> {
  const core = await openCore({ path, packs: [settings.CC_PACKS], model: settings.CC_MODEL })
  core.start()
  const endMs = performance.now() + seconds * 500
  let done = 0
  await Promise.all(
    Array.from({ length: callers }, async () => {
      while (performance.now() < endMs) {
        await core.submit({ ...straightCase, input: { number: done }, actor: 'bench' })
        done += 1
      }
    }),
  )
  await core.close()
  return done / (seconds / 2)
}

/**
 * Sends requests evenly, so many a second, whatever becomes of those before, and returns how long each took from the moment
 * at which it was due. autocannon sends the requests of a second at its beginning, and would measure its own queue.
 */
async function paced(url: string, paths: readonly string[], perSecond: number): Promise<number[]> {
  const agent = new Agent({ keepAlive: true, maxSockets: 50 })
  const latencies: number[] = []
  const startedAt = performance.now()
  const answers: Promise<void>[] = []
  for (let index = 0; index < perSecond * seconds; index++) {
    const dueAt = startedAt + (index * 1000) / perSecond
    const restMs = dueAt - performance.now()
    if (restMs > 0) await new Promise((resolve) => setTimeout(resolve, restMs))
    const path = paths[index % paths.length]!
    answers.push(ask(agent, `${url}${path}`).then(() => void latencies.push(performance.now() - dueAt)))
  }
  await Promise.all(answers)
  agent.destroy()
  return latencies.sort((a, b) => a - b)
}

function ask(agent: Agent, url: string): Promise<void> {
  return new Promise((resolve, reject) => {
    get(url, { agent }, (answer) => {
      if (answer.statusCode !== 200) reject(new Error(`${url} was answered with ${answer.statusCode}`))
      answer.resume().once('end', resolve)
    }).once('error', reject)
  })
}

/** Cases from all over the store, so that not only the latest pages are read: ids are in the order of time. */
async function sampleIds(path: string, filledMs: number): Promise<string[]> {
  const reader = await openReader({ path })
  const timeOf = (id: string) => Number.parseInt(id.replace('-', '').slice(0, 12), 16)
  try {
    const [newest] = (await reader.listCases({ limit: 1 })).items
    const last = timeOf(newest!.instanceId)
    const first = last - filledMs
    const ids: string[] = []
    for (let index = 1; index <= 200; index++) {
      const hex = Math.round(first + ((last - first) * index) / 200)
        .toString(16)
        .padStart(12, '0')
      const cursor = `${hex.slice(0, 8)}-${hex.slice(8)}-7fff-bfff-ffffffffffff`
      const [found] = (await reader.listCases({ limit: 1, cursor })).items
      if (found) ids.push(found.instanceId)
    }
    return ids
  } finally {
    await reader.close()
  }
}

/** What readers ask for, in turn. */
function readPaths(ids: readonly string[]): string[] {
  return ids.flatMap((id, index) => [
    `/v1/cases/${id}`,
    index % 2 === 0 ? `/v1/cases/${id}/steps` : `/v1/cases/${id}/audit`,
    index % 4 === 0 ? '/v1/cases?limit=50' : '/v1/tasks',
    `/v1/cases?status=completed&limit=10&cursor=${id}`,
    '/v1/cases?status=failed&workflow=straight',
  ])
}

/** Reads at 200 a second while cases come in and four workers run them. */
async function readLatency({ url }: BenchService, paths: readonly string[]): Promise<number[]> {
  const load = submitEvenly(url, 20)
  const latencies = await paced(url, paths, 200)
  await load
  return latencies
}

async function submitEvenly(url: string, perSecond: number): Promise<void> {
  const body = JSON.stringify({ ...straightCase, input: { number: 1 } })
  for (let index = 0; index < perSecond * seconds; index++) {
    const pause = new Promise((resolve) => setTimeout(resolve, 1000 / perSecond))
    await fetch(`${url}/v1/cases`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    await pause
  }
}

async function benchReads(folder: string, settings: Settings): Promise<Verdict[]> {
  const sizes = [1_000, 100_000] as const
  const ids = new Map<number, string[]>()
  for (const size of sizes) {
    const path = join(folder, `reads-${size}.db`)
    const startedMs = Date.now()
    await fillStore(path, size, settings)
    ids.set(size, await sampleIds(path, Date.now() - startedMs))
  }
  const p99 = new Map<number, number[]>(sizes.map((size) => [size, []]))
  const p50 = new Map<number, number[]>(sizes.map((size) => [size, []]))
  for (let round = 0; round <= rounds; round++) {
    for (const size of sizes) {
      await using service = await startBenchService(join(folder, `reads-${size}.db`), settings)
      const sorted = await readLatency(service, readPaths(ids.get(size)!))
      if (round === 0) continue
      p99.get(size)!.push(quantile(sorted, 0.99))
      p50.get(size)!.push(quantile(sorted, 0.5))
    }
  }
  console.log('\nReads at 200 a second, with 20 submissions a second and 4 workers')
  printTable([
    ['finished cases', 'p50', 'p99'],
    ...sizes.map((size) => [
      showWhole(size),
      showRounds(overRounds(p50.get(size)!), showMs),
      showRounds(overRounds(p99.get(size)!), showMs),
    ]),
  ])
  const [few, many] = sizes.map((size) => overRounds(p99.get(size)!).median)
  return [
    atMost('reads on 100,000 finished cases, p99', many!, 20, showMs),
    atMost('reads on 100,000 against 1,000, p99', many! / few!, 1.2),
  ]
}

/** What a stream costs the service: the same cases with and without viewers, by the processor time of the process. */
async function benchViewers(folder: string, settings: Settings): Promise<Verdict[]> {
  const cases = 100
  const costs = new Map<number, number[]>([1, 20].map((viewersEach) => [viewersEach, []]))
  for (let round = 0; round < rounds; round++) {
    const alone = await runFollowed(join(folder, `alone-${round}.db`), settings, { cases, viewersEach: 0 })
    for (const [viewersEach, figures] of costs) {
      const path = join(folder, `followed-${round}-${viewersEach}.db`)
      const followed = await runFollowed(path, settings, { cases, viewersEach })
      figures.push((followed.cpuMs - alone.cpuMs) / followed.events)
    }
  }
  console.log('\nProcessor time for each event that a viewer is told, the opening of its stream included')
  printTable([
    ['viewers of a case', 'an event'],
    ...[...costs].map(([viewersEach, figures]) => [String(viewersEach), showRounds(overRounds(figures), showMs)]),
  ])
  return [...costs].map(([viewersEach, figures]) =>
    atMost(`a viewer for each event, ${viewersEach} to a case`, overRounds(figures).median, 0.1, showMs),
  )
}

async function runFollowed(
  path: string,
  settings: Settings,
  { cases, viewersEach }: { cases: number; viewersEach: number },
): Promise<{ cpuMs: number; events: number }> {
  await using service = await startBenchService(path, settings)
  const { url } = service
  let events = 0
  let cpuMs = 0
  const batch = 25
  for (let done = 0; done < cases; done += batch) {
    const submitted = await Promise.all(
      Array.from({ length: batch }, async (_, index) => {
        const body = JSON.stringify({ ...longCase, input: { number: done + index } })
        const headers = { 'content-type': 'application/json' }
        const answer = await fetch(`${url}/v1/cases`, { method: 'POST', headers, body })
        return ((await answer.json()) as { instance_id: string }).instance_id
      }),
    )
    // Connections are opened before the clock starts; each stream tells the case from its beginning.
    const startedMs = service.cpuMs()
    const streams = submitted.flatMap((id) =>
      Array.from({ length: viewersEach }, async (_, viewer) => {
        const answer = await fetch(`${url}/v1/cases/${id}/stream`, { headers: { 'x-actor': `viewer-${viewer}` } })
        if (!answer.ok) throw new Error(`a stream was answered with ${answer.status}`)
        const text = await answer.text()
        events += text.match(/^id: /gm)?.length ?? 0
      }),
    )
    await Promise.all([...streams, ...submitted.map((id) => fetch(`${url}/v1/cases/${id}?wait=30`))])
    cpuMs += service.cpuMs() - startedMs
  }
  return { cpuMs, events }
}

/** An unrelated route while eight clients submit and every fsync takes 2 ms longer. */
async function benchSlowDisk(folder: string, settings: Settings): Promise<Verdict[]> {
  const shim = buildShim(folder)
  if (shim === undefined) {
    console.log('\nnot run: a slow disk needs gcc (apt-get install gcc libc6-dev)')
    return []
  }
  const results = new Map<string, number[]>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, extraUs] of [
      ['as it is', '0'],
      ['2 ms more', '2000'],
    ] as const) {
      const slow = { ...settings, LD_PRELOAD: shim, SLOW_FSYNC_US: extraUs }
      await using service = await startBenchService(join(folder, `slow-${round}-${extraUs}.db`), slow)
      const load = submit(service.url, 8)
      const [{ requests }, sorted] = await Promise.all([load, paced(service.url, ['/v1/workflows'], 50)])
      results.set(`${name} p50`, [...(results.get(`${name} p50`) ?? []), quantile(sorted, 0.5)])
      results.set(`${name} p99`, [...(results.get(`${name} p99`) ?? []), quantile(sorted, 0.99)])
      results.set(`${name} rate`, [...(results.get(`${name} rate`) ?? []), requests.average])
    }
  }
  console.log('\nGET /v1/workflows while 8 clients submit')
  printTable([
    ['every fsync', 'p50', 'p99', 'submissions/s'],
    ...['as it is', '2 ms more'].map((name) => [
      name,
      showRounds(overRounds(results.get(`${name} p50`)!), showMs),
      showRounds(overRounds(results.get(`${name} p99`)!), showMs),
      showRounds(overRounds(results.get(`${name} rate`)!), showWhole),
    ]),
  ])
  return [atMost('an unrelated route on a slow disk, p50', overRounds(results.get('2 ms more p50')!).median, 5, showMs)]
}

function buildShim(folder: string): string | undefined {
  const path = join(folder, 'slow-fsync.so')
  try {
    execFileSync('gcc', ['-shared', '-fPIC', '-o', path, join(import.meta.dirname, 'slow-fsync.c'), '-ldl'])
    return path
  } catch {
    return undefined
  }
}
