import assert from 'node:assert/strict'
import type { SubmitRequest } from '../../src/engine/core.ts'
import { onEachBackend } from '../storage/fixture.ts'
import { governStep, openEngine, pack } from './fixture.ts'

onEachBackend('a submitted case is in line at once, with everything that belongs to it', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const before = await engine.store.rowCounts()

  const { instanceId, status, seen } = await engine.submit({ key: 'k' })

  assert.deepEqual([status, seen], ['running', false])
  const after = await engine.store.rowCounts()
  const added = Object.entries(after).filter(([table, count]) => count !== before[table])
  assert.deepEqual(added.map(([table]) => table).sort(), [
    'audit_events',
    'definitions',
    'instances',
    'payloads',
    'submission_keys',
    'work',
  ])
  const view = await engine.core.getCase(instanceId)
  assert.equal(view.work, 'ready')
  assert.equal(view.submittedBy, 'kim')
  assert.deepEqual(await engine.events(instanceId), ['case.submitted'])
  await engine.verify()
})

onEachBackend('a key that comes again with the same case returns the first instance and adds nothing', async (open) => {
  await using engine = await openEngine(open)
  const { instanceId } = await engine.run({ key: 'k', input: { a: 1, b: [2, { c: 3, d: 4 }] } })
  const before = await engine.store.rowCounts()

  const again = await engine.submit({ key: 'k', input: { b: [2, { d: 4, c: 3 }], a: 1 } })

  assert.deepEqual(again, { instanceId, status: 'completed', seen: true })
  assert.deepEqual(await engine.store.rowCounts(), before)
})

const otherBodies: Readonly<Record<string, Partial<SubmitRequest>>> = {
  'another input': { input: { amount: 8 } },
  'another domain': { domain: 'other' },
  'another workflow': { workflow: 'appeal' },
}

for (const [what, body] of Object.entries(otherBodies)) {
  onEachBackend(`a key that comes again with ${what} is refused and names the first instance`, async (open) => {
    await using engine = await openEngine(open, {
      packs: [
        {
          name: 'test',
          workflows: ['review', 'appeal'].map((name) => ({ name, steps: [{ name: 'first', primitive: 'play' }] })),
          domains: ['plain', 'other'].map((domain_name) => ({ domain_name })),
        },
      ],
      isStarted: false,
    })
    const { instanceId } = await engine.submit({ key: 'k' })
    const before = await engine.store.rowCounts()

    await assert.rejects(engine.submit({ key: 'k', ...body }), {
      code: 'CC_ERR_KEY_REUSED',
      facts: { key: 'k', instanceId },
    })

    assert.deepEqual(await engine.store.rowCounts(), before)
  })
}

onEachBackend("one person's keys are not another's", async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const first = await engine.submit({ key: 'k', actor: 'kim' })

  const second = await engine.submit({ key: 'k', actor: 'ann', input: { amount: 8 } })

  assert.equal(second.seen, false)
  assert.notEqual(second.instanceId, first.instanceId)
})

onEachBackend('a hundred submissions with one key at the same time are one case', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })

  const submitted = await Promise.all(Array.from({ length: 100 }, () => engine.submit({ key: 'k' })))

  assert.equal(new Set(submitted.map(({ instanceId }) => instanceId)).size, 1)
  assert.equal(submitted.filter(({ seen }) => !seen).length, 1)
  assert.equal((await engine.store.rowCounts()).instances, 1)
  await engine.verify()
})

onEachBackend('without a key every submission is a case of its own', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })

  const submitted = await Promise.all(Array.from({ length: 20 }, () => engine.submit()))

  assert.equal(new Set(submitted.map(({ instanceId }) => instanceId)).size, 20)
})

onEachBackend('a key returns its instance after the pack has changed, which runs on as it began', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit({ key: 'k' })
  const [old] = engine.core.listWorkflows()
  await using newer = await engine.crash({ steps: [{ name: 'other', primitive: 'play' }] })
  const [now] = newer.core.listWorkflows()
  assert.notEqual(now!.definitionHash, old!.definitionHash)

  const again = await newer.submit({ key: 'k' })

  assert.equal(again.instanceId, instanceId)
  const view = await newer.core.waitFor(instanceId)
  assert.deepEqual([view.definitionHash, view.path], [old!.definitionHash, ['first']])
})

onEachBackend('a key works when its workflow is not loaded any more', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })
  const { instanceId } = await engine.submit({ key: 'k' })
  await using bare = await engine.crash({ packs: [] })

  assert.equal((await bare.submit({ key: 'k' })).instanceId, instanceId)
  await assert.rejects(bare.submit({ key: 'other' }), { code: 'CC_ERR_UNKNOWN_WORKFLOW' })
  assert.deepEqual((await bare.core.waitFor(instanceId)).path, ['first'])
})

const cyclic: Record<string, unknown> = {}
cyclic.self = cyclic

