import assert from 'node:assert/strict'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { checkPack } from '../../src/cognition/pack-report.ts'
import { loadPack } from '../../src/cognition/pack.ts'
import type { Tier } from '../../src/domain/governance.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { areThere, openTrial, sayNotRun, sharedPacks } from './shared-packs.ts'

/**
 * What becomes of each case of the four sequential sample packs, written by hand from the sentence in its `_expected`:
 * the way it goes, what is proposed, the tier that its govern step applies, and the tier of the case.
 */
interface Expected {
  readonly path: readonly string[]
  readonly outcome: Readonly<Record<string, unknown>>
  readonly govern: Tier
  readonly tier: Tier
}

const lending = (...between: string[]) => [
  'gather_application',
  'classify_risk',
  ...between,
  'verify_compliance',
  'govern_decision',
]
const triage = (...between: string[]) => [
  'retrieve_context',
  'classify_severity',
  ...between,
  'generate_response',
  'govern_escalation',
]
const compliance = (...between: string[]) => [
  'gather_subject',
  'verify_conformance',
  ...between,
  'generate_memo',
  'govern_outcome',
]
const moderation = (...between: string[]) => ['classify_content', 'verify_policy', ...between, 'govern_disposition']
const both = (tier: Tier) => ({ govern: tier, tier })

const table: Readonly<Record<string, Readonly<Record<string, Expected>>>> = {
  'consumer-lending': {
    'APP-001': {
      path: lending('deliberate_recommendation'),
      outcome: { category: 'prime', recommendation: 'approve', conforms: true, disposition: 'proceed' },
      ...both('auto'),
    },
    'APP-002': {
      path: lending('deliberate_recommendation'),
      outcome: { category: 'near_prime', recommendation: 'approve_modified', disposition: 'suspend' },
      ...both('gate'),
    },
    'APP-003': {
      path: lending('investigate_risk_factors', 'deliberate_recommendation'),
      outcome: { category: 'high_risk', recommendation: 'decline', disposition: 'suspend' },
      ...both('gate'),
    },
    'APP-004': {
      path: lending(),
      outcome: { category: 'ineligible', recommendation: undefined, conforms: false, disposition: 'hold' },
      ...both('hold'),
    },
  },
  'content-moderation': {
    'POST-001': { path: moderation(), outcome: { category: 'safe', disposition: 'proceed' }, ...both('auto') },
    'POST-002': {
      path: moderation('challenge_decision'),
      outcome: { category: 'borderline', conforms: false, disposition: 'suspend' },
      ...both('gate'),
    },
    'POST-003': {
      path: moderation('challenge_decision'),
      outcome: { category: 'misinformation', conforms: false, disposition: 'proceed' },
      ...both('auto'),
    },
    'POST-004': { path: moderation(), outcome: { category: 'safe', disposition: 'proceed' }, ...both('auto') },
  },
  'clinical-triage': {
    'TRIAGE-001': {
      path: triage('investigate_situation'),
      outcome: { category: 'emergent', artifact: 'Call 911 now. Sit down, do not drive, keep the line open.' },
      ...both('hold'),
    },
    'TRIAGE-002': {
      path: triage('investigate_situation'),
      outcome: { category: 'urgent', artifact: 'Go to the emergency department within one hour.' },
      ...both('gate'),
    },
    'TRIAGE-003': {
      path: triage(),
      outcome: { category: 'semi-urgent', disposition: 'proceed' },
      ...both('spot_check'),
    },
    'TRIAGE-004': {
      path: triage(),
      outcome: { category: 'non-urgent', disposition: 'proceed' },
      ...both('spot_check'),
    },
  },
  'compliance-review': {
    'COMP-001': { path: compliance(), outcome: { conforms: true, recommendation: undefined }, ...both('spot_check') },
    'COMP-002': {
      path: compliance('investigate_violations', 'deliberate_finding'),
      outcome: { conforms: false, recommendation: 'material_violation', disposition: 'hold' },
      ...both('hold'),
    },
    'COMP-003': {
      path: compliance('investigate_violations', 'deliberate_finding'),
      outcome: { conforms: false, recommendation: 'minor_violation', disposition: 'suspend' },
      ...both('gate'),
    },
  },
}

