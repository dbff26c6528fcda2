import { readdirSync, readFileSync } from 'node:fs'
import { join, posix, relative, sep } from 'node:path'
import ts from 'typescript'

/** From the ground up. Rooms of one floor are strangers to each other; a room may import itself and everything below. */
export const floors: readonly (readonly string[])[] = [
  ['ground'],
  ['domain'],
  ['cognition', 'storage'],
  ['engine', 'limits', 'graduation'],
  ['cli', 'api'],
  ['roof'],
]

/** The files that stand in `src` itself; every other file stands in the folder of its room. */
const groundFiles = new Set([
  'app-configuration.ts',
  'app-configuration-place.ts',
  'azure-packages.ts',
  'clock.ts',
  'config.ts',
  'config-file.ts',
  'dsn.ts',
  'entra.ts',
  'errors.ts',
  'file-errors.ts',
  'log.ts',
  'setting-sources.ts',
  'setting-values.ts',
  'shown-settings.ts',
  'version.ts',
  'visible.ts',
])
const roofFiles = new Set(['main.ts', 'index.ts', 'bin.ts'])

/**
 * What a text that begins like this is: a statement for a database. Words of prose begin the same way, so the verb alone
 * does not count.
 */
const statement = new RegExp(
  `^\\s*(?:${[
    'select\\s[\\s\\S]*\\sfrom\\s',
    'select\\s+[\\d?$]',
    'insert\\s+(?:or\\s+\\w+\\s+)?into\\s',
    'update\\s+\\S+\\s+(?:(?:as\\s+)?\\w+\\s+)?set\\s',
    'delete\\s+from\\s',
    'with\\s+(?:recursive\\s+)?\\w+\\s*(?:\\([^)]*\\)\\s*)?as\\s+(?:(?:not\\s+)?materialized\\s+)?\\(',
    '(?:create|alter|drop)\\s+(?:or\\s+replace\\s+|unique\\s+|temp(?:orary)?\\s+)?(?:table|index|trigger|view|schema|function|role)\\s',
    'begin\\s+(?:immediate|exclusive|deferred|transaction)',
    '(?:pragma|savepoint|truncate)\\s+\\w',
    'vacuum\\s+into\\s',
  ].join('|')})`,
  'i',
)

interface SourceFile {
  /** Path below the root, with forward slashes. */
  readonly path: string
  readonly imports: readonly Import[]
  readonly texts: readonly Located[]
}

/** `text` is unset when the target is not a plain string, so that nobody can say where it leads. */
interface Import {
  readonly line: number
  readonly text: string | undefined
}

interface Located {
  readonly line: number
  readonly text: string
}

/** Everything in `src` below this root that breaks the rules of the house, one sentence each, by file and line. */
export function houseFindings(root: string): string[] {
  const packages = dependenciesOf(root)
  const files = sourcePaths(root).map((path) => readSource(root, path))
  return files.flatMap((file) => {
    const room = roomOf(file.path)
    if (room === undefined) return [`${file.path}: it stands in no room of the house`]
    const problems = [
      ...file.imports.map(({ line, text }) => ({ line, problem: problemOfImport(file.path, text, packages) })),
      ...file.texts.map(({ line, text }) => ({ line, problem: problemOfText(room, text) })),
    ]
    const found = problems.filter(({ problem }) => problem !== undefined).toSorted((a, b) => a.line - b.line)
    return [...found.map(({ line, problem }) => `${file.path}:${line}: ${problem}`), ...problemOfDoors(file)]
  })
}

