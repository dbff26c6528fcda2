import { hash } from 'node:crypto'
import { type Errand, maxMeasures, submitter } from './errands.ts'
import type { CallLine, Logs } from './logs.ts'
import type { CrashStore } from './stores.ts'
import { readTables, type Row, type Tables } from './tables.ts'

export interface Verdict {
  /** Everything that must not be, one sentence each; empty when nothing was lost and nothing done twice. */
  readonly problems: readonly string[]
  readonly figures: Figures
}

export interface Figures {
  readonly rounds: number
  readonly killed: number
  readonly cases: number
  readonly steps: number
  readonly calls: number
  /** Calls whose result no file knows, because a kill came before its COMMIT. */
  readonly lostCalls: number
  /** Submissions that the file had and the client did not know of, until it asked again. */
  readonly lostAnswers: number
  readonly decisions: number
  readonly events: number
}

type Call = Extract<CallLine, { call: string }>

/**
 * Judges a store at rest by its rows and by what the client and the primitives wrote down, and by nothing of the engine:
 * hashes are computed here, and what each case had to do follows from its errand. One process had it at a time.
 */
export async function checkStore(store: Pick<CrashStore, 'rows'>, logs: Logs): Promise<Verdict> {
  return new Check(await readTables((sql) => store.rows(sql)), logs, 'one after the other').verdict()
}

/** The same for a store that many processes had at once. */
export function checkFleet(tables: Tables, logs: Logs): Verdict {
  return new Check(tables, logs, 'side by side').verdict()
}

class Check {
  private readonly problems: string[] = []
  private readonly logs: Logs
  private readonly lives: 'one after the other' | 'side by side'
  private readonly instances: ReadonlyMap<string, Row>
  private readonly keys: readonly Row[]
  private readonly keysOf: ReadonlyMap<unknown, readonly Row[]>
  private readonly asked: ReadonlyMap<string, Errand>
  private readonly work: readonly Row[]
  private readonly events: ReadonlyMap<unknown, readonly Row[]>
  private readonly checkpoints: ReadonlyMap<unknown, readonly Row[]>
  private readonly payloads: ReadonlyMap<unknown, ReadonlyMap<unknown, Row>>
  private readonly tasks: ReadonlyMap<unknown, readonly Row[]>
  /** Starts in the order in which they were written, by instance. */
  private readonly starts: ReadonlyMap<unknown, readonly Call[]>
  /** Where each call has begun and ended: the number of the line. */
  private readonly beginnings: ReadonlyMap<string, number>
  private readonly ends: ReadonlyMap<string, number>
  private readonly killedRounds: ReadonlySet<number>
  private readonly rounds: ReadonlySet<number>
  private lostCalls = 0

  constructor(tables: Tables, logs: Logs, lives: Check['lives']) {
    this.logs = logs
    this.lives = lives
    this.instances = new Map(tables.instances.map((row) => [row.instance_id as string, row]))
    this.keys = tables.submission_keys
    this.keysOf = groupBy(this.keys, (row) => row.instance_id)
    this.work = tables.work
    this.events = groupBy(tables.audit_events, (row) => row.instance_id)
    this.checkpoints = groupBy(tables.checkpoints, (row) => row.instance_id)
    const payloads = groupBy(tables.payloads, (row) => row.instance_id)
    this.payloads = new Map([...payloads].map(([id, rows]) => [id, new Map(rows.map((row) => [row.payload_id, row]))]))
    this.tasks = groupBy(tables.tasks, (row) => row.instance_id)

    this.asked = new Map(logs.client.flatMap((line) => (line.what === 'asked' ? [[line.key, line.errand]] : [])))
    const calls = logs.calls.filter((line) => 'call' in line)
    this.starts = groupBy(
      calls.filter(({ what }) => what === 'start'),
      ({ instance }) => instance,
    )
    const lines = (word: 'start' | 'end') =>
      new Map(calls.flatMap(({ what, call }, index) => (what === word ? [[call, index]] : [])))
    this.beginnings = lines('start')
    this.ends = lines('end')
    this.rounds = new Set(logs.calls.map(({ round }) => round))
    const left = new Set(logs.calls.filter(({ what }) => what === 'left').map(({ round }) => round))
    this.killedRounds = new Set([...this.rounds].filter((round) => !left.has(round)))
  }

