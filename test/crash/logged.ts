import { setTimeout as delay } from 'node:timers/promises'
import { type Primitive, type StepCall, StepFailure } from '../../src/cognition/primitive.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Errand } from './errands.ts'
import type { CallLine, LineLog } from './logs.ts'

export interface LoggedOptions {
  readonly round: number
  readonly calls: LineLog<CallLine>
  /** Calls that are under way. */
  readonly running?: Set<string>
}

/** Writes down each call, and answers what the errand asks for. Takes no time, a moment, or a few milliseconds. */
export function loggedPrimitive({ round, calls, running = new Set() }: LoggedOptions): Primitive {
  let callCount = 0
  return {
    name: 'logged',
    needsModel: false,
    requiredParams: [],
    defaultParams: {},
    async run({ instanceId, step, run, attempt, context }: StepCall) {
      const call = `${round}-${++callCount}`
      const line = { round, call, instance: instanceId, step: step.name, run, attempt }
      running.add(call)
      calls.add({ ...line, what: 'start' })
      const ms = Math.floor(Math.random() * 10)
      if (ms > 0) await delay(ms)
      calls.add({ ...line, what: 'end' })
      running.delete(call)
      return { output: answerOf(call, step.name, { run, attempt }, context.input as Errand) }
    },
  }
}

function answerOf(call: string, step: string, { run, attempt }: { run: number; attempt: number }, errand: Errand) {
  const answer: Record<string, JsonObject[string]> = { call, confidence: 0.9 }
  switch (step) {
    case 'open':
      answer.long = errand.long
      break
    case 'measure':
      answer.again = run <= errand.repeats
      break
    case 'adjust':
      if (errand.flaky && run === 1 && attempt === 1) {
        throw new StepFailure('primitive_error', `call ${call} slipped`, { retryable: true })
      }
      break
    case 'settle':
      if (errand.broken) throw new StepFailure('primitive_error', `call ${call} broke`, { retryable: false })
      if (errand.doubt) answer.confidence = 0.2
      break
    default:
      break
  }
  return answer
}
