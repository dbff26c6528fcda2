import { readdir, readFile, realpath, stat } from 'node:fs/promises'
import { join, relative, resolve, sep } from 'node:path'
import { CoreError, isCoreError } from '../errors.ts'
import { fileTrouble, isAbsent } from '../file-errors.ts'
import { type Findings, jsonSource, parseYaml, type Source } from './pack-source.ts'
import { isObject } from './tools.ts'

/** A domain is a few pages of text, a case file a few hundred cases; the JSON door opens no wider. */
export const maxFileBytes = 1024 * 1024
const maxFiles = 500

/** A pack's folder. Nothing outside of it is ever opened, whatever its paths and links say. */
export class PackFolder {
  readonly root: string
  private readonly findings: Findings

  private constructor(root: string, findings: Findings) {
    this.root = root
    this.findings = findings
  }

  static async open(path: string, findings: Findings): Promise<PackFolder> {
    const dir = await realpath(path).catch((cause: unknown) => {
      const why = fileTrouble(cause, 'there is no such folder')
      throw new CoreError('CC_ERR_NO_PACK', { dir: path, why }, { cause })
    })
    if ((await stat(dir)).isDirectory()) return new PackFolder(dir, findings)
    throw new CoreError('CC_ERR_NO_PACK', { dir: path, why: 'it is not a folder' })
  }

  /** A path setting of the configuration, as long as it stays inside the pack. */
  setting(config: Source, key: string): string | undefined {
    const value = isObject(config.data) ? config.data[key] : undefined
    // What is no text at all is refused where the configuration is held against its shape.
    if (typeof value !== 'string') return undefined
    if (this.contains(resolve(this.root, value))) return value
    this.findings.refuse(config.locate([key]), `\`${key}\` leaves the pack`, 'name a folder inside the pack')
    return undefined
  }

  async has(name: string): Promise<boolean> {
    return (await this.inside(name)) !== undefined
  }

  async yaml(name: string, options: { readonly uniqueKeys?: boolean } = {}): Promise<Source | undefined> {
    const text = await this.text(name)
    return text === undefined ? undefined : parseYaml(name, text, this.findings, options)
  }

  async json(file: string): Promise<Source | undefined> {
    const text = await this.text(file)
    if (text === undefined) return undefined
    try {
      return jsonSource(file, text)
    } catch (error) {
      if (!isCoreError(error)) throw error
      const { line, column } = error.facts
      const place = line === undefined ? { file } : { file, line: Number(line), column: Number(column) }
      this.findings.refuse(place, error.message.replace(/\.$/, ''), 'write JSON')
      return undefined
    }
  }

  /** The text of a file, undefined when there is none or it is refused. */
  async text(name: string): Promise<string | undefined> {
    const path = await this.inside(name)
    if (path === undefined) return undefined
    const status = await stat(path)
    if (!status.isFile()) {
      this.findings.refuse({ file: name }, 'not a file', 'put a file there')
      return undefined
    }
    if (status.size > maxFileBytes) {
      this.findings.refuse({ file: name }, `${status.size} bytes`, `stay within ${maxFileBytes} bytes a file`)
      return undefined
    }
    const bytes = await this.opened(name, readFile(path))
    if (bytes === undefined) return undefined
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    } catch {
      this.findings.refuse({ file: name }, 'not UTF-8', 'save the file as UTF-8')
      return undefined
    }
  }

  /** File names of a folder relative to the pack, in order, so that a pack reads the same everywhere. */
  async names(folder: string): Promise<string[] | undefined> {
    const path = await this.inside(folder)
    if (path === undefined || !(await stat(path)).isDirectory()) return undefined
    const entries = await this.opened(folder, readdir(path, { withFileTypes: true }))
    if (entries === undefined) return undefined
    const names = entries.filter((entry) => !entry.isDirectory()).map(({ name }) => join(folder, name))
    if (names.length > maxFiles)
      this.findings.refuse({ file: folder }, `${names.length} files`, `stay within ${maxFiles}`)
    return names.sort().slice(0, maxFiles)
  }

  /** The files of a folder that the configuration names, or that every pack has. */
  async named(folder: string, config: Source, key: string): Promise<readonly string[]> {
    const names = await this.names(folder)
    const isAsked = isObject(config.data) && typeof config.data[key] === 'string'
    const isRefused = this.findings.errors.some(({ place }) => place.file === folder)
    if (!names && !isRefused && (isAsked || key === 'workflow_dir' || key === 'domain_dir')) {
      const right = `set \`${key}\` to a folder of the pack`
      this.findings.refuse(config.locate([key]), `there is no folder '${folder}'`, right)
    }
    return names ?? []
  }

  /** The real path of something that is there; a link that leads out of the pack is refused. */
  private async inside(name: string): Promise<string | undefined> {
    const path = await this.opened(name, realpath(resolve(this.root, name)))
    if (path === undefined || this.contains(path)) return path
    this.findings.refuse({ file: name }, 'a link that leaves the pack', 'put the file itself into the pack')
    return undefined
  }

  /** Undefined when nothing is there; what is there and cannot be opened is refused, and does not pass for absent. */
  private async opened<T>(name: string, opening: Promise<T>): Promise<T | undefined> {
    try {
      return await opening
    } catch (error) {
      const what = `cannot be opened: ${fileTrouble(error)}`
      if (!isAbsent(error)) this.findings.refuse({ file: name }, what, 'make it readable for this program')
      return undefined
    }
  }

  private contains(path: string): boolean {
    const way = relative(this.root, path)
    return way !== '..' && !way.startsWith(`..${sep}`) && resolve(this.root, way) === path
  }
}
