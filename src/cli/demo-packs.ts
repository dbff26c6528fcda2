import { existsSync } from 'node:fs'
import { readdir, readFile } from 'node:fs/promises'
import { delimiter, join } from 'node:path'
import { loadPack, type Pack } from '../cognition/pack.ts'
import { isJsonObject, type Json, type JsonObject, parseJson } from '../domain/json.ts'
import { CoreError } from '../errors.ts'
import { shownPath } from './input-files.ts'

/** A sample pack with what the demo does with it and what is to come of it. */
export interface DemoPack {
  readonly pack: Pack
  readonly workflow: string
  readonly domain: string
  readonly cases: readonly JsonObject[]
  /** By the case's own id. */
  readonly decisions: ReadonlyMap<string, DemoDecision>
  readonly expected: ReadonlyMap<string, Expected>
}

export interface DemoDecision {
  readonly decision: string
  readonly reason: string
}

/** What `expected.json` says of one case. */
export interface Expected {
  readonly path: readonly string[]
  readonly tier: string | null
  readonly status: string
  readonly decided?: { readonly decision: string; readonly status: string }
}

/** Recorded like anybody who acts without a key. */
export const demoActors = { submitter: 'unverified:demo', reviewer: 'unverified:demo-reviewer' } as const

/** Beside `src` in a checkout, beside `dist` in an installed package. */
const packsFolder = join(import.meta.dirname, '../../packs')

/** Every pack that comes with the program, in the order of their names. */
export async function readDemoPacks(): Promise<readonly DemoPack[]> {
  const entries = existsSync(packsFolder) ? await readdir(packsFolder, { withFileTypes: true }) : []
  const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name)
  if (names.length === 0) throw new CoreError('CC_ERR_NO_PACK', { dir: packsFolder, why: 'the samples are missing' })
  return await Promise.all(names.sort().map((name) => readDemoPack(join(packsFolder, name))))
}

/** Answers of all packs as one model. */
export function scriptedModelOf(packs: readonly DemoPack[]): string {
  const files = packs.map(({ pack }) => pack.scriptedFile).filter((file) => file !== undefined)
  return `scripted:${files.map(shownPath).join(delimiter)}`
}

async function readDemoPack(dir: string): Promise<DemoPack> {
  const pack = await loadPack(dir)
  const [{ definition } = wrong(dir, 'it has no workflow', 'a workflow and a domain')] = pack.definitions
  return {
    pack,
    workflow: definition.workflow,
    domain: definition.domain,
    cases: pack.cases.flatMap(({ cases }) => cases),
    decisions: await readDecisions(join(dir, 'demo.yaml')),
    expected: await readExpected(join(dir, 'expected.json')),
  }
}

async function readDecisions(file: string): Promise<ReadonlyMap<string, DemoDecision>> {
  if (!existsSync(file)) return new Map()
  const { parse } = await import('yaml')
  const { decisions } = parse(await readFile(file, 'utf8')) as { decisions?: unknown }
  if (!Array.isArray(decisions)) return wrong(file, 'no list `decisions`', 'a list with case, decision and reason')
  return new Map(
    decisions.map((item: Json) => {
      if (isJsonObject(item) && isText(item.case) && isText(item.decision) && isText(item.reason)) {
        return [item.case, { decision: item.decision, reason: item.reason }]
      }
      return wrong(file, 'a decision that lacks something', 'case, decision and reason, each a text')
    }),
  )
}

/** A file of this package, written beside the pack; its shape is what `Expected` says. */
async function readExpected(file: string): Promise<ReadonlyMap<string, Expected>> {
  if (!existsSync(file)) return new Map()
  const expected = parseJson(await readFile(file))
  if (!isJsonObject(expected)) return wrong(file, 'it is not an object', 'an object with an entry for each case')
  return new Map(Object.entries(expected as unknown as Record<string, Expected>))
}

function isText(value: Json | undefined): value is string {
  return typeof value === 'string'
}

function wrong(where: string, what: string, right: string): never {
  throw new CoreError('CC_ERR_PACK', { where, what, right })
}
