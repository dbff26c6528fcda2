import { once } from 'node:events'
import { connect, createServer, type Socket } from 'node:net'

/** Something between a program and its server that loses what it is told to lose. */
export interface CutProxy extends AsyncDisposable {
  /** The DSN by which the server is reached through it. */
  readonly dsn: string
  /**
   * Breaks the connection on which this text is sent next: `before` the server gets it, or `after` the server has done it
   * and before the answer arrives.
   */
  cut(when: 'before' | 'after', text: string): void
  /** Breaks every connection, and refuses others for so long, as a server does that is started anew. */
  restart(ms: number): void
  /** From now on nothing that the server says arrives, and no connection breaks; until told otherwise. */
  hush(isHushed: boolean): void
  /** Whether what it was told has happened. */
  readonly hasCut: boolean
}

export async function openCutProxy(dsn: string): Promise<CutProxy> {
  const target = new URL(dsn)
  let order: { readonly when: 'before' | 'after'; readonly text: string } | undefined
  const open = new Set<Socket>()
  let isAway = false
  let isHushed = false
  const door = createServer((near) => {
    if (isAway) return void near.destroy()
    const far = connect(Number(target.port), target.hostname)
    let isLosing = false
    const end = () => {
      near.destroy()
      far.destroy()
    }
    for (const socket of [near, far]) {
      open.add(socket)
      socket.on('error', end).on('close', end)
    }
    near.on('data', (chunk) => {
      if (order && chunk.includes(order.text)) {
        isLosing = order.when === 'after'
        order = undefined
        if (!isLosing) return end()
      }
      far.write(chunk)
    })
    far.on('data', (chunk) => {
      if (isLosing) end()
      else if (!isHushed) near.write(chunk)
    })
  }).listen(0, '127.0.0.1')
  await once(door, 'listening')
  const { port } = door.address() as { port: number }
  return {
    dsn: Object.assign(new URL(target), { hostname: '127.0.0.1', port }).href,
    cut: (when, text) => {
      order = { when, text }
    },
    restart: (ms) => {
      isAway = true
      for (const socket of open) socket.destroy()
      setTimeout(() => (isAway = false), ms)
    },
    hush: (on) => {
      isHushed = on
    },
    get hasCut() {
      return order === undefined
    },
    async [Symbol.asyncDispose]() {
      for (const socket of open) socket.destroy()
      door.close()
      await once(door, 'close')
    },
  }
}
