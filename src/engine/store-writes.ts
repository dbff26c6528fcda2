import { type Backend, CommitUnknownError, type Transaction } from '../storage/backend.ts'

/** The head of a chain moved between reading and writing: somebody else was faster. Nothing was written. */
export class HeadMoved extends Error {
  override readonly name = 'HeadMoved'
}

/** A write is begun anew this often before its caller is told. */
const maxTries = 5

/**
 * Runs a write until its outcome is certain. The body is run again when the head had moved and when the answer to COMMIT
 * was lost, so it must begin by looking whether it has happened already, with ids that were made before.
 */
export async function writeSurely<T>(backend: Backend, body: (tx: Transaction) => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await backend.transaction(body)
    } catch (error) {
      const isOpen = error instanceof HeadMoved || error instanceof CommitUnknownError
      if (!isOpen || tries >= maxTries) throw error
    }
  }
}
