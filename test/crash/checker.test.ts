import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { checkStore } from './checker.ts'
import { Life, playToRest } from './life.ts'
import { fileAt } from './stores.ts'
import { type CallLine, type ClientLine, LineTail, placesIn, readLogs } from './logs.ts'

const root = mkdtempSync(join(tmpdir(), 'crash-'))
const folder = join(root, 'main')
before(() => mkdirSync(folder))
after(() => rmSync(root, { recursive: true, force: true }))

interface Damage {
  readonly what: string
  readonly plant: (store: DatabaseSync, logs: Planted, instance: string) => void
  readonly finds: RegExp
}

/** Logs that may be changed. */
interface Planted {
  calls: CallLine[]
  client: ClientLine[]
}

const damages: readonly Damage[] = [
  {
    what: 'a checkpoint removed',
    plant: (store, _, instance) =>
      run(store, 'delete from checkpoints where instance_id = ? and step_no = 2', instance),
    finds: /went open /,
  },
  {
    what: 'a checkpoint twice',
    plant: (store, _, instance) =>
      copyRow(store, 'checkpoints', { instance_id: instance, step_no: 2 }, { step_no: 99, run: 99 }),
    finds: /run 99|is checkpoint/,
  },
  {
    what: 'a gap in the step numbers',
    plant: (store, _, instance) =>
      run(
        store,
        'update checkpoints set step_no = step_no + 1 where instance_id = ? and step_no = (select max(step_no) from checkpoints where instance_id = ?)',
        instance,
        instance,
      ),
    finds: /is checkpoint \d/,
  },
  {
    what: 'a case lost with everything it had',
    plant: (store, _, instance) => {
      for (const table of ['instances', 'audit_events', 'checkpoints', 'payloads', 'submission_keys']) {
        run(store, `delete from ${table} where instance_id = ?`, instance)
      }
    },
    finds: /was accepted for key errand-\d+ and is lost/,
  },
  {
    what: 'a call of a step that was done',
    plant: (_, logs, instance) => {
      const start = logs.calls.findLast(
        (line) => 'call' in line && line.instance === instance && line.what === 'start',
      )!
      logs.calls.push({ ...start, call: '2-9999' } as CallLine)
    },
    finds: /call 2-9999 .* came after the end/,
  },
  {
    what: 'two calls of a step in one life',
    plant: (_, logs, instance) => {
      const index = logs.calls.findIndex(
        (line) => 'call' in line && line.instance === instance && line.what === 'start',
      )
      logs.calls.splice(index, 0, { ...logs.calls[index]!, call: '2-9999' } as CallLine)
    },
    finds: /call 2-9999 .* was called twice in round|was called 2 times, with 0 kills/,
  },
  {
    what: 'a recorded call that never ended',
    plant: (_, logs, instance) => {
      logs.calls = logs.calls.filter((line) => !('call' in line) || line.what !== 'end' || line.instance !== instance)
    },
    finds: /is recorded and never ended/,
  },
  {
    what: 'a step that nobody called',
    plant: (_, logs, instance) => {
      logs.calls = logs.calls.filter((line) => !('call' in line) || line.instance !== instance)
    },
    finds: /open, run 1, attempt 1 is recorded and was not called in its turn/,
  },
  {
    what: 'a result from a call that was lost',
    plant: (store, _, instance) =>
      run(
        store,
        `update payloads set text = replace(text, '"call":"', '"call":"9') where instance_id = ? and kind = 'output'`,
        instance,
      ),
    finds: /commits to content that is not there/,
  },
  {
    what: 'a case that ended twice',
    plant: (store, _, instance) =>
      copyRow(store, 'audit_events', { instance_id: instance, type: 'case.completed' }, { seq: 99 }),
    finds: /has 2 times case.completed, not 1/,
  },
  {
    what: 'a case that is still at work',
    plant: (store, _, instance) =>
      run(
        store,
        `insert into work (instance_id, state, priority, definition_hash, step, run, attempt, step_no, audit_seq, audit_head,
           cancel_requested)
         select instance_id, 'ready', 0, definition_hash, 'settle', 2, 0, step_count, audit_seq, audit_head, 0
           from instances where instance_id = ?`,
        instance,
      ),
    finds: /is still at work, at step settle/,
  },
  {
    what: 'a case that went another way',
    plant: (store, _, instance) =>
      run(store, `update checkpoints set step = 'survey' where instance_id = ? and step = 'measure'`, instance),
    finds: /went open .*survey settle, not open/,
  },
  {
    what: 'a route that leads elsewhere',
    plant: (store, _, instance) =>
      run(
        store,
        `update checkpoints set route = '{"by":"sequence","to":"open"}' where instance_id = ? and step_no = 1`,
        instance,
      ),
    finds: /leads to open/,
  },
  {
    what: 'a case that ended otherwise',
    plant: (store, _, instance) => run(store, `update instances set status = 'failed' where instance_id = ?`, instance),
    finds: /is failed, not completed/,
  },
  {
    what: 'a task that nobody needed',
    plant: (store, _, instance) => {
      const { task_id } = store.prepare('select task_id from tasks limit 1').get()!
      copyRow(store, 'tasks', { task_id: task_id as string }, { task_id: 'another', instance_id: instance })
    },
    finds: /has 1 tasks/,
  },
  {
    what: 'a key with two instances',
    plant: (store, _, instance) => copyRow(store, 'submission_keys', { instance_id: instance }, { actor: 'somebody' }),
    finds: /key errand-\d+ has two instances/,
  },
  {
    what: 'an acceptance of another instance',
    plant: (_, logs) => {
      const accepted = logs.client.filter((line) => line.what === 'accepted')
      logs.client.push({ ...accepted[0]!, instance: accepted[1]!.instance })
    },
    finds: /was accepted for key errand-\d+ and is not stored for it/,
  },
  {
    what: 'an event changed together with its hash',
    plant: (store, _, instance) => {
      const { envelope } = store
        .prepare('select envelope from audit_events where instance_id = ? and seq = 2')
        .get(instance)!
      const changed = (envelope as string).replace('"actor":"engine"', '"actor":"nobody"')
      run(
        store,
        'update audit_events set envelope = ?, hash = ? where instance_id = ? and seq = 2',
        changed,
        hash('sha256', `cc/event/v1\n${changed}`),
        instance,
      )
    },
    finds: /event 3 does not follow the one before it/,
  },
  {
    what: 'an event removed',
    plant: (store, _, instance) => run(store, 'delete from audit_events where instance_id = ? and seq = 3', instance),
    finds: /stands at place 3/,
  },
  {
    what: 'the end of a chain cut off',
    plant: (store, _, instance) =>
      run(store, `delete from audit_events where instance_id = ? and type = 'case.completed'`, instance),
    finds: /its head is another one/,
  },
  {
    what: 'an intent that was never recorded',
    plant: (store, _, instance) =>
      run(store, `delete from audit_events where instance_id = ? and type = 'step.intended'`, instance),
    finds: /settle was called 1 times after 0 intents/,
  },
  {
    what: 'a call lost in a life that nobody ended',
    plant: (_, logs) => logs.calls.push({ round: 1, what: 'left' }),
    finds: /was lost in a round that nobody killed/,
  },
  {
    what: 'a decision forgotten',
    plant: (store, logs) => {
      const { task_id, instance_id } = store.prepare(`select * from tasks where status = 'open'`).get()!
      logs.client.push({ what: 'decided', task: task_id as string, instance: instance_id as string })
    },
    finds: /was decided, and the file does not know/,
  },
]

