/** A pack that uses the language widely and has nothing to be said against it: the ground for the broken ones. */
export const goodPack = {
  'coordinator_config.yaml': `domain_dir: domains
case_dir: cases
governance_tiers:
  spot_check: { queue: samples, sla: 7200, sample_rate: 0.2 }
  gate: { queue: officers, sla: 3600 }
overrides: { '*': spot_check }
quality_gates:
  min_confidence: 0.5
  primitive_floors: { classify: 0.6 }
  escalation_tier: gate
  exempt_domains: [plain]
`,
  'workflows/review.yaml': `name: review
description: Look at a request.
steps:
  - name: gather
    primitive: retrieve
    params:
      specification: \${domain.gather.specification}
  - name: sort
    primitive: classify
    model: fast
    temperature: 0
    params:
      categories: \${domain.sort.categories}
      criteria: |
        Amount: \${input.amount}
        File: \${gather.data.get_file}
        \${domain.criteria}
    transitions:
      - when: "output.category == 'odd' and output.confidence >= 0.6"
        goto: look_closer
      - when: "\${domain.sort.skip}"
        goto: decide
      - default: weigh
  - name: look_closer
    primitive: investigate
    max_loops: 3
    loop_fallback: weigh
    params: { question: Why so?, scope: all of it }
    transitions:
      - when: "output.confidence < 0.4 and _loop_count < 3"
        goto: look_closer
      - agent_decide:
          prompt: "Found: \${look_closer.finding}"
          options:
            - step: weigh
              description: It is clear.
            - step: look_closer
              description: It is not.
  - name: weigh
    primitive: deliberate
    params:
      instruction: Choose, given \${sort.category} and \${look_closer.finding}.
      focus: \${_last_investigate.finding} after \${_loop_count.look_closer} looks
  - name: decide
    primitive: govern
    params:
      workflow_state: \${accumulated}
      governance_context: \${domain.decide.governance_context}
`,
  'domains/plain.yaml': `domain_name: plain
gather:
  specification: Use get_file.
sort:
  categories: |
    - odd: not as usual
    - even: as usual
  skip: "output.category == 'even'"
criteria: Look at \${input.amount} first.
decide:
  governance_context: AUTO always.
`,
  'cases/a.json': `[
  { "case_id": "A-1", "amount": 5, "get_file": { "n": 1 }, "_expected": "even" },
  { "case_id": "A-2", "amount": 7, "get_file": { "n": 2 } }
]
`,
  'cases/fixtures/b_tools.json': `{ "_case_id": "B-1", "get_file": { "n": 3 } }
`,
  'scripted.yaml': `- when: { case: A-1, step: sort }
  output: { confidence: 0.9, reasoning: plain, category: even }
- when: { step: decide }
  output: { confidence: 0.9, reasoning: plain, tier_applied: auto, tier_rationale: always, disposition: proceed }
- when: { step: look_closer, call: route }
  output: { chosen_step: weigh, reasoning: clear }
`,
} as const

type FileName = keyof typeof goodPack

/** A pack with one fault. In what it changes, `«` stands right before the place that must be named. */
export interface BrokenPack {
  readonly name: string
  readonly file: string
  readonly text: string
  /** What is said there, or a part of it. */
  readonly says: RegExp
  /** What would be right, or a part of it. */
  readonly right?: RegExp
  readonly severity: 'error' | 'warning'
  /** A fault of the kind that the JSON Schema of this file must find too. */
  readonly isOfType?: boolean
}

const broken: BrokenPack[] = []

interface Fault {
  readonly says: RegExp
  readonly right?: RegExp
  readonly isOfType?: boolean
}

function spoil(severity: BrokenPack['severity'], name: string, file: FileName, from: string, to: string, fault: Fault) {
  const good: string = goodPack[file]
  if (good.split(from).length !== 2) throw new Error(`${name}: ${from} does not stand once in ${file}`)
  broken.push({ severity, name, file, text: good.replace(from, () => to), ...fault })
}