function problemOfImport(from: string, target: string | undefined, packages: ReadonlySet<string>): string | undefined {
  if (target === undefined) return 'it imports something whose name is not written there'
  if (target.startsWith('node:')) return undefined
  if (!target.startsWith('.') && !target.startsWith('/')) {
    const name = target.split('/', target.startsWith('@') ? 2 : 1).join('/')
    return packages.has(name) ? undefined : `it imports ${target}, which is not among the dependencies`
  }
  const path = posix.normalize(posix.join(posix.dirname(from), target))
  if (!path.startsWith('src/') || target.startsWith('/')) return `it imports ${target}, which is outside of src`
  const [here, there] = [roomOf(from)!, roomOf(path)]
  if (there === undefined) return `it imports ${path}, which stands in no room of the house`
  if (here === there || floorOf(there) < floorOf(here)) return undefined
  const relation = floorOf(there) === floorOf(here) ? 'are strangers' : 'would be an import upwards'
  return `it imports ${path}: ${here} and ${there} ${relation}`
}

function problemOfText(room: string, text: string): string | undefined {
  if (room === 'storage') return undefined
  if (text === 'node:sqlite') return 'it uses node:sqlite, which only storage may'
  if (!statement.test(text)) return undefined
  return `it holds an SQL statement, which only storage may: ${text.trim().split('\n', 1)[0]!.slice(0, 60)}`
}

/** One file composes the program, and so only one knows both doors. */
function problemOfDoors({ path, imports }: SourceFile): string[] {
  const rooms = new Set(
    imports.map(({ text }) => text && roomOf(posix.normalize(posix.join(posix.dirname(path), text)))),
  )
  const isAllowed = path === 'src/main.ts' || !rooms.has('cli') || !rooms.has('api')
  return isAllowed ? [] : [`${path}: it knows both doors, cli and api, which only src/main.ts may`]
}

function roomOf(path: string): string | undefined {
  const [, first = '', ...rest] = path.split('/')
  if (rest.length === 0) return groundFiles.has(first) ? 'ground' : roofFiles.has(first) ? 'roof' : undefined
  const isRoom = first !== 'ground' && first !== 'roof' && floors.some((rooms) => rooms.includes(first))
  return isRoom ? first : undefined
}

function floorOf(room: string): number {
  return floors.findIndex((rooms) => rooms.includes(room))
}

/** Paths of every source file below `src`, sorted, with forward slashes. */
export function sourcePaths(root: string): string[] {
  return readdirSync(join(root, 'src'), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.[cm]?[jt]sx?$/.test(entry.name))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)).split(sep).join('/'))
    .sort()
}

function dependenciesOf(root: string): Set<string> {
  const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Record<string, object | undefined>
  const kinds = ['dependencies', 'optionalDependencies', 'peerDependencies']
  return new Set(kinds.flatMap((kind) => Object.keys(manifest[kind] ?? {})))
}

function readSource(root: string, path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const imports: Import[] = []
  const texts: Located[] = []
  const lineOf = (node: ts.Node) => source.getLineAndCharacterOfPosition(node.getStart(source)).line + 1
  const visit = (node: ts.Node): void => {
    const target = importTarget(node)
    if (target) imports.push({ line: lineOf(node), text: ts.isStringLiteralLike(target) ? target.text : undefined })
    const literal = literalText(node)
    if (literal !== undefined) texts.push({ line: lineOf(node), text: literal })
    ts.forEachChild(node, visit)
  }
  visit(source)
  return { path, imports, texts }
}

/** What an import of any kind names: static, for types, as a re-export, by a call, or inside of a type. */
function importTarget(node: ts.Node): ts.Node | undefined {
  if (ts.isImportDeclaration(node) || ts.isExportDeclaration(node)) return node.moduleSpecifier
  if (ts.isImportTypeNode(node)) return ts.isLiteralTypeNode(node.argument) ? node.argument.literal : node.argument
  if (ts.isExternalModuleReference(node)) return node.expression
  if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) return node.arguments[0]
  return undefined
}

/** A string or template as text; what is filled in stands as `?`. */
function literalText(node: ts.Node): string | undefined {
  if (ts.isStringLiteralLike(node)) return node.text
  if (!ts.isTemplateExpression(node)) return undefined
  return node.head.text + node.templateSpans.map(({ literal }) => `?${literal.text}`).join('')
}
