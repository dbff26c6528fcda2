import assert from 'node:assert/strict'
import { test } from 'node:test'
import { qualifier } from '../../src/storage/postgres-names.ts'

const qualify = qualifier('cases')

const statements = [
  [
    'select * from work w join instances i using (instance_id)',
    'select * from "cases".work w join "cases".instances i using (instance_id)',
  ],
  [
    'insert into workers (worker_id) values ($1) on conflict (worker_id) do update set host = $2',
    'insert into "cases".workers (worker_id) values ($1) on conflict (worker_id) do update set host = $2',
  ],
  [
    'update work w set state = $1 from due where w.instance_id = due.instance_id',
    'update "cases".work w set state = $1 from due where w.instance_id = due.instance_id',
  ],
  [
    'delete from work w using held h where w.token = h.token',
    'delete from "cases".work w using held h where w.token = h.token',
  ],
  [
    'select tasks.due_ms from\n  tasks order by due_ms limit 1 for update skip locked',
    'select tasks.due_ms from\n  "cases".tasks order by due_ms limit 1 for update skip locked',
  ],
  ['select 1 from pg_tables where schemaname = current_schema()', `select 1 from pg_tables where schemaname = 'cases'`],
  ['select instances, work from worked', 'select instances, work from worked'],
] as const

for (const [text, qualified] of statements) {
  test(`behind a pooler it is said in full: ${text.replaceAll(/\s+/g, ' ')}`, () => {
    assert.equal(qualify(text), qualified)
    assert.equal(qualify(text), qualified, 'and once more from what was kept')
  })
}
