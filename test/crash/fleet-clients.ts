import { setTimeout as delay } from 'node:timers/promises'
import { domain, type Errand, errandOf, workflow } from './errands.ts'
import type { Fleet } from './fleet.ts'
import { type ClientLine, LineLog, placesIn } from './logs.ts'
import { Requests } from './requests.ts'

/** How many submit at the same time. */
const clients = 20
/** Cases come no faster than this, so that the storm meets them all the time. */
const paceMs = 20
/** A reviewer decides so many tasks, and then thinks for so long. */
const decisionsAtOnce = 4
const thinkMs = 300

export interface ClientOptions {
  readonly cases: number
  readonly draw: (below: number) => number
  readonly about: string
  readonly patienceMs: number
}

/**
 * Those who work with a fleet: each asks whichever replica until there is an answer, and writes down what is asked before
 * it asks and what was answered before it goes on.
 */
export class FleetClients {
  readonly requests: Requests
  private readonly log: LineLog<ClientLine>
  private readonly options: ClientOptions
  private startedAt = 0
  private count = 0
  private isOver = false

  constructor(fleet: Fleet, options: ClientOptions) {
    const { about, patienceMs, draw } = options
    const url = () => {
      fleet.refuseOver()
      return fleet.replicas[draw(fleet.replicas.length)]!.url
    }
    this.log = new LineLog(placesIn(fleet.folder).client)
    this.requests = new Requests({ secrets: fleet.secrets, url, about, patienceMs })
    this.options = options
  }

  /** Resolves once every case was accepted; tasks are decided meanwhile. */
  async work(): Promise<void> {
    this.startedAt = performance.now()
    const submitting = Promise.all(Array.from({ length: clients }, () => this.submitOn()))
    await Promise.all([submitting.finally(() => (this.isOver = true)), this.decideOn()])
  }

  /** Resolves once no case runs any more. */
  async comesToRest(): Promise<void> {
    await this.requests.bounded(async () => {
      const { items } = await this.requests.ask('GET', '/v1/cases?status=running&limit=1', { as: 'reviewer' })
      if (items.length > 0) await delay(200)
      return items.length === 0
    }, 'the end of all cases')
  }

  /** Approves a few cases that the loop's bound has held. */
  async decideSome(): Promise<void> {
    const path = `/v1/tasks?queue=specialist_review&limit=${decisionsAtOnce}`
    const { items } = await this.requests.ask('GET', path, { as: 'reviewer' })
    for (const { task_id: task, instance_id: instance } of items) {
      this.log.add({ what: 'deciding', task, instance })
      const body = { decision: 'approve', reason: 'measured often enough' }
      await this.requests.ask('POST', `/v1/tasks/${task}/decision`, { body, as: 'reviewer' })
      this.log.add({ what: 'decided', task, instance })
    }
  }

  private async submitOn(): Promise<void> {
    while (this.count < this.options.cases) {
      const number = this.count++
      await delay(Math.max(number * paceMs - (performance.now() - this.startedAt), 0))
      const key = `errand-${number}`
      const errand = fleetErrand(number)
      this.log.add({ what: 'asked', key, errand })
      // Now and then twice, be it of the same replica or of another.
      for (let time = number % 10 === 0 ? 2 : 1; time > 0; time--) {
        const body = { workflow, domain, input: errand }
        const { status, instance_id: instance } = await this.requests.ask('POST', '/v1/cases', { body, key })
        this.log.add({ what: 'accepted', key, instance, seen: status === 200 })
      }
    }
  }

  private async decideOn(): Promise<void> {
    while (!this.isOver) {
      await this.decideSome()
      await delay(thinkMs)
    }
  }
}

/** As varied as any errand, and shorter: what counts here is that there are many. */
function fleetErrand(number: number): Errand {
  const errand = errandOf(number)
  return { ...errand, repeats: number % 8 < 4 ? 0 : errand.repeats }
}
