import { CoreError } from '../errors.ts'
import { showPlace, type Source } from './pack-source.ts'
import { isObject } from './tools.ts'

/**
 * Refuses what the pack language knows and this version does not run. A pack that relies on it would decide cases
 * otherwise than its author meant, so it is named rather than skipped.
 */
export function refuseNotYet(config: Source, workflows: readonly Source[], domains: readonly Source[]): void {
  for (const [key, meant] of configBlocks) refuseBlock(config, [key], meant)
  refuseBlock(config, ['quality_gates', 'gate_triggers'], '`gate_triggers` (quality gates over measures)')
  for (const workflow of workflows) refuseInWorkflow(workflow)
  for (const domain of domains) {
    refuseBlock(domain, ['pii_redaction'], '`pii_redaction` (hiding personal data from models)')
    refuseBlock(domain, ['shadow_mode'], '`shadow_mode` (running without effect)')
    refuseBlock(domain, ['schema_version'], 'a schema-first domain')
  }
}

const configBlocks: readonly (readonly [string, string])[] = [
  ['delegations', '`delegations` (cases that start other cases)'],
  ['capabilities', '`capabilities` (work ordered from other workflows and people)'],
  ['executions', '`executions` (operations on other systems)'],
]

function refuseInWorkflow(workflow: Source): void {
  const { data } = workflow
  if (!isObject(data)) return
  if (data.mode === 'agentic') refuse(workflow, ['mode'], '`mode: agentic` (an orchestrator that chooses the steps)')
  if (!Array.isArray(data.steps)) return
  for (const [index, step] of data.steps.entries()) {
    if (!isObject(step)) continue
    const path = ['steps', index]
    if (step.primitive === 'reflect') refuse(workflow, [...path, 'primitive'], 'the primitive `reflect`')
    if (!Array.isArray(step.transitions)) continue
    for (const [item, transition] of step.transitions.entries()) {
      if (!isObject(transition) || transition.agent_decide === undefined) continue
      refuse(workflow, [...path, 'transitions', item], '`agent_decide` (a model that chooses the next step)')
    }
  }
}

function refuseBlock(source: Source, path: readonly string[], what: string): void {
  let value: unknown = source.data
  for (const key of path) value = isObject(value) ? value[key] : undefined
  const asked = Array.isArray(value) || isObject(value) ? Object.keys(value).length > 0 : Boolean(value)
  const off = isObject(value) && value.enabled === false
  if (asked && !off) refuse(source, path, what)
}

function refuse(source: Source, path: readonly PropertyKey[], what: string): never {
  throw new CoreError('CC_ERR_NOT_YET', {
    what: `${what}, as in ${showPlace(source.locate(path))},`,
    remedy: 'Leave it out of the pack, or wait for the version that brings it.',
  })
}