/** Submissions that are refused, and how. */
const refused: Readonly<Record<string, readonly [Partial<Record<keyof SubmitRequest, unknown>>, string]>> = {
  'an unknown workflow': [{ workflow: 'nothing' }, 'CC_ERR_UNKNOWN_WORKFLOW'],
  'an unknown domain': [{ domain: 'nothing' }, 'CC_ERR_UNKNOWN_DOMAIN'],
  'a workflow with NUL in its name': [{ workflow: 'a\0b' }, 'CC_ERR_INPUT'],
  'a domain that is no text': [{ domain: 7 }, 'CC_ERR_INPUT'],
  'an input that is a list': [{ input: [1] }, 'CC_ERR_INPUT'],
  'an input that is null': [{ input: null }, 'CC_ERR_INPUT'],
  'an input that is missing': [{ input: undefined }, 'CC_ERR_INPUT'],
  'an input with NaN': [{ input: { a: Number.NaN } }, 'CC_ERR_INPUT'],
  'an input with a date': [{ input: { a: new Date(0) } }, 'CC_ERR_INPUT'],
  'an input with NUL': [{ input: { a: 'x\0y' } }, 'CC_ERR_INPUT'],
  'an input with half a character': [{ input: { a: '\ud800' } }, 'CC_ERR_INPUT'],
  'an input that contains itself': [{ input: cyclic }, 'CC_ERR_INPUT'],
  'an input of two megabytes': [{ input: { a: 'x'.repeat(2 ** 21) } }, 'CC_ERR_JSON_TOO_LARGE'],
  'an empty key': [{ key: '' }, 'CC_ERR_INPUT'],
  'a key with NUL': [{ key: 'a\0' }, 'CC_ERR_INPUT'],
  'a key of 201 characters': [{ key: 'k'.repeat(201) }, 'CC_ERR_INPUT'],
  'no actor': [{ actor: '' }, 'CC_ERR_ACTOR'],
  'an actor of two lines': [{ actor: 'kim\nann' }, 'CC_ERR_ACTOR'],
  'an actor that turns the line around': [{ actor: 'kim\u202e' }, 'CC_ERR_ACTOR'],
  'a priority between two numbers': [{ priority: 0.5 }, 'CC_ERR_INPUT'],
  'a priority that is none': [{ priority: Number.NaN }, 'CC_ERR_INPUT'],
}

for (const [what, [request, code]] of Object.entries(refused)) {
  onEachBackend(`${what} is refused and leaves no row behind`, async (open) => {
    await using engine = await openEngine(open, { isStarted: false })
    const before = await engine.store.rowCounts()

    await assert.rejects(engine.submit({ key: 'k', ...request } as Partial<SubmitRequest>), { code })

    assert.deepEqual(await engine.store.rowCounts(), before)
    assert.equal(
      (await engine.store.sql<{ simulated: number | null }>('select simulated from meta'))[0]!.simulated,
      null,
    )
  })
}

onEachBackend('a workflow that thinks is refused where there is no model, and names the step', async (open) => {
  await using engine = await openEngine(open, { steps: [{ name: 'first', primitive: 'play' }, governStep] })
  const before = await engine.store.rowCounts()

  await assert.rejects(engine.submit(), {
    code: 'CC_ERR_NO_MODEL',
    facts: { step: 'decide', primitive: 'govern' },
  })

  assert.deepEqual(await engine.store.rowCounts(), before)
})

onEachBackend('higher priority runs first, then whoever came first', async (open) => {
  await using engine = await openEngine(open, { isStarted: false, core: { workerConcurrency: 1 } })
  const submit = async (name: string, priority: number) => {
    await engine.clock.advance(1)
    await engine.submit({ input: { case_id: name }, priority })
  }
  await submit('c', 0)
  await submit('d', 0)
  await submit('b', 1)
  await submit('a', 2)
  await submit('e', -1)

  engine.core.start()

  const { items } = await engine.core.listCases()
  for (const { instanceId } of items) await engine.core.waitFor(instanceId)
  assert.equal(engine.calls.map(({ caseId }) => caseId).join(''), 'abcde')
})

onEachBackend(
  'what is wrong with packs or primitives is refused before the store is opened for anything',
  async (open) => {
    await using store = await open()
    const noop = {
      name: 'noop',
      needsModel: false,
      requiredParams: [],
      defaultParams: {},
      run: () => Promise.resolve({ output: {} }),
    }
    const before = await store.rowCounts()
    const tries = {
      CC_ERR_PACK: { packs: [pack({ steps: [{ name: 'first', primitive: 'nothing' }] })] },
      CC_ERR_DUPLICATE_WORKFLOW: { packs: [pack({}), pack({})] },
      CC_ERR_PRIMITIVE: { core: { primitives: [noop, noop] } },
    }

    for (const [code, options] of Object.entries(tries)) {
      await assert.rejects(
        openEngine(() => Promise.resolve(store), options),
        { code },
      )
    }
    await assert.rejects(
      openEngine(() => Promise.resolve(store), { core: { primitives: [{ ...noop, name: 'govern' }] } }),
      {
        code: 'CC_ERR_PRIMITIVE',
      },
    )

    assert.deepEqual(await store.rowCounts(), before)
  },
)

onEachBackend('a key that comes many times at once is one case, and everybody hears which', async (open) => {
  await using engine = await openEngine(open, { isStarted: false })

  const submitted = await Promise.all(Array.from({ length: 6 }, () => engine.submit({ key: 'k' })))

  assert.equal(new Set(submitted.map(({ instanceId }) => instanceId)).size, 1)
  assert.equal(submitted.filter(({ seen }) => !seen).length, 1)
  assert.equal((await engine.store.rowCounts()).instances, 1)
  await engine.verify()
})

onEachBackend(
  'a case that was submitted in the moment of closing is taken, and its submitter hears so',
  async (open) => {
    await using engine = await openEngine(open, { isStarted: false })
    const submitting = engine.submit()
    // Its place in the next write is taken, and the write has not begun.
    await Promise.resolve()

    await engine.core.close()

    assert.equal((await submitting).seen, false)
    assert.equal((await engine.store.sql('select 1 from instances')).length, 1)
  },
)
