import assert from 'node:assert/strict'
import { setTimeout as delay } from 'node:timers/promises'
import { type Backend, CommitUnknownError, type Transaction } from '../../src/storage/backend.ts'
import { onEachBackend, onSqlite } from './fixture.ts'

/** A table of the tests' own would be a migration; the table of workers takes any name. */
async function note(tx: Transaction, name: string): Promise<void> {
  await tx.execute(
    'insert into workers (worker_id, host, pid, concurrency, started_at_ms, beat_at_ms) values ($1, $2, 1, 1, 1, 1)',
    [name, 'here'],
  )
}

async function noted(backend: Backend): Promise<string[]> {
  const rows = await backend.read((reader) =>
    reader.query<{ name: string }>('select worker_id as "name" from workers order by worker_id'),
  )
  return rows.map(({ name }) => name)
}

/** A probe that counts commits and can be told to fail around one. */
function probe() {
  const faults: { before?: Error; after?: Error } = {}
  let commits = 0
  const take = (when: 'before' | 'after') => {
    const fault = faults[when]
    delete faults[when]
    if (fault) throw fault
  }
  return {
    faults,
    get commits() {
      return commits
    },
    before: () => {
      take('before')
      commits += 1
    },
    after: () => take('after'),
  }
}

const names = (count: number) => Array.from({ length: count }, (_, index) => `n${String(index).padStart(3, '0')}`)

onSqlite('transactions that arrive together share a commit', async (open) => {
  const counting = probe()
  await using store = await open({ probe: counting })

  await Promise.all(names(100).map((name) => store.backend.transaction((tx) => note(tx, name))))

  assert.equal(counting.commits, 1)
  assert.deepEqual(await noted(store.backend), names(100))
})

onSqlite('whoever waits for the commit before it shares the next one', async (open) => {
  const counting = probe()
  await using store = await open({ probe: counting })
  const writers = names(8).map(async (name) => {
    for (const round of ['a', 'b', 'c']) await store.backend.transaction((tx) => note(tx, `${name}${round}`))
  })

  await Promise.all(writers)

  assert.equal(counting.commits, 3)
  assert.equal((await noted(store.backend)).length, 24)
})

onSqlite('more than a group holds is committed in several, and nothing is left out', async (open) => {
  const counting = probe()
  await using store = await open({ probe: counting })

  await Promise.all(names(600).map((name) => store.backend.transaction((tx) => note(tx, name))))

  assert.equal(counting.commits, 3)
  assert.deepEqual(await noted(store.backend), names(600))
})

onSqlite('transactions run in the order in which they were asked for, and see what came before them', async (open) => {
  await using store = await open()
  const count = async (tx: Transaction, name: string) => {
    await note(tx, name)
    return (await tx.query('select 1 from workers')).length
  }

  const counts = await Promise.all(names(5).map((name) => store.backend.transaction((tx) => count(tx, name))))

  assert.deepEqual(counts, [1, 2, 3, 4, 5])
})

onEachBackend('a transaction resolves with what its body returns, once that is on the disk', async (open) => {
  await using store = await open()

  const value = await store.backend.transaction(async (tx) => {
    await note(tx, 'one')
    return { said: 'done' }
  })

  assert.deepEqual(value, { said: 'done' })
  assert.equal((await store.sql('select 1 from workers')).length, 1)
})

/** Ways to fail, and what each of them writes before it does. */
const failures: Readonly<Record<string, (tx: Transaction) => Promise<unknown>>> = {
  'throws before it writes': () => Promise.reject(new Error('no')),
  'throws at once': () => {
    throw new Error('no')
  },
  'throws after it has written': async (tx) => {
    await note(tx, 'lost')
    throw new Error('no')
  },
  'throws after it has written with a question': async (tx) => {
    await tx.query('update meta set created_at_ms = 77 returning id')
    throw new Error('no')
  },
  'breaks a rule of the table': async (tx) => {
    await note(tx, 'lost')
    await note(tx, 'lost')
  },
  'breaks a rule with its first statement': (tx) => tx.execute('update meta set id = 2'),
  'writes no SQL': (tx) => tx.execute('not a statement'),
  'binds what no column takes': (tx) => tx.execute('update meta set created_at_ms = $1', [{} as never]),
  'misses a value': (tx) => tx.execute('update meta set created_at_ms = $1, epoch = $2', [null]),
}

for (const [what, fail] of Object.entries(failures)) {
  onEachBackend(`a transaction that ${what} takes nothing of the others with it`, async (open) => {
    const counting = probe()
    await using store = await open({ probe: counting })
    const write = (name: string) => store.backend.transaction((tx) => note(tx, name))

    const [before, failed, after] = await Promise.allSettled([write('a'), store.backend.transaction(fail), write('b')])

    assert.equal(before.status, 'fulfilled')
    assert.equal(failed.status, 'rejected')
    assert.equal(after.status, 'fulfilled')
    if (store.backend.dialect.name === 'sqlite') assert.equal(counting.commits, 1)
    assert.deepEqual(await noted(store.backend), ['a', 'b'])
    const [meta] = await store.sql<{ created: number }>('select created_at_ms as created from meta')
    assert.deepEqual({ ...meta }, { created: 1_000 })
  })
}

