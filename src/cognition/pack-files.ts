import { basename, extname, join } from 'node:path'
import type { JsonObject } from '../domain/json.ts'
import type { Fixture, PackDocument } from '../domain/workflow.ts'
import { withoutHidden } from './hidden-keys.ts'
import { maxFileBytes, PackFolder } from './pack-folder.ts'
import { type Findings, objectSource, type Source } from './pack-source.ts'
import { isObject } from './tools.ts'

/** One file of cases, as a pack brings them to be tried. */
export interface CaseFile {
  /** Relative to the pack. */
  readonly file: string
  readonly source: Source
  readonly cases: readonly JsonObject[]
}

/** Everything a pack's folder holds, read and not yet understood. */
export interface PackFiles {
  readonly dir: string
  readonly config: Source
  readonly workflows: readonly Source[]
  readonly domains: readonly Source[]
  readonly fixtures: readonly Fixture[]
  readonly documents: readonly PackDocument[]
  readonly cases: readonly CaseFile[]
  readonly scriptedFile: string | undefined
  /** Its data, for the check; a script is read again by the model that plays it. */
  readonly script: Source | undefined
}

const configFile = 'coordinator_config.yaml'
const scriptedFile = 'scripted.yaml'
/** Files in a pack's root that are not domains, for packs whose domains stand there too. */
const otherFiles = new Set([configFile, scriptedFile, 'demo.yaml'])
const fixtureSuffix = '_tools.json'
/** Documents are pinned with the definition; a library belongs behind a source of its own. */
const maxDocumentBytes = 4 * maxFileBytes

/** Reads a pack's folder. */
export async function readPackFiles(path: string, findings: Findings): Promise<PackFiles> {
  const folder = await PackFolder.open(path, findings)
  const config = (await folder.yaml(configFile)) ?? objectSource(configFile, {})
  const reader = new FileReader(folder, config, findings)
  const workflowDir = folder.setting(config, 'workflow_dir') ?? 'workflows'
  const domainDir = folder.setting(config, 'domain_dir') ?? ((await folder.has('domains')) ? 'domains' : '.')
  const caseDir = folder.setting(config, 'case_dir') ?? 'cases'
  const documentDir = folder.setting(config, 'document_dir') ?? 'documents'
  return {
    dir: folder.root,
    config,
    workflows: await reader.yamlIn(workflowDir, 'workflow_dir'),
    domains: (await reader.yamlIn(domainDir, 'domain_dir')).filter((source) => reader.isDomain(source)),
    fixtures: await reader.fixtures([caseDir, join(caseDir, 'fixtures'), 'cases/fixtures']),
    documents: await reader.documents(documentDir),
    cases: await reader.cases(caseDir),
    scriptedFile: (await folder.has(scriptedFile)) ? join(folder.root, scriptedFile) : undefined,
    script: await folder.yaml(scriptedFile, { uniqueKeys: true }),
  }
}

class FileReader {
  private readonly folder: PackFolder
  private readonly config: Source
  private readonly findings: Findings

  constructor(folder: PackFolder, config: Source, findings: Findings) {
    this.folder = folder
    this.config = config
    this.findings = findings
  }

  /** Every YAML file of a folder but those of the pack itself, which have been read. */
  async yamlIn(folder: string, key: string): Promise<Source[]> {
    const files = (await this.folder.named(folder, this.config, key)).filter(
      (name) => ['.yaml', '.yml'].includes(extname(name)) && !otherFiles.has(name),
    )
    return await readAll(files, (file) => this.folder.yaml(file))
  }

  isDomain({ data, locate }: Source): boolean {
    if (isObject(data) && 'domain_name' in data) return true
    this.findings.warn(locate([]), 'no `domain_name`: not read as a domain', 'give it one, or put it elsewhere')
    return false
  }

  async cases(folder: string): Promise<CaseFile[]> {
    const files = (await this.folder.named(folder, this.config, 'case_dir')).filter(
      (name) => name.endsWith('.json') && !name.endsWith(fixtureSuffix),
    )
    return await readAll(files, (file) => this.caseFile(file))
  }

  async fixtures(folders: readonly string[]): Promise<Fixture[]> {
    const names = await Promise.all([...new Set(folders)].map((folder) => this.folder.names(folder)))
    const files = new Set(names.flatMap((found) => found ?? []).filter((name) => name.endsWith(fixtureSuffix)))
    return await readAll([...files], (file) => this.fixture(file))
  }

  /** Each text file of the folder, by its name without the ending. */
  async documents(folder: string): Promise<PackDocument[]> {
    const files = (await this.folder.named(folder, this.config, 'document_dir')).filter((name) =>
      ['.txt', '.md'].includes(extname(name)),
    )
    const documents = await readAll(files, async (file) => {
      const text = await this.folder.text(file)
      return text === undefined ? undefined : { name: basename(file, extname(file)), text }
    })
    const bytes = documents.reduce((sum, { text }) => sum + Buffer.byteLength(text), 0)
    if (bytes <= maxDocumentBytes) return documents
    this.findings.refuse({ file: folder }, `${bytes} bytes of documents`, `stay within ${maxDocumentBytes}`)
    return []
  }

  private async caseFile(file: string): Promise<CaseFile | undefined> {
    const source = await this.folder.json(file)
    if (!source) return undefined
    const isList = Array.isArray(source.data)
    const cases = isList ? (source.data as readonly unknown[]) : [source.data]
    const wrong = cases.findIndex((item) => !isObject(item))
    if (wrong < 0) return { file, source, cases: cases as JsonObject[] }
    const right = 'write one case `{…}`, or a list of them'
    this.findings.refuse(source.locate(isList ? [wrong] : []), 'a case that is not an object', right)
    return undefined
  }

  private async fixture(file: string): Promise<Fixture | undefined> {
    const source = await this.folder.json(file)
    if (!source) return undefined
    const { data } = source
    if (!isObject(data)) {
      const right = 'write `{"_case_id": …, "get_…": …}`'
      this.findings.refuse(source.locate([]), 'fixture data that are no object', right)
      return undefined
    }
    const caseId = data._case_id ?? data._claim_id
    if (typeof caseId === 'string') return { caseId, tools: withoutHidden(data as JsonObject) }
    const key = data._case_id === undefined ? '_claim_id' : '_case_id'
    const what = caseId === undefined ? 'no `_case_id`' : `\`${key}\` is no text`
    this.findings.warn(source.locate([key]), `${what}: no case uses these data`, 'name the `case_id` of the case')
    return undefined
  }
}

async function readAll<T>(files: readonly string[], read: (file: string) => Promise<T | undefined>): Promise<T[]> {
  const found = await Promise.all(files.map(read))
  return found.filter((item) => item !== undefined)
}
