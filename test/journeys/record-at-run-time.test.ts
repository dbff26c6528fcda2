import assert from 'node:assert/strict'
import { copyFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import { after, test } from 'node:test'
import { setTimeout as delay } from 'node:timers/promises'
import type { CaseView } from '../../src/engine/core.ts'
import { isCoreError } from '../../src/errors.ts'
import type { Log } from '../../src/log.ts'
import {
  asleep,
  copyDefenceless,
  damage,
  openMatters,
  reviewer,
  submitMatter,
  temporaryFolder,
} from './record-store.ts'

const folder = temporaryFolder()
after(() => folder[Symbol.dispose]())
const base = join(folder.path, 'base.db')
const { victim, bystander, held } = await recordLiveCases()

/** Two cases that stopped between two steps, one of which will be damaged, and one that is held. */
async function recordLiveCases() {
  const path = join(folder.path, 'written.db')
  const core = await openMatters(path)
  core.start()
  const victim = await submitMatter(core, 'gate', { matter: 'victim', weigh: 'sleeps' })
  const bystander = await submitMatter(core, 'auto', { matter: 'bystander', weigh: 'sleeps' })
  await asleep(core, victim)
  await asleep(core, bystander)
  const held = await submitMatter(core, 'hold', { matter: 'held' })
  await core.waitFor(held)
  await core.close()
  copyDefenceless(path, base)
  return { victim, bystander, held }
}

interface Line {
  readonly level: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Damages a copy of the store, wakes what sleeps in it, and lets the engine go on with it. */
async function goOnWith(act: (store: DatabaseSync) => void): Promise<{ victim: CaseView | undefined; lines: Line[] }> {
  const path = join(folder.path, 'damaged.db')
  for (const end of ['', '-wal', '-shm', '-lock']) rmSync(`${path}${end}`, { force: true })
  copyFileSync(base, path)
  damage(path, (store) => {
    store.exec(`update work set state = 'ready', due_ms = null`)
    act(store)
  })
  const lines: Line[] = []
  const core = await openMatters(path, { log: listenTo(lines) })
  try {
    core.start()
    const other = await core.waitFor(bystander, { timeoutMs: 5000 })
    assert.equal(other.status, 'completed', 'the other case goes its way')
    // Long enough for a case without damage to end, and for a loop to show itself.
    await delay(100)
    const view = await core.getCase(victim).catch((error: unknown) => {
      if (isCoreError(error, 'CC_ERR_UNKNOWN_CASE')) return undefined
      throw error
    })
    return { victim: view, lines }
  } finally {
    await core.close()
  }
}

function listenTo(lines: Line[]): Log {
  const add = (level: string) => (fields: object) => void lines.push({ level, fields: fields as Line['fields'] })
  return { debug: add('debug'), info: add('info'), warn: add('warn'), error: add('error') }
}

test('without damage the case goes on to its end', async () => {
  const { victim, lines } = await goOnWith(() => {})
  assert.equal(victim?.status, 'suspended')
  assert.deepEqual(victim?.path, ['read', 'weigh', 'write'])
  assert.deepEqual(lines, [])
})

const output = `kind = 'output' and instance_id = '${victim}'`
const input = `kind = 'input' and instance_id = '${victim}'`
const ofVictim = `where instance_id = '${victim}'`

const damages: Readonly<Record<string, string>> = {
  'the output of a step changed': `update payloads set text = '{"confidence":1,"note":"forged"}' where ${output}`,
  'the output of a step that is no JSON any more': `update payloads set text = '{"note":' where ${output}`,
  'the output of a step with another salt': `update payloads set salt = '${'0a'.repeat(16)}' where ${output}`,
  'the output of a step gone': `delete from payloads where ${output}`,
  'the output of a step erased': `update payloads set text = null, salt = null, erased_at_ms = 1 where ${output}`,
  'the input changed': `update payloads set text = '{"matter":"forged","weigh":"sleeps"}' where ${input}`,
  'the input gone': `delete from payloads where ${input}`,
  'the input exchanged for another payload': `update instances set input_payload_id =
    (select payload_id from payloads where ${output}) ${ofVictim}`,
  'a hot row at an unknown step': `update work set step = 'nowhere' ${ofVictim}`,
  'a hot row that skips a step': `update work set step = 'write' ${ofVictim}`,
  'a hot row that repeats a step': `update work set step = 'read', run = 2 ${ofVictim}`,
  'a hot row at another run': `update work set run = 7 ${ofVictim}`,
  'a hot row that counts fewer steps': `update work set step_no = 0 ${ofVictim}`,
  'a hot row that counts more steps': `update work set step_no = 5 ${ofVictim}`,
  'a hot row with an earlier head': `update work set audit_seq = 1,
    audit_head = (select hash from audit_events ${ofVictim} and seq = 1) ${ofVictim}`,
  'a hot row with a head of its own': `update work set audit_head = '${'ab'.repeat(32)}' ${ofVictim}`,
  'a hot row with a head that is not there': `update work set audit_seq = 40 ${ofVictim}`,
  'a hot row with the definition of other cases': `update work set definition_hash =
    (select definition_hash from work where instance_id = '${bystander}') ${ofVictim}`,
  'a definition changed': `update definitions set text = replace(text, '"tier":"gate"', '"tier":"auto"')
    where hash = (select definition_hash from instances ${ofVictim})`,
  'a definition gone': `delete from definitions where hash = (select definition_hash from instances ${ofVictim})`,
  'a checkpoint gone': `delete from checkpoints ${ofVictim}`,
  'a checkpoint that leads elsewhere': `update checkpoints set route = '{"by":"sequence","to":"write"}' ${ofVictim}`,
  'a checkpoint that leads elsewhere, and a hot row that follows it': `update work set step = 'write' ${ofVictim};
    update checkpoints set route = '{"by":"sequence","to":"write"}' ${ofVictim}`,
  'the first event gone': `delete from audit_events ${ofVictim} and seq = 1`,
  'the last event gone': `delete from audit_events ${ofVictim} and seq = (select max(seq) from audit_events ${ofVictim})`,
  'the last event changed': `update audit_events set envelope = replace(envelope, 'engine', 'nobody') ${ofVictim} and
    seq = (select max(seq) from audit_events ${ofVictim})`,
  'the instance gone': `delete from instances ${ofVictim}`,
}

for (const [what, sql] of Object.entries(damages)) {
  test(`a case is left alone and named in the log when it meets ${what}`, async () => {
    const { victim: view, lines } = await goOnWith((store) => store.exec(sql))
    assert.equal(view?.status ?? 'running', 'running', 'the case does not end on bad data')
    const errors = lines.filter(({ level }) => level === 'error')
    assert.equal(errors.length, 1, JSON.stringify(lines))
    assert.equal(errors[0]!.fields.instance, victim)
  })
}

test('an outcome that is not what was proposed cannot be approved, and nothing is written', async () => {
  const path = join(folder.path, 'held.db')
  copyFileSync(base, path)
  damage(path, (store) =>
    store.exec(`update payloads set text = '{"artifact":"forged"}' where instance_id = '${held}' and kind = 'outcome'`),
  )
  const core = await openMatters(path)
  const { openTasks } = await core.getCase(held)
  const before = await core.getAudit(held)
  const request = { taskId: openTasks[0]!, reason: 'it looks right', actor: reviewer }
  for (const words of [{ decision: 'release' }, { decision: 'approve_with_changes', changes: { checked: true } }]) {
    await assert.rejects(core.decide({ ...request, ...words }), (error) => isCoreError(error, 'CC_ERR_CONTENT_DIFFERS'))
  }
  assert.deepEqual(await core.getAudit(held), before)
  assert.equal((await core.getCase(held)).status, 'suspended')

  const { status } = await core.decide({ ...request, decision: 'deny' })
  assert.equal(status, 'terminated', 'what takes no effect can still be denied')
  await core.close()
})
