import pg from 'pg'
import { CoreError, isCoreError } from '../errors.ts'
import { CommitUnknownError } from './backend.ts'

/** SQLSTATE of an error that the server answered with (https://www.postgresql.org/docs/current/errcodes-appendix.html). */
export function sqlState(error: unknown): string | undefined {
  return error instanceof pg.DatabaseError ? error.code : undefined
}

/** The server has ended the session with this error, so what was open in it is gone. */
export function isFatal(error: unknown): boolean {
  return error instanceof pg.DatabaseError && (error.severity === 'FATAL' || error.severity === 'PANIC')
}

/** Data that a table refuses, or that cannot even be handed to it: nothing is wrong with the store. */
export function isRefusedData(error: unknown): boolean {
  if ((error as { code?: unknown }).code === 'ERR_INVALID_ARG_TYPE') return true
  return /^(22|23|54)/.test(sqlState(error) ?? '')
}

/** Refused by the server, or by the driver before anything was sent: nothing of the statement was kept. */
export function isAnswered(error: unknown): boolean {
  return isRefusedData(error) || (sqlState(error) !== undefined && !isFatal(error))
}

/** Somebody else was in the way, and the very same transaction may pass when it is begun anew. */
export function isCollision(error: unknown): boolean {
  const state = sqlState(error)
  return state === '40001' || state === '40P01'
}

export const lockTimeout = '55P03'

/** The server could not write: neither data nor what it keeps of them for a crash. */
const diskFull = '53100'

/** Why no connection came to be, as a refusal that says what to do; anything else as it is. */
export function connectionRefusal(error: unknown, location: string): unknown {
  if (isCoreError(error)) return error
  const why = reasonOf(error)
  const refuse = (code: ConstructorParameters<typeof CoreError>[0], facts = {}) =>
    new CoreError(code, { location, why, ...facts }, { cause: error })
  switch (sqlState(error)) {
    case '28P01':
    case '28000':
      // A server that takes nobody in plain text has no rule for whoever comes so.
      if (/no encryption/.test(why)) return refuse('CC_ERR_SERVER_TLS')
      return refuse('CC_ERR_SERVER_LOGIN')
    case '3D000':
      return refuse('CC_ERR_NO_DATABASE')
    case '42501':
      // To be refused the database itself is not to be let in.
      return isFatal(error) ? refuse('CC_ERR_SERVER_LOGIN') : refuse('CC_ERR_SERVER_RIGHTS', { role: 'ROLE' })
    case '53300':
      return refuse('CC_ERR_SERVER_FULL')
    case undefined:
      break
    case '08P01':
      return refuse(poolerRefusal(why), { name: 'CC_DB_DSN' })
    default:
      return refuse('CC_ERR_SERVER_AWAY')
  }
  if (/timeout exceeded when trying to connect/.test(why)) return refuse('CC_ERR_POOL_BUSY')
  if (/client password must be/.test(why)) return refuse('CC_ERR_SERVER_LOGIN')
  if (/SSL|certificate|self.signed|altnames/i.test(why)) return refuse('CC_ERR_SERVER_TLS')
  return refuse('CC_ERR_SERVER_AWAY')
}

/** Why a statement was not done, as a refusal that says what to do; what a caller settles by itself stays as it is. */
export function statementRefusal(error: unknown, isLost: boolean, location: string): unknown {
  if (isCoreError(error) || error instanceof CommitUnknownError) return error
  const refuse = (code: ConstructorParameters<typeof CoreError>[0], facts = {}) =>
    new CoreError(code, { location, why: reasonOf(error), ...facts }, { cause: error })
  switch (sqlState(error)) {
    case diskFull:
      return refuse('CC_ERR_SERVER_DISK')
    case '42501':
      return refuse('CC_ERR_SERVER_RIGHTS', { role: 'ROLE' })
    // Its time limit ended it, or somebody who may.
    case '57014':
    case lockTimeout:
      return refuse('CC_ERR_SERVER_SLOW')
    default:
      // What was answered before the session ended says more than its end.
      return isLost && !isAnswered(error) ? refuse('CC_ERR_SERVER_AWAY') : error
  }
}

/** PgBouncer has one SQLSTATE for everything that it refuses by itself. */
function poolerRefusal(why: string) {
  if (/unsupported startup parameter/.test(why)) return 'CC_ERR_POOLER'
  if (/no such database|database .* does not exist/.test(why)) return 'CC_ERR_NO_DATABASE'
  if (/no such user|auth|not permitted to log in|login rejected/i.test(why)) return 'CC_ERR_SERVER_LOGIN'
  if (/no more connections|too many/i.test(why)) return 'CC_ERR_SERVER_FULL'
  return 'CC_ERR_SERVER_AWAY'
}

function reasonOf(error: unknown): string {
  // Every address of a host was tried in vain.
  if (error instanceof AggregateError && error.errors.length > 0) return reasonOf(error.errors[0])
  return error instanceof Error ? error.message : String(error)
}