const error = (name: string, file: FileName, from: string, to: string, says: RegExp, more: Partial<Fault> = {}) =>
  spoil('error', name, file, from, to, { says, ...more })
const warning = (name: string, file: FileName, from: string, to: string, says: RegExp, right?: RegExp) =>
  spoil('warning', name, file, from, to, { says, ...(right && { right }) })
const added = (severity: BrokenPack['severity'], name: string, file: string, text: string, says: RegExp) =>
  broken.push({ severity, name, file, text, says })
const type = { isOfType: true }

const workflow = 'workflows/review.yaml'
const domain = 'domains/plain.yaml'
const config = 'coordinator_config.yaml'
const cases = 'cases/a.json'
const script = 'scripted.yaml'

// YAML and JSON that cannot be read
error('a list that does not close', domain, 'specification: Use get_file.', 'specification: [Use\n«sort2: 1', /./)
error('a tab for an indent', domain, '  specification:', '«\tspecification:', /[Tt]ab/)
error('two documents in one file', domain, 'sort:\n', '«---\nsort:\n', /document/)
error('a tag of its own', domain, 'criteria: Look', 'criteria: «!run Look', /tag/i)
error('the key __proto__', domain, 'criteria: Look', '«__proto__: Look', /__proto__/)
error('a number too large to keep', domain, 'decide:\n', 'limit: «9007199254740993\ndecide:\n', /too large to keep/)
error('a number that is none', domain, 'decide:\n', 'limit: «.inf\ndecide:\n', /number/)
error('a case file that breaks off', cases, '"n": 2 } }\n]\n', '"n": 2 } }\n«', /broken/)
error('a case file with a key twice', cases, '"amount": 7,', '"amount": 7, «"amount": 8,', /twice/)
error('a fixture that is no JSON', 'cases/fixtures/b_tools.json', '{ "n": 3 }', '«three', /broken|JSON/)
warning(
  'a key that stands twice',
  domain,
  'criteria: Look',
  'criteria: none\n«criteria: Look',
  /stands on line \d+ already/,
)

