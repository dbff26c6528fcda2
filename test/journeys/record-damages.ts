import { DatabaseSync } from 'node:sqlite'
import type { Fault } from '../../src/domain/chain.ts'

/** The tables that the chain vouches for, row by row. */
export const recordTables = ['audit_events', 'payloads', 'checkpoints'] as const
export type RecordTable = (typeof recordTables)[number]

export interface Column {
  readonly name: string
  readonly type: 'INTEGER' | 'TEXT'
  readonly isNullable: boolean
}

export type Value = string | number | bigint | null
export type Row = Readonly<Record<string, string | number | null>> & { readonly rowid: number }

/** A closed store as it was written, to know what its damage must be called. */
export class Original {
  private readonly database: DatabaseSync

  constructor(path: string) {
    this.database = new DatabaseSync(path, { readOnly: true })
  }

  /** Taken from the database itself, so that a new column joins by itself. */
  columnsOf(table: string): Column[] {
    const rows = this.database.prepare(`select name, type, "notnull", pk from pragma_table_info(?)`).all(table)
    return rows.map(({ name, type, notnull, pk }) => ({
      name: name as string,
      type: type as Column['type'],
      isNullable: notnull === 0 && pk === 0,
    }))
  }

  rowsOf(table: string, instanceId?: string): Row[] {
    const order = { audit_events: 'seq', checkpoints: 'step_no' }[table] ?? 'rowid'
    const where = instanceId === undefined ? '' : 'where instance_id = ?'
    const params = instanceId === undefined ? [] : [instanceId]
    return this.database
      .prepare(`select rowid as rowid, * from ${table} ${where} order by ${order}`)
      .all(...params) as Row[]
  }

  /** The number of the event that commits to this row, or is it. */
  seqOf(table: RecordTable, row: Row): number {
    if (table === 'audit_events') return row.seq as number
    const events = this.rowsOf('audit_events', row.instance_id as string)
    if (table === 'payloads') return events.find(({ payload_id }) => payload_id === row.payload_id)!.seq as number
    const steps = events.filter(({ envelope }) => 'checkpoint' in (JSON.parse(envelope as string) as object))
    return steps[(row.step_no as number) - 1]!.seq as number
  }

  close(): void {
    this.database.close()
  }
}

/** One way to change a value: as SQL, with its parameters, so that texts can be made that no program would bind. */
export interface Change {
  readonly kind: string
  readonly sql: string
  readonly params: readonly Value[]
  /** JSON has no such value, so an export shows it as something else. */
  readonly isBeyondJson?: boolean
}

/** Larger than what a program in JavaScript can tell from its neighbours. */
const unreadable = 9_007_199_254_740_993n

/** Every kind of change that makes sense for a column: small, plausible, and such as no program of ours would write. */
export function changesOf(column: Column, row: Row, others: readonly Row[]): Change[] {
  const value = row[column.name]!
  const changes: Change[] = []
  const set = (kind: string, to: Value) => changes.push({ kind, sql: '?', params: [to] })
  const other = others.map((another) => another[column.name]).find((found) => found !== value && found !== null)
  if (other !== undefined) set('the value of another row', other as Value)
  if (column.isNullable && value !== null) set('nothing', null)
  if (column.type === 'INTEGER') {
    if (value === null) return [...changes, { kind: 'a number', sql: '?', params: [1] }]
    // The number of a row of the table is a whole one whatever the table says.
    if (column.name !== 'entry') changes.push(...untyped(value))
    set('one more', (value as number) + 1)
    set('one less', (value as number) - 1)
    set('its negative', -(value as number) - 1)
    set('a number too large to read', unreadable)
    return changes
  }
  if (value === null) return [...changes, { kind: 'a text', sql: '?', params: ['x'] }]
  changes.push(...untyped(value))
  const text = value as string
  set('no text', '')
  set('a space more', `${text} `)
  set('another last character', text.slice(0, -1) + (text.endsWith('0') ? '1' : '0'))
  if (/[a-z]/.test(text)) set('upper case', text.toUpperCase())
  changes.push({ kind: 'bytes that are no text', sql: `cast(cast(? as blob) || x'ff' as text)`, params: [text] })
  changes.push({ kind: 'a NUL more', sql: `? || char(0)`, params: [text] })
  return changes
}

/** What a column takes once its table was made anew without its types. */
function untyped(value: string | number): Change[] {
  return [
    { kind: 'a fraction', sql: '?', params: [typeof value === 'number' ? value + 0.5 : 0.5], isBeyondJson: true },
    { kind: 'bytes', sql: 'cast(? as blob)', params: [value], isBeyondJson: true },
  ]
}

/** What verification must say of a damage: `unseen` where a record cannot show it. */
export type Expected =
  'unseen' | { readonly seq: number | undefined; readonly what: readonly Fault[]; readonly where: RegExp }

function finding(seq: number | undefined, what: Fault | readonly Fault[], where: RegExp): Expected {
  return { seq, what: typeof what === 'string' ? [what] : what, where }
}

/** What verification must say of the instance whose row has been changed in one column. */
export function expectedOfChange(
  original: Original,
  table: RecordTable,
  column: string,
  row: Row,
  value: Value | undefined,
): Expected {
  const seq = original.seqOf(table, row)
  const instanceId = row.instance_id as string
  if (column === 'entry') {
    const broken = firstDisorder(original.rowsOf(table, instanceId), row.rowid, value as number | bigint)
    return broken ? finding(original.seqOf(table, broken), 'reordered', new RegExp(`^${table}\\.entry$`)) : 'unseen'
  }
  if (column === 'instance_id') return finding(seq, 'missing', new RegExp(`^${table}$`))
  if (table === 'audit_events') {
    // Before the first event there is no place; what stands there is bad by itself, whatever it is.
    if (column === 'seq' && seq > 1 && Number(value) < 1) return finding(Number(value), 'inserted', /^audit_events$/)
    if (column === 'seq') return finding(seq, 'reordered', /^audit_events\.seq$/)
    return finding(seq, 'changed', new RegExp(`^audit_events\\.${column}$`))
  }
  if (column === 'payload_id' || column === 'step_no') return finding(seq, 'missing', new RegExp(`^${table}$`))
  return table === 'payloads'
    ? finding(seq, 'payload_differs', /^payloads\./)
    : finding(seq, 'checkpoint_differs', /^checkpoints/)
}

/** The first row, in the order of its case, that now claims to have been written before the one before it. */
function firstDisorder(rows: readonly Row[], rowid: number, entry: number | bigint): Row | undefined {
  let before = 0
  for (const row of rows) {
    // What cannot be read comes before everything.
    const own = row.rowid !== rowid ? row.rowid : Number.isSafeInteger(Number(entry)) ? Number(entry) : -Infinity
    if (own <= before) return row
    before = own
  }
  return undefined
}
