import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'

/** A pack's folder on disk for one test; gone when the test ends. */
export interface PackFolder extends AsyncDisposable {
  readonly dir: string
}

/** A small pack that is right, as the ground for tests that spoil one file of it. */
export const soundPack = {
  'coordinator_config.yaml': 'domain_dir: domains\n',
  'workflows/review.yaml': `name: review
steps:
  - name: sort
    primitive: classify
    params:
      categories: \${domain.sort.categories}
      criteria: look
    transitions:
      - when: "output.category == 'odd'"
        goto: look_closer
      - default: decide
  - name: look_closer
    primitive: investigate
    params: { question: why, scope: all }
  - name: decide
    primitive: govern
    params: { workflow_state: done, governance_context: all }
`,
  'domains/plain.yaml': `domain_name: plain
sort:
  categories: odd, even
`,
} as const

/** Writes the files; `undefined` leaves one of the sound pack out. */
export async function packFolder(files: Record<string, string | Uint8Array | undefined> = {}): Promise<PackFolder> {
  const dir = await mkdtemp(join(tmpdir(), 'pack-'))
  for (const [name, content] of Object.entries({ ...soundPack, ...files })) {
    if (content === undefined) continue
    await mkdir(dirname(join(dir, name)), { recursive: true })
    await writeFile(join(dir, name), content)
  }
  return { dir, [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) }
}
