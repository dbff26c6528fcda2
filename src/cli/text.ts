/**
 * Text on its way to a terminal. What comes from outside (cases, packs, names, answers of models) may hold characters
 * that move the cursor, repaint the screen or turn the direction of reading; they are shown, never sent.
 */

/** Controls (C0, DEL, C1), marks and overrides of direction, separators of lines, and the byte order mark. */
const unsafe = /[\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]/g

/** Half of a surrogate pair: no character, and what a terminal makes of it is its own affair. */
const loneSurrogate = /[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g

const shortEscapes: Readonly<Record<string, string>> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' }

/** One line of text in which nothing can act on a terminal: what could is written as an escape. */
export function visible(text: string): string {
  return text
    .replace(unsafe, (found) => shortEscapes[found] ?? unicodeEscape(found))
    .replace(loneSurrogate, unicodeEscape)
}

/** JSON that can be looked at as safely as it can be parsed: JSON.stringify leaves DEL, C1 and directions as they are. */
export function safeJson(value: unknown, indent?: number): string {
  return JSON.stringify(value, undefined, indent).replace(unsafe, (found) =>
    // The line breaks of the indentation; inside of strings JSON.stringify has escaped them.
    found === '\n' ? found : unicodeEscape(found),
  )
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}

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