  verdict(): Verdict {
    this.checkSubmissions()
    for (const row of this.work) {
      const claim = row.state === 'claimed' ? `, claimed by ${row.claimed_by}` : ''
      this.report(row.instance_id, `is still at work, at step ${row.step}${claim}`)
    }
    for (const instance of this.starts.keys()) {
      if (!this.instances.has(instance as string)) this.report(instance, 'was run and is not in the file')
    }
    for (const table of [this.events, this.checkpoints, this.tasks]) {
      for (const id of table.keys()) if (!this.instances.has(id as string)) this.report(id, 'has rows and no instance')
    }
    for (const [id, instance] of this.instances) this.checkInstance(id, instance)
    this.checkDecisions()
    return { problems: this.problems, figures: this.figures() }
  }

  private figures(): Figures {
    const count = (groups: ReadonlyMap<unknown, readonly unknown[]>) =>
      [...groups.values()].reduce((sum, group) => sum + group.length, 0)
    return {
      rounds: this.rounds.size,
      killed: this.killedRounds.size,
      cases: this.instances.size,
      steps: count(this.checkpoints),
      calls: count(this.starts),
      lostCalls: this.lostCalls,
      lostAnswers: this.countLostAnswers(),
      decisions: this.logs.client.filter(({ what }) => what === 'decided').length,
      events: count(this.events),
    }
  }

  private countLostAnswers(): number {
    const first = new Map<string, boolean>()
    for (const line of this.logs.client) {
      if (line.what === 'accepted' && !first.has(line.key)) first.set(line.key, line.seen)
    }
    return [...first.values()].filter((seen) => seen).length
  }

  private report(instance: unknown, problem: string): void {
    this.problems.push(`${String(instance)}: ${problem}`)
  }

  /** What was accepted is there under its key, and nothing is there that was not asked for. */
  private checkSubmissions(): void {
    const stored = new Map<unknown, Row>()
    for (const row of this.keys) {
      if (row.actor !== submitter || stored.has(row.key))
        this.report(row.instance_id, `key ${row.key} has two instances`)
      stored.set(row.key, row)
      if (!this.asked.has(String(row.key))) this.report(row.instance_id, `nobody asked for key ${row.key}`)
    }
    for (const line of this.logs.client) {
      if (line.what !== 'accepted') continue
      const { key, instance } = line
      const row = stored.get(key)
      if (row?.instance_id !== instance) this.report(instance, `was accepted for key ${key} and is not stored for it`)
      if (!this.instances.has(instance)) this.report(instance, `was accepted for key ${key} and is lost`)
    }
    const keyed = new Set(this.keys.map((row) => row.instance_id))
    if (keyed.size !== this.keys.length) this.report('submission_keys', 'two keys have one instance')
    for (const id of this.instances.keys()) if (!keyed.has(id)) this.report(id, 'came of no key')
  }

  private checkInstance(id: string, instance: Row): void {
    const errand = this.checkInput(id, instance)
    if (!errand) return
    this.checkChain(id, instance)
    const path = pathOf(errand)
    const checkpoints = this.checkpoints.get(id) ?? []
    this.checkPath(id, instance, errand, { path, checkpoints })
    if (this.lives === 'side by side') this.checkCallsBeside(id, checkpoints)
    else this.checkCalls(id, path, checkpoints)
    this.checkIntents(id)
    this.checkEnding(id, instance, errand)
  }

  private checkInput(id: string, instance: Row): Errand | undefined {
    const key = this.keysOf.get(id)?.[0]?.key
    const errand = this.asked.get(String(key))
    const input = this.contentOf(id, instance.input_payload_id)
    if (errand && isSame(input, errand)) return errand
    this.report(id, `its input is not what was asked for with key ${key}`)
    return undefined
  }

