import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { CommitUnknownError } from '../../src/storage/backend.ts'
import { backends } from '../storage/fixture.ts'
import { type Fault, type Verb, type VerbPlant, VerbsGround, VerbsWorld } from './verbs-world.ts'

const seed = 20260104

const which = fc.nat({ max: 3 })
const verb: fc.Arbitrary<Verb> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({
      is: fc.constant('submit' as const),
      key: fc.nat({ max: 3 }),
      body: fc.nat({ max: 1 }),
      breaks: fc.boolean(),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      is: fc.constant('decide' as const),
      which,
      yes: fc.boolean(),
      who: fc.constantFrom('ann', 'bob'),
    }),
  },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('contest' as const), which }) },
  ...(['cancel', 'retry', 'erase'] as const).map((is) => ({
    weight: 2,
    arbitrary: fc.record({ is: fc.constant(is), which }) as fc.Arbitrary<Verb>,
  })),
  { weight: 1, arbitrary: fc.constant<Verb>({ is: 'wait' }) },
  { weight: 1, arbitrary: fc.constant<Verb>({ is: 'crash' }) },
)
const fault = fc.constantFrom<Fault>('none', 'none', 'lose', 'lose', 'fail')

/** Whatever people do in whatever order, and whatever becomes of each COMMIT: the store says what the model says. */
function promises(ground: VerbsGround) {
  const happenings = fc.array(fc.record({ verb, fault }), { minLength: 1, maxLength: 14, size: 'max' })
  return fc.asyncProperty(happenings, async (happenings) => {
    const world = new VerbsWorld(ground)
    await world.play(happenings)
    await world.check()
  })
}

for (const { name, open } of backends) {
  test(`${name}: what people do has happened once, as a model says, whatever answers are lost or commits refused`, async () => {
    await using ground = await VerbsGround.open(open)

    await fc.assert(promises(ground), { seed, numRuns: name === 'sqlite' ? 60 : 10, endOnFailure: true })
  })
}

const plants: Readonly<Record<string, VerbPlant>> = {
  'a transaction whose answer is lost is simply run again': {
    backend: (backend) => {
      const transaction = backend.transaction.bind(backend)
      backend.transaction = async (body) => {
        try {
          return await transaction(body)
        } catch (error) {
          if (!(error instanceof CommitUnknownError)) throw error
          return await transaction(body)
        }
      }
    },
  },
  'a lost answer counts as a refusal': {
    backend: (backend) => {
      const transaction = backend.transaction.bind(backend)
      backend.transaction = async (body) => {
        try {
          return await transaction(body)
        } catch (error) {
          throw error instanceof CommitUnknownError ? new Error('no room on the disk') : error
        }
      }
    },
  },
  'keys are not kept': {
    core: ({ core }) => {
      const submit = core.submit.bind(core)
      core.submit = ({ key: _, ...request }) => submit(request)
    },
  },
  'whoever decides last is right': {
    core: ({ core, store }) => {
      const decide = core.decide.bind(core)
      core.decide = async (request) => {
        await store.sql(
          `update tasks set status = 'open', decision = null, decided_by = null where task_id = $1`,
          request.taskId,
        )
        return await decide(request)
      }
    },
  },
}

/** What is noticed says something of the model, so one database is enough. */
const [{ open }] = backends as readonly [(typeof backends)[number]]
for (const [what, plant] of Object.entries(plants)) {
  test(`planted: that ${what} is noticed`, async () => {
    await using ground = await VerbsGround.open(open, plant)

    const { failed } = await fc.check(promises(ground), { seed, numRuns: 100, endOnFailure: true })

    assert.ok(failed)
  })
}
