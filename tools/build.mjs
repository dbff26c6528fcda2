import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import './check-node.mjs'

// Node runs .ts directly, except below node_modules; what is packed is therefore compiled. Nothing else needs this.

const root = join(import.meta.dirname, '..')
const dist = join(root, 'dist')
const bin = join(dist, 'bin.js')
const shebang = '#!/usr/bin/env node\n'

rmSync(dist, { recursive: true, force: true })
const compiler = join(root, 'node_modules/typescript/bin/tsc')
const { status } = spawnSync(process.execPath, [compiler, '-p', join(root, 'tsconfig.build.json')], {
  stdio: 'inherit',
})
if (status !== 0) process.exit(status ?? 1)

if (!existsSync(bin)) throw new Error(`${bin} was not built: package.json names it as the command`)
const text = readFileSync(bin, 'utf8')
if (!text.startsWith('#!')) writeFileSync(bin, shebang + text)
chmodSync(bin, 0o755)
