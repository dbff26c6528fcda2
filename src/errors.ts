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
  CC_ERR_CONDITION: {
    exit: 1,
    status: 422,
    says: 'The condition is wrong at character {column}: {problem}.',
    remedy: 'Write {right}.',
  },
  CC_ERR_DEFINITION_FORMAT: {
    exit: 1,
    status: 500,
    says: 'A stored definition has format {format}, which this version cannot read.',
    remedy: 'Run the case with the version that stored it, or a newer one.',
  },
  CC_ERR_DUPLICATE_WORKFLOW: {
    exit: 1,
    status: 500,
    says: "Two packs bring a workflow '{workflow}': {first} and {second}.",
    remedy: 'Load one of the two, or rename one of the workflows.',
  },
  CC_ERR_EVENT_TOO_LARGE: {
    exit: 1,
    status: 422,
    says: "The event '{type}' of instance {instanceId} would take {bytes} bytes; at most {maxBytes} are recorded.",
    remedy: 'Use shorter names and reasons: content belongs into payloads, an event only refers to it.',
  },
  CC_ERR_JSON_BOM: {
    exit: 2,
    status: 400,
    says: 'The JSON text begins with a byte order mark.',
    remedy: 'Save it as UTF-8 without a byte order mark.',
  },
  CC_ERR_JSON_DEPTH: {
    exit: 2,
    status: 400,
    says: 'The JSON text nests deeper than {limit} levels at line {line}, column {column}.',
    remedy: 'Send it flatter.',
  },
  CC_ERR_JSON_DUPLICATE_KEY: {
    exit: 2,
    status: 400,
    says: "The JSON text has the key '{key}' twice in one object, the second time at line {line}, column {column}.",
    remedy: 'Keep the one that is meant.',
  },
  CC_ERR_JSON_NOT_A_NUMBER: {
    exit: 2,
    status: 400,
    says: 'The JSON text says NaN or Infinity at line {line}, column {column}.',
    remedy: 'Send null, or leave the field out.',
  },
  CC_ERR_JSON_NUL: {
    exit: 2,
    status: 400,
    says: 'The JSON text has a NUL character at line {line}, column {column}.',
    remedy: 'Leave it out; no database keeps it.',
  },
  CC_ERR_JSON_NUMBER_INEXACT: {
    exit: 2,
    status: 400,
    says: 'The number {number} at line {line}, column {column} would be changed by reading it.',
    remedy: 'Send it as a string, or with at most 15 digits.',
  },
  CC_ERR_JSON_NUMBER_RANGE: {
    exit: 2,
    status: 400,
    says: 'The number {number} at line {line}, column {column} is too large or too near to zero.',
    remedy: 'Send it as a string.',
  },
  CC_ERR_JSON_PROTO: {
    exit: 2,
    status: 400,
    says: "The JSON text has the key '__proto__' at line {line}, column {column}.",
    remedy: 'Give the field another name.',
  },
  CC_ERR_JSON_SURROGATE: {
    exit: 2,
    status: 400,
    says: 'The JSON text has half of a surrogate pair at line {line}, column {column}.',
    remedy: 'Send whole characters; text was probably cut in the middle of one.',
  },
  CC_ERR_JSON_SYNTAX: {
    exit: 2,
    status: 400,
    says: 'The JSON text is broken at line {line}, column {column}: {problem}.',
    remedy: 'Correct it there.',
  },
  CC_ERR_JSON_TOO_LARGE: {
    exit: 2,
    status: 400,
    says: 'The JSON text has {bytes} bytes; at most {maxBytes} are taken.',
    remedy: 'Send less: leave documents where they are and send references to them.',
  },
  CC_ERR_JSON_TRAILING: {
    exit: 2,
    status: 400,
    says: 'The JSON text goes on after its end, at line {line}, column {column}.',
    remedy: 'Send one JSON value and nothing after it.',
  },
  CC_ERR_JSON_UTF8: {
    exit: 2,
    status: 400,
    says: 'The JSON text is not UTF-8: byte {byte} does not belong.',
    remedy: 'Send it as UTF-8.',
  },
  CC_ERR_NO_MODEL: {
    exit: 1,
    status: 422,
    says: "The step '{step}' ({primitive}) needs a model, and none is configured.",
    remedy: 'Set CC_MODEL, for example CC_MODEL=scripted:packs/travel-claims/scripted.yaml',
  },
  CC_ERR_NO_PACK: {
    exit: 1,
    status: 500,
    says: 'No pack can be read from {dir}: {why}.',
    remedy: 'Name the folder that holds `workflows` and coordinator_config.yaml.',
  },
  CC_ERR_PACK: {
    exit: 1,
    status: 422,
    says: 'The pack is wrong at {where}: {what}.',
    remedy: 'What would be right: {right}.',
  },
  CC_ERR_SCRIPT: {
    exit: 1,
    status: 500,
    says: 'The scripted answers cannot be used: {where}: {problem}.',
    remedy: 'Write a list of entries, each with `when` and either `output` or `error`.',
  },
  CC_ERR_UNKNOWN_DOMAIN: {
    exit: 2,
    status: 422,
    says: "The workflow '{workflow}' has no domain '{domain}'.",
    remedy: 'Use one of: {known}.',
  },
  CC_ERR_UNKNOWN_MODEL: {
    exit: 1,
    status: 500,
    says: "'{spec}' names no model.",
    remedy: 'Use scripted:FILE, or provider/model with one of openai, anthropic, azure, google, bedrock, compatible.',
  },
  CC_ERR_UNKNOWN_WORKFLOW: {
    exit: 2,
    status: 422,
    says: "There is no workflow '{workflow}'.",
    remedy: 'Use one of: {known}.',
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
