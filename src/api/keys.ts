import { createHash, randomBytes } from 'node:crypto'
import { type BigIntStats, closeSync, fstatSync, openSync, readFileSync, statSync } from 'node:fs'
import { mkdir, realpath } from 'node:fs/promises'
import { dirname } from 'node:path'
import { z } from 'zod'
import { type Clock, systemClock } from '../clock.ts'
import { parseJson } from '../domain/json.ts'
import { type ApiKey, type Role, roles } from '../domain/role.ts'
import { isSamePerson } from '../domain/task.ts'
import { checkActor } from '../engine/actor.ts'
import { engineActor } from '../engine/recording.ts'
import { CoreError, isCoreError } from '../errors.ts'
import { fileTrouble } from '../file-errors.ts'
import { replaceFile, takeLock, unless } from './locked-file.ts'

/** Two versions of a file that was only just changed may have the same times: clocks of file systems are coarse. */
const settlingMs = 3_000

const secretBytes = 32

/**
 * The file of the API keys: a JSON list without secrets. It is the only word on who may come in, so while it is missing
 * or broken nobody may: every method then refuses with CC_ERR_KEYS_FILE.
 */
export class KeysFile {
  private readonly path: string
  private readonly clock: Clock
  private known: KnownKeys | undefined

  constructor(path: string, clock: Clock = systemClock) {
    this.path = path
    this.clock = clock
  }

  /**
   * The key whose secret this is. Asked at every request, and read anew whenever the file has changed, so that a key that
   * was revoked is refused from the next request on, without a word to this process.
   */
  find(secret: string): ApiKey | undefined {
    try {
      // How long a map takes may tell something about a digest, and nothing about 256 random bits that have it.
      return this.current().get(digestOf(secret))
    } catch (cause) {
      throw this.refusal(cause)
    }
  }

  /**
   * Makes a key, and the file with its folder where there is none. What it returns is the secret: nothing else knows it,
   * and it cannot be had again. Refuses a name that is taken, however it is spelled, with CC_ERR_KEY_NAME.
   */
  async add({ name, role }: { readonly name: string; readonly role: Role }, nowMs: number): Promise<string> {
    checkKeyName(name)
    const secret = `cc_${randomBytes(secretBytes).toString('base64url')}`
    const key = { name, role, sha256: digestOf(secret), created: new Date(nowMs).toISOString() }
    await this.change({ makes: true }, (keys) => {
      refuseTaken(name, keys)
      return [...keys, key]
    })
    return secret
  }

  /** All keys by name, without their secrets. */
  async list(): Promise<readonly ApiKey[]> {
    try {
      return readKeys(this.path).keys.toSorted((a, b) => (a.name < b.name ? -1 : 1))
    } catch (cause) {
      throw this.refusal(cause)
    }
  }

  /** Removes the key of this very name, which whoever holds its secret learns with their next request. */
  async revoke(name: string): Promise<ApiKey> {
    const revoked: ApiKey[] = []
    await this.change({ makes: false }, (keys) => {
      revoked.push(...keys.filter((key) => key.name === name))
      if (revoked.length === 0) throw new CoreError('CC_ERR_UNKNOWN_KEY', { name, file: this.path })
      return keys.filter((key) => key.name !== name)
    })
    return revoked[0]!
  }

  private current(): ReadonlyMap<string, ApiKey> {
    const { known } = this
    if (known?.isSettled && isSameVersion(known.version, statSync(this.path, { bigint: true }))) return known.bySha256
    const { keys, version } = readKeys(this.path)
    const isSettled = this.clock.nowMs() - Number(version.ctimeMs) > settlingMs
    const bySha256 = new Map(keys.map((key) => [key.sha256, key]))
    this.known = { bySha256, version, isSettled }
    return bySha256
  }