for (const [name, cases] of Object.entries(table)) {
  const dir = join(sharedPacks, name)
  const answers = join(import.meta.dirname, `answers/${name}.yaml`)
  const names = {
    check: `${name}: the check finds no error in it`,
    cases: `${name}: each of its cases (${Object.keys(cases).join(', ')}) goes the way that is expected of it`,
    hidden: `${name}: no key of the test's own, and no text under one, reaches a model`,
  }
  if (!areThere) {
    for (const promise of Object.values(names)) sayNotRun(promise)
    continue
  }

  test(names.check, async () => {
    const { findings } = await checkPack(dir)
    assert.deepEqual(
      findings.filter(({ severity }) => severity === 'error'),
      [],
    )
  })

  test(`${names.cases}; ${names.hidden}`, async () => {
    const pack = await loadPack(dir)
    const { workflow, domain } = pack.definitions[0]!.definition
    const inputs = pack.cases.flatMap((file) => file.cases)
    assert.deepEqual(
      inputs.map(({ _id }) => _id),
      Object.keys(cases),
    )
    await using trial = await openTrial(dir, answers)
    for (const input of inputs) {
      const { path, outcome, govern, tier } = cases[String(input._id)]!
      const { view, steps } = await trial.run(workflow, domain, input)
      const proposed = view.proposed as JsonObject

      assert.deepEqual(view.path, path, String(input._id))
      for (const [key, value] of Object.entries(outcome))
        assert.equal(proposed[key], value, `${String(input._id)} ${key}`)
      assert.equal((steps.at(-1)!.output as JsonObject).tier_applied, govern)
      assert.equal(view.tier, tier)
      assert.equal(view.status, tier === 'gate' || tier === 'hold' ? 'suspended' : 'completed')
    }
    assert.ok((await trial.core.verify()).valid)

    const asked = trial.asked.map(({ instructions, prompt }) => `${instructions}\n${prompt}`)
    assert.ok(asked.length >= inputs.length * 3)
    for (const text of asked) assert.doesNotMatch(text, /(?:"|\\")_\w+(?:"|\\")\s*:/)
    const hidden = inputs.flatMap(({ _id, _expected, _description }) => [_id, _expected, _description])
    for (const value of hidden) {
      if (value === undefined) continue
      assert.ok(!asked.some((text) => text.includes(String(value))), String(value))
    }
  })
}

const raising =
  'consumer-lending: a confidence below its floor raises a case that govern lets pass to the queue for quality'
if (!areThere) sayNotRun(raising)
else {
  test(raising, async (t) => {
    const { mkdtemp, rm, writeFile } = await import('node:fs/promises')
    const { tmpdir } = await import('node:os')
    const folder = await mkdtemp(join(tmpdir(), 'answers-'))
    t.after(() => rm(folder, { recursive: true }))
    const written = await readFile(join(import.meta.dirname, 'answers/consumer-lending.yaml'), 'utf8')
    const unsure = written.replace('confidence: 0.93, reasoning: Score 748', 'confidence: 0.66, reasoning: Score 748')
    assert.notEqual(unsure, written)
    await writeFile(join(folder, 'answers.yaml'), unsure)
    const dir = join(sharedPacks, 'consumer-lending')
    const [input] = (await loadPack(dir)).cases[0]!.cases

    await using trial = await openTrial(dir, join(folder, 'answers.yaml'))
    const { view, steps } = await trial.run('loan_application_review', 'consumer_lending', input!)

    assert.equal((steps.at(-1)!.output as JsonObject).tier_applied, 'auto')
    assert.equal(view.tier, 'gate')
    assert.equal(view.status, 'suspended')
    const { queue } = await trial.core.getTask(view.openTasks[0]!)
    assert.equal(queue, 'quality_review')
  })
}
