/** Figures of one quantity over several rounds. */
export interface Rounds {
  readonly median: number
  readonly least: number
  readonly most: number
}

export function overRounds(values: readonly number[]): Rounds {
  const sorted = values.toSorted((a, b) => a - b)
  return { median: quantile(sorted, 0.5), least: sorted[0]!, most: sorted.at(-1)! }
}

/** The value below which that share of a sorted list lies. */
export function quantile(sorted: readonly number[], share: number): number {
  const place = (sorted.length - 1) * share
  const low = sorted[Math.floor(place)]!
  return low + (sorted[Math.ceil(place)]! - low) * (place - Math.floor(place))
}

/** A figure that has a target, and whether it is met. */
export interface Verdict {
  readonly what: string
  readonly figure: string
  readonly target: string
  readonly isMet: boolean
}

export function atLeast(what: string, value: number, target: number, show = showRatio): Verdict {
  return { what, figure: show(value), target: `≥ ${show(target)}`, isMet: value >= target }
}

export function atMost(what: string, value: number, target: number, show = showRatio): Verdict {
  return { what, figure: show(value), target: `≤ ${show(target)}`, isMet: value <= target }
}

export function showRatio(value: number): string {
  return value.toFixed(2)
}

export function showWhole(value: number): string {
  return Math.round(value).toLocaleString('en')
}

/** `1,234 (1,200–1,300)`: the median and the spread of the rounds. */
export function showRounds({ median, least, most }: Rounds, show: (value: number) => string): string {
  return `${show(median)} (${show(least)}–${show(most)})`
}

/** Prints rows in columns, the first of them left-aligned. */
export function printTable(rows: readonly (readonly string[])[]): void {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  for (const row of rows) {
    const cells = row.map((cell, column) =>
      column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
    )
    console.log(`  ${cells.join('  ')}`.trimEnd())
  }
}

/** Prints every target, the missed ones as loudly as the met ones. Returns whether all are met. */
export function printVerdicts(verdicts: readonly Verdict[]): boolean {
  console.log('\nTargets')
  printTable([
    ['', 'figure', 'target', ''],
    ...verdicts.map(({ what, figure, target, isMet }) => [what, figure, target, isMet ? 'met' : 'MISSED']),
  ])
  return verdicts.every(({ isMet }) => isMet)
}
