import { join } from 'node:path'
import { packFolder } from '../cognition/pack-folder.ts'
import { type Desk, openDesk } from './cli.ts'

/** A model that is always busy, with long pauses between the attempts: the case sleeps until somebody loses patience. */
const patientPack = {
  'workflows/review.yaml': `name: review
steps:
  - name: sort
    primitive: classify
    params: { categories: a, criteria: b }
    retry: { max_attempts: 9, backoff_seconds: 30 }
`,
  'scripted.yaml': '- when: { step: sort }\n  error: rate_limit\n',
  'cases/case.json': '{"case_id": "S-1"}',
}

/** A desk with that pack, and the words that submit its case and wait for it. */
export async function openSleepyDesk(): Promise<Desk & { readonly pack: string; readonly submit: readonly string[] }> {
  const folder = await packFolder(patientPack)
  const { dir } = folder
  const desk = await openDesk({ CC_PACKS: dir, CC_MODEL: `scripted:${join(dir, 'scripted.yaml')}` })
  const submit = ['submit', 'review', '--domain', 'plain', '--input', join(dir, 'cases/case.json'), '--wait']
  const close = async () => {
    await desk[Symbol.asyncDispose]()
    await folder[Symbol.asyncDispose]()
  }
  return { ...desk, pack: dir, submit, [Symbol.asyncDispose]: close }
}
