import { CoreError } from '../errors.ts'

/** Where a person finds something in a pack: a file, and line and column where they are known. */
export interface Place {
  readonly file: string
  readonly line?: number
  readonly column?: number
}

export function showPlace({ file, line, column }: Place): string {
  return line === undefined ? file : `${file}:${line}:${column}`
}

/** The place that `showPlace` wrote. */
export function placeNamed(where: string): Place {
  const [, file, line, column] = /^(.*):(\d+):(\d+)$/s.exec(where) ?? []
  return file === undefined ? { file: where } : { file, line: Number(line), column: Number(column) }
}

/** One thing to be said about a pack. */
export interface Finding {
  /** An error stops the pack; a warning is what is merely odd, or missing in a way that published packs have. */
  readonly severity: 'error' | 'warning'
  readonly place: Place
  readonly what: string
  /** What would be right; unset where that depends on what the author meant. */
  readonly right: string | undefined
  /** What the language has and this version does not run. */
  readonly notYet?: string
}

/** What is said about a pack, gathered so that its author sees all of it at once. */
export class Findings {
  private readonly found = new Map<string, Finding>()

  refuse(place: Place, what: string, right: string): void {
    this.add({ severity: 'error', place, what, right })
  }

  warn(place: Place, what: string, right?: string): void {
    this.add({ severity: 'warning', place, what, right })
  }

  /** Refuses what only a later version runs. A pack that relies on it would decide cases otherwise than was meant. */
  refuseNotYet(place: Place, what: string): void {
    const right = 'leave it out, or wait for the version that brings it'
    this.add({ severity: 'error', place, what: `${what} is not part of this version`, right, notYet: what })
  }

  /** Everything, by file and line; what is said twice about one place once. */
  get all(): readonly Finding[] {
    return [...this.found.values()].sort(
      ({ place: a }, { place: b }) =>
        compare(a.file, b.file) || (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0),
    )
  }

  get errors(): readonly Finding[] {
    return this.all.filter(({ severity }) => severity === 'error')
  }

  /** Warnings as one line each. */
  get warnings(): readonly string[] {
    return this.all
      .filter(({ severity }) => severity === 'warning')
      .map(({ place, what }) => `${showPlace(place)}: ${what}`)
  }

  get clean(): boolean {
    return this.errors.length === 0
  }

  /** Refuses the pack by its first error; what belongs to a later version comes first, since it explains others. */
  throwIfAny(): void {
    const { errors } = this
    const notYet = errors.find((error) => error.notYet !== undefined)
    if (notYet) throw refusalNotYet(notYet)
    const [first, ...others] = errors
    if (!first) return
    const more = others.length === 0 ? '' : ` (and ${others.length} more)`
    throw new CoreError('CC_ERR_PACK', { where: showPlace(first.place), what: first.what + more, right: first.right! })
  }

  private add(finding: Finding): void {
    const key = JSON.stringify([finding.place, finding.what])
    if (!this.found.has(key)) this.found.set(key, finding)
  }
}

function refusalNotYet({ place, notYet }: Finding): CoreError {
  return new CoreError('CC_ERR_NOT_YET', {
    what: `${notYet}, as in ${showPlace(place)},`,
    remedy: 'Leave it out of the pack, or wait for the version that brings it.',
  })
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}
