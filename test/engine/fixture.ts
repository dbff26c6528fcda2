import assert from 'node:assert/strict'
import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import type { PackObjects } from '../../src/cognition/pack.ts'
import type { Primitive, StepCall, StepResult } from '../../src/cognition/primitive.ts'
import type { Envelope } from '../../src/domain/chain.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { CaseView, Core, CoreConfig, Submitted, SubmitRequest } from '../../src/engine/core.ts'
import type { Engine } from '../../src/engine/execution.ts'
import { openCore } from '../../src/engine/open.ts'
import type { Log } from '../../src/log.ts'
import { type OpenStore, type StoreFixture, type StoreOptions, until } from '../storage/fixture.ts'
import { MovedClock } from './moved-clock.ts'

/** What a step of the test's own primitive does; what it returns is its output. */
export type Play = (call: StepCall) => JsonObject | Promise<JsonObject>

export interface EngineOptions extends StoreOptions {
  /** The one workflow; unset: a single step `first`. */
  readonly steps?: readonly object[]
  /** What the steps of primitive `play` do, by name; one that is not here says `{ done: true }`. */
  readonly plays?: Readonly<Record<string, Play>>
  /** What the model answers, by the name of the step. */
  readonly answers?: Readonly<Record<string, object>>
  /** The tier's floor; auto unless said, and none at all when null. */
  readonly governance?: string | null
  /** What would stand in coordinator_config.yaml. */
  readonly config?: object
  readonly packs?: readonly PackObjects[]
  readonly core?: Partial<CoreConfig>
  /** Parts of the engine that no setting reaches. */
  readonly parts?: Partial<Pick<Engine, 'maxSteps' | 'draw'>>
  /** Whether workers run from the beginning; they do unless said. */
  readonly isStarted?: boolean
}

/** An engine on a store of its own, with time that the test moves. */
export interface EngineFixture extends AsyncDisposable {
  readonly core: Core
  readonly clock: MovedClock
  readonly store: StoreFixture
  /** Every attempt of a step of primitive `play`, in the order in which they began. */
  readonly calls: readonly StepCall[]
  /** What the engine logged as an error or a warning. */
  readonly complaints: readonly string[]
  /** How it was opened. */
  readonly options: EngineOptions
  submit(request?: Partial<SubmitRequest>): Promise<Submitted>
  /** Submits a case and waits until it has ended or is held. */
  run(request?: Partial<SubmitRequest>): Promise<CaseView>
  /** Waits until the case is like this. */
  reach(instanceId: string, state: Partial<Pick<CaseView, 'status' | 'work'>>): Promise<CaseView>
  /** Waits until this call has begun, written as in `ran`. */
  reachCall(call: string): Promise<void>
  /** Types of the events of a case, in order. */
  events(instanceId: string): Promise<string[]>
  /** The envelopes of a case's events of this type. */
  envelopes(instanceId: string, type: string): Promise<Envelope[]>
  /** `step#run.attempt` for every call, as a short way to say what ran. */
  ran(): string[]
  /** Checks the whole record; every story of a healthy engine ends well. */
  verify(): Promise<void>
  /** Another engine on the same store, as after a crash: nothing of this one's claims is given back. */
  crash(options?: EngineOptions): Promise<EngineFixture>
}

export async function openEngine(open: OpenStore, options: EngineOptions = {}): Promise<EngineFixture> {
  const store = await open(options)
  return await engineOn(store, new MovedClock({ isBusy: () => store.underWay > 0 }), options)
}

