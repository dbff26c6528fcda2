import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { claims, claimWorkflow, openDesk, root } from './cli.ts'

test('the first look of docs/cli.md works as it stands there', async () => {
  await using desk = await openDesk()
  const [, script = ''] = /```sh\n([^]*?)```/.exec(readFileSync(join(root, 'docs/cli.md'), 'utf8')) ?? []
  const here = script
    .replaceAll('data/trial.db', desk.env.CC_DB_PATH!)
    .replaceAll('npm run --silent cli --', `${process.execPath} src/main.ts`)
  assert.notEqual(here, script)
  const { stdout } = await promisify(execFile)('sh', ['-c', here], { cwd: root })
  assert.match(stdout, /Decided: deny by unverified:ann\./)
  assert.match(stdout, /The record is valid\./)
})

test('backup and restore work as docs/sqlite.md has them', async () => {
  await using desk = await openDesk()
  await desk.run(...claimWorkflow, '--input', claims)
  await mkdir(join(desk.folder, 'backups'))
  const [, script = ''] = /```sh\n([^]*?)```/.exec(readFileSync(join(root, 'docs/sqlite.md'), 'utf8')) ?? []
  assert.match(script, /cognitive-core backup/)
  const command = `cognitive_core() { ${process.execPath} ${join(root, 'src/main.ts')} "$@"; }\n`
  const here = command + script.replaceAll(/^cognitive-core/gm, 'cognitive_core')
  const env = { PATH: process.env.PATH, CC_DB_PATH: desk.env.CC_DB_PATH }
  const { stdout } = await promisify(execFile)('sh', ['-euc', here], { cwd: desk.folder, env })
  assert.match(stdout, /Wrote 5 cases to/)
  assert.match(stdout, /Restored 5 cases to[^]*is kept as/)
  assert.equal(stdout.match(/The record is valid\./g)!.length, 2)
})

test('an older Node is told what is needed, in one line', async () => {
  const old = "Object.defineProperty(process.versions, 'node', { value: '24.14.1' })"
  const preload = `data:text/javascript,${encodeURIComponent(old)}`
  const failure: unknown = await promisify(execFile)(process.execPath, ['--import', preload, 'src/bin.ts'], {
    cwd: root,
  }).catch((error: unknown) => error)
  const { code, stderr } = failure as { code: number; stderr: string }
  assert.equal(code, 1)
  assert.match(stderr, /^error: this needs Node 24\.15 or newer.*\n$/)
})

test('the entry of the installed command runs the program', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['src/bin.ts', '--version'], { cwd: root })
  assert.match(stdout, /^\d+\.\d+\.\d+\n$/)
})
