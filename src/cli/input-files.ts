import { createReadStream } from 'node:fs'
import { stat, writeFile } from 'node:fs/promises'
import { isAbsolute, relative } from 'node:path'
import type { Readable } from 'node:stream'
import { isJsonObject, type Json, type JsonObject, maxJsonBytes, parseJson } from '../domain/json.ts'
import { CoreError, isCoreError } from '../errors.ts'
import { fileTrouble } from '../file-errors.ts'

/** A file of many cases may be larger than one case; its values take many times as much memory as its text. */
const maxCaseFileBytes = 8 * maxJsonBytes

export interface CaseInputs {
  readonly inputs: readonly JsonObject[]
  /** The file held a list, be it of one. */
  readonly isList: boolean
}

/** One case or a list of them, from a file or with `-` from standard input. */
export async function readCases(file: string, stdin: Readable): Promise<CaseInputs> {
  const value = await readJsonFile(file, { stdin, maxBytes: maxCaseFileBytes })
  const isList = Array.isArray(value)
  const items: readonly Json[] = isList ? (value as readonly Json[]) : [value]
  if (items.length === 0) throw new CoreError('CC_ERR_CASE_FILE', { file, problem: 'the list is empty' })
  return { isList, inputs: items.map((item, index) => caseOf(item, isList ? index : undefined, file)) }
}

function caseOf(item: Json, index: number | undefined, file: string): JsonObject {
  if (isJsonObject(item)) return item
  const what = Array.isArray(item) ? 'a list' : item === null ? 'null' : `a ${typeof item}`
  const problem = index === undefined ? `it is ${what}` : `item ${index + 1} of the list is ${what}`
  throw new CoreError('CC_ERR_CASE_FILE', { file, problem })
}

interface ReadOptions {
  readonly stdin: Readable
  readonly maxBytes?: number
}

/** Everything JSON that a command is given comes through the strict door; `-` is standard input. */
export async function readJsonFile(file: string, { stdin, maxBytes = maxJsonBytes }: ReadOptions): Promise<Json> {
  const bytes = file === '-' ? await readWhole(stdin, maxBytes) : await readBytes(file, maxBytes)
  return parseJson(bytes, maxBytes)
}

async function readBytes(file: string, maxBytes: number): Promise<Buffer> {
  try {
    const { size } = await stat(file)
    refuseTooLarge(size, maxBytes)
    return await readWhole(createReadStream(file), maxBytes)
  } catch (cause) {
    if (isCoreError(cause)) throw cause
    throw new CoreError('CC_ERR_FILE', { file, verb: 'read', why: fileTrouble(cause) }, { cause })
  }
}

/** What is too large is not read to its end: a pipe or a device may have none. */
async function readWhole(stream: Readable, maxBytes: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let bytes = 0
  for await (const chunk of stream) {
    bytes += (chunk as Buffer).length
    refuseTooLarge(bytes, maxBytes)
    chunks.push(chunk as Buffer)
  }
  return Buffer.concat(chunks)
}

function refuseTooLarge(bytes: number, maxBytes: number): void {
  if (bytes > maxBytes) throw new CoreError('CC_ERR_JSON_TOO_LARGE', { bytes, maxBytes })
}

/** Writes a new file. One that is there stays as it is: it could be anything, the store itself included. */
export async function writeNewFile(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text, { flag: 'wx' })
  } catch (cause) {
    throw new CoreError('CC_ERR_FILE', { file, verb: 'written', why: fileTrouble(cause) }, { cause })
  }
}

/** A path as people read it: from where they stand, unless that leads away. */
export function shownPath(path: string): string {
  const way = relative('.', path)
  return way.startsWith('..') || !isAbsolute(path) ? path : way
}
