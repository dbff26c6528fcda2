import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { cp, mkdtemp, readFile, rm, symlink } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { promisify } from 'node:util'

const root = resolve(import.meta.dirname, '../..')

/** The shell commands of a page, block after block, as somebody would paste them. */
async function pasted(page: string): Promise<string> {
  const text = await readFile(join(root, page), 'utf8')
  return [...text.matchAll(/^```sh\n([\s\S]*?)^```/gm)].map((match) => match[1]).join('\n')
}

/** A folder that looks like a checkout after `npm ci` and has a `data` of its own. */
async function checkout() {
  const folder = await mkdtemp(join(tmpdir(), 'cc-readme-'))
  for (const name of ['src', 'packs', 'tools', 'node_modules']) await symlink(join(root, name), join(folder, name))
  await cp(join(root, 'package.json'), join(folder, 'package.json'))
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) }
}

test('the README works when it is pasted', async () => {
  await using place = await checkout()
  const commands = (await pasted('README.md')).replace('npm ci && ', '')
  assert.match(commands, /npm run demo/)
  const env = { ...process.env, CC_DB_PATH: '', CC_MODEL: '', CC_PACKS: '', NO_COLOR: '1' }

  const run = promisify(execFile)('bash', ['-euo', 'pipefail', '-c', commands], { cwd: place.folder, env })
  const { stdout } = await run

  assert.match(stdout, /Every case ended as its pack expects/)
  assert.match(stdout, /terminated/, 'the decision that the reviewer took')
  assert.match(stdout, /The record is valid/)
  assert.match(stdout, /SIMULATED/)
  assert.match(stdout, /exit 6: the highest of its cases/)
})

test('the example of the library runs as it stands', async () => {
  await using place = await checkout()
  const [, code] = /^```ts\n([\s\S]*?)^```/m.exec(await readFile(join(root, 'docs/library.md'), 'utf8'))!
  const script = code!.replace("from 'cognitive-core'", `from '${join(root, 'src/index.ts')}'`)

  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module-typescript', '--eval', script], {
    cwd: place.folder,
  })

  assert.deepEqual(stdout.trim().split('\n'), ['suspended gate rate → look_twice', 'completed true'])
})