  /** Every hash is computed anew, from the genesis to the head, with all that the events commit to. */
  private checkChain(id: string, instance: Row): void {
    let prev = hash('sha256', `cc/case/v1\n${id}`)
    let entry = 0
    const referred = new Set<unknown>()
    const digests: string[] = []
    const events = this.events.get(id) ?? []
    for (const [index, row] of events.entries()) {
      const bad = (problem: string) => this.report(id, `event ${row.seq} ${problem}`)
      const envelope = JSON.parse(String(row.envelope)) as Envelope
      if (row.seq !== index + 1 || envelope.seq !== row.seq) bad(`stands at place ${index + 1}`)
      if (row.hash !== hash('sha256', `cc/event/v1\n${row.envelope}`)) bad('does not have its hash')
      if (row.prev_hash !== prev || envelope.prev !== prev) bad('does not follow the one before it')
      if (envelope.instance !== id) bad('belongs to another instance')
      if (envelope.type !== row.type || envelope.at !== row.at_ms) bad('has other columns than its envelope')
      if ((envelope.payload?.id ?? null) !== row.payload_id) bad('has another payload than its envelope')
      if (Number(row.entry) <= entry) bad('was written before the one before it')
      if (envelope.definition !== instance.definition_hash) bad('has another definition than its instance')
      if (envelope.payload) {
        referred.add(envelope.payload.id)
        if (!this.isCommitted(id, envelope.payload)) bad('commits to content that is not there')
      }
      if (envelope.checkpoint) digests.push(envelope.checkpoint)
      entry = Number(row.entry)
      prev = String(row.hash)
    }
    if (instance.audit_seq !== events.length || instance.audit_head !== prev) this.report(id, 'its head is another one')
    const rows = this.checkpoints.get(id) ?? []
    if (!isSame(rows.map(digestOf), digests)) this.report(id, 'its events commit to other checkpoints')
    for (const payloadId of this.payloads.get(id)?.keys() ?? []) {
      if (!referred.has(payloadId)) this.report(id, `nothing refers to payload ${String(payloadId)}`)
    }
  }

  private isCommitted(id: string, { id: payloadId, commitment }: { id: string; commitment: string }): boolean {
    const row = this.payloads.get(id)?.get(payloadId)
    if (typeof row?.text !== 'string' || typeof row.salt !== 'string') return false
    const bytes = Buffer.concat([Buffer.from('cc/payload/v1\n'), Buffer.from(row.salt, 'hex'), Buffer.from(row.text)])
    return hash('sha256', bytes) === commitment
  }

  /** Step by step the way that the errand says, each step once, numbered without a gap, each leading to the next. */
  private checkPath(
    id: string,
    instance: Row,
    errand: Errand,
    { path, checkpoints }: { path: readonly string[]; checkpoints: readonly Row[] },
  ): void {
    const taken = checkpoints.map((row) => String(row.step))
    if (!isSame(taken, path)) this.report(id, `went ${taken.join(' ')}, not ${path.join(' ')}`)
    if (instance.step_count !== checkpoints.length) this.report(id, `counts ${instance.step_count} steps`)
    const runs = new Map<unknown, number>()
    for (const [index, row] of checkpoints.entries()) {
      const bad = (problem: string) => this.report(id, `step ${row.step_no} (${row.step}) ${problem}`)
      if (row.step_no !== index + 1) bad(`is checkpoint ${index + 1}`)
      const run = (runs.get(row.step) ?? 0) + 1
      if (row.run !== run) bad(`is run ${row.run}, not ${run}`)
      runs.set(row.step, run)
      const isSlip = errand.flaky && row.step === 'adjust' && run === 1
      if (row.attempts !== (isSlip ? 2 : 1)) bad(`took ${row.attempts} attempts`)
      const isLast = index === path.length - 1
      if (row.status !== (isLast && errand.broken ? 'failed' : 'completed')) bad(`is ${row.status}`)
      const { to } = JSON.parse(String(row.route)) as { to: string }
      if (to !== (path[index + 1] ?? '__end__')) bad(`leads to ${to}`)
    }
  }

  /**
   * Calls follow the path and never go back: after a kill a case goes on at the very next step. A call that the file does
   * not know was lost to the kill of its own round, and each recorded attempt is one call that ended.
   */
  private checkCalls(id: string, path: readonly string[], checkpoints: readonly Row[]): void {
    const recorded = this.recordedCalls(id, checkpoints)
    const starts = this.starts.get(id) ?? []
    let due = 0
    for (const start of starts) {
      const { call, round } = start
      const bad = (problem: string) => this.report(id, `call ${call} of ${start.step}, run ${start.run}, ${problem}`)
      const place = placeOf(start)
      if (place !== recorded[due]?.place) bad(due === recorded.length ? 'came after the end' : 'was not what was due')
      if (call === recorded[due]?.call) {
        if (!this.ends.has(call)) bad('is recorded and never ended')
        due += 1
      } else {
        this.lostCalls += 1
        if (!this.killedRounds.has(round)) bad('was lost in a round that nobody killed')
        const twin = starts.find((other) => other !== start && other.round === round && placeOf(other) === place)
        if (twin) bad(`was called twice in round ${round}`)
      }
    }
    for (const { place } of recorded.slice(due)) this.report(id, `${place} is recorded and was not called in its turn`)
    if (checkpoints.length === path.length) this.checkCallCounts(id, starts, recorded)
  }

