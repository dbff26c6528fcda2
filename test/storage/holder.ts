/** A program that holds the store at the path it is given, with one case in line and one claimed, until it is killed. */
import { openStore } from '../../src/storage/open.ts'
import { claimOne, readyCase } from './ready-case.ts'

const path = process.argv[2]!
const { backend } = await openStore({ path, nowMs: 1_000, url: 'http://127.0.0.1:8080' })
await readyCase(backend, { priority: 1 })
await readyCase(backend)
const { instanceId } = await claimOne(backend)
process.stdout.write(`${instanceId}\n`)
setInterval(() => {}, 60_000)
