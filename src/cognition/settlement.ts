import { type Json, isJsonObject, type JsonObject } from '../domain/json.ts'

/** The name under which retrieve offers the calculation. */
export const settlementTool = 'calculate_settlement'

/**
 * What an insurance claim comes to, computed and not estimated: the claimed amounts by category, each cut to its
 * sublimit, the lost income cut where the cover carried is smaller than the cover required, less the deductible. The
 * amounts are those of `get_claim`, the terms those of `get_policy`; undefined where the claim states no amounts.
 */
export function calculateSettlement(tools: ReadonlyMap<string, Json>): JsonObject | undefined {
  const claim = mapAt(tools.get('get_claim'), 'data')
  const policy = mapAt(tools.get('get_policy'), 'data')
  const amounts = Object.entries(mapAt(claim, 'claimed_amounts', {})).flatMap(([category, written]): Amount[] => {
    const cents = centsIn(written)
    return cents > 0 ? [{ category, cents }] : []
  })
  if (amounts.length === 0) return undefined

  const sublimits = sublimitsOf(policy)
  const ratio = coinsuranceRatio(mapAt(policy, 'business_income', {}))
  const payable = amounts.map(({ category, cents }) => {
    const limited = Math.min(cents, sublimits.get(category) ?? Infinity)
    return { category, cents: category === incomeCategory ? Math.round(limited * ratio) : limited }
  })
  const total = payable.reduce((sum, { cents }) => sum + cents, 0)
  const deductible = centsOf(mapAt(policy, 'property_coverage', {}).deductible ?? policy.deductible)
  return {
    category_totals: Object.fromEntries(payable.map(({ category, cents }) => [category, cents / 100])),
    total_verified: total / 100,
    deductible_applied: deductible / 100,
    net_payable: Math.max(0, total - deductible) / 100,
    sublimits_applied: amounts.flatMap(({ category, cents }) =>
      cents > (sublimits.get(category) ?? Infinity) ? [category] : [],
    ),
    coinsurance_applied: ratio < 1 && payable.some(({ category }) => category === incomeCategory),
    line_item_count: amounts.length,
  }
}

interface Amount {
  readonly category: string
  readonly cents: number
}

const incomeCategory = 'business_interruption'

/** One amount, the total that a breakdown states (`total…`), or the sum of its parts. */
function centsIn(written: Json): number {
  if (!isJsonObject(written)) return centsOf(written)
  const parts = Object.entries(written)
  const total = parts.find(([key]) => key.startsWith('total'))
  return total ? centsOf(total[1]) : parts.reduce((sum, [, part]) => sum + centsOf(part), 0)
}

function sublimitsOf(policy: JsonObject): ReadonlyMap<string, number> {
  const { endorsements } = policy
  const limits = new Map<string, number>()
  for (const item of Array.isArray(endorsements) ? (endorsements as readonly Json[]) : []) {
    const name = isJsonObject(item) ? (item.category ?? item.name) : undefined
    if (isJsonObject(item) && typeof name === 'string' && typeof item.sublimit === 'number') {
      limits.set(name, centsOf(item.sublimit))
    }
  }
  return limits
}

/** The share that is paid: the cover carried over the cover required. What the policy does not state is not guessed. */
function coinsuranceRatio({ coinsurance, limit, annual_revenue: revenue }: JsonObject): number {
  const percent = typeof coinsurance === 'number' && coinsurance > 1 ? coinsurance / 100 : coinsurance
  const required = typeof percent === 'number' && typeof revenue === 'number' ? percent * revenue : 0
  return typeof limit === 'number' && required > limit && limit > 0 ? limit / required : 1
}

/** Money is counted in cents: halves of a cent would come and go with binary fractions. */
function centsOf(value: Json | undefined): number {
  return typeof value === 'number' && value > 0 ? Math.round(value * 100) : 0
}

/** The map under a key; without one what is given in its place, by default the map around it. */
function mapAt(value: Json | undefined, key: string, otherwise?: JsonObject): JsonObject {
  const around = isJsonObject(value) ? value : {}
  const inside = around[key]
  return isJsonObject(inside) ? inside : (otherwise ?? around)
}
