import { basename, extname } from 'node:path'
import type { z } from 'zod'
import { olderNames } from '../domain/workflow.ts'
import { meaning } from './nearest.ts'
import {
  type Checked,
  type ConfigText,
  configShape,
  type DomainText,
  domainShape,
  knownKeys,
  rightWay,
  stepShape,
  type StepText,
  transitionShape,
  type TransitionText,
  workflowFrame,
  type WorkflowText,
} from './pack-shapes.ts'
import type { Findings, Source } from './pack-source.ts'
import { isObject } from './tools.ts'

/**
 * Holds the texts of a pack against their shapes. What is wrong in one is a finding and is left out of it, so that one
 * slip does not hide the others.
 */
export class TextReader {
  private readonly findings: Findings

  constructor(findings: Findings) {
    this.findings = findings
  }

  config(source: Source): Checked<ConfigText> {
    const text = this.map(source, [], source.data ?? {}, configShape, {}) ?? {}
    this.keys(source, [], source.data, 'config')
    for (const [tier, block] of Object.entries(text.governance_tiers ?? {})) {
      this.keys(source, ['governance_tiers', tier], block, 'tier')
    }
    this.keys(source, ['quality_gates'], text.quality_gates, 'quality_gates')
    return { source, text }
  }

  domain(source: Source): Checked<DomainText> | undefined {
    const text = this.map(source, [], source.data, domainShape, { domain_name: nameOfFile(source) })
    if (!text) return undefined
    for (const key of Object.keys(text)) {
      // A domain holds what its author likes; only what looks like a setting that slipped is worth a word.
      const meant = Object.hasOwn(domainShape.shape, key) ? '' : meaning(key, Object.keys(domainShape.shape), '')
      if (meant) this.findings.warn(source.locateKey([key]), `a domain has no setting '${key}'`, meant)
    }
    return { source, text }
  }

  workflow(source: Source): Checked<WorkflowText> | undefined {
    const fallback = { name: nameOfFile(source), steps: [{}] }
    const frame = this.map(source, [], source.data ?? {}, workflowFrame, fallback)
    if (!frame) return undefined
    this.keys(source, [], source.data, 'workflow')
    const written = isObject(source.data) && Array.isArray(source.data.steps) ? frame.steps : []
    const steps = written.map((step, at) => this.step(source, step, at)).filter((step) => step !== undefined)
    return { source, text: { name: frame.name, governance: frame.governance, steps } }
  }

  private step(source: Source, value: unknown, at: number): StepText | undefined {
    const path = ['steps', at]
    const { transitions, ...rest } = isObject(value) ? value : { transitions: undefined }
    // Its name is kept where it has one: other steps lead to it.
    const fallback = { name: `step_${at + 1}`, primitive: 'unread' }
    const step = this.map(source, path, isObject(value) ? rest : value, stepShape, fallback)
    if (!step) return undefined
    this.keys(source, path, value, 'step')
    // One that could not be read is not held against the list of primitives as well.
    const isOwn = isObject(value) && value.primitive === step.primitive
    const primitive = isOwn ? (olderNames[step.primitive] ?? step.primitive) : unreadPrimitive
    return { ...step, primitive, at, transitions: this.transitions(source, [...path, 'transitions'], transitions) }
  }

  private transitions(source: Source, path: readonly PropertyKey[], value: unknown): TransitionText[] {
    if (value === undefined || value === null) return []
    if (!Array.isArray(value)) {
      this.findings.refuse(source.locate(path), '`transitions` is no list', rightWay.transitions!)
      return []
    }
    return value.flatMap((item, at): TransitionText[] => {
      const transition = this.map(source, [...path, at], item, transitionShape, {})
      if (!transition) return []
      this.keys(source, [...path, at], item, 'transition')
      this.keys(source, [...path, at, 'agent_decide'], transition.agent_decide, 'agent_decide')
      for (const [index, option] of (transition.agent_decide?.options ?? []).entries()) {
        this.keys(source, [...path, at, 'agent_decide', 'options', index], option, 'option')
      }
      return [{ ...transition, at }]
    })
  }

  /** The value as its shape reads it; without the keys that do not fit, and with the fallback for those it must have. */
  private map<T>(
    source: Source,
    path: readonly PropertyKey[],
    value: unknown,
    shape: z.ZodType<T>,
    fallback: object,
  ): T | undefined {
    const parsed = shape.safeParse(value)
    if (parsed.success) return parsed.data
    for (const issue of parsed.error.issues) this.mismatch(source, path, issue)
    if (!isObject(value)) return undefined
    const wrong = new Set(parsed.error.issues.map((issue) => issue.path[0]))
    const kept = Object.fromEntries(Object.entries(value).filter(([key]) => !wrong.has(key)))
    return shape.safeParse({ ...fallback, ...kept }).data
  }

  private mismatch(source: Source, path: readonly PropertyKey[], issue: z.core.$ZodIssue): void {
    const full = [...path, ...issue.path]
    const key = full.findLast((part) => typeof part === 'string')
    const at = full.length === 0 ? 'this file' : `\`${full.map(String).join('.')}\``
    this.findings.refuse(source.locate(full), `${at} ${sayIssue(issue)}`, rightWay[String(key)] ?? 'correct the value')
  }

  private keys(source: Source, path: readonly PropertyKey[], value: unknown, kind: keyof typeof knownKeys): void {
    if (!isObject(value)) return
    for (const key of Object.keys(value)) {
      const known: readonly string[] = knownKeys[kind]
      if (known.includes(key)) continue
      const what = `${kinds[kind]} has no setting '${key}': it has no effect`
      this.findings.warn(source.locateKey([...path, key]), what, meaning(key, known))
    }
  }
}

/** Stands for the primitive of a step that says none, or says it wrongly. */
export const unreadPrimitive = ''

const kinds: Readonly<Record<keyof typeof knownKeys, string>> = {
  workflow: 'a workflow',
  step: 'a step',
  transition: 'a transition',
  agent_decide: '`agent_decide`',
  option: 'an option',
  config: 'the configuration',
  tier: 'a tier',
  quality_gates: '`quality_gates`',
}

function sayIssue({ code, message }: z.core.$ZodIssue): string {
  if (code === 'invalid_type' && message.endsWith('received undefined')) return 'is missing'
  return `is wrong: ${message.replace('Invalid input: ', '')}`
}

/** A name for a text that has none, while the rest of it is looked at. */
function nameOfFile({ file }: Source): string {
  return basename(file, extname(file)).replaceAll(/[^A-Za-z0-9_.-]/g, '_') || 'unnamed'
}
