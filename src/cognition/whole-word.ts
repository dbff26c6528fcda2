/** Finds a word that stands by itself. Where hyphens join words, `fraud` does not stand by itself in `non-fraud`. */
export function wholeWord(word: string, { hyphensJoin = false } = {}): RegExp {
  const literal = word.replaceAll(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
  const neighbour = `[\\p{L}\\p{N}_${hyphensJoin ? '-' : ''}]`
  return new RegExp(`(?<!${neighbour})${literal}(?!${neighbour})`, 'u')
}