test('the checker finds every kind of loss and of repetition when it is planted', async (t) => {
  const { database, calls } = placesIn(folder)
  const file = fileAt(database)
  const life = new Life(file, { folder, round: 1, backlog: 40, untilRest: false }, new LineTail(calls))
  await life.hasBegun()
  await life.strike(4)
  await life.ended
  await playToRest(file, { folder, round: 2, backlog: 40 })
  const logs = readLogs(folder)
  const { problems, figures } = await checkStore(file, logs)
  assert.deepEqual(problems, [])
  assert.ok(figures.lostCalls > 0)
  const instance = plainCase(database)
  const base = join(folder, 'base.db')
  copyFileSync(database, base)
  open(base, (store) => {
    store.exec('pragma journal_mode = delete')
    for (const { name } of store.prepare(`select name from sqlite_master where type = 'trigger'`).all()) {
      store.exec(`drop trigger ${name as string}`)
    }
  })

  for (const { what, plant, finds } of damages) {
    await t.test(what, async () => {
      const copy = join(folder, 'copy.db')
      copyFileSync(base, copy)
      const planted: Planted = { calls: [...logs.calls], client: [...logs.client] }
      open(copy, (store) => plant(store, planted, instance))
      const found = (await checkStore(fileAt(copy), planted)).problems
      assert.ok(
        found.some((problem) => finds.test(problem)),
        found.join('\n') || 'nothing was found',
      )
    })
  }
})

/** A case that completed by itself, in the second life and with a few steps. */
function plainCase(database: string): string {
  const store = new DatabaseSync(database, { readOnly: true })
  const row = store
    .prepare(
      `select instance_id from instances where status = 'completed' and tier = 'auto' and step_count > 3
        order by instance_id desc limit 1`,
    )
    .get()!
  store.close()
  return row.instance_id as string
}

function open(path: string, act: (store: DatabaseSync) => void): void {
  const store = new DatabaseSync(path)
  act(store)
  store.close()
}

function run(store: DatabaseSync, sql: string, ...params: readonly (string | number)[]): void {
  const { changes } = store.prepare(sql).run(...params)
  assert.notEqual(changes, 0, 'the damage was done')
}

/** Inserts a row again with other values in some of its columns. */
function copyRow(
  store: DatabaseSync,
  table: string,
  where: Record<string, string | number>,
  change: Record<string, string | number>,
): void {
  const condition = Object.keys(where).map((column) => `${column} = ?`)
  const found = store.prepare(`select * from ${table} where ${condition.join(' and ')}`).get(...Object.values(where))!
  const { entry: _, ...row } = { ...found, ...change } as Record<string, string | number | null>
  const columns = Object.keys(row)
  run(
    store,
    `insert into ${table} (${columns.join(', ')}) values (${columns.map(() => '?').join(', ')})`,
    ...(Object.values(row) as string[]),
  )
}
