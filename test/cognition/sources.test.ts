import assert from 'node:assert/strict'
import { test } from 'node:test'
import { loadPack } from '../../src/cognition/pack.ts'
import { builtIn } from '../../src/cognition/primitives/index.ts'
import { caseTools } from '../../src/cognition/tools.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { packFolder } from './pack-folder.ts'
import { answering, stepCall } from './step-call.ts'

const retrieve = builtIn.get('retrieve')!

async function gathered(input: JsonObject, params: Record<string, string>, more: object = {}) {
  const call = { ...stepCall('retrieve', { specification: 'all', ...params }, { input }), ...more }
  const { output } = await retrieve.run(call)
  return { names: Object.keys(output.data as object), output }
}

test('with `get_*` data every field of the case is a source; labels and hidden keys are none', () => {
  const input = {
    case_id: 'A-1',
    get_file: { n: 1, _note: 'x', risk_score: 3 },
    note: 'text',
    nothing: null,
    description: 'a label',
    fraud_type: 'a label',
    alert_type: 'a label',
    risk_score: 7,
    _expected: 'x',
    ground_truth_tier: 'x',
    correct_answer: 'x',
    failure_mode: 'x',
  }
  assert.deepEqual(Object.fromEntries(caseTools(input, [])), {
    case_id: { value: 'A-1' },
    // Deeper in the data a label is an ordinary word.
    get_file: { n: 1, risk_score: 3 },
    note: { value: 'text' },
    nothing: null,
  })
})

test('fixture data take the place of the fields of a case that brings none; who it is about stays within reach', () => {
  const fixtures = [{ caseId: 'C-7', tools: { get_file: { n: 1 }, get_more: [] } }]
  const input = {
    claim_id: 'C-7',
    policy_number: 'P',
    policyholder: { name: 'Ann' },
    note: 'text',
    get_text: 'no data',
  }
  assert.deepEqual(
    [...caseTools(input, fixtures).keys()],
    ['claim_id', 'policy_number', 'policyholder', 'get_file', 'get_more'],
  )
})

test('documents of the pack are sources of every case, and its own field goes before a document of its name', async () => {
  const documents = [
    { name: 'policy', text: 'rules' },
    { name: 'note', text: 'other' },
  ]
  const { output } = await gathered({ note: 'mine' }, {}, { documents })
  assert.deepEqual(output.data, { policy: { value: 'rules' }, note: { value: 'mine' } })
  assert.deepEqual((await gathered({ note: 'mine' }, { sources: 'policy' }, { documents })).names, ['policy'])
})

test('texts of the document folder are pinned with the definition, wherever it is', async () => {
  await using folder = await packFolder({
    'coordinator_config.yaml': 'domain_dir: domains\ndocument_dir: texts\n',
    'texts/policy.md': '# Policy\n',
    'texts/rules.txt': 'one\n',
    'texts/picture.bin': 'x',
  })
  await using byCustom = await packFolder({ 'documents/policy.txt': 'text' })
  await using without = await packFolder()

  assert.deepEqual((await loadPack(folder.dir)).definitions[0]!.definition.documents, [
    { name: 'policy', text: '# Policy\n' },
    { name: 'rules', text: 'one\n' },
  ])
  assert.equal((await loadPack(byCustom.dir)).definitions[0]!.definition.documents!.length, 1)
  assert.equal((await loadPack(without.dir)).definitions[0]!.definition.documents, undefined)
})

test('`sources` keeps to those it names; what names none there is means all of them', async () => {
  const input = { get_a: { n: 1 }, get_b: { n: 2 }, get_c: { n: 3 } }
  const lists: readonly (readonly [string, readonly string[]])[] = [
    ['get_b', ['get_b']],
    ['get_a, get_c', ['get_a', 'get_c']],
    ['get_c\nget_a', ['get_a', 'get_c']],
    ['all_available', ['get_a', 'get_b', 'get_c']],
    ['', ['get_a', 'get_b', 'get_c']],
  ]
  for (const [sources, expected] of lists) {
    const { names, output } = await gathered(input, { sources })
    assert.deepEqual(names, expected, sources)
    assert.equal((output.sources_skipped as string[]).length, 3 - expected.length)
  }
  // The specification chooses among them.
  assert.deepEqual((await gathered(input, { sources: 'get_a get_b', specification: 'get_b, get_c' })).names, ['get_b'])
})

test('the rating of what came back adds what it cost to what the choice cost', async () => {
  const model = {
    ...answering({}),
    answer: (request: { address: { call: string } }) =>
      Promise.resolve({
        text: JSON.stringify(
          request.address.call === 'select' ? { sources: ['get_a'] } : { confidence: 0.7, reasoning: 'some of it' },
        ),
        model: 'm',
        inputTokens: 10,
        outputTokens: 3,
      }),
  }
  const input = { get_a: { n: 1 }, get_b: { n: 2 } }
  const call = stepCall('retrieve', { specification: 'all', strategy: 'agentic' }, { input, model })
  const { output, ...spent } = await retrieve.run(call)

  assert.deepEqual(spent, { model: 'm', inputTokens: 20, outputTokens: 6 })
  assert.deepEqual(output.data, { get_a: { n: 1 } })
  assert.deepEqual(output.evidence_missing, [])
})

// --- the settlement ---------------------------------------------------------------------------------------------------

const claim = {
  claimed_amounts: {
    property_damage: { building: 27_000.1, contents: 800.2 },
    business_interruption: { total_bi: 10_000, wages: 4_000 },
    machines: 30_000,
    nothing: 0,
  },
}
const policy = {
  property_coverage: { deductible: 2_500 },
  endorsements: [{ category: 'machines', sublimit: 25_000 }, 'a note'],
  business_income: { coinsurance: 50, limit: 100_000, annual_revenue: 400_000 },
}

test('a settlement is computed to the cent: sublimits, coinsurance, deductible', () => {
  const tools = caseTools({ get_claim: claim, get_policy: policy }, [])
  assert.deepEqual(tools.get('calculate_settlement'), {
    category_totals: { property_damage: 27_800.3, business_interruption: 5_000, machines: 25_000 },
    total_verified: 57_800.3,
    deductible_applied: 2_500,
    net_payable: 55_300.3,
    sublimits_applied: ['machines'],
    coinsurance_applied: true,
    line_item_count: 3,
  })
})

test('what a policy does not state is not guessed, and a deductible never makes a debt', () => {
  const small = { claimed_amounts: { property_damage: 100 } }
  const bare = caseTools({ get_claim: { data: small } }, []).get('calculate_settlement') as JsonObject
  assert.equal(bare.net_payable, 100)
  assert.equal(bare.coinsurance_applied, false)
  const deducted = caseTools({ get_claim: small, get_policy: { deductible: 250 } }, []).get('calculate_settlement')
  assert.equal((deducted as JsonObject).net_payable, 0)
})

test('a fixture may announce the calculation and not decide its result; without amounts there is none', () => {
  const forged = { caseId: 'C-7', tools: { get_claim: claim, calculate_settlement: { net_payable: 1 } } }
  const computed = caseTools({ claim_id: 'C-7' }, [forged]).get('calculate_settlement') as JsonObject
  assert.equal(computed.net_payable, 67_800.3)
  assert.equal(
    caseTools({ get_policy: policy, get_claim: { claimed_amounts: {} } }, []).has('calculate_settlement'),
    false,
  )
  assert.equal(caseTools({ get_claim: null, get_policy: [] }, []).has('calculate_settlement'), false)
})
