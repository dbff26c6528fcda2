import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { chromium, type Page } from 'playwright-core'
import { type Service, startService } from '../../src/api/service.ts'
import type { Model } from '../../src/cognition/model.ts'
import type { PackObjects } from '../../src/cognition/pack.ts'
import type { ApiKey, Role } from '../../src/domain/role.ts'
import type { CaseView, Core } from '../../src/engine/core.ts'
import { openCore } from '../../src/engine/open.ts'
import type { Log } from '../../src/log.ts'
import { answering, applying, draftStep, governStep, pack, writing } from '../engine/fixture.ts'

export interface DeskSettings {
  /** Who has a key; its secret is `key-NAME`. Unset: nobody needs one. */
  readonly people?: Readonly<Record<string, Role>>
  readonly packs?: readonly PackObjects[]
  readonly model?: Model
}

/** A service with a store of its own, and a browser that has its page open. */
export interface Desk extends AsyncDisposable {
  readonly url: string
  readonly core: Core
  readonly page: Page
  /** What the browser complained of, but for answers that were refused: those it reports whoever expects them. */
  readonly complaints: readonly string[]
  /** Every address that the browser asked for. */
  readonly requested: readonly string[]
  /** Goes to a place of the page, such as `#/cases`. */
  open(place: string): Promise<void>
  /** Everything that can be read in the page, folded parts included. */
  text(): Promise<string>
  /** Another client of the service; `name` is that of a key where there are keys. */
  ask(name: string, path: string, body?: object): Promise<any>
  /** Submits a case and waits until it has ended or is held. */
  run(input?: object): Promise<CaseView>
  signIn(key: string): Promise<void>
  /** Ends the service, and starts it anew on the same store and the same port. */
  restart(): Promise<void>
}

/** A letter is drafted, and a person has to look at it. */
const lettersModel = { draft: writing('Dear Ms Abbott,\n\nwe pay.'), decide: applying('gate') }

/** A test at a desk of its own; where there is no browser it is not run, and says what is missing. */
export function onPage(promise: string, settings: DeskSettings, story: (desk: Desk) => Promise<void>): void {
  test(promise, async (context) => {
    const browser = [process.env.CHROMIUM_PATH, '/usr/bin/chromium', '/usr/bin/chromium-browser'].find(
      (path) => path !== undefined && existsSync(path),
    )
    if (browser === undefined) {
      context.diagnostic('not run: needs chromium (apt-get install chromium)')
      return context.skip('needs chromium (apt-get install chromium)')
    }
    await using desk = await openDesk(browser, settings)
    await story(desk)
  })
}

async function openDesk(executablePath: string, { people, packs, model }: DeskSettings): Promise<Desk> {
  const folder = await mkdtemp(join(tmpdir(), 'console-'))
  const start = async (port: number) => {
    const keys = people && { find: (secret: string) => keyOf(people, secret) }
    const service = await startService({ host: '127.0.0.1', port, keys, defaultActor: 'ann', log: silent })
    const core = await openCore({
      path: join(folder, 'cases.db'),
      packs: packs ?? [pack({ steps: [draftStep, governStep] })],
      model: model ?? answering(lettersModel),
      log: silent,
      url: service.url,
    })
    service.serve(core)
    core.start()
    return { service, core }
  }
  const stop = async ({ service, core }: { service: Service; core: Core }) => {
    await service.close()
    await core.close()
  }
  let running = await start(0)
  const { url } = running.service
  const browser = await chromium.launch({ executablePath, args: ['--no-sandbox'] })
  const page = await browser.newPage()
  page.setDefaultTimeout(patienceMs)
  const requested: string[] = []
  page.on('request', (request) => requested.push(request.url()))
  const ask = async (name: string, path: string, body?: object) => {
    const identity = people ? { authorization: `Bearer key-${name}` } : { 'x-actor': encodeURIComponent(name) }
    const sent = body && { method: 'POST', body: JSON.stringify(body) }
    const response = await fetch(url + path, { ...sent, headers: { ...identity, 'content-type': 'application/json' } })
    return await response.json()
  }
  return {
    url,
    page,
    requested,
    complaints: await complaintsOf(page),
    get core() {
      return running.core
    },
    open: async (place) => void (await page.goto(`${url}/${place}`)),
    text: () => page.evaluate('document.body.textContent'),
    ask,
    async run(input = {}) {
      const { instanceId } = await running.core.submit({
        workflow: 'review',
        domain: 'plain',
        input: { ...input },
        actor: 'kim',
      })
      return await running.core.waitFor(instanceId)
    },
    async signIn(key) {
      await page.getByLabel('API key').fill(key)
      await page.getByRole('button', { name: 'Sign in' }).click()
    },
    async restart() {
      await stop(running)
      running = await start(Number(new URL(url).port))
    },
    async [Symbol.asyncDispose]() {
      await browser.close()
      await stop(running)
      await rm(folder, { recursive: true, force: true })
    },
  }
}

const patienceMs = 8_000

const quiet = () => {}
const silent: Log = { debug: quiet, info: quiet, warn: quiet, error: quiet }

function keyOf(people: Readonly<Record<string, Role>>, secret: string): ApiKey | undefined {
  const name = secret.replace(/^key-/, '')
  const role = people[name]
  return role && { name, role, sha256: '', created: '' }
}

/** Errors of the script, of the policy and of the console, and dialogs, which nobody here has asked for. */
async function complaintsOf(page: Page): Promise<string[]> {
  const complaints: string[] = []
  page.on('pageerror', (error) => complaints.push(String(error)))
  page.on('dialog', (dialog) => {
    complaints.push(`dialog: ${dialog.message()}`)
    void dialog.dismiss()
  })
  page.on('console', (message) => {
    if (message.type() === 'error' && !message.text().startsWith('Failed to load')) complaints.push(message.text())
  })
  await page.exposeFunction('complain', (complaint: string) => complaints.push(complaint))
  await page.addInitScript(
    `addEventListener('securitypolicyviolation', (event) => complain('policy: ' + event.violatedDirective))`,
  )
  return complaints
}
