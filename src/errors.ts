/**
 * Every refusal a person can meet, once: a stable code, the exit code of the command line, the status of the HTTP API,
 * a sentence with the facts, and the way out. `docs/errors.md` explains each; `test/errors.test.ts` keeps the two equal.
 */

interface Refusal {
  /** Exit code of the command line; the table stands in docs/cli.md. */
  readonly exit: number
  /** HTTP status of the same refusal. */
  readonly status: number
  readonly says: string
  readonly remedy: string
}

export const catalogue = {
  CC_ERR_USAGE: {
    exit: 2,
    status: 400,
    says: '{problem}',
    remedy: 'See: cognitive-core {command} --help',
  },
  CC_ERR_NOT_YET: {
    exit: 2,
    status: 501,
    says: '{what} is not part of this version.',
    remedy: '{remedy}',
  },
} as const satisfies Record<`CC_ERR_${string}`, Refusal>

export type ErrorCode = keyof typeof catalogue

/** What fills the `{names}` of a sentence. Strings are shown as they are: escape at the terminal, not here. */
export type Facts = Readonly<Record<string, string | number | undefined>>

/**
 * A refusal: something the caller asked for that will not be done, and nothing was changed.
 * Everything else that is thrown is a defect or a broken machine.
 */
export class CoreError extends Error {
  override readonly name = 'CoreError'
  readonly code: ErrorCode
  readonly remedy: string
  readonly facts: Facts

  constructor(code: ErrorCode, facts: Facts = {}, options?: ErrorOptions) {
    super(fill(catalogue[code].says, facts), options)
    this.code = code
    this.remedy = fill(catalogue[code].remedy, facts)
    this.facts = facts
  }

  /** Exit code of the command line for this refusal. */
  get exit(): number {
    return catalogue[this.code].exit
  }

  /** HTTP status for this refusal. */
  get status(): number {
    return catalogue[this.code].status
  }
}

/** True for a refusal with this code, so that a caller can treat one of them apart. */
export function isCoreError(error: unknown, code?: ErrorCode): error is CoreError {
  return error instanceof CoreError && (code === undefined || error.code === code)
}

function fill(sentence: string, facts: Facts): string {
  return sentence.replace(/\{(\w+)\}/g, (_, name: string) => String(facts[name] ?? `{${name}}`))
}
