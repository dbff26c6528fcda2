import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { basename, extname, join, relative, resolve, sep } from 'node:path'
import { type JsonObject, parseJson } from '../domain/json.ts'
import type { Fixture } from '../domain/workflow.ts'
import { CoreError } from '../errors.ts'
import { type Findings, objectSource, parseYaml, type Source } from './pack-source.ts'
import { withoutHidden } from './hidden-keys.ts'
import { isObject } from './tools.ts'

/** One file of cases, as a pack brings them to be tried. */
export interface CaseFile {
  /** Relative to the pack. */
  readonly file: string
  readonly cases: readonly JsonObject[]
}

/** Everything a pack's folder holds, read and not yet understood. */
export interface PackFiles {
  readonly dir: string
  readonly config: Source
  readonly workflows: readonly Source[]
  readonly domains: readonly Source[]
  readonly fixtures: readonly Fixture[]
  readonly cases: readonly CaseFile[]
  readonly scriptedFile: string | undefined
}

/** A domain is a few pages of text, a case file a few hundred cases; the JSON door opens no wider. */
const maxFileBytes = 1024 * 1024
const maxFiles = 500

const configFile = 'coordinator_config.yaml'
/** Files in a pack's root that are not domains, for packs whose domains stand there too. */
const otherFiles = new Set(['coordinator_config', 'scripted', 'demo'])
const fixtureSuffix = '_tools.json'

/** Reads a pack's folder. Nothing outside of it is ever opened, whatever its paths and links say. */
export async function readPackFiles(path: string, findings: Findings): Promise<PackFiles> {
  const dir = await realpath(path).catch((cause: unknown) => {
    throw new CoreError('CC_ERR_NO_PACK', { dir: path, why: 'there is no such folder' }, { cause })
  })
  if (!(await stat(dir)).isDirectory()) throw new CoreError('CC_ERR_NO_PACK', { dir: path, why: 'it is not a folder' })

  const folder = new PackFolder(dir, findings)
  const config = (await folder.yaml(configFile)) ?? objectSource(configFile, {})
  const workflowDir = folder.setting(config, 'workflow_dir') ?? 'workflows'
  const domainDir = folder.setting(config, 'domain_dir') ?? ((await folder.has('domains')) ? 'domains' : '.')
  const caseDir = folder.setting(config, 'case_dir') ?? 'cases'
  const scripted = 'scripted.yaml'
  return {
    dir,
    config,
    workflows: await folder.yamlIn(workflowDir, config, 'workflow_dir'),
    domains: (await folder.yamlIn(domainDir, config, 'domain_dir')).filter((source) => isDomain(source, findings)),
    fixtures: await folder.fixtures([caseDir, join(caseDir, 'fixtures'), 'cases/fixtures']),
    cases: await folder.cases(caseDir),
    scriptedFile: (await folder.has(scripted)) ? join(dir, scripted) : undefined,
  }
}

function isDomain({ file, data, locate }: Source, findings: Findings): boolean {
  if (isObject(data) && 'domain_name' in data) return true
  if (!otherFiles.has(basename(file, extname(file))))
    findings.warn(locate([]), 'no `domain_name`: not read as a domain')
  return false
}

class PackFolder {
  private readonly root: string
  private readonly findings: Findings

  constructor(root: string, findings: Findings) {
    this.root = root
    this.findings = findings
  }

  /** A path setting of the configuration, as long as it stays inside the pack. */
  setting(config: Source, key: string): string | undefined {
    const value = isObject(config.data) ? config.data[key] : undefined
    if (value === undefined || value === null) return undefined
    if (typeof value === 'string' && this.contains(resolve(this.root, value))) return value
    this.findings.refuse(config.locate([key]), `\`${key}\` leaves the pack`, 'name a folder inside the pack')
    return undefined
  }

  async has(name: string): Promise<boolean> {
    return (await this.inside(name)) !== undefined
  }

  async yaml(name: string): Promise<Source | undefined> {
    const text = await this.text(name)
    return text === undefined ? undefined : parseYaml(name, text, this.findings)
  }

