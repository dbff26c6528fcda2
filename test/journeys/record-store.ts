import { copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { systemClock } from '../../src/clock.ts'
import { type Primitive, StepFailure } from '../../src/cognition/primitive.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { CaseView, Core, CoreConfig } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'

/** What a matter asks of the step `weigh`; the other steps only write something down. */
export interface Matter extends JsonObject {
  readonly matter: string
  readonly weigh?: 'fails at first' | 'sleeps'
}

export const submitter = 'kim'
export const reviewer = 'ann'
export const matterWorkflow = 'matter'

/** Three steps, of which the second may fail; the domain says who looks at the outcome. */
export const matterPack = {
  name: 'matters',
  workflows: [
    {
      name: matterWorkflow,
      steps: [
        { name: 'read', primitive: 'scribe' },
        {
          name: 'weigh',
          primitive: 'scribe',
          retry: { max_attempts: 2, backoff_seconds: 3600, max_backoff_seconds: 3600 },
        },
        { name: 'write', primitive: 'generate_note', external_effect: true },
      ],
    },
  ],
  domains: (['auto', 'spot_check', 'gate', 'hold'] as const).map((tier) => ({ domain_name: tier, governance: tier })),
  config: { governance_tiers: { spot_check: { sample_rate: 1 } } },
}

/** Says which model answered and what it took, so that no column of a checkpoint stays empty everywhere. */
export const scribe: Primitive = {
  name: 'scribe',
  needsModel: false,
  requiredParams: [],
  defaultParams: {},
  run({ step, run, attempt, context }) {
    const { matter, weigh } = context.input as Matter
    if (step.name === 'weigh' && weigh === 'sleeps' && attempt === 1) {
      throw new StepFailure('rate_limit', 'too many at once', { retryable: true })
    }
    if (step.name === 'weigh' && weigh === 'fails at first' && run === 1) {
      throw new StepFailure('schema_mismatch', 'an answer of another shape', { retryable: false })
    }
    const output = { note: `${step.name} of ${matter}: Zoë Ångström 😀`, confidence: 0.75 }
    return Promise.resolve({ output, model: 'house-1', inputTokens: 120, outputTokens: 34 })
  },
}

export const noteGenerator: Primitive = {
  ...scribe,
  name: 'generate_note',
  run: ({ context }) => Promise.resolve({ output: { artifact: `note on ${(context.input as Matter).matter}` } }),
}

export const primitives = [scribe, noteGenerator]

/** Time passes by one millisecond whenever somebody asks for it, so that no two events carry the same. */
export function tickingClock(startMs = 1_790_000_000_000) {
  let now = startMs
  return { ...systemClock, nowMs: () => ++now }
}

export async function openMatters(path: string, config: Partial<CoreConfig> = {}): Promise<Core> {
  return await openCore({ path, packs: [matterPack], primitives, clock: tickingClock(), ...config })
}

export async function submitMatter(core: Core, domain: string, input: Matter): Promise<string> {
  const { instanceId } = await core.submit({
    workflow: matterWorkflow,
    domain,
    input,
    key: input.matter,
    actor: submitter,
  })
  return instanceId
}

/** One case of every kind that a record can show, by what became of it. */
export type CaseName =
  | 'completed'
  | 'changed'
  | 'denied'
  | 'held'
  | 'retried'
  | 'canceled'
  | 'erased'
  | 'confirmed'
  | 'disputed'
  | 'sleeping'

export type Cases = Readonly<Record<CaseName, string>>

/** Makes a store in which all of that has happened through the engine, and closes it. */
export async function recordCases(path: string): Promise<Cases> {
  const core = await openMatters(path)
  core.start()
  const cases: Partial<Record<CaseName, string>> = {}
  const play = async (name: CaseName, domain: string, input: Partial<Matter> = {}): Promise<CaseView> => {
    const instanceId = await submitMatter(core, domain, { matter: name, ...input })
    cases[name] = instanceId
    return name === 'sleeping' ? await asleep(core, instanceId) : await core.waitFor(instanceId, { timeoutMs: 10_000 })
  }
  const decide = async ({ openTasks: [taskId] }: CaseView, decision: string, changes?: JsonObject) =>
    await core.decide({
      taskId: taskId!,
      decision,
      reason: `it is ${decision}`,
      actor: reviewer,
      ...(changes && { changes }),
    })

  await play('completed', 'auto')
  const changed = await play('changed', 'gate')
  await core.claimTask({ taskId: changed.openTasks[0]!, actor: reviewer })
  await decide(changed, 'approve_with_changes', { artifact: 'another note', checked: true })
  await decide(await play('denied', 'hold'), 'deny')
  await play('held', 'gate')
  const { instanceId: retried } = await play('retried', 'auto', { weigh: 'fails at first' })
  await core.retry({ instanceId: retried, actor: reviewer })
  await core.waitFor(retried)
  const { instanceId: canceled } = await play('canceled', 'hold')
  await core.cancel({ instanceId: canceled, actor: submitter, reason: 'not needed any more' })
  const { instanceId: erased } = await play('erased', 'auto')
  const payloadId = (await core.getAudit(erased)).find(({ type }) => type === 'step.completed')!.payloadId!
  await core.erase({ instanceId: erased, payloadId, actor: reviewer, reason: 'the person asked for it' })
  await decide(await play('confirmed', 'spot_check'), 'confirm')
  await decide(await play('disputed', 'spot_check'), 'object')
  await play('sleeping', 'auto', { weigh: 'sleeps' })
  await core.close()
  return cases as Cases
}

/** Resolves when the case waits for the second attempt of a step. */
export async function asleep(core: Core, instanceId: string): Promise<CaseView> {
  for (;;) {
    const view = await core.getCase(instanceId)
    if (view.work === 'sleeping') return view
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export interface TemporaryFolder {
  readonly path: string
  [Symbol.dispose](): void
}

export function temporaryFolder(): TemporaryFolder {
  const path = mkdtempSync(join(tmpdir(), 'record-'))
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

/** A copy of a closed store whose tables let everything happen to them: no trigger, no types, one file. */
export function copyDefenceless(from: string, to: string): void {
  copyFileSync(from, to)
  damage(to, (store) => {
    store.exec('pragma journal_mode = delete')
    for (const { name } of store.prepare(`select name from sqlite_master where type = 'trigger'`).all()) {
      store.exec(`drop trigger ${name as string}`)
    }
    giveRowids(store, 'payloads')
    store.exec(`pragma writable_schema = on;
      update sqlite_master set sql = replace(sql, ') strict', ')') where type = 'table';
      pragma writable_schema = reset`)
  })
}

/** The table as one whose rows have numbers, by which the tests name them whatever happens to their keys. */
function giveRowids(store: DatabaseSync, table: string): void {
  const { sql } = store.prepare('select sql from sqlite_master where name = ?').get(table) as { sql: string }
  store.exec(`alter table ${table} rename to kept;
    ${sql.replace(/,? *without rowid/i, '')};
    insert into ${table} select * from kept;
    drop table kept`)
}

/** What somebody with the file and a shell can do. */
export function damage<T>(path: string, act: (store: DatabaseSync) => T): T {
  const store = new DatabaseSync(path, { defensive: false })
  try {
    store.exec('pragma ignore_check_constraints = on; pragma synchronous = off')
    return act(store)
  } finally {
    store.close()
  }
}
