/** The name that was meant, when one is near enough that a slip of the finger explains the difference. */
export function nearest(written: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let least = Math.min(2, Math.floor(written.length / 3)) + 1
  for (const name of known) {
    const distance = plain(name) === plain(written) ? 0 : editDistance(written, name, least)
    if (distance >= least) continue
    best = name
    least = distance
  }
  return best
}

/** `Max-Loops` and `max_loops` are the same slip. */
function plain(name: string): string {
  return name.toLowerCase().replaceAll(/[\s_-]/g, '')
}

/** Letters put in, left out, changed, or two of them swapped; at least `bound` when it is more than that. */
function editDistance(a: string, b: string, bound: number): number {
  if (Math.abs(a.length - b.length) >= bound) return bound
  const rows = [Array.from({ length: b.length + 1 }, (_, index) => index)]
  for (let i = 1; i <= a.length; i++) {
    const row = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = rows[i - 1]![j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]
      const swapped = isSwap ? rows[i - 2]![j - 2]! + 1 : Infinity
      row.push(Math.min(changed, swapped, rows[i - 1]![j]! + 1, row[j - 1]! + 1))
    }
    rows.push(row)
  }
  return rows[a.length]![b.length]!
}

/** What to say beside a name that nobody knows: the one that was meant, or else those there are. */
export function meaning(written: string, known: Iterable<string>, otherwise?: string): string {
  const names = [...known]
  const name = nearest(written, names)
  return name === undefined ? (otherwise ?? `there are: ${few(names)}`) : `did you mean '${name}'?`
}

const shownNames = 12

function few(names: readonly string[]): string {
  const more = names.length > shownNames ? `, and ${names.length - shownNames} more` : ''
  return names.length === 0 ? 'none' : names.slice(0, shownNames).join(', ') + more
}
