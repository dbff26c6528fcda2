import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'
import { blocksOf, freePort, openCheckout, paste, pasted, root } from './docs-pages.ts'
import { withoutCurl } from './serving.ts'

test('the README works when it is pasted', { skip: withoutCurl }, async () => {
  await using place = await openCheckout()
  const port = await freePort()
  const commands = (await pasted('README.md')).replace('npm ci && ', '').replaceAll(':8080', `:${port}`)
  assert.match(commands, /npm run demo/)

  const { code, stdout, stderr, isQuiet } = await paste(commands, { cwd: place.folder, env: { CC_PORT: `${port}` } })

  assert.equal(code, 0, stdout + stderr)
  assert.ok(isQuiet, 'the service has ended')
  assert.match(stdout, /Every case ended as its pack expects/)
  assert.match(stdout, /terminated/, 'the decision that the reviewer took')
  assert.match(stdout, /The record is valid/)
  assert.match(stdout, /SIMULATED/)
  assert.match(stdout, /exit 6: the highest of its cases/)
  assert.match(stdout, /"status":"ready"/, 'the service')
  assert.match(stdout, /"decision":"approve","decided_by":"unverified:ann","status":"completed"/)
  assert.match(stdout, /^event: end\ndata: .*"status":"completed"/m, 'the stream of the case')
  assert.match(stdout, /"valid":true/, 'its record')
})

test('the example of the library runs as it stands', async () => {
  await using place = await openCheckout()
  const [code] = await blocksOf('docs/library.md', 'ts')
  const script = code!.replace("from 'cognitive-core'", `from '${join(root, 'src/index.ts')}'`)

  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    cwd: place.folder,
  })

  assert.deepEqual(stdout.trim().split('\n'), ['suspended gate rate → look_twice', 'completed true'])
})
