import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import type { CommitLane } from '../../src/engine/commit-lane.ts'
import type { Worker } from '../../src/engine/worker.ts'
import type { Work } from '../../src/domain/instance.ts'
import type { Backend } from '../../src/storage/backend.ts'
import type { Fence, StepCommit } from '../../src/storage/hot-path.ts'
import { readMeta } from '../../src/storage/meta.ts'
import { readWork, releaseClaim } from '../../src/storage/work.ts'
import { grounds, type Happening, type LaneGround, LaneWorld, type Plant } from './lane-world.ts'

const seed = 20260102

const which = fc.nat({ max: 7 })
const happening: fc.Arbitrary<Happening> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      is: fc.constant('answer' as const),
      which,
      how: fc.constantFrom('done', 'done', 'again', 'broken', 'hopeless'),
    }),
  },
  { weight: 4, arbitrary: fc.record({ is: fc.constant('turn' as const), count: fc.integer({ min: 1, max: 4 }) }) },
  { weight: 2, arbitrary: fc.constant<Happening>({ is: 'submit' }) },
  { weight: 2, arbitrary: fc.constant<Happening>({ is: 'lose' }) },
  { weight: 1, arbitrary: fc.constant<Happening>({ is: 'vanish' }) },
  { weight: 1, arbitrary: fc.constant<Happening>({ is: 'fail' }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('cancel' as const), which }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('rob' as const), which }) },
  { weight: 1, arbitrary: fc.constantFrom<Happening>({ is: 'crash' }, { is: 'restart' }) },
  { weight: 1, arbitrary: fc.record({ is: fc.constant('wait' as const), ms: fc.constantFrom(3, 1_000, 6_000) }) },
)

/** Whatever happens, in whatever order: each step is recorded once, each case ends once, and every chain is whole. */
function promises(ground: LaneGround) {
  return fc.asyncProperty(fc.array(happening, { maxLength: 20, size: 'max' }), async (happenings) => {
    const world = new LaneWorld(ground)
    try {
      await world.play(happenings)
      await world.check()
    } finally {
      await world.close()
    }
  })
}

for (const { name, open, numRuns } of grounds) {
  test(`${name}: each step is recorded once and each case ends once, whatever is lost, robbed, canceled or crashed`, async () => {
    await using ground = await open()

    await fc.assert(promises(ground), { seed, numRuns })
  })
}

/** Lets commits go to the store with another fence than the engine gave them. */
function refenced(change: (fence: Fence, work: Work) => Fence): Plant {
  return {
    backend: (backend) => {
      const { hotPath } = backend
      const commitSteps = hotPath.commitSteps.bind(hotPath)
      hotPath.commitSteps = async (commits, refill) => {
        const changed = await backend.read(async (reader) => {
          const fences: StepCommit[] = []
          for (const commit of commits) {
            const work = await readWork(reader, commit.instanceId)
            fences.push(work ? { ...commit, fence: change(commit.fence, work) } : commit)
          }
          return fences
        })
        return await commitSteps(changed, refill)
      }
    },
  }
}

interface Member {
  readonly commit: StepCommit
  readonly resolve: (outcome: object) => void
}

/** Does something else with a commit that did not come back than to read what became of it. */
function settling(settle: (member: Member, backend: Backend) => Promise<void>): Plant {
  return {
    core: (core) => {
      const { engine } = core as unknown as { engine: { lane: CommitLane; backend: Backend } }
      Object.assign(engine.lane, { settle: (member: Member) => settle(member, engine.backend) })
    },
  }
}

const dropped = { kind: 'dropped', why: 'claim_lost' }

const plants: Readonly<Record<string, Plant>> = {
  'the token of a claim is not checked': refenced((fence, { token }) => ({ ...fence, token: token ?? fence.token })),
  'the sequence of events is not checked': refenced((fence, { auditSeq }) => ({ ...fence, auditSeq })),
  'a lost answer counts as lost work': settling(async ({ resolve }) => resolve(dropped)),
  'a lost answer counts as committed': settling(async ({ commit, resolve }) => resolve({ kind: 'committed', commit })),
  'a step runs again when a person was faster': settling(async ({ commit, resolve }, backend) => {
    await backend.transaction((tx) => releaseClaim(tx, commit.instanceId, commit.fence.token)).catch(() => {})
    resolve(dropped)
  }),
  'a new holder frees no claims': {
    takeLease: async (tx) => {
      await tx.execute('update meta set epoch = epoch + 1')
      return (await readMeta(tx)).epoch
    },
  },
  'claims with a lost answer are not given back': {
    core: (core) => {
      const { worker } = core as unknown as { worker: Worker }
      worker.loseClaim = () => {}
    },
  },
}

/** What is noticed says something of the promises, so one database is enough, the one with the most worlds in a second. */
const [{ open, numRuns }] = grounds
for (const [what, plant] of Object.entries(plants)) {
  test(`planted: that ${what} is noticed`, async () => {
    await using ground = await open(plant)

    const { failed } = await fc.check(promises(ground), { seed, numRuns, endOnFailure: true })

    assert.ok(failed)
  })
}
