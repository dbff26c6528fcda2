import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { copyFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { DatabaseSync } from 'node:sqlite'
import type { VerifyReport } from '../../src/engine/core.ts'
import { openReader } from '../../src/engine/open-reader.ts'
import { type Expected, Original } from './record-damages.ts'
import { type Cases, copyDefenceless, damage, recordCases, temporaryFolder } from './record-store.ts'

/** What the script without dependencies says of an export. */
export interface OfflineFinding {
  readonly seq: number | undefined
  readonly what: string
  readonly where: string
}

export interface Judgement {
  readonly report: VerifyReport
  /** The case that was asked about, as its export has it; unset where there is none to export. */
  readonly exported: string | undefined
  readonly offline: OfflineFinding | undefined
}

const tool = join(import.meta.dirname, '../../tools/verify-export.mjs')
const { verifyExport } = (await import(tool)) as {
  verifyExport: (bytes: Uint8Array) => { finding: OfflineFinding | undefined }
}

/** A store in which everything has happened once, and copies of it that somebody has been at. */
export class Evidence {
  readonly cases: Cases
  readonly original: Original
  private readonly folder: ReturnType<typeof temporaryFolder>
  private readonly base: string

  static async record(): Promise<Evidence> {
    const folder = temporaryFolder()
    const written = join(folder.path, 'written.db')
    return new Evidence(folder, await recordCases(written))
  }

  private constructor(folder: ReturnType<typeof temporaryFolder>, cases: Cases) {
    this.folder = folder
    this.cases = cases
    this.base = join(folder.path, 'base.db')
    copyDefenceless(join(folder.path, 'written.db'), this.base)
    this.original = new Original(this.base)
  }

  /** What verification says of a copy to which this has been done, and what is said of the export of this case. */
  async judge(instanceId: string, act: (store: DatabaseSync) => void): Promise<Judgement> {
    const path = join(this.folder.path, 'damaged.db')
    copyFileSync(this.base, path)
    damage(path, act)
    const reader = await openReader({ path })
    try {
      const report = await reader.verify()
      const isThere = damage(path, (store) =>
        store.prepare('select 1 from instances where instance_id = ?').get(instanceId),
      )
      if (!isThere) return { report, exported: undefined, offline: undefined }
      const exported = JSON.stringify(await reader.exportCase(instanceId))
      return { report, exported, offline: verifyExport(Buffer.from(exported)).finding }
    } finally {
      await reader.close()
    }
  }

  /** Runs the script as an auditor does: with whatever Node is at hand, and nothing else of ours. */
  async runTool(exported: string): Promise<{ code: number; stdout: string }> {
    const file = join(this.folder.path, 'exported.json')
    writeFileSync(file, exported)
    return await new Promise((resolve, reject) => {
      execFile('node', [tool, file], { env: { PATH: process.env.PATH } }, (error, stdout) => {
        if (error === null) resolve({ code: 0, stdout })
        else if (typeof error.code === 'number') resolve({ code: error.code, stdout })
        else reject(new Error('node cannot be run', { cause: error }))
      })
    })
  }

  [Symbol.dispose](): void {
    this.original.close()
    this.folder[Symbol.dispose]()
  }
}

export interface Deed {
  readonly instanceId: string
  /** For people, when a test fails. */
  readonly damage: string
  /** JSON cannot carry what was put there, so the export shows it as something else. */
  readonly isBeyondJson?: boolean | undefined
}

/** Both verifications name the instance, its first bad event and what is wrong, or neither sees anything. */
export function assertJudged({ report, offline, exported }: Judgement, expected: Expected, deed: Deed): void {
  const { findings, valid } = report
  const said = `${deed.damage}\n${JSON.stringify({ findings, offline, expected }, undefined, 2)}`
  if (expected === 'unseen') {
    assert.deepEqual(findings, [], said)
    assert.equal(offline, undefined, said)
    return
  }
  assert.equal(valid, false, said)
  const found = findings.find((finding) => finding.instanceId === deed.instanceId)
  assert.ok(found, `the instance is not named: ${said}`)
  assert.equal(found.seq, expected.seq, said)
  assert.ok(expected.what.includes(found.what), said)
  assert.match(found.where, expected.where, said)
  if (exported === undefined) return
  assert.ok(offline, `the export is taken for whole: ${said}`)
  assert.equal(offline.seq, found.seq, `of the export: ${said}`)
  if (!deed.isBeyondJson) assert.equal(offline.what, found.what, `of the export: ${said}`)
}
