import type { Command } from 'commander'
import type { VerifyReport } from '../engine/core.ts'
import { verifyJson } from '../engine/as-json.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { writeNewFile } from './input-files.ts'
import type { Lines, Part } from './lines.ts'
import { exits } from './running.ts'
import { safeJson } from '../visible.ts'
import { duration } from './times.ts'

export function addAudit(program: Command, act: Act): void {
  const audit = program.command('audit').description('check the record, hand it on, erase content from it')

  const verify = audit
    .command('verify')
    .description('check that the record is whole and was not changed')
    .option('--instance <id>', 'the record of one case only')
    .action(act(verifyRecord))
  example(verify, 'audit verify --db data/coordinator.db')

  const exporting = audit
    .command('export')
    .description('write one case, whole, as a file that can be checked without this program')
    .requiredOption('--instance <id>', 'which case')
    .option('--out <file>', 'where to; without it, to standard output')
    .action(act(exportCase))
  example(exporting, 'audit export --instance CASE --out case.json')

  const erase = audit
    .command('erase')
    .description('remove the content of one payload for good; the record still verifies')
    .requiredOption('--instance <id>', 'which case; it must have ended')
    .requiredOption('--payload <id>', 'which payload, as `case ID --audit` lists them')
    .requiredOption('--reason <reason>', 'why, in words that are still understood in years')
    .action(act(erasePayload))
  example(erase, "audit erase --instance CASE --payload PAYLOAD --reason 'Request 12/2026.'")
}

async function verifyRecord(context: Context, { instance }: { readonly instance?: string }): Promise<number> {
  const { terminal } = context
  const report = await context.reading((reader) =>
    reader.verify({
      ...(instance !== undefined && { instanceId: instance }),
      onProgress: ({ instances, events }) =>
        terminal.status({ event: 'verify', instances, events }, `checked ${instances} cases, ${events} events`),
    }),
  )
  terminal.document(verifyJson(report))
  showVerdict(terminal.out, report)
  terminal.out.heading('What no check of the store alone can show')
  for (const line of report.cannotShow) terminal.out.prose(`- ${line}`, { indent: 2 })
  return report.valid ? exits.done : exits.verificationFailed
}

/** Whether the record is whole, what was looked at, and what is wrong with it. */
export function showVerdict(out: Lines, report: VerifyReport, indent = 0): void {
  const { valid, findings, head, erasedPayloads: erased } = report
  const verdict: Part = valid
    ? { text: 'The record is valid.', style: 'good' }
    : { text: 'The record is NOT valid.', style: 'bad' }
  out.line(' '.repeat(indent), verdict)
  const checked = [
    `${report.instances} ${report.instances === 1 ? 'case' : 'cases'}`,
    `${report.events} events`,
    `${report.checkpoints} steps`,
    `${report.payloads} payloads${erased > 0 ? `, ${erased} of them erased` : ''}`,
  ]
  out.facts(
    [
      ['checked', `${checked.join(', ')} in ${duration(report.elapsedMs)}`],
      ['head', head && `event ${head.seq}, ${head.hash}`],
    ],
    indent + 2,
  )
  if (findings.length === 0) return
  out.heading('The first fault of each case')
  for (const { instanceId, seq, what, where, detail } of findings) {
    out.line(`  ${instanceId}`, seq === undefined ? '' : ` event ${seq}`, `  ${what.replaceAll('_', ' ')}  ${where}`)
    out.prose(detail, { indent: 4 })
  }
}

async function exportCase(
  context: Context,
  { instance, out: file }: { readonly instance: string; readonly out?: string },
): Promise<void> {
  const { terminal } = context
  const reader = await context.openReader()
  try {
    const text = `${safeJson(await reader.exportCase(instance), 2)}\n`
    // The export says itself whether it is a simulation, so that nothing may stand before it.
    if (file === undefined) return terminal.text(text)
    await writeNewFile(file, text)
    terminal.mark(reader.simulated)
    terminal.document({ instance_id: instance, file, bytes: Buffer.byteLength(text) })
    terminal.out.line(`Case ${instance} is written to ${file}.`)
  } finally {
    await reader.close()
  }
}

interface EraseOptions {
  readonly instance: string
  readonly payload: string
  readonly reason: string
}

async function erasePayload(context: Context, { instance, payload, reason }: EraseOptions): Promise<void> {
  const { terminal, actor } = context
  const request = { instanceId: instance, payloadId: payload, actor, reason }
  await context.changing({}, (core) => core.erase(request))
  terminal.document({ instance_id: instance, payload_id: payload, erased: true })
  terminal.out.line(`Payload ${payload} of case ${instance} is erased; its commitment stays in the record.`)
}
