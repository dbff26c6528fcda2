import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Account, serverAccount } from './postgres-binaries.ts'

/** A folder in which a server runs; it goes with whoever made it, and takes with it the server that it finds there. */
export interface PrivateFolder extends AsyncDisposable {
  readonly dir: string
  /** Whose it is; unset: that of whoever runs the tests. */
  readonly account: Account | undefined
  path(name: string): string
  /** Writes a file that the server alone can read. */
  write(name: string, text: string): void
  /** Gives a file or folder to the server. */
  own(path: string): void
}

/** `pidFile`: where the server writes its process id; `signal`: by which it leaves at once. */
export function privateFolder(
  name: string,
  { pidFile, signal, within = tmpdir() }: { pidFile: string; signal: 'QUIT' | 'TERM'; within?: string | undefined },
): PrivateFolder {
  const account = serverAccount()
  const dir = mkdtempSync(join(within, `${name}-`))
  const guard = startGuard(dir, pidFile, signal)
  const own = (path: string) => {
    if (account) chownSync(path, account.uid, account.gid)
  }
  chmodSync(dir, 0o755)
  own(dir)
  return {
    ...{ dir, account, own },
    path: (file) => join(dir, file),
    write: (file, text) => {
      writeFileSync(join(dir, file), text, { mode: 0o600 })
      own(join(dir, file))
    },
    [Symbol.asyncDispose]: async () => {
      rmSync(dir, { recursive: true, force: true })
      await dismiss(guard)
    },
  }
}

/** Clears up after a test that was killed: the end of its input is all it waits for. */
function startGuard(dir: string, pidFile: string, signal: string): ChildProcess {
  const script = `cat > /dev/null
    read -r pid < "$0/$1" && kill "-$2" "$pid"
    tries=0; while kill -0 "$pid" && [ $((tries += 1)) -lt 100 ]; do sleep 0.1; done
    rm -rf "$0"`
  const guard = spawn('sh', ['-c', script, dir, pidFile, signal], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  })
  guard.on('error', () => {})
  guard.unref()
  return guard
}

/** The guard finds nothing left to do. */
async function dismiss(guard: ChildProcess): Promise<void> {
  if (guard.exitCode !== null || guard.pid === undefined) return
  guard.ref()
  guard.stdin!.end()
  await once(guard, 'exit')
}

/** Ends a server and waits for it; one that is not there any more is left alone. */
export async function endServer(child: ChildProcess | undefined, signal: NodeJS.Signals): Promise<void> {
  if (!child || child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const ended = once(child, 'exit')
  child.kill(signal)
  await ended
}
