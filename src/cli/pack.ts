import { Argument, type Command } from 'commander'
import type { Finding } from '../cognition/pack-findings.ts'
import type { PackReport } from '../cognition/pack-report.ts'
import { safeJson } from '../visible.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import type { Lines } from './lines.ts'
import { exits } from './running.ts'

export function addPack(program: Command, act: Act): void {
  const pack = program.command('pack').description('look after packs')

  const check = pack
    .command('check <dir>')
    .description('validate a pack: file, line, column, what is wrong, what would be right')
    .action(act(checkDir, { needsSettings: false }))
  example(check, 'pack check packs/travel-claims')

  const schema = pack
    .command('schema')
    .description('print the JSON Schema of one kind of file, for editors')
    .addArgument(new Argument('<kind>', 'which kind').choices(['workflow', 'domain', 'config']))
    .action(act(printSchema, { needsSettings: false }))
  example(schema, 'pack schema workflow > workflow.schema.json')
}

async function checkDir({ terminal }: Context, dir: string): Promise<number> {
  const { checkPack } = await import('../cognition/pack-report.ts')
  const report = await checkPack(dir)
  const errors = report.findings.filter(({ severity }) => severity === 'error')
  const warnings = report.findings.filter(({ severity }) => severity === 'warning')
  terminal.document({
    pack: report.name,
    dir: report.dir,
    valid: errors.length === 0,
    errors: errors.map(findingJson),
    warnings: warnings.map(findingJson),
    definitions: report.definitions,
    cases: report.cases,
    hidden_keys: report.hidden,
  })
  for (const finding of report.findings) showFinding(terminal.out, finding)
  showVerdict(terminal.out, report, { errors: errors.length, warnings: warnings.length })
  return errors.length === 0 ? exits.done : exits.failed
}

/** One way for editors and people to get at the place: `file:line:column` at the beginning of a line. */
function showFinding(out: Lines, { severity, place, what, right }: Finding): void {
  const style = severity === 'error' ? 'bad' : 'attention'
  out.line(whereOf(place), ': ', { text: severity, style })
  out.prose(what, { indent: 2 })
  if (right !== undefined) out.prose(`→ ${right}`, { indent: 2, style: 'dim' })
}

function showVerdict(out: Lines, report: PackReport, count: { errors: number; warnings: number }): void {
  const { definitions, cases, hidden } = report
  if (report.findings.length > 0) out.line()
  const verdict = count.errors === 0 ? 'The pack can be loaded' : 'The pack cannot be loaded'
  const counts = [counted(count.errors, 'error'), counted(count.warnings, 'warning')].join(', ')
  out.line({ text: verdict, style: count.errors === 0 ? 'good' : 'bad' }, `: ${counts}.`)
  out.facts([
    ['runs', definitions.map(({ workflow, domain }) => `${workflow} · ${domain}`).join(', ') || undefined],
    ['cases', cases === 0 ? undefined : String(cases)],
    ['hidden from models', hidden.join(', ') || undefined],
  ])
}

function counted(count: number, noun: string): string {
  return `${count === 0 ? 'no' : count} ${noun}${count === 1 ? '' : 's'}`
}

function whereOf({ file, line, column }: Finding['place']): string {
  return line === undefined ? file : `${file}:${line}:${column}`
}

function findingJson({ place, what, right, notYet }: Finding) {
  const { file, line = null, column = null } = place
  return { file, line, column, what, right: right ?? null, ...(notYet !== undefined && { not_yet: true }) }
}

async function printSchema({ terminal }: Context, kind: 'workflow' | 'domain' | 'config'): Promise<void> {
  const { packSchema } = await import('../cognition/pack-schema.ts')
  terminal.text(`${safeJson(packSchema(kind), 2)}\n`)
}
