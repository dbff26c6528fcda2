import { type Tier, tiers } from '../domain/governance.ts'

/** The tier that a text names, however packs and models write it: `AUTO`, `spot-check`, `Spot check`. */
export function tierNamed(text: string): Tier | undefined {
  const plain = text
    .trim()
    .toLowerCase()
    .replaceAll(/[\s-]+/g, '_')
  return tiers.find((tier) => tier === plain)
}
