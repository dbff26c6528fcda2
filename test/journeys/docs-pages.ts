import { spawn } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join, resolve } from 'node:path'

export const root = resolve(import.meta.dirname, '../..')

/** How long what is pasted may take, services that it starts included. */
const patienceMs = 120_000

/** A page of the project as text. */
export async function readPage(page: string): Promise<string> {
  return await readFile(join(root, page), 'utf8')
}

/** The blocks of a page that are fenced with these words, in their order. */
export async function blocksOf(page: string, fence: string): Promise<string[]> {
  const blocks = new RegExp(`^\`\`\`${fence}\n([\\s\\S]*?)^\`\`\``, 'gm')
  return [...(await readPage(page)).matchAll(blocks)].map(([, block]) => block!)
}

/** The shell commands of a page, block after block, as somebody would paste them. */
export async function pasted(page: string): Promise<string> {
  return (await blocksOf(page, 'sh')).join('\n')
}

/** The rows of the table whose head begins with these words, without the marks around code. */
export async function tableOf(page: string, ...head: readonly string[]): Promise<string[][]> {
  const lines = (await readPage(page)).split('\n')
  const start = lines.findIndex((line) => head.every((word, index) => cellsOf(line)[index] === word))
  if (start < 0) throw new Error(`${page} has no table ${head.join(' | ')}`)
  const end = lines.findIndex((line, index) => index > start && !line.startsWith('|'))
  return lines.slice(start + 2, end).map(cellsOf)
}

function cellsOf(line: string): string[] {
  return line
    .split('|')
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('`', ''))
}

/** A folder that looks like a checkout after `npm ci` and has a `data` of its own. */
export async function openCheckout() {
  const folder = await mkdtemp(join(tmpdir(), 'cc-docs-'))
  for (const name of ['src', 'packs', 'tools', 'console', 'node_modules']) {
    await symlink(join(root, name), join(folder, name))
  }
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, '127.0.0.1', resolve)
  await promise
  const { port } = server.address() as { port: number }
  await new Promise((closed) => server.close(closed))
  return port
}

export interface Pasted {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
  /** Whether everything that the commands had started has ended by itself. */
  readonly isQuiet: boolean
}

/**
 * Runs commands in one shell that stops at the first failure, with the project's Node before any other and no setting but
 * those given. What they leave running is ended, by the group of processes that they are.
 */
export async function paste(
  commands: string,
  { cwd, env = {} }: { readonly cwd: string; readonly env?: Readonly<Record<string, string>> },
): Promise<Pasted> {
  const settings = Object.entries(process.env).filter(([name]) => !/^(CC_|npm_|NODE_TEST)/i.test(name))
  const path = `${dirname(process.execPath)}:${process.env.PATH}`
  const child = spawn('bash', ['-euo', 'pipefail', '-c', commands], {
    cwd,
    env: { ...Object.fromEntries(settings), PATH: path, NO_COLOR: '1', ...env },
    detached: true,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const texts = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name].setEncoding('utf8').on('data', (text: string) => (texts[name] += text))
  }
  const { promise: closed, resolve: close } = Promise.withResolvers<void>()
  const { promise: exited, resolve: exit } = Promise.withResolvers<number | null>()
  child.once('exit', exit)
  // The pipes stay open as long as anybody of the group has them.
  child.once('close', () => close())
  const timer = setTimeout(() => endGroup(child.pid!), patienceMs)
  const code = await exited
  const isQuiet = await Promise.race([
    closed.then(() => true),
    new Promise<false>((late) => setTimeout(late, graceMs, false).unref()),
  ])
  clearTimeout(timer)
  endGroup(child.pid!)
  await closed
  return { code, ...texts, isQuiet }
}

/** What was told to end drains first. */
const graceMs = 15_000

function endGroup(leader: number): void {
  try {
    process.kill(-leader, 'SIGKILL')
  } catch {
    // Nobody of it is left.
  }
}
