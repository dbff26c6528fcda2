import type { Command } from 'commander'
import { CoreError } from '../errors.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import { exits } from './running.ts'

const demoDbPath = 'data/demo.db'

export function addDemo(program: Command, act: Act): void {
  const demo = program
    .command('demo')
    .description('run the sample cases on data/demo.db, with scripted answers: no API key is needed')
    .option('--keep', 'go on serving afterwards (not yet)')
    .action(act(runDemo))
  example(demo, 'demo')
}

async function runDemo(context: Context, { keep }: { readonly keep?: boolean }): Promise<number> {
  if (keep) throw new CoreError('CC_ERR_NOT_YET', { what: 'demo --keep', remedy: 'Run: cognitive-core demo' })
  const { readDemoPacks, scriptedModelOf } = await import('./demo-packs.ts')
  const { play } = await import('./demo-play.ts')
  const { demoJson, introduce, showDemo } = await import('./demo-report.ts')

  const here = context.config.isDbPathSet ? context : context.withDbPath(demoDbPath)
  const packs = await readDemoPacks()
  const model = scriptedModelOf(packs)
  const { workerConcurrency } = context.config
  const settings = { packs: packs.map(({ pack }) => pack.dir!), model, workerConcurrency }
  return await here.writing(settings, async (core) => {
    introduce(here, packs)
    const result = await play(here, core, packs)
    context.terminal.mark(core.simulated)
    context.terminal.document(demoJson(here, result))
    showDemo(here, result)
    if (!result.report.valid) return exits.verificationFailed
    return result.cases.every(({ surprises }) => surprises.length === 0) ? exits.done : exits.failed
  })
}