// Types and shapes
error('no name', workflow, 'name: review\n', '', /`name` is missing/, type)
error('a name with a path in it', workflow, 'name: review\n', 'name: «../review\n', /`name`/, type)
error('steps that are no list', workflow, 'steps:\n', 'steps: «none\nrest:\n', /`steps`/, type)
error(
  'a step without a name',
  workflow,
  '  - name: gather\n    primitive',
  '  - «primitive',
  /`steps\.0\.name` is missing/,
  type,
)
error(
  'a step without a primitive',
  workflow,
  '    primitive: investigate\n',
  '',
  /`steps\.2\.primitive` is missing/,
  type,
)
error('a step that is a word', workflow, '  - name: decide\n', '  - «stop\n  - name: decide\n', /`steps\.4`/, type)
error(
  'params that are a list',
  workflow,
  'params: { question: Why so?, scope: all of it }',
  'params: «[Why so?, all of it]',
  /`steps\.2\.params`/,
  type,
)
error('a temperature in words', workflow, 'temperature: 0', 'temperature: «cold', /`steps\.1\.temperature`/, type)
error('a temperature too hot', workflow, 'temperature: 0', 'temperature: «3', /`steps\.1\.temperature`/, type)
error('max_loops of zero', workflow, 'max_loops: 3', 'max_loops: «0', /`steps\.2\.max_loops`/, type)
error('max_loops in words', workflow, 'max_loops: 3', 'max_loops: «three', /`steps\.2\.max_loops`/, type)
error('a model that is a number', workflow, 'model: fast', 'model: «4', /`steps\.1\.model`/, type)
error('a time limit of minus one', workflow, 'temperature: 0', 'timeout_seconds: «-1', /timeout_seconds/, type)
error('a misspelt setting of retry', workflow, 'temperature: 0', 'retry: «{ attempts: 3 }', /retry/, type)
error('an effect of perhaps', workflow, 'temperature: 0', 'external_effect: «perhaps', /external_effect/, type)
error(
  'transitions that are a word',
  workflow,
  'transitions:\n      - when: "output.confidence < 0.4 and _loop_count < 3"\n        goto: look_closer\n      - agent_decide:',
  'transitions: «look_closer\n    more:\n      - agent_decide:',
  /`transitions` is no list/,
  type,
)
error(
  'a condition without a goto',
  workflow,
  '        goto: look_closer\n      - when: "${domain.sort.skip}"',
  '      - when: "${domain.sort.skip}"',
  /either `when` with `goto`/,
  type,
)
error(
  'a goto and a default in one',
  workflow,
  '      - default: weigh',
  '      - «default: weigh\n        goto: decide',
  /either `when` with `goto`/,
  type,
)
error(
  'a choice without options',
  workflow,
  'options:\n            - step: weigh\n              description: It is clear.\n            - step: look_closer\n              description: It is not.',
  'options: «[]',
  /options/,
  type,
)
error(
  'a choice without a prompt',
  workflow,
  '          prompt: "Found: ${look_closer.finding}"\n          options',
  '          options',
  /prompt` is missing/,
  type,
)
error(
  'a governance that is a number',
  workflow,
  'description: Look at a request.',
  'governance: «3',
  /`governance`/,
  type,
)
error('a sample rate over one', config, 'sample_rate: 0.2', 'sample_rate: «20', /sample_rate/, type)
error('a floor in words', config, '{ classify: 0.6 }', '{ classify: «high }', /primitive_floors\.classify/, type)
error('a least confidence below zero', config, 'min_confidence: 0.5', 'min_confidence: «-0.5', /min_confidence/, type)
error('a time of zero', config, 'sla: 3600', 'sla: «0', /sla/, type)
error('a queue that is a list', config, 'queue: officers', 'queue: «[officers]', /queue/, type)
error(
  'overrides that are a list',
  config,
  "overrides: { '*': spot_check }",
  'overrides: «[spot_check]',
  /overrides/,
  type,
)
error(
  'exempt domains that are a word',
  config,
  'exempt_domains: [plain]',
  'exempt_domains: «plain',
  /exempt_domains/,
  type,
)
error('a domain name that is a number', domain, 'domain_name: plain', 'domain_name: «7', /`domain_name`/, type)
error('a folder that is a number', config, 'case_dir: cases', 'case_dir: «7', /case_dir/, type)
error(
  'a case that is a text',
  cases,
  '{ "case_id": "A-2", "amount": 7, "get_file": { "n": 2 } }',
  '«"A-2"',
  /not an object/,
)
error(
  'fixture data that are a list',
  'cases/fixtures/b_tools.json',
  '{ "_case_id": "B-1", "get_file": { "n": 3 } }',
  '«[]',
  /no object/,
)
warning(
  'fixture data of nobody',
  'cases/fixtures/b_tools.json',
  '{ "_case_id": "B-1", "get_file"',
  '«{ "get_file"',
  /no `_case_id`/,
)

// Names
error(
  'two steps of one name',
  workflow,
  '  - name: decide\n',
  '  - name: «sort\n    primitive: verify\n    params: { rules: one }\n  - name: decide\n',
  /two steps are called 'sort'/,
)
error(
  'a step called like a word of conditions',
  workflow,
  '  - name: gather\n',
  '  - name: «previous\n',
  /'previous' has a meaning/,
)
error(
  'a primitive nobody knows',
  workflow,
  'primitive: investigate',
  'primitive: «investigat',
  /no primitive 'investigat'/,
  { right: /did you mean 'investigate'/ },
)
error('a way to a step that is not there', workflow, 'goto: decide', 'goto: «decode', /no step 'decode'/, {
  right: /did you mean 'decide'/,
})
error('a default to a step that is not there', workflow, '- default: weigh', '- default: «weight', /no step 'weight'/, {
  right: /did you mean 'weigh'/,
})
error('an option that is not there', workflow, '- step: look_closer', '- step: «look_away', /no step 'look_away'/)
error(
  'a fallback that is not there',
  workflow,
  'loop_fallback: weigh',
  'loop_fallback: «__stop__',
  /no step '__stop__'/,
)
error(
  'two defaults',
  workflow,
  '      - default: weigh',
  '      - default: weigh\n      - «default: decide',
  /more than one `default`/,
)
warning(
  'a condition that stands twice',
  workflow,
  '      - default: weigh',
  '      - when: «"${domain.sort.skip}"\n        goto: weigh\n      - default: weigh',
  /same condition/,
)
warning(
  'a default beside a choice of the model',
  workflow,
  '              description: It is not.\n',
  '              description: It is not.\n      - «default: weigh\n',
  /never reached/,
)
warning(
  'a setting that no step has',
  workflow,
  'max_loops: 3',
  'max_loops: 3\n    «max_loop: 4',
  /no setting 'max_loop'/,
  /did you mean 'max_loops'/,
)
warning(
  'a setting that no workflow has',
  workflow,
  'description: Look at a request.',
  '«descripton: Look.',
  /no setting 'descripton'/,
  /did you mean 'description'/,
)
warning(
  'a setting that no option has',
  workflow,
  'description: It is clear.',
  '«descrption: It is clear.',
  /an option has no setting/,
)
warning(
  'a setting that no configuration has',
  config,
  'overrides:',
  '«overides:',
  /no setting 'overides'/,
  /did you mean 'overrides'/,
)
warning(
  'a setting that no tier has',
  config,
  'sample_rate: 0.2',
  '«samplerate: 0.2',
  /no setting 'samplerate'/,
  /did you mean 'sample_rate'/,
)
warning(
  'a setting that quality gates have not',
  config,
  '  min_confidence: 0.5',
  '  «minconfidence: 0.5',
  /no setting 'minconfidence'/,
  /min_confidence/,
)
warning(
  'a governance that slipped',
  domain,
  'criteria: Look',
  '«governace: gate\ncriteria: Look',
  /no setting 'governace'/,
  /did you mean 'governance'/,
)
warning(
  'a tier nobody knows',
  domain,
  'criteria: Look',
  'governance: «gat\ncriteria: Look',
  /no tier 'gat': it counts as gate/,
  /did you mean 'gate'/,
)
warning('a block for a tier nobody knows', config, '  gate: {', '  «gates: {', /no tier 'gates'/, /did you mean 'gate'/)
warning(
  'a floor of a primitive nobody knows',
  config,
  '{ classify: 0.6 }',
  '{ «classifier: 0.6 }',
  /no primitive 'classifier'/,
)
warning(
  'an exemption of a domain that is not there',
  config,
  'exempt_domains: [plain]',
  'exempt_domains: [«plan]',
  /no domain 'plan'/,
  /did you mean 'plain'/,
)
warning(
  'an override of a domain that is not there',
  config,
  "{ '*': spot_check }",
  '{ «plan: spot_check }',
  /no domain 'plan'/,
)
added(
  'error',
  'two workflows of one name',
  'workflows/second.yaml',
  'name: «review\nsteps: [{ name: a, primitive: verify, params: { rules: r } }]\n',
  /'review' is the name in workflows\/review\.yaml too/,
)
added(
  'error',
  'two domains of one name',
  'domains/second.yaml',
  'domain_name: «plain\nsort: { categories: "odd, even", skip: "output.category == odd" }\n',
  /'plain' is the name in domains\/plain\.yaml too/,
)
added(
  'warning',
  'a domain for a workflow that is not there',
  'domains/other.yaml',
  'domain_name: other\nworkflow: «revue\n',
  /no workflow 'revue'/,
)
added(
  'warning',
  'a domain that goes with nothing',
  'domains/other.yaml',
  'domain_name: «other\n',
  /no workflow of this pack goes with it/,
)
added(
  'warning',
  'a workflow that goes with nothing',
  'workflows/other.yaml',
  'name: «other\nsteps: [{ name: a, primitive: verify, params: { rules: "${domain.a.rules}" } }]\n',
  /no domain of this pack goes with it/,
)
added(
  'warning',
  'a file among the domains that is none',
  'domains/notes.yaml',
  '«title: notes\n',
  /not read as a domain/,
)
warning(
  'two cases of one id',
  cases,
  '{ "case_id": "A-2"',
  '«{ "case_id": "A-1"',
  /the case 'A-1' stands at cases\/a\.json:2:3 already/,
)

// Parameters
error(
  'a parameter that is missing',
  workflow,
  'params: { question: Why so?, scope: all of it }',
  'params: { question: Why so? }',
  /look_closer: `scope` is missing/,
)
error('a parameter that is empty', workflow, 'scope: all of it }', '«scope: "  " }', /look_closer: `scope` is empty/)
error(
  'a parameter whose text in the domain is empty',
  domain,
  'governance_context: AUTO always.',
  'governance_context: ""',
  /`governance_context` is empty/,
)
error(
  'a parameter under a name that slipped',
  workflow,
  'scope: all of it }',
  'scpe: all of it }',
  /`scope` is missing/,
  { right: /did you mean 'scpe'/ },
)
warning(
  'a parameter that the primitive does not have',
  workflow,
  'scope: all of it }',
  'scope: all of it, «efort_level: deep }',
  /no parameter 'efort_level'/,
  /did you mean 'effort_level'/,
)
warning(
  'a strategy nobody knows',
  workflow,
  'specification: ${domain.gather.specification}',
  'specification: all\n      «strategy: agent',
  /`strategy` 'agent' counts as deterministic/,
)
warning(
  'a threshold that is no share',
  workflow,
  '      criteria: |',
  '      «confidence_threshold: 70\n      criteria: |',
  /`confidence_threshold` '70' is no share/,
)

// References
warning(
  'a text that the domain lacks',
  workflow,
  'categories: ${domain.sort.categories}',
  'categories: «${domain.sort.categorys}',
  /the domain 'plain' has no 'sort\.categorys'/,
  /did you mean 'categories'/,
)
warning(
  'a step that is not there',
  workflow,
  'given ${sort.category} and',
  'given «${short.category} and',
  /'\$\{short…\}' names no step/,
  /did you mean 'sort'/,
)
warning(
  'a field of the case without its `input`',
  workflow,
  'given ${sort.category} and',
  'given «${amount} and',
  /'\$\{amount…\}' names no step/,
  /did you mean 'input\.amount'/,
)
warning(
  'a step that can never have run before',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «${weigh.warrant}',
  /'weigh' can never have run before 'sort'/,
)
warning(
  'what a step says before it has run',
  workflow,
  'given ${sort.category} and',
  'given «${weigh.warrant} and',
  /'weigh' has no output before it has run/,
)
warning(
  'a field that no case has',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «${input.amout}',
  /none of the pack's cases has 'amout'/,
  /did you mean 'amount'/,
)
warning(
  'a field that no case has, in a text of the domain',
  domain,
  'Look at ${input.amount}',
  'Look at «${input.amont}',
  /none of the pack's cases has 'amont'/,
)
warning(
  'a source that no case has',
  workflow,
  'File: ${gather.data.get_file}',
  'File: «${gather.data.get_files}',
  /no case of the pack has the source 'get_files'/,
  /did you mean 'get_file'/,
)
warning(
  'a field that a primitive does not declare',
  workflow,
  'and ${look_closer.finding}.',
  'and «${look_closer.findings}.',
  /investigate declares no field 'findings'/,
  /did you mean 'finding'/,
)
warning(
  'the latest of a primitive that is not used',
  workflow,
  'focus: ${_last_investigate.finding}',
  'focus: «${_last_verify.conforms}',
  /no step of this workflow is a 'verify'/,
)
warning(
  'loops of a step that is not there',
  workflow,
  '${_loop_count.look_closer}',
  '«${_loop_count.look}',
  /'\$\{look…\}' names no step/,
)
warning(
  'a hidden key',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «${input._expected}',
  /'_expected' is never shown/,
)
warning(
  'a reference that does not close',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «${input.amount',
  /no reference/,
)
warning(
  'a reference without its brace',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «$input.amount}',
  /without its `\{`/,
)
warning(
  'a reference without its dollar',
  workflow,
  'Amount: ${input.amount}',
  'Amount: «{input.amount}',
  /without its `\$`/,
)
warning(
  'a domain reference within the domain',
  domain,
  'Look at ${input.amount}',
  'Look at «${domain.limit}',
  /not filled in within a text of the domain/,
)
warning(
  'output outside of conditions',
  workflow,
  'given ${sort.category} and',
  'given «${output.category} and',
  /in conditions only/,
)

// Conditions
error(
  'three signs for equal',
  workflow,
  "output.category == 'odd' and",
  "output.category ==«= 'odd' and",
  /= means nothing here/,
)
error(
  'a condition that ends too soon',
  workflow,
  'output.confidence < 0.4 and _loop_count < 3',
  'output.confidence < 0.4 and _loop_count <',
  /the end stands where a value is due/,
)
error(
  'a condition without an operator',
  workflow,
  'output.confidence < 0.4 and _loop_count < 3',
  'output.confidence «0.4',
  /stands where an operator is due/,
)
error(
  'a condition of the domain that cannot be read',
  domain,
  'skip: "output.category == \'even\'"',
  'skip: "output.category «&& \'even\'"',
  /& means nothing here/,
)
error(
  'a condition that the domain lacks',
  workflow,
  '${domain.sort.skip}',
  '${domain.sort.skp}',
  /the domain 'plain' has no 'sort\.skp'/,
)
error('an empty condition', workflow, 'when: "output.confidence < 0.4 and _loop_count < 3"', 'when: «""', /when/)
warning(
  'a condition on a step that is not there',
  workflow,
  "output.category == 'odd' and",
  "«outputs.category == 'odd' and",
  /'outputs' names no step/,
)
warning(
  'a condition on a step that never ran before',
  workflow,
  "output.category == 'odd' and",
  "«weigh.warrant == 'odd' and",
  /'weigh' can never have run before 'sort'/,
)
warning(
  'a condition on a field that is not declared',
  workflow,
  "output.category == 'odd' and",
  "«output.categry == 'odd' and",
  /classify declares no field 'categry'/,
  /did you mean 'category'/,
)
warning(
  'a category that is not on the list',
  workflow,
  "output.category == 'odd' and",
  "«output.category == 'od' and",
  /'od' is not among the categories of sort/,
)
warning(
  'a category that is only a part of one on the list',
  domain,
  '- even: as usual\n  skip: "output',
  '- not-even: as usual\n  skip: "«output',
  /'even' is not among the categories/,
)
warning(
  'a category of the domain that is not on the list',
  domain,
  'skip: "output.category == \'even\'"',
  "skip: \"«output.category in ['even', 'evn']\"",
  /'evn' is not among the categories/,
)
warning(
  'a number in quotes',
  workflow,
  'output.confidence >= 0.6',
  "«output.confidence == '0.6'",
  /'output\.confidence' is never "0\.6"/,
  /without quotes/,
)
warning(
  'a list that is compared with a number',
  workflow,
  'output.confidence < 0.4 and',
  'output.confidence < 0.4 and «output.evidence_flags == 0 and',
  /'output\.evidence_flags' is never 0/,
  /len\(/,
)
warning(
  'a field of the case that no case has, in a condition',
  workflow,
  "output.category == 'odd' and",
  '«input.amont > 5 and',
  /none of the pack's cases has 'amont'/,
)
warning(
  'a count that the bound never reaches',
  workflow,
  '_loop_count < 3',
  '«_loop_count >= 3',
  /`max_loops` ends the loop before/,
)

// Ways
warning(
  'a step to which no way leads',
  workflow,
  '  - name: decide\n',
  '    transitions: [{ default: decide }]\n  - name: «lost\n    primitive: verify\n    params: { rules: one }\n  - name: decide\n',
  /no way leads to 'lost'/,
)
warning(
  'a step from which no way leads to the end',
  workflow,
  'governance_context: ${domain.decide.governance_context}\n',
  'governance_context: ${domain.decide.governance_context}\n    transitions: [{ default: decide }]\n',
  /no way leads from/,
)
warning(
  'a bound where nothing is decided',
  workflow,
  'primitive: deliberate\n',
  'primitive: deliberate\n    «max_loops: 2\n',
  /`max_loops` has no effect without a `when`/,
)
warning(
  'a fallback without a bound',
  workflow,
  '    max_loops: 3\n    loop_fallback',
  '    «loop_fallback',
  /`loop_fallback` has no effect/,
)
warning('a bound of one', workflow, 'max_loops: 3', '«max_loops: 1', /sends every case to the fallback/)

// Paths
error('a folder outside of the pack', config, 'case_dir: cases', 'case_dir: «../cases', /`case_dir` leaves the pack/)
error('an absolute folder', config, 'domain_dir: domains', 'domain_dir: «/etc', /`domain_dir` leaves the pack/)
error('a folder that is not there', config, 'case_dir: cases', 'case_dir: «case', /no folder 'case'/)

// Scripted answers
error(
  'a script that is no list',
  script,
  '- when: { case: A-1, step: sort }\n  output: { confidence: 0.9, reasoning: plain, category: even }\n',
  '«when: { case: A-1 }\nmore:\n',
  /a script is a list/,
)
error('an answer to nothing', script, '- when: { step: decide }\n', '- wen: { step: decide }\n', /when/)
error(
  'an entry that says nothing',
  script,
  '  output: { confidence: 0.9, reasoning: plain, category: even }\n',
  '',
  /neither `output` nor `error`/,
)
error(
  'two answers to the same calls',
  script,
  '- when: { step: decide }',
  '- when: { case: A-1, step: sort }\n  error: timeout\n- when: { step: decide }',
  /answers the same calls/,
)
error(
  'a key twice in an answer',
  script,
  'category: even }',
  'category: even, «category: odd }',
  /unique|twice|duplicate/i,
)
warning(
  'an answer for a step that is not there',
  script,
  'step: decide',
  'step: «decode',
  /no workflow has a step 'decode'/,
  /did you mean 'decide'/,
)
warning('an answer for a case that is not there', script, 'case: A-1', 'case: «A-9', /the pack has no case 'A-9'/)
warning(
  'an answer that would be refused',
  script,
  'confidence: 0.9, reasoning: plain, category',
  'confidence: «9, reasoning: plain, category',
  /classify would refuse it/,
)

warning(
  'a scripted choice that is no option',
  script,
  'chosen_step: weigh',
  'chosen_step: «decide',
  /'decide' is no option of 'look_closer'/,
)

// What later versions run
error(
  'a delegation',
  config,
  'case_dir: cases',
  'case_dir: cases\ndelegations: «[{ name: a }]',
  /`delegations`.*not part of this version/,
)
error(
  'an orchestrator',
  workflow,
  'description: Look at a request.',
  'mode: «agentic',
  /`mode: agentic`.*not part of this version/,
)
error(
  'the primitive reflect',
  workflow,
  'primitive: investigate',
  'primitive: «reflect',
  /`reflect`.*not part of this version/,
)
error(
  'triggers over measures',
  config,
  '  min_confidence: 0.5',
  '  gate_triggers: «[not_warranted]',
  /`gate_triggers`.*not part of this version/,
)
error(
  'hiding of personal data',
  domain,
  'criteria: Look',
  'pii_redaction: «{ enabled: true }\ncriteria: Look',
  /`pii_redaction`.*not part of this version/,
)

export const brokenPacks: readonly BrokenPack[] = broken
