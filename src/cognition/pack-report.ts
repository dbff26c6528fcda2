import { basename } from 'node:path'
import { assemble } from './pack-assembly.ts'
import { pin } from './definition.ts'
import { isHiddenKey, labels } from './hidden-keys.ts'
import type { PackOptions } from './pack.ts'
import { type Finding, Findings } from './pack-findings.ts'
import { readPackFiles } from './pack-files.ts'

/** What can be said of a pack before any case runs. */
export interface PackReport {
  readonly name: string
  readonly dir: string
  /** Errors and warnings, by file and line. */
  readonly findings: readonly Finding[]
  /** What would run; empty while there are errors. */
  readonly definitions: readonly { readonly workflow: string; readonly domain: string; readonly hash: string }[]
  /** Keys at the top of the pack's cases that no model is shown, so that an author sees what is taken for a label. */
  readonly hidden: readonly string[]
  readonly cases: number
}

/** Checks a pack's folder by the same rules by which it is loaded, and says everything at once. */
export async function checkPack(dir: string, options: PackOptions = {}): Promise<PackReport> {
  const findings = new Findings()
  const files = await readPackFiles(dir, findings)
  const name = basename(files.dir)
  const definitions = assemble(name, files, findings, options)
  const cases = files.cases.flatMap((file) => file.cases)
  const keys = new Set(cases.flatMap((input) => Object.keys(input)))
  return {
    name,
    dir: files.dir,
    findings: findings.all,
    definitions: findings.clean
      ? definitions.map((definition) => {
          const { workflow, domain } = definition
          return { workflow, domain, hash: pin(definition).hash }
        })
      : [],
    hidden: [...keys].filter((key) => isHiddenKey(key) || labels.has(key)).sort(),
    cases: cases.length,
  }
}
