import type { Reader } from '../storage/backend.ts'
import type { InstanceRange, PageReader } from '../storage/verification.ts'

/** Rows that are held in memory at a time, per table. */
const pageRows = 1000

/** The rows of one table in the order of their instances, a page at a time. */
export class RecordRows<R extends { readonly instanceId: string }> {
  count = 0
  private rows: readonly R[] = []
  private next = 0
  private isLast = false
  private readonly reader: Reader
  private readonly range: InstanceRange
  private readonly read: PageReader<R>

  constructor(reader: Reader, range: InstanceRange, read: PageReader<R>) {
    this.reader = reader
    this.range = range
    this.read = read
  }

  /** Hands over every row of this instance; the instance must be the one that comes next. */
  async take(instanceId: string, each: (row: R) => void): Promise<void> {
    while ((await this.nextInstance()) === instanceId) {
      // A loop without waiting within the page: this runs once per row of the store.
      while (this.next < this.rows.length && this.rows[this.next]!.instanceId === instanceId) {
        each(this.rows[this.next++]!)
        this.count += 1
      }
    }
  }

  /** The instance of the next row; undefined at the end. */
  nextInstance(): string | undefined | Promise<string | undefined> {
    if (this.next < this.rows.length) return this.rows[this.next]!.instanceId
    return this.isLast ? undefined : this.turn()
  }

  private async turn(): Promise<string | undefined> {
    const after = this.rows.at(-1)
    this.rows = await this.read(this.reader, this.range, after, pageRows)
    this.next = 0
    this.isLast = this.rows.length < pageRows
    return this.rows[0]?.instanceId
  }
}

/** By the bytes of their UTF-8, as both databases order text. */
export function compareText(a: string, b: string): number {
  return a === b ? 0 : Buffer.compare(Buffer.from(a), Buffer.from(b))
}
