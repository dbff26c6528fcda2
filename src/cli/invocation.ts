import { defaultDbPath } from '../config.ts'

/** What a person types to get here: the npm script in a checkout, the command's name where it is installed. */
export const invocation = import.meta.filename.endsWith('.ts') ? 'npm run --silent cli --' : 'cognitive-core'

/** The words of a command, ready to be pasted into a shell: it says which store it means unless that is the usual one. */
export function commandWords(words: readonly string[], dbPath: string): string[] {
  const store = dbPath === defaultDbPath ? [] : [`CC_DB_PATH=${shellWord(dbPath)}`]
  return [...store, invocation, ...words.map(shellWord)]
}

/** The same on one line. */
export function commandLine(words: readonly string[], dbPath: string): string {
  return commandWords(words, dbPath).join(' ')
}

/** Remedies name the installed command; here they name the one that works. */
export function asTypedHere(remedy: string): string {
  return remedy.replace(/\bcognitive-core(?= [a-z<-])/g, invocation)
}

function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