  async yamlIn(folder: string, config: Source, key: string): Promise<Source[]> {
    const names = await this.names(folder)
    if (!names)
      this.findings.refuse(
        config.locate([key]),
        `there is no folder '${folder}'`,
        `set \`${key}\` to a folder of the pack`,
      )
    const files = (names ?? []).filter((name) => ['.yaml', '.yml'].includes(extname(name)))
    const sources = await Promise.all(files.map((name) => this.yaml(name)))
    return sources.filter((source) => source !== undefined)
  }

  async cases(folder: string): Promise<CaseFile[]> {
    const files = ((await this.names(folder)) ?? []).filter(
      (name) => name.endsWith('.json') && !name.endsWith(fixtureSuffix),
    )
    const read = await Promise.all(files.map((file) => this.caseFile(file)))
    return read.filter((file) => file !== undefined)
  }

  async fixtures(folders: readonly string[]): Promise<Fixture[]> {
    const names = await Promise.all([...new Set(folders)].map((folder) => this.names(folder)))
    const files = new Set(names.flatMap((found) => found ?? []).filter((name) => name.endsWith(fixtureSuffix)))
    const read = await Promise.all([...files].map((file) => this.fixture(file)))
    return read.filter((fixture) => fixture !== undefined)
  }

  private async caseFile(file: string): Promise<CaseFile | undefined> {
    const data = await this.json(file)
    const cases = Array.isArray(data) ? (data as readonly unknown[]) : [data]
    if (data === undefined) return undefined
    if (cases.every(isObject)) return { file, cases: cases as JsonObject[] }
    this.findings.refuse({ file }, 'a case that is not an object', 'write one case `{…}`, or a list of them')
    return undefined
  }

  private async fixture(file: string): Promise<Fixture | undefined> {
    const data = await this.json(file)
    if (!isObject(data)) return undefined
    const caseId = data._case_id ?? data._claim_id
    if (typeof caseId === 'string') return { caseId, tools: withoutHidden(data as JsonObject) }
    this.findings.warn({ file }, 'no `_case_id`: no case uses these data')
    return undefined
  }

  private async json(file: string): Promise<unknown> {
    const text = await this.text(file)
    if (text === undefined) return undefined
    try {
      return parseJson(text)
    } catch (error) {
      this.findings.refuse({ file }, (error as Error).message, 'write JSON')
      return undefined
    }
  }

  /** The text of a file, undefined when there is none or it is refused. */
  private async text(name: string): Promise<string | undefined> {
    const path = await this.inside(name)
    if (path === undefined) return undefined
    const { size } = await stat(path)
    if (size > maxFileBytes) {
      this.findings.refuse({ file: name }, `${size} bytes`, `stay within ${maxFileBytes} bytes a file`)
      return undefined
    }
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(path))
    } catch {
      this.findings.refuse({ file: name }, 'not UTF-8', 'save the file as UTF-8')
      return undefined
    }
  }

  /** File names of a folder relative to the pack, in order, so that a pack reads the same everywhere. */
  private async names(folder: string): Promise<string[] | undefined> {
    const path = await this.inside(folder)
    if (path === undefined || !(await stat(path)).isDirectory()) return undefined
    const entries = await readdir(path, { withFileTypes: true })
    const names = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => join(folder, name))
    if (names.length > maxFiles)
      this.findings.refuse({ file: folder }, `${names.length} files`, `stay within ${maxFiles}`)
    return names.sort().slice(0, maxFiles)
  }

  /** The real path of something that is there; a link that leads out of the pack is refused. */
  private async inside(name: string): Promise<string | undefined> {
    const path = await realpath(resolve(this.root, name)).catch(() => undefined)
    if (path === undefined || this.contains(path)) return path
    this.findings.refuse({ file: name }, 'a link that leaves the pack', 'put the file itself into the pack')
    return undefined
  }

  private contains(path: string): boolean {
    const way = relative(this.root, path)
    return way !== '..' && !way.startsWith(`..${sep}`) && resolve(this.root, way) === path
  }
}
