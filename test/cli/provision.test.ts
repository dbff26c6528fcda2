import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { parseDsn } from '../../src/storage/postgres-address.ts'
import { runHere } from './cli.ts'

/** A text that is held to the letter: these commands are typed against accounts that cost money. */
const golden = (name: string) => readFileSync(join(import.meta.dirname, 'golden', name), 'utf8')

const azure = (...flags: readonly string[]) => runHere(['provision', 'azure', ...flags], {})

test('provision azure prints the commands, with a name for everything that has none', async () => {
  const { code, stdout, stderr } = await azure()
  assert.deepEqual([code, stderr], [0, ''])
  assert.equal(stdout, golden('provision-azure.sh'))
})

test('names and sizes go where they belong; a burstable size is said to be for trials, and has no pooler', async () => {
  const place = ['--resource-group', 'rg-(claims)', '--name', 'claims-db', '--location', 'westeurope']
  const { stdout } = await azure(...place, '--sku', 'Standard_B1ms', '--version', '16', '--storage-gb', '32')
  assert.equal(stdout, golden('provision-azure-burstable.sh'))
})

test('a memory optimized size has its tier', async () => {
  const { stdout } = await azure('--sku', 'Standard_E4ds_v5')
  assert.match(stdout, /--tier MemoryOptimized --sku-name Standard_E4ds_v5 /)
})

test('no secret is printed, and none is asked for on a command line', async () => {
  for (const flags of [[], ['--sku', 'Standard_B2s'], ['--json']]) {
    const { stdout } = await azure(...flags)
    assert.doesNotMatch(stdout, /--(admin-)?password |PGPASSWORD|--secret|:[^/\s]+@/)
    assert.match(stdout, /--password-auth Disabled/)
    assert.doesNotMatch(stdout, /--public-access (All|0\.0\.0\.0|None|Enabled)/)
  }
})

test('a shell takes the text as it is, and every az command has its words', () => {
  for (const name of ['provision-azure.sh', 'provision-azure-burstable.sh']) {
    const script = `az() { printf '%s\\0' "$@"; printf '\\n'; }\nset -eu\n${golden(name).replaceAll('az ad group', 'true az ad group')}`
    const { status, stdout, stderr } = spawnSync('sh', { input: script, encoding: 'utf8' })
    assert.deepEqual([status, stderr], [0, ''])
    const commands = stdout
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\0'))
    const named = commands.map((words) =>
      words
        .slice(
          0,
          words.findIndex((word) => word.startsWith('-')),
        )
        .join(' '),
    )
    assert.deepEqual(named, [
      'postgres flexible-server create',
      'postgres flexible-server db create',
      ...(name === 'provision-azure.sh' ? ['postgres flexible-server parameter set'] : []),
      ...Array<string>(3).fill('appconfig kv set'),
    ])
    if (name !== 'provision-azure.sh') assert.ok(commands[0]!.includes('rg-(claims)'))
  }
})

test('with --json it is the same commands, and the settings that the service then needs', async () => {
  const { steps, settings } = JSON.parse((await azure('--json')).stdout)
  const script = golden('provision-azure.sh')
  const joined = script.replaceAll(' \\\n  ', ' ')
  for (const { command } of steps) assert.ok(joined.includes(`${command}\n`), command)
  assert.deepEqual(Object.keys(settings), ['CC_DB_BACKEND', 'CC_DB_AUTH', 'CC_DB_DSN'])
  const { host, database, password, ssl, warnings } = parseDsn(settings.CC_DB_DSN)
  assert.equal(host, 'cognitive-core-db.postgres.database.azure.com')
  assert.deepEqual([database, password, ssl, warnings], ['cognitive_core', undefined, {}, []])
})

const wrong = [
  ['--version', '14'],
  ['--version', '19'],
  ['--version', 'latest'],
  ['--sku', 'B1ms'],
  ['--sku', 'Standard_F2s_v2'],
  ['--sku', 'Standard_D2ds_v5; rm -rf /'],
  ['--storage-gb', '50'],
  ['--storage-gb', '32768'],
  ['--name', 'Cases'],
  ['--name', 'ab'],
  ['--name', '-cases'],
  ['--name', 'cases-'],
  ['--location', 'East US'],
  ['--resource-group', 'rg.'],
  ['--resource-group', "rg'$(id)"],
  ['--resource-group', ''],
] as const

for (const [flag, value] of wrong) {
  test(`provision azure ${flag} '${value}' is refused with what would be right`, async () => {
    const { code, stdout, stderr } = await azure(flag, value)
    assert.deepEqual([code, stdout], [2, ''])
    assert.ok(stderr.startsWith(`error: ${flag} is '${value}', which it cannot be.\nhint:  Set ${flag} to `), stderr)
  })
}

test('--version is that of the server here, and that of the program elsewhere', async () => {
  assert.match((await azure('--version', '15')).stdout, /--version 15 /)
  const { code, stdout } = await runHere(['--version'], {})
  assert.equal(code, 0)
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})