  /** Nobody else changes the file between what is read here and what is written. */
  private async change(
    { makes }: { readonly makes: boolean },
    edit: (keys: readonly ApiKey[]) => readonly ApiKey[],
  ): Promise<void> {
    try {
      if (makes) await mkdir(dirname(this.path), { recursive: true })
      // Where a link leads: replaced itself, it would leave the file that it names as it was.
      const path = (await unless('ENOENT', realpath(this.path))) ?? this.path
      await using lock = await takeLock(path, this.clock)
      const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined
      const before = isThere || !makes ? readKeys(path) : undefined
      const text = `${JSON.stringify(edit(before?.keys ?? []), undefined, 2)}\n`
      // What could not be read back is not written: it would keep everybody out.
      keysIn(text, path)
      await replaceFile(path, text, { before: before?.version, lock })
    } catch (cause) {
      throw this.refusal(cause)
    }
  }

  private refusal(cause: unknown): CoreError {
    return isCoreError(cause) ? cause : unusable(this.path, cause)
  }
}

interface KnownKeys {
  readonly bySha256: ReadonlyMap<string, ApiKey>
  readonly version: BigIntStats
  /** Every later change shows in the times of the file. */
  readonly isSettled: boolean
}

function isSameVersion(a: BigIntStats, b: BigIntStats): boolean {
  return a.ino === b.ino && a.size === b.size && a.mtimeNs === b.mtimeNs && a.ctimeNs === b.ctimeNs
}

function digestOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex')
}

/** Names of keys stand in the record as people who were verified, so nobody else may be taken for one. */
function checkKeyName(name: string): void {
  checkActor(name)
  if (/^unverified:/i.test(name.normalize('NFKC'))) {
    throw new CoreError('CC_ERR_KEY_NAME', { name, why: "'unverified:' marks those who have no key" })
  }
  if (isSamePerson(name, engineActor)) {
    throw new CoreError('CC_ERR_KEY_NAME', { name, why: 'it is the name of the program itself' })
  }
}

function refuseTaken(name: string, keys: readonly ApiKey[]): void {
  const taken = keys.find((key) => isSamePerson(key.name, name))
  if (taken) throw new CoreError('CC_ERR_KEY_NAME', { name, why: `'${taken.name}' has a key already` })
}

const keysShape = z.array(
  z.strictObject({
    name: z.string(),
    role: z.enum(roles),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, '64 digits of lower-case hex are needed'),
    created: z.iso.datetime(),
  }),
)

interface ReadKeys {
  readonly keys: readonly ApiKey[]
  readonly version: BigIntStats
}

function readKeys(path: string): ReadKeys {
  // A pipe would keep whoever opens it waiting.
  if (!statSync(path).isFile()) throw new Error('it is no file')
  const file = openSync(path, 'r')
  try {
    // Asked of the open file, so that it is the version of the text that is read.
    const version = fstatSync(file, { bigint: true })
    return { keys: keysIn(readFileSync(file), path), version }
  } finally {
    closeSync(file)
  }
}

/** People edit the file by hand: what `add` would refuse is refused here as well. */
function keysIn(source: Uint8Array | string, file: string): readonly ApiKey[] {
  try {
    const parsed = keysShape.safeParse(parseJson(source))
    if (!parsed.success) throw new Error(problemOfIssue(parsed.error.issues[0]!))
    const keys = parsed.data
    for (const { name } of keys) checkKeyName(name)
    refuseTwice(keys.map(({ name }) => name))
    refuseTwice(keys.map(({ sha256 }) => sha256))
    return keys
  } catch (cause) {
    throw unusable(file, cause)
  }
}

function problemOfIssue({ path: [index, ...fields], message }: z.core.$ZodIssue): string {
  const where = index === undefined ? [] : [`key ${Number(index) + 1}`]
  return [...where, ...fields.map(String), message].join(': ')
}

/** Of two keys with one name or one secret nobody could say which of them counts. */
function refuseTwice(values: readonly string[]): void {
  const seen = new Set<string>()
  const twice = values.find((value) => seen.size === seen.add(value).size)
  if (twice !== undefined) throw new Error(`'${twice}' is there twice`)
}

function unusable(file: string, cause: unknown): CoreError {
  const problem = fileTrouble(cause, 'it is not there').replace(/\.$/, '').replace(/^The /, 'the ')
  return new CoreError('CC_ERR_KEYS_FILE', { file, problem }, { cause })
}
