import { type Backend, CommitUnknownError, type Transaction } from '../storage/backend.ts'

/** The head of a chain moved between reading and writing: somebody else was faster. Nothing was written. */
export class HeadMoved extends Error {
  override readonly name = 'HeadMoved'
}

/** A write is begun anew this often before its caller is told. */
const maxTries = 5

/**
 * Runs a write until its outcome is certain. The body is run again when the head had moved and when the answer to COMMIT
 * was lost; `isAgain` tells it that what it is to write may be there already.
 */
export async function writeSurely<T>(
  backend: Backend,
  body: (tx: Transaction, isAgain: boolean) => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await backend.transaction((tx) => body(tx, tries > 1))
    } catch (error) {
      const isOpen = error instanceof HeadMoved || error instanceof CommitUnknownError
      if (!isOpen || tries >= maxTries) throw error
    }
  }
}