onSqlite('a body is run once, and once more only when another one failed after it had written', async (open) => {
  await using store = await open()
  const runs = { beside: 0, failing: 0 }
  const group = async (fail: (tx: Transaction) => Promise<unknown>) => {
    runs.beside = runs.failing = 0
    await Promise.allSettled([
      store.backend.transaction(async () => void (runs.beside += 1)),
      store.backend.transaction((tx) => {
        runs.failing += 1
        return fail(tx)
      }),
      store.backend.transaction(async () => void (runs.beside += 1)),
    ])
    return { ...runs }
  }

  assert.deepEqual(await group(() => Promise.resolve()), { beside: 2, failing: 1 })
  assert.deepEqual(await group(() => Promise.reject(new Error('no'))), { beside: 2, failing: 1 })
  const afterWriting = await group(async (tx) => {
    await note(tx, 'lost')
    throw new Error('no')
  })
  assert.deepEqual(afterWriting, { beside: 3, failing: 2 })
})

/** Where transactions share a commit they share its fate. */
const fates = [
  { on: onEachBackend, who: 'a transaction', count: 1 },
  { on: onSqlite, who: 'all that share a commit', count: 3 },
] as const

for (const { on, who, count } of fates) {
  on(`${who}: what fails before COMMIT is not written, and the next transaction is none the worse`, async (open) => {
    const failing = probe()
    await using store = await open({ probe: failing })
    failing.faults.before = new Error('pulled the plug')

    const written = await Promise.allSettled(
      names(count).map((name) => store.backend.transaction((tx) => note(tx, name))),
    )

    for (const one of written) {
      assert.equal(one.status, 'rejected')
      assert.match(String(one.reason), /pulled the plug/)
    }
    assert.deepEqual(await noted(store.backend), [])
    await store.backend.transaction((tx) => note(tx, 'next'))
    assert.deepEqual(await noted(store.backend), ['next'])
  })

  on(`${who}: an answer that is lost after COMMIT is said to be unknown, and everything was written`, async (open) => {
    const failing = probe()
    await using store = await open({ probe: failing })
    failing.faults.after = new Error('pulled the plug')

    const written = await Promise.allSettled(
      names(count).map((name) => store.backend.transaction((tx) => note(tx, name))),
    )

    for (const one of written) {
      assert.equal(one.status, 'rejected')
      assert.ok(one.reason instanceof CommitUnknownError)
      assert.match(String((one.reason as Error).cause), /pulled the plug/)
    }
    assert.deepEqual(await noted(store.backend), names(count))
    await store.backend.transaction((tx) => note(tx, 'next'))
  })
}

/** Counts the ticks of a timer, and the longest that one of them was kept waiting. */
function ticking() {
  let last = performance.now()
  let ticks = 0
  let longestMs = 0
  const timer = setInterval(() => {
    const now = performance.now()
    ticks += 1
    longestMs = Math.max(longestMs, now - last)
    last = now
  }, 5)
  return {
    stop: () => {
      clearInterval(timer)
      return { ticks, longestMs: Math.max(longestMs, performance.now() - last) }
    },
  }
}

onSqlite('a lock that somebody else has on the file is waited out, and timers go on meanwhile', async (open) => {
  await using store = await open()
  await store.sql('begin immediate')
  const timer = ticking()
  const writing = store.backend.transaction((tx) => note(tx, 'late'))

  await delay(300)
  await store.sql('commit')
  await writing

  const { ticks, longestMs } = timer.stop()
  assert.ok(ticks >= 3, `${ticks} ticks`)
  assert.ok(longestMs < 250, `a timer was kept waiting for ${Math.round(longestMs)} ms`)
  assert.deepEqual(await noted(store.backend), ['late'])
})

/** Whoever writes again as soon as the last write is done, in microtasks alone. */
const tightLoops: Readonly<Record<string, (backend: Backend) => Promise<unknown>>> = {
  transactions: (backend) => backend.transaction((tx) => tx.execute('update meta set created_at_ms = created_at_ms')),
  claims: (backend) => backend.hotPath.claim({ limit: 1, claimedBy: 'worker', nowMs: 1 }),
  'commits of steps': (backend) => backend.hotPath.commitSteps([]),
}

for (const [what, write] of Object.entries(tightLoops)) {
  onEachBackend(`a tight loop of ${what} does not starve timers`, async (open) => {
    await using store = await open()
    let isUp = false
    let writes = 0
    setTimeout(() => (isUp = true), 20)

    while (!isUp && writes < 20_000) {
      await write(store.backend)
      writes += 1
    }

    assert.ok(isUp, `no timer fired during ${writes} writes`)
  })
}

onEachBackend('closing finishes what was queued and refuses what comes later', async (open) => {
  await using store = await open()
  const { backend } = store
  const queued = names(600).map((name) => backend.transaction((tx) => note(tx, name)))

  const closing = backend.close()
  const late = backend.transaction((tx) => note(tx, 'late'))

  await assert.rejects(late, { code: 'CC_ERR_CLOSED' })
  await Promise.all(queued)
  await closing
  assert.equal((await store.sql('select 1 from workers')).length, 600)
})
