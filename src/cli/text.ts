/** Lines of a text that may have several; each still has to pass `visible`. */
export function linesOf(text: string): string[] {
  const lines = text.split(/\r?\n/)
  while (lines.length > 1 && lines.at(-1)!.trim() === '') lines.pop()
  return lines
}

const segmenter = new Intl.Segmenter(undefined, { granularity: 'grapheme' })
const isPlain = /^[\u0020-\u007e]*$/
const isWide =
  /^[\u1100-\u115f\u2e80-\u303e\u3041-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe6f\uff00-\uff60\uffe0-\uffe6]|^\p{Emoji_Presentation}|^[\u{20000}-\u{3fffd}]/u
const isMark = /^\p{M}+$/u

/** How many columns a terminal gives to a text that is safe to print. */
export function widthOf(text: string): number {
  if (isPlain.test(text)) return text.length
  let width = 0
  for (const { segment } of segmenter.segment(text)) width += isMark.test(segment) ? 0 : isWide.test(segment) ? 2 : 1
  return width
}

/** Blanks behind a text until it is so wide. */
export function padTo(text: string, width: number): string {
  return text + ' '.repeat(Math.max(0, width - widthOf(text)))
}

/** The beginning of a text, with an ellipsis where it was cut. */
export function cutTo(text: string, width: number): string {
  if (widthOf(text) <= width) return text
  let kept = ''
  let used = 1
  for (const { segment } of segmenter.segment(text)) {
    used += widthOf(segment)
    if (used > width) break
    kept += segment
  }
  return `${kept}…`
}

/** Words broken into lines of at most this width; a longer word has a line of its own and is not cut. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(' ')) {
    if (line === '') line = word
    else if (widthOf(line) + 1 + widthOf(word) <= width) line += ` ${word}`
    else {
      lines.push(line)
      line = word
    }
  }
  return [...lines, line]
}
