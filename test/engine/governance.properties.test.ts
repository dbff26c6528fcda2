import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { RunContext, StepOutput } from '../../src/cognition/run-context.ts'
import { highestTier, type Tier, type TierContribution, tiers } from '../../src/domain/governance.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import type { Definition, QualityGates } from '../../src/domain/workflow.ts'
import { govern, type Governed, type Mishap } from '../../src/engine/governing.ts'

const settings = { seed: 20260103, numRuns: 2000 }

/** Everything that may have a say in the tier of a case. */
interface Situation {
  readonly floor: Definition['floor']
  readonly gates: QualityGates | undefined
  readonly outputs: readonly StepOutput[]
  readonly mishaps: readonly Mishap[]
}

type Govern = (situation: Situation) => Governed

const real: Govern = ({ floor, gates, outputs, mishaps }) => {
  const policy = { queue: 'q', slaSeconds: 1, sampleRate: 0, escalationQueue: 'e' }
  const definition: Definition = {
    ...{ format: 1, pack: 'p', workflow: 'w', domain: 'd', steps: [], fixtures: [] },
    floor,
    tiers: { auto: policy, spot_check: policy, gate: policy, hold: policy },
    qualityGates: gates,
  }
  const context: RunContext = {
    input: {},
    outputs: new Map(outputs.map((output) => [output.step, output])),
    previous: undefined,
  }
  return govern(definition, context, mishaps)
}

const tier = fc.constantFrom(...tiers)
const names = ['a', 'b', 'c', 'd', 'e'] as const
const confidence = fc.double({ min: 0, max: 1, noNaN: true })
const said = fc.record(
  {
    confidence: fc.oneof(confidence, fc.constantFrom('high', null)),
    tier_applied: fc.oneof(tier, fc.constantFrom('AUTO', '', 'none', null, 7)),
    disposition: fc.constantFrom('proceed', 'escalate', 'suspend', 'hold', 'else'),
  },
  { requiredKeys: [] },
) as fc.Arbitrary<JsonObject>
const output: fc.Arbitrary<Omit<StepOutput, 'step'>> = fc.record({
  primitive: fc.constantFrom('govern', 'govern', 'classify', 'verify', 'own'),
  run: fc.integer({ min: 1, max: 3 }),
  output: said,
  wentTo: fc.constant(undefined),
})
const outputs = fc
  .array(output, { maxLength: names.length })
  .map((list) => list.map((item, index) => ({ ...item, step: names[index]! })))
const gates: fc.Arbitrary<QualityGates | undefined> = fc.option(
  fc.record({
    minConfidence: fc.option(confidence, { nil: undefined }),
    primitiveFloors: fc.dictionary(fc.constantFrom('classify', 'govern'), confidence),
    escalationTier: tier,
    escalationQueue: fc.constantFrom('second_look', undefined),
    exempt: fc.boolean(),
  }),
  { nil: undefined },
)
const mishap: fc.Arbitrary<Mishap> = fc.record({
  step: fc.constantFrom(...names),
  what: fc.constantFrom('loop_fallback', 'failed'),
})
const floor: fc.Arbitrary<Definition['floor']> = fc.option(
  fc.record({ tier, source: fc.constantFrom('domain' as const, 'override' as const) }),
  { nil: undefined },
)
const situation: fc.Arbitrary<Situation> = fc.record({
  floor,
  gates,
  outputs,
  mishaps: fc.array(mishap, { maxLength: 3 }),
})

const rank = (name: Tier) => tiers.indexOf(name)
const isPerson = (name: Tier) => rank(name) >= rank('gate')