async function engineOn(store: StoreFixture, clock: MovedClock, options: EngineOptions): Promise<EngineFixture> {
  const calls: StepCall[] = []
  const complaints: string[] = []
  const note = (fields: object, message: string) => void complaints.push(`${message} ${JSON.stringify(fields)}`)
  const log: Log = { debug: () => {}, info: () => {}, warn: note, error: note }
  const core = await openCore({
    backend: store.backend,
    clock,
    log,
    packs: options.packs ?? [pack(options)],
    primitives: [playing(options.plays ?? {}, calls)],
    ...(options.answers ? { model: answering(options.answers) } : {}),
    // The same on every machine and on both databases.
    workerConcurrency: 4,
    ...options.core,
  })
  Object.assign((core as unknown as { readonly engine: Engine }).engine, options.parts)
  if (options.isStarted ?? true) await start(core, store)
  const submit = (request: Partial<SubmitRequest> = {}) =>
    core.submit({ workflow: 'review', domain: 'plain', input: { amount: 7 }, actor: 'kim', ...request })
  const envelopes = async (instanceId: string) =>
    (await core.getAudit(instanceId)).map(({ envelope }) => JSON.parse(envelope) as Envelope)
  const ran = () => calls.map(({ step, run, attempt }) => `${step.name}#${run}.${attempt}`)
  return {
    core,
    clock,
    store,
    calls,
    complaints,
    options,
    submit,
    run: async (request) => await core.waitFor((await submit(request)).instanceId),
    reach: async (instanceId, state) => {
      const isThere = (view: CaseView) =>
        Object.entries(state).every(([field, value]) => view[field as 'status'] === value)
      await until(async () => isThere(await core.getCase(instanceId)), `${instanceId} ${JSON.stringify(state)}`)
      return await core.getCase(instanceId)
    },
    events: async (instanceId) => (await envelopes(instanceId)).map(({ type }) => type),
    envelopes: async (instanceId, type) => (await envelopes(instanceId)).filter((envelope) => envelope.type === type),
    ran,
    reachCall: (call) => until(() => ran().includes(call), call),
    verify: async () => {
      const report = await core.verify()
      assert.deepEqual(report.findings, [])
      assert.ok(report.valid)
    },
    crash: async (next = options) => {
      await store.takeOver()
      return await engineOn(store, clock, next)
    },
    async [Symbol.asyncDispose]() {
      const closing = core.close().catch(() => {})
      await clock.advance(60_000)
      await closing
      await store[Symbol.asyncDispose]()
    },
  }
}

/** Where processes share a store this one is known to the others from then on, so that its rows are all there. */
async function start(core: Core, store: StoreFixture): Promise<void> {
  const members = async () => (await store.sql('select 1 from workers where beat_at_ms > 0')).length
  const before = await members()
  core.start()
  if (store.backend.fleet) await until(async () => (await members()) > before, 'the first beat')
}

/** A pack of one workflow `review` and one domain `plain`. */
export function pack({
  steps = [{ name: 'first', primitive: 'play' }],
  governance = 'auto',
  config = {},
}: Pick<EngineOptions, 'steps' | 'governance' | 'config'>): PackObjects {
  return {
    name: 'test',
    workflows: [{ name: 'review', steps }],
    domains: [{ domain_name: 'plain', ...(governance === null ? {} : { governance }) }],
    config,
  }
}

function playing(plays: Readonly<Record<string, Play>>, calls: StepCall[]): Primitive {
  return {
    name: 'play',
    needsModel: false,
    requiredParams: [],
    defaultParams: {},
    async run(call): Promise<StepResult> {
      calls.push(call)
      const play = plays[call.step.name]
      return { output: play ? await play(call) : { done: true } }
    },
  }
}

/** A model that answers each step as it is told, and keeps what it was asked. */
export function answering(
  answers: Readonly<Record<string, object>>,
  { simulated = false }: { simulated?: boolean } = {},
): Model & { readonly asked: ModelRequest[] } {
  const asked: ModelRequest[] = []
  return {
    name: simulated ? 'scripted:test' : 'test/real',
    simulated,
    asked,
    answer: (request) => {
      asked.push(request)
      const answer = answers[request.address.step]
      return Promise.resolve({ text: JSON.stringify(answer), model: 'real-1' })
    },
  }
}

/** A govern step, and what it answers to apply this tier. */
export const governStep = {
  name: 'decide',
  primitive: 'govern',
  params: { workflow_state: 'done', governance_context: 'all' },
}

export function applying(tier: string, disposition = 'proceed'): object {
  return { confidence: 0.9, reasoning: 'plain', tier_applied: tier, tier_rationale: 'plain', disposition }
}

/** A step that writes a document, and what it answers. */
export const draftStep = {
  name: 'draft',
  primitive: 'generate',
  params: { requirements: 'a letter', constraints: 'short' },
}

export function writing(artifact: unknown): object {
  return { confidence: 0.9, reasoning: 'plain', artifact }
}
