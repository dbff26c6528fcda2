/**
 * A program that keeps one PostgreSQL for everybody who is connected to the socket it is told, and ends with the last of
 * them: the system closes the connection of a test that was killed, so nothing has to be counted.
 */
import { once } from 'node:events'
import { createServer, type Socket } from 'node:net'
import { type PrivateServer, startServer } from './private-server.ts'

/** What everybody hears who has connected. */
export type KeeperWord = { readonly dsn: string } | { readonly error: string }

/** How long the server outlives its last user: the next test file begins meanwhile. */
const lingerMs = 10_000

const socketPath = process.argv[2]!
const users = new Set<Socket>()
let word: string | undefined
let server: PrivateServer | undefined
let leaving: NodeJS.Timeout | undefined

const door = createServer((user) => {
  clearTimeout(leaving)
  users.add(user)
  user.on('error', () => {})
  user.on('close', () => {
    users.delete(user)
    leaveWhenAlone()
  })
  if (word !== undefined) user.write(word)
})
// Whoever comes second finds the address taken: its caller goes through the door that is open.
door.on('error', () => void leave())
door.listen(socketPath)
await once(door, 'listening')
try {
  server = await startServer({ settings: { max_connections: 200 } })
  tell({ dsn: server.dsn })
} catch (error) {
  tell({ error: String(error) })
}
leaveWhenAlone()

function tell(what: KeeperWord): void {
  word = `${JSON.stringify(what)}\n`
  for (const user of users) user.write(word)
}

function leaveWhenAlone(): void {
  if (users.size === 0 && word !== undefined) leaving = setTimeout(() => void leave(), lingerMs)
}

async function leave(): Promise<void> {
  if (door.listening) door.close()
  await server?.[Symbol.asyncDispose]()
  process.exit(0)
}
