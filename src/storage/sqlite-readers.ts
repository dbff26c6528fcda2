import { CoreError } from '../errors.ts'
import type { SqliteConnection } from './sqlite-connection.ts'

/** Snapshots that may be open at the same time; a further reader waits for one of them. */
const maxReaders = 4

/** Read connections, opened when they are first needed. Each read has one snapshot and a connection to itself. */
export class SqliteReaders {
  private readonly idle: SqliteConnection[] = []
  private readonly waiting: ((connection: SqliteConnection) => void)[] = []
  private opened = 0
  private closed = false
  private readonly open: () => SqliteConnection

  constructor(open: () => SqliteConnection) {
    this.open = open
  }

  async read<T>(body: (connection: SqliteConnection) => Promise<T>): Promise<T> {
    if (this.closed) throw new CoreError('CC_ERR_CLOSED')
    const connection = this.idle.pop() ?? (await this.another())
    try {
      connection.execute('begin')
      return await body(connection)
    } finally {
      if (connection.isTransaction) connection.execute('rollback')
      this.giveBack(connection)
    }
  }

  close(): void {
    this.closed = true
    for (const connection of this.idle.splice(0)) connection.close()
  }

  private another(): SqliteConnection | Promise<SqliteConnection> {
    if (this.opened >= maxReaders) return new Promise((resolve) => this.waiting.push(resolve))
    const connection = this.open()
    this.opened += 1
    return connection
  }

  private giveBack(connection: SqliteConnection): void {
    const next = this.waiting.shift()
    if (next) next(connection)
    else if (this.closed) connection.close()
    else this.idle.push(connection)
  }
}
