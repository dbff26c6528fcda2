import type { Command } from 'commander'
import type { CopyOptions, StoreFacts } from '../storage/copies.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { shownPath } from './input-files.ts'
import { dim } from './lines.ts'
import { duration } from './times.ts'

export function addBackup(program: Command, act: Act): void {
  const backup = program
    .command('backup <file>')
    .description('copy the store to a new file, also while it is in use')
    .action(act(writeBackup))
  example(backup, 'backup backups/cases.db')

  const restore = program
    .command('restore <file>')
    .description('put a backup where the store belongs')
    .option('--replace', 'also where a store is; that one stays beside it, under another name')
    .action(act(restoreBackup))
  example(restore, 'restore backups/cases.db', 'restore backups/cases.db --replace')
}

async function writeBackup(context: Context, name: string): Promise<void> {
  context.refuseService('backup')
  context.refusePostgres('backup')
  const { terminal, config, stores } = context
  const report = await copying(context, 'backup', (options) => stores.backupStore(config.dbPath, name, options))
  const { file, bytes, elapsedMs } = report
  terminal.mark(report.simulated)
  terminal.document({ file, bytes, ...factsJson(report), elapsed_ms: elapsedMs })
  const { out } = terminal
  out.line(`Wrote ${casesOf(report)} to ${shownPath(file)}: ${megabytes(bytes)} in ${duration(elapsedMs)}.`)
  out.line('  ', dim('check it:'), ` ${context.with({ dbPath: shownPath(file) }).next('audit', 'verify')}`)
}

async function restoreBackup(
  context: Context,
  name: string,
  { replace = false }: { replace?: boolean },
): Promise<void> {
  context.refuseService('restore')
  context.refusePostgres('restore')
  const { terminal, config, stores } = context
  const report = await copying(context, 'restore', (options) =>
    stores.restoreStore(name, config.dbPath, { ...options, replace }),
  )
  const { location, replaced } = report
  terminal.mark(report.simulated)
  terminal.document({ location, replaced: replaced ?? null, ...factsJson(report) })
  const { out } = terminal
  out.line(`Restored ${casesOf(report)} to ${shownPath(location)}, under epoch ${report.epoch}.`)
  if (replaced !== undefined) out.line(`The store that stood there is kept as ${shownPath(replaced)}.`)
  out.line('  ', dim('check it:'), ` ${context.next('audit', 'verify')}`)
}

/** Tells how far a copy has come. An interruption ends it and leaves nothing of it behind. */
async function copying<T>(
  { terminal, interruption }: Context,
  event: string,
  copy: (options: CopyOptions) => Promise<T>,
): Promise<T> {
  const onProgress: CopyOptions['onProgress'] = ({ bytes, totalBytes }) =>
    terminal.status(
      { event, bytes, total_bytes: totalBytes },
      `copied ${Math.floor(bytes / megabyte)} of ${megabytes(totalBytes)}`,
    )
  return await interruption.hold(() => copy({ onProgress, signal: interruption.signal }))
}

function factsJson({ cases, databaseId, epoch }: StoreFacts) {
  return { cases, database_id: databaseId, epoch }
}

function casesOf({ cases }: StoreFacts): string {
  return `${cases} ${cases === 1 ? 'case' : 'cases'}`
}

const megabyte = 1_000_000

function megabytes(bytes: number): string {
  const count = bytes / megabyte
  return `${count < 10 ? count.toFixed(1) : Math.round(count)} MB`
}
