import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'

const tool = join(import.meta.dirname, '../../tools/check-node.mjs')

/** Starts a program behind the check, on a Node that takes itself for this version. */
function startOn(version: string) {
  const pretend = `Object.defineProperty(process, 'versions', { value: { node: '${version}' } })`
  const args = ['--import', `data:text/javascript,${encodeURIComponent(pretend)}`, '--import', tool, '-p', '"started"']
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' })
  return { status, stdout, stderr }
}

for (const version of ['20.20.2', '22.23.0', '24.14.9']) {
  test(`on Node ${version} nothing starts, and one line says what to do`, () => {
    const { status, stdout, stderr } = startOn(version)
    assert.deepEqual([status, stdout], [1, ''])
    assert.match(
      stderr,
      /^Node 24\.15 or newer is needed, .*`npm ci` with install scripts allowed.*`npm run demo`\.\n$/,
    )
  })
}

for (const version of ['24.15.0', '24.21.0', '26.0.0']) {
  test(`on Node ${version} the program starts`, () => {
    assert.deepEqual(startOn(version), { status: 0, stdout: 'started\n', stderr: '' })
  })
}