  /**
   * Where a claim may pass to another process while the first one sleeps, two may call the same step. But each recorded
   * attempt is one call that ended, and nothing begins before what stands before it in the record was called and done.
   */
  private checkCallsBeside(id: string, checkpoints: readonly Row[]): void {
    const recorded = this.recordedCalls(id, checkpoints)
    const placeIn = new Map(recorded.map(({ place }, index) => [place, index]))
    const starts = this.starts.get(id) ?? []
    for (const start of starts) {
      const { call } = start
      const bad = (problem: string) => this.report(id, `call ${call} of ${start.step}, run ${start.run}, ${problem}`)
      const index = placeIn.get(placeOf(start))
      if (index === undefined) {
        bad('is of nothing that is recorded')
        continue
      }
      if (call !== recorded[index]!.call) this.lostCalls += 1
      const before = recorded[index - 1]
      const doneAt = before && (this.ends.get(before.call ?? '') ?? Infinity)
      if (before && this.beginnings.get(call)! < doneAt!) bad(`began before ${before.place} was done`)
    }
    const called = new Set(starts.map(({ call }) => call))
    for (const { place, call } of recorded) {
      if (call === undefined || !called.has(call)) this.report(id, `${place} is recorded and was not called`)
      else if (!this.ends.has(call)) this.report(id, `call ${call} of ${place} is recorded and never ended`)
    }
  }

  /** At most once per attempt, and once more for each kill that hit it. */
  private checkCallCounts(id: string, starts: readonly Call[], recorded: readonly Recorded[]): void {
    const calls = groupBy(starts, placeOf)
    for (const { place, call } of recorded) {
      const lost = (calls.get(place) ?? []).filter((start) => start.call !== call)
      const kills = new Set(lost.filter(({ round }) => this.killedRounds.has(round)).map(({ round }) => round))
      const count = calls.get(place)?.length ?? 0
      if (count > 1 + kills.size) this.report(id, `${place} was called ${count} times, with ${kills.size} kills`)
    }
  }

  /** Attempts in the order in which the record has them, and the call that gave each. */
  private recordedCalls(id: string, checkpoints: readonly Row[]): Recorded[] {
    const slips = (this.events.get(id) ?? []).filter((row) => row.type === 'step.retried')
    return checkpoints.flatMap((row) => {
      const { step, run, attempts } = row
      const content = this.contentOf(id, row.output_payload_id)
      const last: Recorded = { place: placeOf({ step, run, attempt: attempts }), call: callIn(content) }
      const before = slips
        .map((slip) => ({ slip, envelope: JSON.parse(String(slip.envelope)) as Envelope }))
        .filter(({ envelope }) => envelope.step === step && envelope.facts?.run === run)
        .map(({ slip, envelope }) => ({
          place: placeOf({ step, run, attempt: envelope.facts?.attempt }),
          call: callIn(this.contentOf(id, slip.payload_id)),
        }))
      if (before.length !== Number(attempts) - 1) this.report(id, `step ${step} has ${before.length} recorded slips`)
      return [...before, last]
    })
  }

  /** What acts on the world is announced first: as many intents as calls, or more where a kill came in between. */
  private checkIntents(id: string): void {
    const intents = (this.events.get(id) ?? []).filter((row) => row.type === 'step.intended').length
    const calls = (this.starts.get(id) ?? []).filter(({ step }) => step === 'settle').length
    if (intents < calls) this.report(id, `settle was called ${calls} times after ${intents} intents`)
  }

