import { CoreError } from './errors.ts'
import type { LogLevel } from './log.ts'
import type { SettingName, Sources } from './setting-sources.ts'

/** Undefined when no source says anything. */
export function readWholeNumber(
  sources: Sources,
  name: SettingName,
  { least, most }: { readonly least: number; readonly most: number },
): number | undefined {
  const text = sources.given(name)
  if (text === undefined) return undefined
  const count = Number(text)
  if (/^\d{1,15}$/.test(text) && count >= least && count <= most) return count
  throw wrongSetting(sources, name, least === most ? String(least) : `a whole number from ${least} to ${most}`)
}

/** The address of a service without a slash at its end. */
export function readUrl(sources: Sources, name: SettingName): string | undefined {
  const text = sources.given(name)
  if (text === undefined) return undefined
  if (isPlainAddress(text)) return new URL(text).href.replace(/\/+$/, '')
  throw wrongSetting(sources, name, 'an address such as https://cases.example')
}

/** An address that paths can be put behind, and that has nobody's password in it. */
export function isPlainAddress(value: unknown): value is string {
  if (typeof value !== 'string' || !URL.canParse(value)) return false
  const { protocol, search, hash, username, password } = new URL(value)
  return /^https?:$/.test(protocol) && !search && !hash && !username && !password
}

/** Written out here as well, since the log itself is loaded only by commands that write one. */
const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error', 'silent']

export function readLogLevel(sources: Sources): LogLevel | undefined {
  const text = sources.given('CC_LOG_LEVEL')
  const level = logLevels.find((known) => known === text)
  if (text === undefined || level !== undefined) return level
  throw wrongSetting(sources, 'CC_LOG_LEVEL', `one of ${logLevels.join(', ')}`)
}

/** The refusal of a value, by the place where it can be corrected. */
export function wrongSetting(sources: Sources, name: SettingName, right: string): CoreError {
  return new CoreError('CC_ERR_SETTING', { name: sources.nameOf(name), value: sources.given(name), right })
}
