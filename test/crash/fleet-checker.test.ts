import assert from 'node:assert/strict'
import { test } from 'node:test'
import type pg from 'pg'
import { checkFleet } from './checker.ts'
import { Fleet } from './fleet.ts'
import { FleetClients } from './fleet-clients.ts'
import { type CallLine, type ClientLine, readLogs } from './logs.ts'
import { readServerTables } from './tables.ts'

const cases = 60

/** Logs that may be changed. */
interface Planted {
  calls: CallLine[]
  client: ClientLine[]
}

interface Damage {
  readonly what: string
  readonly plant: (session: pg.Client, logs: Planted, instance: string) => Promise<unknown> | void
  readonly finds: RegExp
}

const isOf = (instance: string) => (line: CallLine) => 'call' in line && line.instance === instance

const damages: readonly Damage[] = [
  {
    what: 'a step recorded twice',
    plant: async (session, _, instance) => {
      await session.query('alter table checkpoints drop constraint checkpoints_instance_id_step_no_key')
      await session.query('alter table checkpoints drop constraint checkpoints_instance_id_step_run_key')
      await copyRow(session, 'checkpoints', `instance_id = '${instance}' and step_no = 2`, {})
    },
    finds: /is checkpoint 3/,
  },
  {
    what: 'a run of a step too many',
    plant: (session, _, instance) =>
      copyRow(session, 'checkpoints', `instance_id = '${instance}' and step_no = 2`, { step_no: 99, run: 2 }),
    finds: /is checkpoint/,
  },
  {
    what: 'steps in another order',
    plant: (session, _, instance) =>
      run(session, `update checkpoints set step_no = 10 - step_no where instance_id = $1`, instance),
    finds: /went settle .*, not open/,
  },
  {
    what: 'a broken hash',
    plant: (session, _, instance) =>
      run(session, `update audit_events set hash = repeat('0', 64) where instance_id = $1 and seq = 2`, instance),
    finds: /event 2 does not have its hash/,
  },
  {
    what: 'an event removed',
    plant: (session, _, instance) =>
      run(session, 'delete from audit_events where instance_id = $1 and seq = 3', instance),
    finds: /stands at place 3/,
  },
  {
    what: 'a case lost for which there was a 202',
    plant: async (session, _, instance) => {
      for (const table of ['instances', 'audit_events', 'checkpoints', 'payloads', 'submission_keys']) {
        await run(session, `delete from ${table} where instance_id = $1`, instance)
      }
    },
    finds: /was accepted for key errand-\d+ and is lost/,
  },
  {
    what: 'a claim left by a process that is gone',
    plant: (session, _, instance) =>
      run(
        session,
        `insert into work (instance_id, state, token, claimed_by, priority, definition_hash, step, run, attempt, step_no,
           audit_seq, audit_head, cancel_requested)
         select instance_id, 'claimed', 'proof', 'process 1 dead.7', 0, definition_hash, 'settle', 2, 0, step_count,
           audit_seq, audit_head, 0 from instances where instance_id = $1`,
        instance,
      ),
    finds: /is still at work, at step settle, claimed by process 1 dead\.7/,
  },
  {
    what: 'a head that is not the last event',
    plant: (session, _, instance) =>
      run(session, 'update instances set audit_seq = audit_seq + 1 where instance_id = $1', instance),
    finds: /its head is another one/,
  },
  {
    what: 'a case that ended twice',
    plant: (session, _, instance) =>
      copyRow(session, 'audit_events', `instance_id = '${instance}' and type = 'case.completed'`, { seq: 99 }),
    finds: /has 2 times case.completed, not 1/,
  },
  {
    what: 'a task decided twice',
    plant: (session) => copyRow(session, 'audit_events', `type = 'task.decided'`, { seq: 99 }),
    finds: /has 2 times task.decided, not 1/,
  },
  {
    what: 'a decision forgotten',
    plant: async (session, logs) => {
      const { rows } = await session.query(`select task_id, instance_id from tasks where status = 'open' limit 1`)
      logs.client.push({ what: 'decided', task: rows[0].task_id, instance: rows[0].instance_id })
    },
    finds: /was decided, and the file does not know/,
  },
  {
    what: 'two instances for one key',
    plant: (_, logs) => {
      const [one, other] = logs.client.filter((line) => line.what === 'accepted')
      logs.client.push({ ...one!, instance: other!.instance })
    },
    finds: /was accepted for key errand-\d+ and is not stored for it/,
  },
  {
    what: 'a step that nobody called',
    plant: (_, logs, instance) => {
      logs.calls = logs.calls.filter((line) => !isOf(instance)(line))
    },
    finds: /open, run 1, attempt 1 is recorded and was not called/,
  },
  {
    what: 'a recorded call that never ended',
    plant: (_, logs, instance) => {
      logs.calls = logs.calls.filter((line) => line.what !== 'end' || !isOf(instance)(line))
    },
    finds: /is recorded and never ended/,
  },
  {
    what: 'a step that began before the one before it was done',
    plant: (_, logs, instance) => {
      const [end] = logs.calls.splice(
        logs.calls.findIndex((line) => line.what === 'end' && isOf(instance)(line)),
        1,
      )
      logs.calls.push(end!)
    },
    finds: /began before open, run 1, attempt 1 was done/,
  },
  {
    what: 'a call of a step after the end',
    plant: (_, logs, instance) => {
      logs.calls.push({ ...logs.calls.find(isOf(instance))!, call: '9-9999', run: 2 } as CallLine)
    },
    finds: /call 9-9999 of open, run 2, is of nothing that is recorded/,
  },
]

