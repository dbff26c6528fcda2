import type { SqlValue } from './backend.ts'
import { type ArrayType, encodeArray } from './postgres-arrays.ts'
import type { SqlParam } from './postgres-connections.ts'

/** A row and the place of the member of the batch that it belongs to. */
type PlacedRow = readonly [place: number, ...values: readonly SqlValue[]]

/** One statement in the making: a text, and its parameters in the order in which the text names them. */
export class Statement {
  readonly params: SqlParam[] = []

  bind(param: SqlValue, type: ArrayType): string {
    return `$${this.params.push(param)}::${type}`
  }

  bindArray(values: readonly SqlValue[], type: ArrayType): string {
    return `$${this.params.push(encodeArray(type, values))}::${type}[]`
  }

  /** A value for this column. */
  value(column: string, value: SqlValue): string {
    return this.bind(value, typeOf(column))
  }

  /** Rows as a table of this name with these columns behind `place`: an array for each of them. */
  table(name: string, columns: readonly string[], rows: readonly PlacedRow[]): string {
    const all = ['place', ...columns]
    const arrays = all.map((column, index) =>
      this.bindArray(
        rows.map((row) => row[index]!),
        typeOf(column),
      ),
    )
    return `unnest(${arrays.join(', ')}) as ${name}(${all.join(', ')})`
  }

  /**
   * The parts of a WITH that insert the rows of those members which are in `done`; none where there are no rows. A batch
   * of one needs no arrays and no joins, which cost the server as much as its work.
   */
  insert<M>(
    members: readonly M[],
    table: string,
    columns: readonly string[],
    valuesOf: (member: M) => readonly (readonly SqlValue[])[],
    order = 'n.place',
  ): string[] {
    const rows = placed(members, valuesOf)
    if (rows.length === 0) return []
    const into = `insert into ${table} (${columns.join(', ')})`
    if (members.length === 1) {
      const selects = rows.map(
        ([, ...row]) =>
          `select ${columns.map((column, index) => this.value(column, row[index]!)).join(', ')} from done`,
      )
      return [`new_${table} as (${into} ${selects.join(' union all ')})`]
    }
    return [
      `new_${table} as (${into} select ${columns.map((column) => `n.${column}`).join(', ')}
        from ${this.table('n', columns, rows)} join done using (place) order by ${order})`,
    ]
  }
}

/** What these members give, each row behind the place of its member. */
export function placed<M>(
  members: readonly M[],
  valuesOf: (member: M) => readonly (readonly SqlValue[])[],
): PlacedRow[] {
  return members.flatMap((member, place) => valuesOf(member).map((row): PlacedRow => [place, ...row]))
}

const numbers: ReadonlySet<string> = new Set([
  ...['place', 'seq', 'audit_seq', 'next_seq', 'run', 'next_run', 'step_no', 'next_step_no', 'step_count'],
  ...['attempt', 'next_attempt', 'attempts', 'disputed', 'input_tokens', 'output_tokens'],
  ...['priority', 'cancel_requested', 'simulated'],
])

function typeOf(column: string): ArrayType {
  return numbers.has(column) || column.endsWith('_ms') ? 'bigint' : 'text'
}
