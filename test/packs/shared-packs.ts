import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Model, ModelRequest } from '../../src/cognition/model.ts'
import { openModel } from '../../src/cognition/models.ts'
import type { CaseView, Core, StepView } from '../../src/engine/core.ts'
import type { JsonObject } from '../../src/domain/json.ts'
import { openCore } from '../../src/engine/open.ts'

/** Where the sample packs of others stand, beside the project; a checkout by itself is without them. */
export const sharedPacks = join(import.meta.dirname, '../../../shared/packs')
export const areThere = existsSync(sharedPacks)

/** A test that did not run must not look like one that passed, or like one that was never written. */
export function sayNotRun(name: string): void {
  console.log(`not run: needs ../shared/packs: ${name}`)
}

/** A case that has come to its end, or to the person who decides it. */
export interface Ended {
  readonly view: CaseView
  readonly steps: readonly StepView[]
}

export interface Trial extends AsyncDisposable {
  readonly core: Core
  /** Everything the model was asked, in order. */
  readonly asked: readonly ModelRequest[]
  run(workflow: string, domain: string, input: JsonObject): Promise<Ended>
}

/** An engine that runs one pack on a store of its own, with these answers. */
export async function openTrial(dir: string, answers: string): Promise<Trial> {
  const folder = await mkdtemp(join(tmpdir(), 'packs-'))
  const asked: ModelRequest[] = []
  const core = await openCore({
    path: join(folder, 'trial.db'),
    packs: [dir],
    model: recording(await openModel(`scripted:${answers}`), asked),
  })
  core.start()
  return {
    core,
    asked,
    run: async (workflow, domain, input) => {
      const { instanceId } = await core.submit({ workflow, domain, input, actor: 'tester' })
      return { view: await core.waitFor(instanceId), steps: await core.getSteps(instanceId) }
    },
    [Symbol.asyncDispose]: async () => {
      await core.close()
      await rm(folder, { recursive: true })
    },
  }
}

function recording(model: Model, asked: ModelRequest[]): Model {
  return {
    name: model.name,
    simulated: model.simulated,
    answer: (request) => {
      asked.push(request)
      return model.answer(request)
    },
  }
}
