import { caseIdOf } from '../domain/instance.ts'
import type { CaseFile } from './pack-files.ts'
import { type Findings, showPlace } from './pack-source.ts'

/** Two cases of one id: a script could not tell them apart, and a person neither. */
export function checkCases(files: readonly CaseFile[], findings: Findings): void {
  const seen = new Map<string, string>()
  for (const { source, cases } of files) {
    for (const [index, input] of cases.entries()) {
      const id = caseIdOf(input, '')
      if (id === '') continue
      const place = source.locate(Array.isArray(source.data) ? [index] : [])
      const earlier = seen.get(id)
      if (earlier)
        findings.warn(place, `the case '${id}' stands at ${earlier} already`, 'give each case an id of its own')
      else seen.set(id, showPlace(place))
    }
  }
}
