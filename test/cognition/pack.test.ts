import assert from 'node:assert/strict'
import { symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { definePack, findDefinition, loadPack, parseDefinition, pin } from '../../src/cognition/pack.ts'
import type { CoreError, ErrorCode } from '../../src/errors.ts'
import { packFolder, soundPack } from './pack-folder.ts'

const workflow = soundPack['workflows/review.yaml']

test('a pack is read from its folder: workflow and domain merged, texts filled in, defaults given', async () => {
  await using folder = await packFolder({
    'cases/a.json': '[{"case_id": "A-1"}, {"case_id": "A-2"}]',
    'cases/b.json': '{"case_id": "B-1"}',
    'scripted.yaml': '[]',
  })
  const pack = await loadPack(folder.dir)

  assert.deepEqual(
    pack.cases.map(({ file, cases }) => [file, cases.length]),
    [
      ['cases/a.json', 2],
      ['cases/b.json', 1],
    ],
  )
  assert.equal(pack.scriptedFile, join(pack.dir!, 'scripted.yaml'))
  assert.deepEqual(pack.warnings, [])
  const { definition } = pack.definitions[0]!
  assert.equal(definition.workflow, 'review')
  assert.equal(definition.domain, 'plain')
  assert.deepEqual(definition.steps[0]!.params, { categories: 'odd, even', criteria: 'look' })
  assert.equal(definition.steps[0]!.timeoutMs, 300_000)
  assert.deepEqual(definition.steps[0]!.retry, { maxAttempts: 3, backoffMs: 1000, maxBackoffMs: 60_000 })
  assert.equal(definition.steps[0]!.externalEffect, false)
  assert.equal(definition.floor, undefined)
  assert.equal(definition.qualityGates, undefined)
  assert.deepEqual(definition.tiers, {
    auto: { queue: '', slaSeconds: 0, sampleRate: 0, escalationQueue: 'compliance_review' },
    spot_check: { queue: 'qa_review', slaSeconds: 7200, sampleRate: 0.1, escalationQueue: 'compliance_review' },
    gate: { queue: 'specialist_review', slaSeconds: 14_400, sampleRate: 0, escalationQueue: 'compliance_review' },
    hold: { queue: 'compliance_review', slaSeconds: 172_800, sampleRate: 0, escalationQueue: 'compliance_review' },
  })
})

test('a pack without a configuration file uses the usual folders', async () => {
  await using folder = await packFolder({ 'coordinator_config.yaml': undefined })

  assert.equal((await loadPack(folder.dir)).definitions.length, 1)
})

test('the same pack as objects gives the same definition', async () => {
  await using folder = await packFolder()
  const fromFiles = (await loadPack(folder.dir)).definitions[0]!.definition
  const params = { question: 'why', scope: 'all' }
  const pack = definePack({
    name: fromFiles.pack,
    workflows: [
      {
        name: 'review',
        steps: [
          {
            name: 'sort',
            primitive: 'classify',
            params: { criteria: 'look', categories: '${domain.sort.categories}' },
            transitions: [{ when: "output.category == 'odd'", goto: 'look_closer' }, { default: 'decide' }],
          },
          { name: 'look_closer', primitive: 'investigate', params },
          { name: 'decide', primitive: 'govern', params: { workflow_state: 'done', governance_context: 'all' } },
        ],
      },
    ],
    domains: [{ domain_name: 'plain', sort: { categories: 'odd, even' } }],
  })

  assert.deepEqual(pack.definitions[0], pin(fromFiles))
})

test('objects that no file could hold are refused', () => {
  const workflows = [{ name: 'w', steps: [{ name: 's', primitive: 'govern' }] }]
  for (const note of [1n, Number.NaN, '\ud800', 'a\0b', () => 1]) {
    const domains = [{ domain_name: 'd', note: [note] }]
    assert.throws(() => definePack({ name: 'p', workflows, domains }), { code: 'CC_ERR_PACK' })
  }
})

test('a definition keeps its hash until something that decides cases changes', () => {
  const pack = (scope: string, categories = 'odd, even') =>
    definePack({
      name: 'p',
      workflows: [{ name: 'w', steps: [{ name: 's', primitive: 'investigate', params: { question: 'why', scope } }] }],
      domains: [{ domain_name: 'd', unused: categories }],
    }).definitions[0]!

  assert.match(pack('all').hash, /^[0-9a-f]{64}$/)
  assert.equal(pack('all').hash, pack('all', 'something else').hash)
  assert.notEqual(pack('all').hash, pack('part').hash)
})

test('a pinned definition reads back as it was, and nobody can change it', () => {
  const { text, definition } = definePack({
    name: 'p',
    workflows: [{ name: 'w', steps: [governStep] }],
    domains: [{ domain_name: 'd' }],
  }).definitions[0]!

  assert.deepEqual(parseDefinition(text), definition)
  assert.ok(Object.isFrozen(definition.steps[0]!.retry))
  assert.throws(() => parseDefinition('{"format": 2}'), { code: 'CC_ERR_DEFINITION_FORMAT' })
})

const governParams = { workflow_state: 'done', governance_context: 'all' }
const governStep = { name: 's', primitive: 'govern', params: governParams }

/** One definition from one step, for everything that a configuration or a domain says. */
function define(config: object, domain: object = {}, step: object = {}) {
  const pack = definePack({
    name: 'p',
    workflows: [{ name: 'w', steps: [{ ...governStep, ...step }] }],
    domains: [{ domain_name: 'd', ...domain }],
    config,
  })
  return { definition: pack.definitions[0]!.definition, warnings: pack.warnings }
}

test("the floor is the domain's tier, else the override for it, else the one for everybody, else none", () => {
  const overrides = { d: 'hold', '*': 'spot_check' }

  assert.deepEqual(define({ overrides }, { governance: 'GATE' }).definition.floor, { tier: 'gate', source: 'domain' })
  assert.deepEqual(define({}, { governance: { tier: 'auto' } }).definition.floor, { tier: 'auto', source: 'domain' })
  assert.deepEqual(define({ overrides }).definition.floor, { tier: 'hold', source: 'override' })
  assert.deepEqual(define({ overrides: { '*': 'auto' } }).definition.floor, { tier: 'auto', source: 'override' })
  assert.equal(define({ overrides: { other: 'auto' } }).definition.floor, undefined)
})

test('a tier that nobody knows counts as gate, with a warning', () => {
  const { definition, warnings } = define({}, { governance: 'lenient' })

  assert.deepEqual(definition.floor, { tier: 'gate', source: 'domain' })
  assert.match(warnings[0]!, /no tier 'lenient': it counts as gate/)
})

test('tiers keep the queues, times and shares that the configuration gives them', () => {
  const governance_tiers = {
    gate: { queue: 'officers', sla: 60, escalation_queue: 'leads' },
    hold: { queue: 'lawyers' },
    'Spot-Check': { sample_rate: 0.5 },
  }
  const { tiers } = define({ governance_tiers }).definition

  assert.deepEqual(tiers.gate, { queue: 'officers', slaSeconds: 60, sampleRate: 0, escalationQueue: 'leads' })
  assert.equal(tiers.spot_check.sampleRate, 0.5)
  assert.equal(tiers.spot_check.escalationQueue, 'lawyers')
})

test('quality gates are off when their block is absent or empty, and on with a floor of 0.5 otherwise', () => {
  assert.equal(define({}).definition.qualityGates, undefined)
  assert.equal(define({ quality_gates: {} }).definition.qualityGates, undefined)
  const quality_gates = {
    primitive_floors: { verify: 0.7, think: 0.6 },
    exempt_domains: ['d'],
    escalation_tier: 'hold',
  }
  assert.deepEqual(define({ quality_gates }).definition.qualityGates, {
    minConfidence: 0.5,
    primitiveFloors: { verify: 0.7, deliberate: 0.6 },
    escalationTier: 'hold',
    exempt: true,
  })
})

test('a step takes its time limit, its retries and its outside effect from the workflow', () => {
  const own = { timeout_seconds: 1.5, sla_seconds: 9, retry: { max_attempts: 5 }, external_effect: true }
  const [step] = define({}, {}, own).definition.steps

  assert.equal(step!.timeoutMs, 1500)
  assert.deepEqual(step!.retry, { maxAttempts: 5, backoffMs: 1000, maxBackoffMs: 60_000 })
  assert.equal(step!.externalEffect, true)
  assert.equal(define({}, {}, { sla_seconds: 9 }).definition.steps[0]!.timeoutMs, 9000)
})

test("older packs' names for primitives are read as today's", () => {
  assert.equal(define({}, {}, { primitive: 'act' }).definition.steps[0]!.primitive, 'govern')
  const params = { question: 'what now', constraints: 'be quick' }
  const [thinking] = define({}, {}, { primitive: 'think', params }).definition.steps
  assert.equal(thinking!.primitive, 'deliberate')
  assert.deepEqual(thinking!.params, { instruction: 'what now', focus: 'be quick' })
})

test('a condition may come from the domain, and is known once it is filled in', () => {
  const transitions = [{ when: '${domain.s.skip}', goto: '${domain.target}' }, { default: '__end__' }]
  const domain = { s: { skip: "output.tier_applied in ['gate', 'hold']" }, target: '__end__' }

  assert.deepEqual(define({}, domain, { transitions }).definition.steps[0]!.transitions, [
    { when: "output.tier_applied in ['gate', 'hold']", goto: '__end__' },
    { default: '__end__' },
  ])
})

test('a domain that names its workflow goes with that one; the others go where they fit', () => {
  const step = (name: string, question: string) => ({
    name,
    primitive: 'investigate',
    params: { question, scope: 'all' },
  })
  const pack = definePack({
    name: 'p',
    workflows: [
      { name: 'first', steps: [step('a', '${domain.a.question}')] },
      { name: 'second', steps: [step('b', '${domain.b.question}')] },
    ],
    domains: [
      { domain_name: 'both', a: { question: '?' }, b: { question: '?' } },
      { domain_name: 'only_a', a: { question: '?' } },
      { domain_name: 'told', workflow: 'second', b: { question: '?' } },
    ],
  })

  assert.deepEqual(
    pack.definitions.map(({ definition }) => `${definition.workflow}/${definition.domain}`),
    ['first/both', 'first/only_a', 'second/both', 'second/told'],
  )
})

test('fixtures are pinned with the definition and are not cases', async () => {
  await using folder = await packFolder({
    'cases/a.json': '{"case_id": "A-1"}',
    'cases/fixtures/a_tools.json': '{"_case_id": "A-1", "get_file": {"n": 1}, "_meta": {"ground_truth": "x"}}',
  })
  const pack = await loadPack(folder.dir)

  assert.deepEqual(pack.definitions[0]!.definition.fixtures, [{ caseId: 'A-1', tools: { get_file: { n: 1 } } }])
  assert.deepEqual(
    pack.cases.map(({ file }) => file),
    ['cases/a.json'],
  )
})

test('a definition is found by workflow and domain; a name nobody has is answered with those there are', async () => {
  await using folder = await packFolder()
  const packs = [await loadPack(folder.dir)]

  assert.equal(findDefinition(packs, 'review', 'plain'), packs[0]!.definitions[0])
  assert.throws(
    () => findDefinition(packs, 'revue', 'plain'),
    (error: CoreError) => error.code === 'CC_ERR_UNKNOWN_WORKFLOW' && error.remedy.includes('review'),
  )
  assert.throws(
    () => findDefinition(packs, 'review', 'fancy'),
    (error: CoreError) => error.code === 'CC_ERR_UNKNOWN_DOMAIN' && error.remedy.includes('plain'),
  )
})

test('two packs with one workflow name are refused', async () => {
  await using first = await packFolder()
  await using second = await packFolder()
  const packs = await Promise.all([first, second].map(({ dir }) => loadPack(dir)))

  assert.throws(() => findDefinition(packs, 'review', 'plain'), { code: 'CC_ERR_DUPLICATE_WORKFLOW' })
})

test('primitives that a program registered are known to its packs', async () => {
  await using folder = await packFolder({ 'workflows/review.yaml': workflow.replace('investigate', 'look_up') })

  assert.equal((await loadPack(folder.dir, { primitives: ['look_up'] })).definitions.length, 1)
})

interface Wrong {
  readonly name: string
  readonly files: Record<string, string | Uint8Array | undefined>
  readonly says: RegExp
  readonly code?: ErrorCode
}

const change = (from: string, to: string) => ({ 'workflows/review.yaml': workflow.replace(from, to) })
const inDomain = (text: string) => ({ 'domains/plain.yaml': `domain_name: plain\nsort: {categories: odd}\n${text}` })
const inConfig = (text: string) => ({ 'coordinator_config.yaml': `domain_dir: domains\n${text}` })

const wrongPacks: readonly Wrong[] = [
  {
    name: 'an unknown target',
    files: change('goto: look_closer', 'goto: look_away'),
    says: /review\.yaml:10:15: there is no step 'look_away'/,
  },
  {
    name: 'an unknown default',
    files: change('default: decide', 'default: decode'),
    says: /review\.yaml:11:18: there is no step 'decode'/,
  },
  {
    name: 'an unknown loop fallback',
    files: change('params:', 'loop_fallback: nowhere\n    params:'),
    says: /review\.yaml:5:20: there is no step 'nowhere'/,
  },
  {
    name: 'two steps of one name',
    files: change('  - name: decide', '  - { name: sort, primitive: verify, params: { rules: r } }\n  - name: decide'),
    says: /review\.yaml:15:13: two steps are called 'sort'/,
  },
  {
    name: 'an unknown primitive',
    files: change('investigate', 'ponder'),
    says: /review\.yaml:13:16: there is no primitive 'ponder'/,
  },
  { name: 'a bad condition', files: change("== 'odd'", '=== odd'), says: /review\.yaml:9:34: / },
  {
    name: 'a condition from a domain that lacks it',
    files: change("output.category == 'odd'", '${domain.sort.odd}'),
    says: /the domain 'plain' has no/,
  },
  {
    name: 'a bad condition from a domain',
    files: {
      ...change("output.category == 'odd'", '${domain.sort.odd}'),
      'domains/plain.yaml': 'domain_name: plain\nsort: {odd: "len("}\n',
    },
    says: /domains\/plain\.yaml:2:13: the condition is wrong/,
  },
  {
    name: 'no steps',
    files: { 'workflows/review.yaml': 'name: review\n' },
    says: /review\.yaml:1:1: `steps` is missing/,
  },
  {
    name: 'an empty list of steps',
    files: { 'workflows/review.yaml': 'name: review\nsteps: []\n' },
    says: /review\.yaml:2:8: `steps`/,
  },
  {
    name: 'a step without a primitive',
    files: change('primitive: classify', 'note: none'),
    says: /review\.yaml:3:5: `steps\.0\.primitive`/,
  },
  {
    name: 'a name with a path in it',
    files: change('name: review', 'name: ../review'),
    says: /review\.yaml:1:7: `name`/,
  },
  {
    name: 'a step that is called like a word of conditions',
    files: { 'workflows/review.yaml': workflow.replaceAll('look_closer', 'output') },
    says: /'output' has a meaning/,
  },
  {
    name: 'a transition without a condition',
    files: change('when: "output.category == \'odd\'"\n        goto', 'goto'),
    says: /either `when` with `goto`, or `agent_decide`, or `default`/,
  },
  {
    name: 'two defaults',
    files: change('- default: decide', '- default: decide\n      - default: sort'),
    says: /more than one `default`/,
  },
  { name: 'max_loops of zero', files: change('params:', 'max_loops: 0\n    params:'), says: /`steps\.0\.max_loops`/ },
  {
    name: 'a misspelt retry setting',
    files: change('params:', 'retry: {attempts: 3}\n    params:'),
    says: /`steps\.0\.retry`/,
  },
  { name: 'YAML that does not close', files: change('steps:', 'steps: ['), says: /review\.yaml:\d+:\d+: / },
  {
    name: 'two YAML documents',
    files: { 'domains/plain.yaml': 'domain_name: plain\n---\nmore: 1\n' },
    says: /plain\.yaml:\d+:\d+: /,
  },
  { name: 'a tag of its own', files: inDomain('x: !run rm\n'), says: /plain\.yaml:3:4: / },
  {
    name: 'the key __proto__',
    files: inDomain('__proto__: {polluted: true}\n'),
    says: /plain\.yaml:3:1: the key '__proto__'/,
  },
  { name: 'a number that is none', files: inDomain('x: .nan\n'), says: /plain\.yaml:3:4: the number NaN/ },
  { name: 'a number too large to keep', files: inDomain('x: 9007199254740993\n'), says: /too large to keep exactly/ },
  { name: 'half a character', files: inDomain('x: "\\ud800"\n'), says: /half a character/ },
  { name: 'NUL', files: inDomain('x: "a\\0b"\n'), says: /with NUL/ },
  { name: 'half a character in a key', files: inDomain('"\\ud800": x\n'), says: /half a character/ },
  {
    name: 'a file that is not UTF-8',
    files: { 'domains/plain.yaml': new Uint8Array([0x61, 0xff]) },
    says: /plain\.yaml: not UTF-8/,
  },
  { name: 'a bomb of aliases', files: inDomain(aliasBomb()), says: /plain\.yaml: .*alias/i },
  {
    name: 'endless nesting',
    files: inDomain(`x: ${'['.repeat(3000)}${']'.repeat(3000)}\n`),
    says: /plain\.yaml:3:\d+: nested too deeply/,
  },
  {
    name: 'nesting beyond the bound',
    files: inDomain(`x: ${'['.repeat(70)}${']'.repeat(70)}\n`),
    says: /plain\.yaml:3:\d+: nested too deeply/,
  },
  {
    name: 'maps nested beyond the bound',
    files: inDomain(`x: ${'{a: '.repeat(70)}1${'}'.repeat(70)}\n`),
    says: /plain\.yaml:3:\d+: nested too deeply/,
  },
  {
    name: 'a folder outside of the pack',
    files: inConfig('workflow_dir: ../../etc\n'),
    says: /coordinator_config\.yaml:2:15: `workflow_dir` leaves the pack/,
  },
  { name: 'an absolute folder', files: inConfig('case_dir: /etc\n'), says: /`case_dir` leaves the pack/ },
  { name: 'a folder that is not there', files: inConfig('workflow_dir: flows\n'), says: /there is no folder 'flows'/ },
  {
    name: 'a sample rate over one',
    files: inConfig('governance_tiers: {spot_check: {sample_rate: 10}}\n'),
    says: /`governance_tiers\.spot_check\.sample_rate`/,
  },
  { name: 'no domain at all', files: { 'domains/plain.yaml': 'title: none\n' }, says: /no workflow with a domain/ },
  {
    name: 'two workflows of one name',
    files: { 'workflows/same.yaml': workflow },
    says: /'review' is the name in workflows\/review\.yaml too/,
  },
  {
    name: 'a case that is not an object',
    files: { 'cases/a.json': '["text"]' },
    says: /cases\/a\.json:1:2: a case that is not an object/,
  },
  {
    name: 'a case file that is not JSON',
    files: { 'cases/a.json': '{"a": 1, "a": 2}' },
    says: /cases\/a\.json:1:10: /,
  },
  {
    name: 'an orchestrator',
    files: { 'workflows/review.yaml': 'name: review\nmode: agentic\ngoal: find out\n' },
    code: 'CC_ERR_NOT_YET',
    says: /`mode: agentic`.*review\.yaml:2:7/,
  },
  {
    name: 'a delegation',
    files: inConfig('delegations: [{name: a}]\n'),
    code: 'CC_ERR_NOT_YET',
    says: /`delegations`/,
  },
  { name: 'the primitive reflect', files: change('investigate', 'reflect'), code: 'CC_ERR_NOT_YET', says: /`reflect`/ },
  {
    name: 'hiding of personal data',
    files: inDomain('pii_redaction: {enabled: true}\n'),
    code: 'CC_ERR_NOT_YET',
    says: /`pii_redaction`/,
  },
]

function aliasBomb(): string {
  const levels = ['a: &a [x, x, x, x, x, x, x, x, x]']
  for (const [level, name] of [...'bcdefgh'].entries()) {
    const below = String.fromCharCode(97 + level)
    levels.push(`${name}: &${name} [${`*${below}, `.repeat(9)}]`)
  }
  return `${levels.join('\n')}\n`
}

for (const { name, files, says, code = 'CC_ERR_PACK' } of wrongPacks) {
  test(`a pack with ${name} is refused, and told where`, async () => {
    await using folder = await packFolder(files)

    await assert.rejects(loadPack(folder.dir), (error: CoreError) => {
      assert.equal(error.code, code, error.stack)
      assert.match(error.message, says)
      assert.doesNotMatch(error.message + error.remedy, /\{\w+\}|undefined/)
      return true
    })
  })
}

test('a link that leads out of the pack is not followed', async () => {
  await using other = await packFolder()
  await using folder = await packFolder()
  await symlink(join(other.dir, 'domains/plain.yaml'), join(folder.dir, 'domains/other.yaml'))

  await assert.rejects(loadPack(folder.dir), /domains\/other\.yaml: a link that leaves the pack/)
})

test('every problem is counted, so that its author knows how much is left', async () => {
  await using folder = await packFolder({
    'workflows/review.yaml': workflow
      .replace('goto: look_closer', 'goto: nowhere')
      .replace('default: decide', 'default: no'),
  })

  await assert.rejects(loadPack(folder.dir), /nowhere.*\(and 1 more\)/)
})

const noFolders = {
  'that is not there': ['none', 'there is no such folder'],
  'below a file': ['workflows/review.yaml/pack', 'its folder is a file'],
  'that is a file': ['workflows/review.yaml', 'it is not a folder'],
  'that is a link to itself': ['circle', 'its links lead in a circle'],
} as const

for (const [what, [name, why]] of Object.entries(noFolders)) {
  test(`a folder ${what} is refused by name, with the true reason`, async () => {
    await using folder = await packFolder()
    await symlink('circle', join(folder.dir, 'circle'))
    const dir = join(folder.dir, name)

    await assert.rejects(loadPack(dir), { code: 'CC_ERR_NO_PACK', facts: { dir, why } })
  })
}

const oddPacks: readonly { name: string; files: Wrong['files']; warns: RegExp }[] = [
  {
    name: 'a key that stands twice, of which the last counts',
    files: inDomain('a: 1\nb: 2\na: 3\n'),
    warns: /plain\.yaml:5:1: the key 'a' stands on line 3 already/,
  },
  {
    name: 'a text that the domain lacks',
    files: { 'domains/plain.yaml': 'domain_name: plain\n' },
    warns: /review\.yaml:6:19: the domain 'plain' has no/,
  },
  {
    name: 'a reference to no step',
    files: change('criteria: look', 'criteria: ${classification}'),
    warns: /'\$\{classification…\}' names no step/,
  },
  {
    name: 'a condition on a step that is not there',
    files: change("output.category == 'odd'", "outputs.category == 'odd'"),
    warns: /review\.yaml:\d+:\d+: 'outputs' names no step of this workflow/,
  },
  {
    name: 'a setting that no step has',
    files: change('params:', 'max_loop: 3\n    params:'),
    warns: /a step has no setting 'max_loop'/,
  },
  {
    name: 'max_loops where nothing can loop',
    files: change('primitive: investigate', 'primitive: investigate\n    max_loops: 3'),
    warns: /`max_loops` has no effect/,
  },
  {
    name: 'a tier block of another name',
    files: inConfig('governance_tiers: {lenient: {queue: q}}\n'),
    warns: /there is no tier 'lenient'/,
  },
  {
    name: 'a domain for an absent workflow',
    files: { 'domains/other.yaml': 'domain_name: other\nworkflow: absent\n' },
    warns: /other\.yaml:2:11: there is no workflow 'absent'/,
  },
  {
    name: 'a file in the domain folder that is no domain',
    files: { 'domains/notes.yaml': 'title: notes\n' },
    warns: /notes\.yaml:1:1: no `domain_name`/,
  },
]

for (const { name, files, warns } of oddPacks) {
  test(`a pack with ${name} loads with a warning`, async () => {
    await using folder = await packFolder(files)
    const { warnings } = await loadPack(folder.dir)

    assert.equal(warnings.length, 1, warnings.join('\n'))
    assert.match(warnings[0]!, warns)
  })
}

test('of a key that stands twice the last value counts', async () => {
  await using folder = await packFolder({
    'domains/plain.yaml': 'domain_name: plain\nsort: {categories: a}\nsort: {categories: b}\n',
  })
  const { definitions } = await loadPack(folder.dir)

  assert.equal(definitions[0]!.definition.steps[0]!.params.categories, 'b')
})
