import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import ts from 'typescript'
import { sourcePaths } from './house.ts'

interface Entry {
  readonly exit: number
  readonly status: number
  readonly says: string
  readonly remedy: string
}

/** Everything in which catalogue, documentation and source below this root differ, one sentence each. */
export async function catalogueFindings(root: string): Promise<string[]> {
  const url = pathToFileURL(join(root, 'src/errors.ts')).href
  const { catalogue } = (await import(url)) as { catalogue: Readonly<Record<string, Entry>> }
  const documentation = readFileSync(join(root, 'docs/errors.md'), 'utf8')
  return [
    ...unsorted('src/errors.ts', Object.keys(catalogue)),
    ...problemsOfDocumentation(catalogue, documentation),
    ...problemsOfUse(catalogue, root),
  ]
}

function problemsOfDocumentation(catalogue: Readonly<Record<string, Entry>>, documentation: string): string[] {
  const sections = new Map<string, string>()
  const findings: string[] = []
  for (const section of documentation.split(/^## /m).slice(1)) {
    const [title = '', ...lines] = section.split('\n')
    if (sections.has(title)) findings.push(`docs/errors.md explains ${title} twice`)
    sections.set(title, lines.join('\n').trim())
  }
  findings.push(...unsorted('docs/errors.md', [...sections.keys()]))
  for (const title of sections.keys()) {
    if (!Object.hasOwn(catalogue, title))
      findings.push(`docs/errors.md explains ${title}, which is not in the catalogue`)
  }
  for (const [code, { exit, status }] of Object.entries(catalogue)) {
    const section = sections.get(code)
    if (section === undefined) {
      findings.push(`docs/errors.md does not explain ${code}`)
      continue
    }
    const [codes, ...explanation] = section.split('\n')
    const expected = `Exit ${exit} · HTTP ${status}`
    if (codes !== expected) findings.push(`docs/errors.md has '${codes}' for ${code}, the catalogue '${expected}'`)
    if (!/\w+ \w+.*[.:]/s.test(explanation.join('\n'))) findings.push(`docs/errors.md says nothing about ${code}`)
  }
  return findings
}

/** Every code is used, and everyone who uses one gives it the facts that its sentences name. */
function problemsOfUse(catalogue: Readonly<Record<string, Entry>>, root: string): string[] {
  const used = new Set<string>()
  const findings: string[] = []
  for (const path of sourcePaths(root)) {
    if (path === 'src/errors.ts') continue
    const source = ts.createSourceFile(path, readFileSync(join(root, path), 'utf8'), ts.ScriptTarget.Latest, true)
    const visit = (node: ts.Node): void => {
      if (ts.isStringLiteralLike(node) && Object.hasOwn(catalogue, node.text)) used.add(node.text)
      if (ts.isNewExpression(node)) {
        const line = source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
        findings.push(...missingFacts(catalogue, node).map((problem) => `${path}:${line}: ${problem}`))
      }
      ts.forEachChild(node, visit)
    }
    visit(source)
  }
  const unused = Object.keys(catalogue).filter((code) => !used.has(code))
  return [...findings, ...unused.map((code) => `nothing in src refuses with ${code}`)]
}

/** What `new CoreError('CODE', { … })` leaves out. Facts that are not written out there cannot be judged. */
function missingFacts(catalogue: Readonly<Record<string, Entry>>, { arguments: given }: ts.NewExpression): string[] {
  const [code, facts] = given ?? []
  if (!code || !ts.isStringLiteralLike(code) || !Object.hasOwn(catalogue, code.text)) return []
  if (facts && (!ts.isObjectLiteralExpression(facts) || facts.properties.some(ts.isSpreadAssignment))) return []
  const names = new Set(facts?.properties.map((property) => property.name?.getText()))
  const { says, remedy } = catalogue[code.text]!
  const wanted = new Set([...`${says} ${remedy}`.matchAll(/\{(\w+)\}/g)].map(([, name]) => name!))
  return [...wanted].filter((name) => !names.has(name)).map((name) => `${code.text} is not told {${name}}`)
}

function unsorted(where: string, names: readonly string[]): string[] {
  const sorted = names.toSorted()
  const first = names.find((name, index) => name !== sorted[index])
  return first === undefined ? [] : [`${where} is not in the order of the codes: ${first}`]
}