const properties: Readonly<Record<string, (act: Govern) => fc.IProperty<unknown>>> = {
  'the tier is the highest that any voice asked for, and every voice is kept': (act) =>
    fc.property(situation, (given) => {
      const { tier, contributions, because } = act(given)
      assert.ok(contributions.length > 0)
      assert.equal(tier, highestTier(contributions))
      assert.equal(rank(tier), Math.max(...contributions.map((voice) => rank(voice.tier))))
      for (const voice of contributions) {
        if (voice.tier === tier) assert.ok(because.includes(voice.because), 'the reason names who asked for it')
      }
    }),
  'the floor holds, whatever a govern step says': (act) =>
    fc.property(situation, (given) => {
      if (given.floor) assert.ok(rank(act(given).tier) >= rank(given.floor.tier))
    }),
  'every tier that a govern step applied is reached': (act) =>
    fc.property(situation, (given) => {
      const { tier } = act(given)
      for (const { primitive, output } of given.outputs) {
        const applied = tiers.find((name) => name === output.tier_applied)
        if (primitive === 'govern') assert.ok(rank(tier) >= rank(applied ?? 'gate'))
      }
    }),
  'one more voice never lowers the tier': (act) =>
    fc.property(
      situation,
      fc.oneof(mishap, fc.record({ applied: tier, disposition: fc.constantFrom('proceed', 'hold') })),
      (given, voice) => {
        // Where nobody governs, the first to govern says what the floor is: that alone is no raising.
        const isGoverned = given.floor !== undefined || given.outputs.some(({ primitive }) => primitive === 'govern')
        if (!isGoverned) return
        const more =
          'what' in voice
            ? { ...given, mishaps: [...given.mishaps, voice] }
            : { ...given, outputs: [...given.outputs, governStep(voice.applied, voice.disposition)] }
        assert.ok(rank(act(more).tier) >= rank(act(given).tier))
      },
    ),
  'a higher floor never lowers the tier': (act) =>
    fc.property(situation, tier, tier, (given, one, other) => {
      const [low, high] = rank(one) <= rank(other) ? [one, other] : [other, one]
      const withFloor = (name: Tier) => act({ ...given, floor: { tier: name, source: 'domain' } }).tier
      assert.ok(rank(withFloor(high)) >= rank(withFloor(low)))
    }),
  'without a floor and without a govern step a person looks at the case': (act) =>
    fc.property(situation, (given) => {
      const outputs = given.outputs.filter(({ primitive }) => primitive !== 'govern')
      assert.ok(isPerson(act({ ...given, floor: undefined, outputs }).tier))
    }),
  'whatever failed or fell back brings a person': (act) =>
    fc.property(situation, mishap, (given, mishap) => {
      assert.ok(isPerson(act({ ...given, mishaps: [...given.mishaps, mishap] }).tier))
    }),
  'a govern step that does not say proceed brings a person': (act) =>
    fc.property(situation, fc.constantFrom('escalate', 'suspend', 'hold'), tier, (given, disposition, applied) => {
      const { tier } = act({ ...given, outputs: [...given.outputs, governStep(applied, disposition)] })
      assert.ok(isPerson(tier))
      if (disposition === 'hold') assert.equal(tier, 'hold')
    }),
  'a confidence below its floor is heard, unless the domain is exempt': (act) =>
    fc.property(situation, fc.double({ min: 0, max: 0.49, noNaN: true }), tier, (given, low, escalationTier) => {
      const gates = {
        minConfidence: 0.5,
        primitiveFloors: {},
        escalationTier,
        escalationQueue: undefined,
        exempt: false,
      }
      const outputs = [
        ...given.outputs,
        { ...governStep('auto', 'proceed'), primitive: 'own', output: { confidence: low } },
      ]
      assert.ok(rank(act({ ...given, gates, outputs }).tier) >= rank(escalationTier))
    }),
}

function governStep(applied: Tier, disposition: string): StepOutput {
  return {
    step: 'last',
    primitive: 'govern',
    run: 1,
    output: { tier_applied: applied, disposition },
    wentTo: undefined,
  }
}

for (const [promise, property] of Object.entries(properties)) {
  test(promise, () => fc.assert(property(real), settings))
}

/** The same with these voices alone, and the tier that somebody would choose by mistake. */
function mistaken(
  keep: (voice: TierContribution) => boolean,
  choose: (voices: readonly TierContribution[]) => Tier = highestTier,
): Govern {
  return (given) => {
    const governed = real(given)
    const contributions = governed.contributions.filter(keep)
    return { ...governed, contributions, tier: choose(contributions) }
  }
}

/** For each promise a mistake that breaks it. */
const planted: Readonly<Record<keyof typeof properties, Govern>> = {
  'the tier is the highest that any voice asked for, and every voice is kept': mistaken(
    () => true,
    (voices) => voices.at(-1)!.tier,
  ),
  'the floor holds, whatever a govern step says': mistaken(
    ({ source }) => source !== 'domain' && source !== 'override',
  ),
  'every tier that a govern step applied is reached': mistaken(({ source }) => source !== 'govern'),
  'one more voice never lowers the tier': mistaken(
    () => true,
    (voices) => voices.at(-1)!.tier,
  ),
  'a higher floor never lowers the tier': mistaken(
    () => true,
    // Averaging is what a committee would do.
    (voices) =>
      tiers[tiers.length - 1 - Math.round(voices.reduce((sum, voice) => sum + rank(voice.tier), 0) / voices.length)]!,
  ),
  'without a floor and without a govern step a person looks at the case': mistaken(
    ({ because }) => because !== 'no govern step gave a tier',
    (voices) => (voices.length === 0 ? 'auto' : highestTier(voices)),
  ),
  'whatever failed or fell back brings a person': mistaken(
    ({ because }) => !/ failed$| ran out of loops$/.test(because),
  ),
  'a govern step that does not say proceed brings a person': mistaken(
    ({ because }) => !because.includes('disposition'),
  ),
  'a confidence below its floor is heard, unless the domain is exempt': mistaken(
    ({ source }) => source !== 'quality_gate',
  ),
}

for (const [promise, property] of Object.entries(properties)) {
  test(`planted: a mistake is noticed by '${promise}'`, () => {
    const { failed } = fc.check(property(planted[promise]!), {
      ...settings,
      endOnFailure: true,
    }) as fc.RunDetails<unknown>

    assert.ok(failed)
  })
}