  /** Ended once, or held with one task, as the errand says. */
  private checkEnding(id: string, instance: Row, errand: Errand): void {
    const types = (this.events.get(id) ?? []).map((row) => String(row.type))
    const times = (type: string) => types.filter((other) => other === type).length
    const end = endOf(errand)
    const tasks = this.tasks.get(id) ?? []
    const isHeld = end === 'gate' || end === 'hold'
    const isDecided = isHeld && tasks[0]?.status === 'decided'
    const expected = {
      'case.submitted': 1,
      'case.held': isHeld ? 1 : 0,
      'task.opened': isHeld ? 1 : 0,
      'task.decided': isDecided ? 1 : 0,
      'case.completed': end === 'auto' || isDecided ? 1 : 0,
      'case.failed': end === 'failed' ? 1 : 0,
    }
    for (const [type, count] of Object.entries(expected)) {
      if (times(type) !== count) this.report(id, `has ${times(type)} times ${type}, not ${count}`)
    }
    const status = end === 'failed' ? 'failed' : isHeld && !isDecided ? 'suspended' : 'completed'
    if (instance.status !== status) this.report(id, `is ${instance.status}, not ${status}`)
    if (end !== 'failed' && instance.tier !== end) this.report(id, `has tier ${instance.tier}, not ${end}`)
    if (tasks.length !== (isHeld ? 1 : 0)) this.report(id, `has ${tasks.length} tasks`)
    if (tasks.some((task) => task.tier !== end)) this.report(id, 'has a task of another tier')
  }

  /** What was answered as decided stays decided, and nothing is decided that nobody asked for. */
  private checkDecisions(): void {
    const byTask = new Map([...this.tasks.values()].flat().map((row) => [row.task_id, row]))
    const asked = new Set<unknown>()
    for (const line of this.logs.client) {
      if (line.what === 'deciding') asked.add(line.task)
      if (line.what !== 'decided' || byTask.get(line.task)?.status === 'decided') continue
      this.report(line.instance, `its task ${line.task} was decided, and the file does not know`)
    }
    for (const row of byTask.values()) {
      if (row.status === 'decided' && !asked.has(row.task_id)) this.report(row.instance_id, 'was decided by nobody')
    }
  }

  private contentOf(id: string, payloadId: unknown): unknown {
    const text = this.payloads.get(id)?.get(payloadId)?.text
    return typeof text === 'string' ? JSON.parse(text) : undefined
  }
}

interface Envelope {
  readonly instance: string
  readonly seq: number
  readonly prev: string
  readonly type: string
  readonly at: number
  readonly definition: string
  readonly step?: string
  readonly facts?: { readonly run?: number; readonly attempt?: number }
  readonly payload?: { readonly id: string; readonly commitment: string }
  readonly checkpoint?: string
}

interface Recorded {
  readonly place: string
  readonly call: string | undefined
}

function placeOf({ step, run, attempt }: { step: unknown; run: unknown; attempt: unknown }): string {
  return `${step as string}, run ${run as number}, attempt ${attempt as number}`
}

/** The way that a case must go. */
export function pathOf({ long, repeats }: Errand): string[] {
  const path = long ? ['open', 'survey'] : ['open']
  for (let run = 1; run < maxMeasures && run <= repeats; run++) path.push('measure', 'adjust')
  return [...path, 'measure', 'settle']
}

function endOf({ broken, doubt, repeats }: Errand): 'failed' | 'hold' | 'gate' | 'auto' {
  if (broken) return 'failed'
  if (doubt) return 'hold'
  return repeats >= maxMeasures - 1 ? 'gate' : 'auto'
}

/** The name of the call that gave this content: a field of an answer, a word of an error. */
function callIn(content: unknown): string | undefined {
  const { call, message } = (content ?? {}) as { call?: string; message?: string }
  return call ?? /^call (\d+-\d+) /.exec(message ?? '')?.[1]
}

/** SHA-256 of the row as canonical JSON, without `entry` and what is null. */
function digestOf(row: Row): string {
  const columns = Object.entries(row).filter(([name, value]) => name !== 'entry' && value !== null)
  const sorted = Object.fromEntries(columns.sort(([a], [b]) => (a < b ? -1 : 1)))
  return hash('sha256', `cc/checkpoint/v1\n${JSON.stringify(sorted)}`)
}

function groupBy<K, R>(rows: readonly R[], keyOf: (row: R) => K): Map<K, R[]> {
  return Map.groupBy(rows, keyOf)
}

/** Equal as JSON, whatever the order of keys: what is compared here nests no further than one level. */
function isSame(a: unknown, b: unknown): boolean {
  const flat = (value: unknown) => JSON.stringify(Object.entries((value ?? {}) as object).sort())
  return flat(a) === flat(b)
}
