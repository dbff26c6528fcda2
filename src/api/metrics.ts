import type { FastifyInstance } from 'fastify'
import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client'
import { z } from 'zod'
import type { Core } from '../engine/core.ts'
import { addRoute } from './route.ts'
import type { Watcher } from './watcher.ts'

/** How a case came to its end, as the counter of finished cases names it. */
const outcomes = {
  'case.completed': 'completed',
  'case.failed': 'failed',
  'case.terminated': 'terminated',
  'case.canceled': 'canceled',
} as const

/** What Prometheus reads of one service. */
export class Metrics {
  readonly registry = new Registry()
  private readonly requests = new Histogram({
    name: 'cc_http_request_seconds',
    help: 'Time to answer a request, by route and status; streams are left out.',
    labelNames: ['method', 'route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5],
    registers: [this.registry],
  })
  private readonly started = new Counter({
    name: 'cc_cases_started_total',
    help: 'Cases submitted to this process.',
    registers: [this.registry],
  })
  private readonly finished = new Counter({
    name: 'cc_cases_finished_total',
    help: 'Cases that ended in this process, by how.',
    labelNames: ['outcome'],
    registers: [this.registry],
  })
  private readonly held = new Counter({
    name: 'cc_cases_held_total',
    help: 'Cases that this process held for a person.',
    registers: [this.registry],
  })
  private readonly steps = new Counter({
    name: 'cc_steps_total',
    help: 'Steps recorded by this process, by how they ended.',
    labelNames: ['status'],
    registers: [this.registry],
  })

  constructor(watcher: Watcher) {
    collectDefaultMetrics({ register: this.registry })
    new Gauge({
      name: 'cc_stream_viewers',
      help: 'Streams of events that are open.',
      registers: [this.registry],
      collect() {
        this.set(watcher.viewers)
      },
    })
    for (const outcome of Object.values(outcomes)) this.finished.inc({ outcome }, 0)
  }

  /** Counts what a store that has been opened does. */
  listen(core: Pick<Core, 'onProgress'>): void {
    core.onProgress(({ event }) => {
      if (event === 'case.submitted') this.started.inc()
      else if (event === 'case.held') this.held.inc()
      else if (event in outcomes) this.finished.inc({ outcome: outcomes[event as keyof typeof outcomes] })
      else if (event === 'step.completed' || event === 'step.failed') this.steps.inc({ status: event.slice(5) })
    })
  }

  answered(about: { method: string; route: string; status: number; seconds: number }): void {
    const { method, route, status, seconds } = about
    this.requests.observe({ method, route, status }, seconds)
  }
}

export function addMetrics(app: FastifyInstance, { registry }: Metrics): void {
  addRoute(
    app,
    'GET /metrics',
    {
      summary: 'Measures for Prometheus',
      tag: 'service',
      answers: { 200: z.string() },
      produces: registry.contentType,
    },
    async ({ reply }) => {
      void reply.type(registry.contentType)
      return await registry.metrics()
    },
  )
}
