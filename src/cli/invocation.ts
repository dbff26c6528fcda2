import { type Config, defaultDbPath } from '../config.ts'

/** What a person types to get here: the npm script in a checkout, the command's name where it is installed. */
export const invocation = import.meta.filename.endsWith('.ts') ? 'npm run --silent cli --' : 'cognitive-core'

/** Where a command finds its cases. */
type Whereabouts = Pick<Config, 'dbPath' | 'postgres' | 'url'>

/**
 * The words of a command, ready to be pasted into a shell: it says which service it means, else which store unless that is
 * the usual one. A database is named by the environment alone: neither a DSN nor the key of a service is shown anywhere.
 */
export function commandWords(words: readonly string[], { dbPath, postgres, url }: Whereabouts): string[] {
  const store = postgres || dbPath === defaultDbPath ? [] : [`CC_DB_PATH=${shellWord(dbPath)}`]
  const where = url === undefined ? store : [`CC_URL=${shellWord(url)}`]
  return [...where, invocation, ...words.map(shellWord)]
}

/** The same on one line. */
export function commandLine(words: readonly string[], whereabouts: Whereabouts): string {
  return commandWords(words, whereabouts).join(' ')
}

/** Remedies name the installed command; here they name the one that works. */
export function asTypedHere(remedy: string): string {
  return remedy.replace(/\bcognitive-core(?= [a-z<-])/g, invocation)
}

/** A word as a shell takes it. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
