import type { Findings, Source } from './pack-source.ts'
import { isObject } from './tools.ts'

/**
 * Refuses what the pack language knows and this version does not run. A pack that relies on it would decide cases
 * otherwise than its author meant, so it is named rather than skipped.
 */
export class NotYet {
  private readonly findings: Findings

  constructor(findings: Findings) {
    this.findings = findings
  }

  config(source: Source): void {
    for (const [key, meant] of configBlocks) this.block(source, [key], meant)
    this.block(source, ['quality_gates', 'gate_triggers'], '`gate_triggers` (quality gates over measures)')
  }

  domain(source: Source): void {
    this.block(source, ['pii_redaction'], '`pii_redaction` (hiding personal data from models)')
    this.block(source, ['shadow_mode'], '`shadow_mode` (running without effect)')
    this.block(source, ['schema_version'], 'a schema-first domain')
  }

  /** True for a workflow of another kind, in which nothing else can be checked. */
  workflow(source: Source): boolean {
    const { data } = source
    if (!isObject(data)) return false
    if (data.mode === 'agentic') {
      this.refuse(source, ['mode'], '`mode: agentic` (an orchestrator that chooses the steps)')
      return true
    }
    for (const [index, step] of (Array.isArray(data.steps) ? data.steps : []).entries()) {
      if (!isObject(step) || step.primitive !== 'reflect') continue
      this.refuse(source, ['steps', index, 'primitive'], 'the primitive `reflect`')
    }
    return false
  }

  private block(source: Source, path: readonly string[], what: string): void {
    let value: unknown = source.data
    for (const key of path) value = isObject(value) ? value[key] : undefined
    const asked = Array.isArray(value) || isObject(value) ? Object.keys(value).length > 0 : Boolean(value)
    const off = isObject(value) && value.enabled === false
    if (asked && !off) this.refuse(source, path, what)
  }

  private refuse(source: Source, path: readonly PropertyKey[], what: string): void {
    this.findings.refuseNotYet(source.locate(path), what)
  }
}

const configBlocks: readonly (readonly [string, string])[] = [
  ['delegations', '`delegations` (cases that start other cases)'],
  ['capabilities', '`capabilities` (work ordered from other workflows and people)'],
  ['executions', '`executions` (operations on other systems)'],
]
