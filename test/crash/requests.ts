import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'

/** Secrets of the keys by which a service knows those who work with it. */
export interface Secrets {
  readonly submitter: string
  readonly reviewer: string
}

export interface Asking {
  readonly body?: object
  /** Makes it safe to ask twice. */
  readonly key?: string
  readonly as?: keyof Secrets
}

/** Between two tries. */
const firstPauseMs = 20
const longestPauseMs = 100

/** Sends each request until somebody answers it, to whichever replica is named at that moment. */
export class Requests {
  /** Submissions whose connection broke before there was an answer. */
  cutSubmissions = 0
  /** Requests that met nobody, or somebody who was not ready. */
  refused = 0
  /** Answers that came. */
  heard = 0
  private readonly secrets: Secrets
  private readonly url: () => string
  private readonly about: string
  private readonly patienceMs: number

  /** `about`: what whoever reads of a failure needs to know; `patienceMs`: nothing takes so long unless it hangs. */
  constructor({
    secrets,
    url,
    about,
    patienceMs,
  }: {
    secrets: Secrets
    url: () => string
    about: string
    patienceMs: number
  }) {
    this.secrets = secrets
    this.url = url
    this.about = about
    this.patienceMs = patienceMs
  }

  async ask(method: 'GET' | 'POST', path: string, { body, key, as = 'submitter' }: Asking = {}): Promise<any> {
    const headers = {
      authorization: `Bearer ${this.secrets[as]}`,
      ...(body && { 'content-type': 'application/json' }),
      ...(key !== undefined && { 'idempotency-key': key }),
    }
    let answer: any
    await this.bounded(async () => {
      const url = this.url()
      try {
        const sent = await fetch(`${url}${path}`, {
          method,
          headers,
          signal: AbortSignal.timeout(this.patienceMs),
          ...(body && { body: JSON.stringify(body) }),
        })
        const document = await sent.json()
        if (sent.status !== 503) answer = { status: sent.status, document }
      } catch (error) {
        const { code } = ((error as Error).cause ?? error) as NodeJS.ErrnoException
        if (key !== undefined && code !== 'ECONNREFUSED') this.cutSubmissions += 1
      }
      if (!answer) this.refused += 1
      return answer !== undefined
    }, `an answer to ${method} ${path}`)
    const { status, document } = answer
    assert.ok(status === 200 || status === 202, `${method} ${path}: ${JSON.stringify(document)}`)
    this.heard += 1
    // A case says for itself how it stands; of a submission it matters whether it was known.
    return method === 'POST' ? { ...document, status } : document
  }

  async bounded(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
    const startedAt = performance.now()
    for (let pauseMs = firstPauseMs; !(await condition()); pauseMs = Math.min(pauseMs * 1.5, longestPauseMs)) {
      if (performance.now() - startedAt > this.patienceMs) throw new Error(`${what} did not come, ${this.about}`)
      await delay(pauseMs)
    }
  }
}
