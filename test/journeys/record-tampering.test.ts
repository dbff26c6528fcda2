import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { changesOf, expectedOfChange, recordTables, type Row } from './record-damages.ts'
import { assertJudged, Evidence } from './record-evidence.ts'
import type { CaseName } from './record-store.ts'

const evidence = await Evidence.record()
after(() => evidence[Symbol.dispose]())
const { cases, original } = evidence

test('the record is whole before anything is done to it, and has a value in every column', async () => {
  const { report, exported, offline } = await evidence.judge(cases.changed, () => {})
  assert.deepEqual(report.findings, [])
  assert.ok(report.valid)
  assert.equal(report.instances, Object.keys(cases).length)
  assert.equal(report.erasedPayloads, 1)
  assert.equal(offline, undefined)
  assert.equal((await evidence.runTool(exported!)).code, 0)
  for (const table of recordTables) {
    const rows = original.rowsOf(table)
    for (const { name } of original.columnsOf(table)) {
      assert.ok(
        rows.some((row) => row[name] !== null),
        `${table}.${name} has a value somewhere`,
      )
    }
  }
})

/** Cases whose chains differ in what hangs on them: of some the first two rows and the last, of others the last. */
const looked: readonly CaseName[] = ['changed', 'erased']
const lookedAtEnd: readonly CaseName[] = ['retried', 'sleeping']

function rowsToChange(table: string): Row[] {
  const ofCases = looked.flatMap((name) => {
    const rows = original.rowsOf(table, cases[name])
    return [rows[0], rows[1], rows.at(-1)]
  })
  const ends = lookedAtEnd.map((name) => original.rowsOf(table, cases[name]).at(-1))
  const erased = original.rowsOf(table).filter((row) => (row.erased_at_ms ?? null) !== null)
  const rows = [...ofCases, ...ends, ...erased].filter((row) => row !== undefined)
  return [...new Map(rows.map((row) => [row.rowid, row])).values()]
}

for (const table of recordTables) {
  for (const column of original.columnsOf(table)) {
    test(`whatever is done to a value of ${table}.${column.name} is found and named`, async () => {
      let count = 0
      for (const row of rowsToChange(table)) {
        const others = original.rowsOf(table).filter((other) => other.rowid !== row.rowid)
        for (const change of changesOf(column, row, others)) {
          const instanceId = row.instance_id as string
          let isRefused = false
          const judgement = await evidence.judge(instanceId, (store) => {
            const update = `update or ignore ${table} set ${column.name} = ${change.sql} where rowid = ?`
            isRefused = store.prepare(update).run(...change.params, row.rowid).changes === 0
          })
          // A key that another row has is refused by the table itself.
          if (isRefused) continue
          count += 1
          const { isBeyondJson } = change
          const damage = `${table} row ${row.rowid}: ${column.name} := ${change.kind}`
          const expected = expectedOfChange(original, table, column.name, row, change.params[0])
          assertJudged(judgement, expected, { instanceId, damage, isBeyondJson })
          if (column.name !== 'instance_id') assertAlone(judgement.report.findings, instanceId, damage)
        }
      }
      assert.ok(count >= 8, `${count} changes`)
    })
  }
}

function assertAlone(findings: readonly { instanceId: string }[], instanceId: string, damage: string): void {
  const others = findings.filter((finding) => finding.instanceId !== instanceId)
  assert.deepEqual(others, [], `${damage}: no other case is accused`)
}

test('the script without dependencies, run with whatever node is there, finds a change in every column', async () => {
  for (const table of recordTables) {
    for (const column of original.columnsOf(table)) {
      const [, row] = original.rowsOf(table, cases.changed)
      const [change] = changesOf(column, row!, original.rowsOf(table))
      const { exported, offline } = await evidence.judge(cases.changed, (store) =>
        store
          .prepare(`update or ignore ${table} set ${column.name} = ${change!.sql} where rowid = ?`)
          .run(...change!.params, row!.rowid),
      )
      // The value of another row is refused where it is a key.
      if (!offline) continue
      const { code, stdout } = await evidence.runTool(exported!)
      const said = `${table}.${column.name}: ${stdout}`
      assert.equal(code, 4, said)
      assert.match(stdout, /^NOT WHOLE {2}case /, said)
      const event = offline.seq === undefined ? 'beside the events' : `first bad event: ${offline.seq}`
      assert.ok(stdout.includes(`${event}, ${offline.what.replace('_', ' ')} (${offline.where})`), said)
    }
  }
})
