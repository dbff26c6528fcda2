import { type Columns, exportInstance } from '../../src/domain/export.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import {
  definitionHash,
  definitionText,
  type RecordedInstance,
  recordInstance,
  storedRows,
  type Story,
  type StoredRecord,
} from './recorded-instance.ts'

/** A row of an export, and the parts that are lists of them. */
export type ExportedRow = Record<string, unknown>
export const exportedTables = ['audit_events', 'checkpoints', 'payloads', 'tasks'] as const
export type ExportedTable = (typeof exportedTables)[number]

/** An export as a program reads it back, free to be changed. */
export type ExportedCase = Record<ExportedTable, ExportedRow[]> & {
  instances: ExportedRow
  work: ExportedRow | null
  definition: ExportedRow | null
  [name: string]: unknown
}

export const exportedAtMs = 1_790_000_999_000

/** The export of one case that went as told; `change` stands between the rows as they were written and as they are read. */
export function exportStory(story: Story, change = (record: StoredRecord): StoredRecord => record): ExportedCase {
  const recorded = recordInstance(story)
  return exportRecord(recorded, change(storedRows(recorded)))
}

export function exportRecord({ instance }: RecordedInstance, record: StoredRecord): ExportedCase {
  const rows = {
    ...record,
    columns: { ...columnsOf(instance), ...statedColumns(record) },
    definition: { hash: definitionHash, text: definitionText },
  }
  const exported = exportInstance(rows, { simulated: true, exportedAtMs, version: '1.2.3' })
  return readBack(exported)
}

function readBack(exported: JsonObject): ExportedCase {
  return JSON.parse(JSON.stringify(exported)) as ExportedCase
}

/** The row as the database has it: names in snake case, flags as numbers, lists as text. */
function columnsOf(row: object): Columns {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [snakeCase(name), columnOf(value)]))
}

function columnOf(value: unknown): string | number | null {
  if (typeof value === 'string' || typeof value === 'number') return value
  if (typeof value === 'boolean') return Number(value)
  return value === undefined || value === null ? null : JSON.stringify(value)
}

function statedColumns({ instance }: StoredRecord): Columns {
  return columnsOf(Object.fromEntries(Object.entries(instance).filter(([name]) => !name.startsWith('work'))))
}

export function snakeCase(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)
}
