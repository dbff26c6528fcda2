import { benchApi } from './api.ts'
import { benchEngine } from './engine.ts'

/** `npm run bench -- NAME`. Run nothing beside it: what counts are ratios within one run, and even those want quiet. */
const benches: Readonly<Record<string, () => Promise<boolean>>> = { api: benchApi, engine: benchEngine }

const name = process.argv[2] ?? ''
const bench = benches[name]
if (bench) {
  process.exitCode = (await bench()) ? 0 : 1
} else {
  console.error(`error: there is no benchmark '${name}'.\n  hint: npm run bench -- ${Object.keys(benches).join('|')}`)
  process.exitCode = 2
}
