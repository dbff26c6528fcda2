import type { Command } from 'commander'
import type { Core } from '../engine/core.ts'
import { type Act, example } from './command.ts'
import type { Context } from './context.ts'
import type { DemoPack } from './demo-packs.ts'
import { exits } from './running.ts'
import { aboutService, type Serving, serveToTheEnd, showService, withService } from './serve.ts'

const demoDbPath = 'data/demo.db'

export function addDemo(program: Command, act: Act): void {
  const demo = program
    .command('demo')
    .description('run the sample cases on data/demo.db, with scripted answers: no API key is needed')
    .option('--keep', 'go on serving afterwards')
    .action(act(runDemo))
  example(demo, 'demo')
}

async function runDemo(context: Context, { keep }: { readonly keep?: boolean }): Promise<number> {
  context.refuseService('demo')
  const { readDemoPacks, scriptedModelOf } = await import('./demo-packs.ts')
  const packs = await readDemoPacks()
  const model = scriptedModelOf(packs)
  const here = context.with({
    model,
    sources: context.config.sources.without('CC_MODEL'),
    ...(context.config.isDbPathSet || context.config.postgres ? {} : { dbPath: demoDbPath }),
  })
  const settings = { ...here.runningSettings, packs: packs.map(({ pack }) => pack.dir!) }
  if (!keep) return await here.writing(settings, (core) => playDemo(here, core, packs))
  return await here.interruption.hold(async () => {
    const { log } = await here.openLog('warn')
    return await withService(here, log, (serving) =>
      here.writing({ ...settings, log, url: serving.service.url }, (core) => playDemo(here, core, packs, serving)),
    )
  })
}

async function playDemo(context: Context, core: Core, packs: readonly DemoPack[], serving?: Serving): Promise<number> {
  const { play } = await import('./demo-play.ts')
  const { demoJson, introduce, showDemo } = await import('./demo-report.ts')
  const { terminal } = context
  introduce(context, packs)
  serving?.service.serve(core)
  const result = await play(context, core, packs)
  terminal.mark(core.simulated)
  const about = serving && (await aboutService(context, serving, core))
  terminal.document({ ...demoJson(context, result), ...(about && { service: about }) })
  showDemo(context, result)
  if (serving && about) {
    terminal.out.line()
    showService(context, core, about)
    await serveToTheEnd(context, serving.service, core)
  }
  if (!result.report.valid) return exits.verificationFailed
  return result.cases.every(({ surprises }) => surprises.length === 0) ? exits.done : exits.failed
}
