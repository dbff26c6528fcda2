import { hash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { FastifyInstance } from 'fastify'
import { z } from 'zod'
import { addRoute } from './route.ts'

/** The page at `/`, and the hashes by which a browser knows that its script and its style are ours. */
export interface Page {
  readonly html: string
  readonly scriptHash: string
  readonly styleHash: string
}

/** Beside `src` in a checkout, beside `dist` in an installed package. */
const folder = join(import.meta.dirname, '../../console')

/** Puts the page together from its three files, so that it comes in one piece and needs nothing from elsewhere. */
export function readPage(): Page {
  const read = (name: string) => readFileSync(join(folder, name), 'utf8')
  const [script, style] = [read('page.js'), read('page.css')]
  const html = read('page.html')
    .replace('/* page.css */', () => style)
    .replace('/* page.js */', () => script)
  return { html, scriptHash: sourceHash(script), styleHash: sourceHash(style) }
}

/** As a content security policy writes it. */
function sourceHash(text: string): string {
  return `'sha256-${hash('sha256', text, 'base64')}'`
}

export function addPage(app: FastifyInstance, { html }: Page): void {
  addRoute(
    app,
    'GET /',
    { summary: 'The page', tag: 'service', answers: { 200: z.string() }, produces: 'text/html' },
    ({ reply }) => {
      void reply.type('text/html; charset=utf-8').header('cache-control', 'no-cache')
      return Promise.resolve(html)
    },
  )
}
