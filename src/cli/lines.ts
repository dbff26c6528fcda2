import type { Json } from '../domain/json.ts'
import { visible } from '../visible.ts'
import { cutTo, linesOf, padTo, widthOf, wrap } from './text.ts'
import { contentLines } from './value-lines.ts'

export type Style = 'strong' | 'dim' | 'good' | 'attention' | 'bad'

/** A piece of a line. Everything in it is shown as text: only styles make a terminal do something. */
export type Part = string | { readonly text: string; readonly style: Style }

/** Longer lines are hard to read, and the demo promises it. */
const maxWidth = 100

const codes: Readonly<Record<Style, number>> = { strong: 1, dim: 2, good: 32, attention: 33, bad: 31 }

export interface LinesOptions {
  readonly colors: boolean
  /** Columns of the terminal; unset when nobody looks. */
  readonly columns: number | undefined
}

export const strong = (text: string): Part => ({ text, style: 'strong' })
export const dim = (text: string): Part => ({ text, style: 'dim' })

/** Lines for people, composed here and written by the terminal. Whatever is handed in cannot act on the terminal. */
export class Lines {
  readonly width: number
  private readonly write: (line: string) => void
  private readonly colors: boolean

  constructor(write: (line: string) => void, { colors, columns }: LinesOptions) {
    this.write = write
    this.colors = colors
    this.width = Math.min(Math.max(columns ?? maxWidth, 40), maxWidth)
  }

  line(...parts: readonly Part[]): void {
    this.write(
      parts
        .map((part) => this.paint(part))
        .join('')
        .trimEnd(),
    )
  }

  /** A line above a group of lines, with a free line before it. */
  heading(...parts: readonly Part[]): void {
    this.line()
    this.line(...parts.map((part) => (typeof part === 'string' ? strong(part) : part)))
  }

  /** Words that flow; each of the text's own lines is a paragraph. */
  prose(text: string, { indent = 0, style }: { readonly indent?: number; readonly style?: Style } = {}): void {
    const margin = ' '.repeat(indent)
    for (const paragraph of linesOf(text)) {
      for (const line of wrap(visible(paragraph), this.width - indent)) {
        this.line(margin, style ? { text: line, style } : line)
      }
    }
  }

  /** Labels in one column, what they stand for in the next. An unset value leaves its line out. */
  facts(rows: readonly (readonly [label: string, value: string | undefined])[], indent = 2): void {
    const given = rows.filter((row): row is readonly [string, string] => row[1] !== undefined)
    const labelWidth = Math.max(0, ...given.map(([label]) => widthOf(label)))
    const margin = ' '.repeat(indent)
    for (const [label, value] of given) {
      const lines = linesOf(value).flatMap((line) => wrap(visible(line), this.width - indent - labelWidth - 2))
      for (const [index, line] of lines.entries()) {
        this.line(margin, dim(padTo(index === 0 ? label : '', labelWidth)), '  ', line)
      }
    }
  }

  /** Columns as wide as their widest cell. With `cutLast`, the last one gives way so that a line fits the width. */
  table(
    header: readonly string[],
    rows: readonly (readonly string[])[],
    { indent = 0, cutLast = false, styles = {} }: TableOptions = {},
  ): void {
    const cells = rows.map((row) => row.map(visible))
    const widths = header.map((title, column) =>
      Math.max(widthOf(title), ...cells.map((row) => widthOf(row[column] ?? ''))),
    )
    const lastColumn = header.length - 1
    const before = widths.slice(0, lastColumn).reduce((sum, width) => sum + width + 2, indent)
    const show = (row: readonly string[], paint: (cell: string, column: number) => Part) => {
      const fitting = row.map((cell, column) => {
        if (column < lastColumn) return padTo(cell, widths[column]!)
        return cutLast ? cutTo(cell, Math.max(12, this.width - before)) : cell
      })
      this.line(' '.repeat(indent), ...fitting.flatMap((cell, column) => [column > 0 ? '  ' : '', paint(cell, column)]))
    }
    if (header.some((title) => title !== '')) show(header, dim)
    for (const row of cells) {
      show(row, (cell) => {
        const style = styles[cell.trim()]
        return style ? { text: cell, style } : cell
      })
    }
  }

  /** Content of any shape, as a person would write it down. */
  value(value: Json | undefined, indent = 2): void {
    const margin = ' '.repeat(indent)
    if (value === undefined) this.line(margin, dim('none'))
    else for (const line of contentLines(value, this.width - indent)) this.line(margin, line)
  }

  private paint(part: Part): string {
    if (typeof part === 'string') return visible(part)
    const text = visible(part.text)
    return this.colors && text !== '' ? `\u001b[${codes[part.style]}m${text}\u001b[0m` : text
  }
}

interface TableOptions {
  readonly indent?: number
  readonly cutLast?: boolean
  /** Styles of cells by what they say. */
  readonly styles?: Readonly<Record<string, Style>>
}
