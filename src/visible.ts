/**
 * Text on its way to people: a terminal, a log. What comes from outside (cases, packs, names, answers of models) may hold
 * characters that move the cursor, repaint the screen or turn the direction of reading; they are shown, never sent.
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
  return withoutEscapes(JSON.stringify(value, undefined, indent))
}

/** Text in JSON that was made elsewhere: its line breaks stand between its parts, since within strings they are escaped. */
export function withoutEscapes(json: string): string {
  return json.replace(unsafe, (found) => (found === '\n' ? found : unicodeEscape(found)))
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`
}