test('the checker finds in PostgreSQL what must not be there, when it is planted', async (t) => {
  await using fleet = await Fleet.open({ replicas: 1, workers: 2 })
  const draw = () => 0
  const clients = new FleetClients(fleet, { cases, draw, about: 'a fleet at peace', patienceMs: 30_000 })
  await clients.work()
  await clients.comesToRest()
  await clients.decideSome()
  await fleet.leave()
  const session = await fleet.openSession()
  const logs = readLogs(fleet.folder)
  const { problems, figures } = checkFleet(await readServerTables(session), logs)
  assert.deepEqual(problems, [])
  assert.ok(figures.decisions > 0, 'something was decided')
  const instance = await plainCase(session)

  for (const { what, plant, finds } of damages) {
    await t.test(what, async () => {
      const planted: Planted = { calls: [...logs.calls], client: [...logs.client] }
      await session.query('begin')
      for (const table of ['audit_events', 'checkpoints', 'payloads']) {
        await session.query(`alter table ${table} disable trigger all`)
      }
      await plant(session, planted, instance)
      const found = checkFleet(await readServerTables(session), planted).problems
      await session.query('rollback')
      assert.ok(
        found.some((problem) => finds.test(problem)),
        found.join('\n') || 'nothing was found',
      )
    })
  }
  await session.end()
})

/** A case that completed by itself with a few steps. */
async function plainCase(session: pg.Client): Promise<string> {
  const { rows } = await session.query<{ instance_id: string }>(
    `select instance_id from instances where status = 'completed' and tier = 'auto' and step_count > 3
      order by instance_id desc limit 1`,
  )
  return rows[0]!.instance_id
}

async function run(session: pg.Client, sql: string, instance: string): Promise<void> {
  assert.notEqual((await session.query(sql, [instance])).rowCount, 0, 'the damage was done')
}

/** Inserts one row again with other values in some of its columns. */
async function copyRow(
  session: pg.Client,
  table: string,
  where: string,
  change: Readonly<Record<string, number>>,
): Promise<void> {
  const { rows } = await session.query(`select * from ${table} where ${where} limit 1`)
  const { entry: _, ...row } = { ...rows[0], ...change }
  const columns = Object.keys(row)
  const places = columns.map((__, index) => `$${index + 1}`)
  await session.query(`insert into ${table} (${columns.join(', ')}) values (${places.join(', ')})`, Object.values(row))
}
