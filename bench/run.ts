import { parseArgs } from 'node:util'
import { benchApi } from './api.ts'
import { benchEngine } from './engine.ts'
import { benchEnginePostgres } from './engine-postgres.ts'

/**
 * `npm run bench -- NAME [--backend postgres]`. Run nothing beside it: what counts are ratios within one run, and even
 * those want quiet. On PostgreSQL it runs in the database that CC_DB_DSN names.
 */
const benches: Readonly<Record<string, () => Promise<boolean>>> = {
  api: benchApi,
  engine: benchEngine,
  'engine --backend postgres': () => benchEnginePostgres(process.env.CC_DB_DSN!),
}

const { positionals, values } = parseArgs({ allowPositionals: true, options: { backend: { type: 'string' } } })
const name = [positionals[0] ?? '', ...(values.backend ? ['--backend', values.backend] : [])].join(' ')
const bench = benches[name]
if (bench) {
  process.exitCode = (await bench()) ? 0 : 1
} else {
  console.error(`error: there is no benchmark '${name}'.\n  hint: npm run bench -- ${Object.keys(benches).join(' | ')}`)
  process.exitCode = 2
}
