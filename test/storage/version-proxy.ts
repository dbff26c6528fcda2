import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** The DSN of a server that says it is of another version, by the number it gives for it; of as many digits. */
export async function openVersionProxy(
  dsn: string,
  said: RegExp,
  version: string,
): Promise<{ readonly dsn: string } & AsyncDisposable> {
  const target = new URL(dsn)
  const open = new Set<Socket>()
  const door = createServer((near) => {
    const far = connect(Number(target.port), target.hostname)
    for (const socket of [near, far]) open.add(socket.on('error', () => socket.destroy()))
    near.pipe(far)
    far.on('data', (chunk) => near.write(Buffer.from(chunk.toString('latin1').replace(said, version), 'latin1')))
    far.on('close', () => near.destroy())
    near.on('close', () => far.destroy())
  }).listen(0, '127.0.0.1')
  await once(door, 'listening')
  const { port } = door.address() as { port: number }
  return {
    dsn: Object.assign(new URL(target), { port }).href,
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      door.close()
      await once(door, 'close')
    },
  }
}
